//go:build e2e

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// alpine builds the image of a request of ../shared/data/trees, as a layout and
// as an archive, from Alpine's own signed packages.
type alpine struct {
	*world
	request, config, layout, archive, tag string
	digest                                string // of the only image
	owners                                map[string]string
}

func newAlpine(t *testing.T, request string) *alpine {
	t.Helper()
	packages, err := os.ReadFile(apktest.Data(t, "trees", request+".request"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(apktest.Data(t, "alpine-3.19", "keys"), "*.pub"))
	if err != nil || len(keys) == 0 {
		t.Fatalf("no keys: %v", err)
	}
	for i := range keys {
		keys[i] = absolute(t, keys[i])
	}
	a := &alpine{world: newE2E(t), request: request, tag: "alpine-" + request + ":e2e"}
	a.config, a.layout, a.archive = a.path("image.yaml"), a.path("layout"), a.path("image.tar")
	a.write("image.yaml", contents(absolute(t, apktest.Data(t, "alpine-3.19-boot")), keys, strings.Fields(string(packages))))
	a.digest = a.makes(a.config, a.tag, "--output="+a.layout+"/", "--output="+a.archive).Images[0].Digest
	_, a.owners = a.plannedNodes(a.config)
	return a
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	name, err := filepath.Abs(name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// intended tells the paths that assemble/rootfs/DIFFERENCES.md explains.
func (a *alpine) intended(truth nodes) func(path string) bool {
	a.t.Helper()
	text, err := os.ReadFile(projectFile(a.t, "assemble", "rootfs", "testdata", "differences.txt"))
	if err != nil {
		a.t.Fatal(err)
	}
	var prefixes []string
	for line := range strings.Lines(string(text)) {
		if path, _, ok := strings.Cut(line, "\t"); ok && !strings.HasPrefix(line, "#") {
			prefixes = append(prefixes, path)
		}
	}
	return func(path string) bool {
		_, there := truth[path]
		return !there && a.owners[path] == "generator busybox-links" || slices.ContainsFunc(prefixes, func(p string) bool {
			return path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
		})
	}
}

// truth is what apk-tools left on the disk for the request.
func (a *alpine) truth() nodes {
	a.t.Helper()
	f, err := os.Open(apktest.Data(a.t, "trees", a.request+".jsonl"))
	if err != nil {
		a.t.Fatal(err)
	}
	defer f.Close()
	out := nodes{}
	s := bufio.NewScanner(f)
	for s.Scan() {
		var n node
		if err := json.Unmarshal(s.Bytes(), &n); err != nil {
			a.t.Fatal(err)
		}
		out[n.Path] = n
	}
	if s.Err() != nil || len(out) < 100 {
		a.t.Fatalf("%d paths: %v", len(out), s.Err())
	}
	return out
}

// Real Alpine packages, unpacked by umoci and by a Docker engine, give what
// apk-tools installs; so do the blobs that skopeo copies.
func TestE2EAlpineTrees(t *testing.T) {
	for _, request := range []string{"base", "ssh"} {
		t.Run(request, func(t *testing.T) {
			a := newAlpine(t, request)
			truth := a.truth()
			intended := a.intended(truth)
			t.Run("umoci", func(t *testing.T) {
				compareNodes(t, diskNodes(t, umociUnpack(t, a.layout, "e2e")), truth, intended)
			})
			t.Run("docker", func(t *testing.T) {
				e := newEngine(t)
				e.load(a.archive)
				compareNodes(t, e.export(a.tag), truth, func(p string) bool { return intended(p) || engineMakes(p) })
			})
			t.Run("skopeo", func(t *testing.T) {
				needTool(t, "skopeo")
				mustRun(t, "skopeo", "copy", "oci:"+a.layout+":e2e", "dir:"+a.path("copied"))
				if sum := "sha256:" + fileSum(t, a.path("copied/manifest.json")); sum != a.digest {
					t.Errorf("the copied manifest is %s, expected %s", sum, a.digest)
				}
				mustRun(t, "skopeo", "copy", "dir:"+a.path("copied"), "oci:"+a.path("back")+":e2e")
				compareNodes(t, diskNodes(t, umociUnpack(t, a.path("back"), "e2e")), truth, intended)
			})
		})
	}
}

// Alpine's programs run in the image, and its apk-tools read the database.
func TestE2EAlpineRuns(t *testing.T) {
	e, a := newEngine(t), newAlpine(t, "ssh")
	e.load(a.archive)
	in := func(program string, args ...string) string {
		t.Helper()
		return e.docker(append([]string{"run", "--rm", "--network", "none", "--entrypoint", program, a.tag}, args...)...)
	}
	for _, dir := range []string{"bin", "etc", "lib", "sbin", "usr", "var"} {
		if got := strings.Fields(in("/bin/busybox", "ls", "/")); !slices.Contains(got, dir) {
			t.Errorf("busybox ls /: no %s in %v", dir, got)
		}
	}
	if out := in("/bin/sh", "-c", "echo $((6*7)) | tr 4 5"); out != "52\n" {
		t.Errorf("a shell with busybox's links says %q", out)
	}
	code, _, version := tryRun(t, "docker", "run", "--rm", "--network", "none", "--entrypoint", "/usr/bin/ssh", a.tag, "-V")
	if code != 0 || !strings.HasPrefix(version, "OpenSSH_") {
		t.Errorf("ssh -V: exit code %d: %s", code, version)
	}
	checkInstalled(t, a, in("/sbin/apk", "info", "-v"))
	checkOwners(t, in)
	checkAudit(t, in)
}

// checkInstalled compares apk's list of packages with that of apk-tools' run.
func checkInstalled(t *testing.T, a *alpine, list string) {
	t.Helper()
	want, err := os.ReadFile(apktest.Data(t, "trees", a.request+".packages"))
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(list)
	packages := strings.Fields(strings.ReplaceAll(string(want), "=", "-"))
	slices.Sort(got)
	slices.Sort(packages)
	if !cmp.Equal(got, packages) {
		t.Errorf("apk info: %s", cmp.Diff(packages, got))
	}
}

// checkOwners asks apk for what it reads from the database only.
func checkOwners(t *testing.T, in func(string, ...string) string) {
	t.Helper()
	if out := in("/sbin/apk", "info", "--who-owns", "/usr/sbin/sshd"); !strings.Contains(out, "is owned by openssh-server-") {
		t.Errorf("apk info --who-owns: %s", out)
	}
	if out := in("/sbin/apk", "info", "--contents", "openssh-server"); !strings.Contains(out, "usr/sbin/sshd\n") {
		t.Errorf("apk info --contents: %s", out)
	}
	if out := in("/sbin/apk", "info", "--installed", "alpine-base"); out != "alpine-base\n" {
		t.Errorf("apk info --installed: %s", out)
	}
}

// checkAudit lets apk compare every file of every package with the database:
// nothing differs, until something does.
func checkAudit(t *testing.T, in func(string, ...string) string) {
	t.Helper()
	if out := in("/sbin/apk", "audit", "--system"); out != "" {
		t.Errorf("apk audit:\n%s", out)
	}
	out := in("/bin/sh", "-c", "echo >>/usr/sbin/sshd; rm /usr/bin/ssh; apk audit --system")
	got := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(got)
	if want := []string{"U usr/sbin/sshd", "X usr/bin/ssh"}; !cmp.Equal(got, want) {
		t.Errorf("apk audit of changed files: %s", cmp.Diff(want, got))
	}
}

// Readers that share no code with the writers understand all outputs alike.
func TestE2EReaders(t *testing.T) {
	needTool(t, "skopeo")
	needTool(t, "umoci")
	a := newAlpine(t, "base")
	a.cairn("build", a.config, a.tag, "oci-archive:"+a.path("oci.tar"))
	diffIDs := a.checkInspect("oci:" + a.layout + ":e2e")
	if got := a.checkInspect("oci-archive:" + a.path("oci.tar") + ":e2e"); !cmp.Equal(got, diffIDs) {
		t.Errorf("the archive has other layers: %s", cmp.Diff(diffIDs, got))
	}
	// skopeo inflates the layers of a docker archive: only the diff IDs stay.
	mustRun(t, "skopeo", "copy", "docker-archive:"+a.archive+":docker.io/library/"+a.tag, "oci:"+a.path("from-docker")+":e2e")
	if got := a.diffIDs("oci:" + a.path("from-docker") + ":e2e"); !cmp.Equal(got, diffIDs) {
		t.Errorf("the docker archive has other layers: %s", cmp.Diff(diffIDs, got))
	}
	stat := mustRun(t, "umoci", "stat", "--image", a.layout+":e2e")
	for _, name := range []string{"busybox", "musl", "tzdata"} {
		if !strings.Contains(stat, name+"-") {
			t.Errorf("umoci stat names no package %s:\n%s", name, stat)
		}
	}
	if os.Getenv("DOCKER_HOST") != "" {
		e := newEngine(t)
		e.removeAfter(a.tag)
		mustRun(t, "skopeo", "copy", "--dest-daemon-host", os.Getenv("DOCKER_HOST"), "oci:"+a.layout+":e2e", "docker-daemon:"+a.tag)
		if got := e.inspect(a.tag).RootFS.Layers; !cmp.Equal(got, diffIDs) {
			t.Errorf("skopeo gave the engine other layers: %s", cmp.Diff(diffIDs, got))
		}
	}
}

// checkInspect holds what skopeo says about the image against what cairn says,
// and returns the diff IDs.
func (a *alpine) checkInspect(ref string) []string {
	a.t.Helper()
	var got struct {
		Digest, Architecture, Os string
		Layers                   []string
	}
	if err := json.Unmarshal([]byte(mustRun(a.t, "skopeo", "inspect", ref)), &got); err != nil {
		a.t.Fatal(err)
	}
	var manifest struct {
		Layers []struct{ Digest string }
	}
	blob := filepath.Join(a.layout, "blobs", "sha256", strings.TrimPrefix(a.digest, "sha256:"))
	if b, err := os.ReadFile(blob); err != nil || json.Unmarshal(b, &manifest) != nil {
		a.t.Fatalf("manifest: %v", err)
	}
	var want []string
	for _, l := range manifest.Layers {
		want = append(want, l.Digest)
	}
	if got.Architecture != "amd64" || got.Os != "linux" || !cmp.Equal(got.Layers, want) {
		a.t.Errorf("skopeo inspect %s: %s/%s, layers %s", ref, got.Os, got.Architecture, cmp.Diff(want, got.Layers))
	}
	return a.diffIDs(ref)
}

func (a *alpine) diffIDs(ref string) []string {
	a.t.Helper()
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	out, err := exec.Command("skopeo", "inspect", "--config", ref).Output()
	if err != nil || json.Unmarshal(out, &config) != nil || len(config.RootFS.DiffIDs) == 0 {
		a.t.Fatalf("skopeo inspect --config %s: %v: %s", ref, err, out)
	}
	return config.RootFS.DiffIDs
}
