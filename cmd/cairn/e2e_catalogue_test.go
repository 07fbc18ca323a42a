//go:build e2e

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

var updateCatalogue = flag.Bool("update-catalogue", false, "write the table of configs/README.md anew")

// catalogueDebian are the packages that configs/debian asks for.
var catalogueDebian = strings.Fields(`base-files busybox gdb golang-go libc6 libgcc-s1 libgomp1 libssl3 libstdc++6 media-types netbase nginx nodejs
	openjdk-17-jre-headless postgresql-15 python3 python3-flask strace tzdata`)

// catalogueAlpine are the entries that can be made from the boot medium and the
// packages beside it.
var catalogueAlpine = []string{"alpine-base", "base", "busybox", "cc", "static"}

// catalogueEntry is a configuration of the catalogue, as the tests build it.
type catalogueEntry struct {
	folder, name string
	args         []string // what names the repository
	config       string
}

func (c catalogueEntry) shell() bool {
	return slices.Contains([]string{"alpine-base", "busybox", "go-builder", "postgres", "wolfi-base"}, c.name)
}

func (c catalogueEntry) user() int {
	if c.name == "alpine-base" || c.name == "wolfi-base" {
		return 0
	}
	return 65532
}

// catalogueEntries lists what can be built here of the catalogue.
func catalogueEntries(t *testing.T, w *world) []catalogueEntry {
	t.Helper()
	repo, key := debianRepositoryIn(t, "catalogue", catalogueDebian)
	var out []catalogueEntry
	names, err := filepath.Glob(projectFile(t, "configs", "debian") + "/*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	for _, name := range names {
		if n := strings.TrimSuffix(filepath.Base(name), ".yaml"); n != "common" && !strings.HasSuffix(n, ".test") {
			out = append(out, catalogueEntry{"debian", n, []string{"--repository-append=" + repo, "--keyring-append=" + key}, name})
		}
	}
	// The public addresses give way to what is here.
	dir := w.path("alpine")
	if err := os.CopyFS(dir, os.DirFS(projectFile(t, "configs", "alpine"))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(w.path("shared"), os.DirFS(projectFile(t, "configs", "shared"))); err != nil {
		t.Fatal(err)
	}
	local, localKey := alpineRepository(t, w)
	w.write("alpine/common.yaml", fmt.Sprintf("include: ../shared/nonroot.yaml\ncontents: {repositories: [%q], keyring: [%q]}\narchs: [x86_64]\n", local, localKey))
	for _, n := range catalogueAlpine {
		out = append(out, catalogueEntry{"alpine", n, nil, filepath.Join(dir, n+".yaml")})
	}
	return out
}

// alpineRepository indexes the boot medium's packages together with those of
// the release that are here.
func alpineRepository(t *testing.T, w *world) (dir, key string) {
	t.Helper()
	dir = w.path("repository")
	if err := os.MkdirAll(filepath.Join(dir, "x86_64"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"alpine-3.19-boot", "alpine-3.19/main"} {
		files, err := filepath.Glob(filepath.Join(apktest.Data(t, from), "x86_64", "*.apk"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no packages, %v", from, err)
		}
		for _, name := range files {
			if err := os.Symlink(absolute(t, name), filepath.Join(dir, "x86_64", filepath.Base(name))); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
	}
	k := apktest.NewKey("alpine.rsa.pub")
	indexDebian(t, filepath.Join(dir, "x86_64"), k)
	key = w.path(k.Name)
	if err := os.WriteFile(key, k.PublicPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, key
}

// catalogueRow is a line of the table in configs/README.md.
type catalogueRow struct {
	folder, name, size string
	packages, layers   int
}

// Every entry of the catalogue that can be built here is built as it is, for
// the table, and once more with a program that looks at it from inside, in a
// container.
func TestCatalogue(t *testing.T) {
	newEngine(t)
	w := newE2E(t)
	ca, pem := authority(t)
	pair, err := tls.X509KeyPair([]byte(pem), []byte(pem))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	defer server.Close()
	probe := w.path("probe")
	build := exec.Command("go", "build", "-trimpath", "-o", probe, "./testdata/catalogue")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var rows []catalogueRow
	// By name, so that one can be run alone: -run TestCatalogue/debian/python.
	for _, c := range catalogueEntries(t, w) {
		t.Run(c.folder+"/"+c.name, func(t *testing.T) {
			w := &world{t: t, dir: w.dir}
			rows = append(rows, c.row(w))
			c.view(w, rows[len(rows)-1].packages)
			c.test(w)
			c.probe(engine{t}, w, ca, probe, server.Listener.Addr().String())
		})
	}
	if !t.Failed() {
		checkCatalogueTable(t, rows)
	}
}

// Every entry that can be made of Debian's packages has a twin with its layers; from that
// of one without a shell the files and the environment of a running container can be read
// as the user that both run as, with the command that cairn twin prints.
func TestCatalogueTwins(t *testing.T) {
	newEngine(t)
	w := newE2E(t)
	for _, c := range catalogueEntries(t, w) {
		if c.folder != "debian" {
			continue // of Alpine's debuggers there are no packages here
		}
		t.Run(c.name, func(t *testing.T) {
			w := &world{t: t, dir: w.dir}
			w.makes(append([]string{c.config, "twin-of:e2e", c.name + ".tar"}, c.args...)...)
			var twin struct{ Of, Digest, Docker string }
			out := mustCairn(t, append([]string{"twin", "--format", "json", c.config, "twin:e2e", w.path(c.name + "-twin.tar")}, c.args...)...)
			if err := json.Unmarshal([]byte(out), &twin); err != nil {
				t.Fatal(err)
			}
			if c.name != "python" && c.name != "static" {
				return
			}
			e := engine{t}
			for image, file := range map[string]string{"twin-of:e2e": c.name + ".tar", "twin:e2e": c.name + "-twin.tar"} {
				e.load(w.path(file))
				e.removeAfter(image)
			}
			below, all := e.inspect("twin-of:e2e").RootFS.Layers, e.inspect("twin:e2e").RootFS.Layers
			if len(all) <= len(below) || !slices.Equal(all[:len(below)], below) {
				t.Errorf("layers %v, expected those of the image first: %v", all, below)
			}
			if c.name != "python" {
				return
			}
			id := strings.TrimSpace(e.docker("run", "-d", "--env", "SECRET=seen", "--name", "twin-target", "--entrypoint", "/usr/bin/python3", "twin-of:e2e", "-c", "import time; open('/tmp/mine', 'w').write('written'); time.sleep(600)"))
			t.Cleanup(func() { e.docker("rm", "-f", id) })
			time.Sleep(time.Second)
			command := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(twin.Docker, "NAME", "twin-target"), " -it ", " "))
			script := "id -u; cat /proc/1/root/tmp/mine; echo; tr '\\0' '\\n' < /proc/1/environ | grep SECRET; readlink /proc/1/exe; strace -V | head -1"
			got := e.docker(append(command[1:], "-c", script)...)
			for _, want := range []string{"65532\n", "written\n", "SECRET=seen\n", "/usr/bin/python3", "strace -- version"} {
				if !strings.Contains(got, want) {
					t.Errorf("from the twin: %q, expected %q", got, want)
				}
			}
		})
	}
}

// The application of the page for newcomers, with Debian's packages in place of Wolfi's,
// answers, has no shell, and is looked at from its twin.
func TestCatalogueNewcomer(t *testing.T) {
	e, w := newEngine(t), newE2E(t)
	repo, key := debianRepositoryIn(t, "catalogue", catalogueDebian)
	page, err := os.ReadFile(projectFile(t, "docs", "from-scratch-to-signed.md"))
	if err != nil {
		t.Fatal(err)
	}
	var config string
	for _, m := range storyBlock.FindAllStringSubmatch(string(page), -1) {
		if m[2] == "app.yaml" {
			config = strings.NewReplacer("https://packages.wolfi.dev/os/wolfi-signing.rsa.pub", key+", builtin://demo/cairn-demo.rsa.pub",
				"https://packages.wolfi.dev/os", repo+`, "@cairn builtin://demo"`,
				"wolfi-baselayout, ca-certificates-bundle, python-3.13, py3.13-flask", "base-files, ca-certificates-bundle@cairn, python3, python3-flask", `"0.0.0.0", port=8080`, `"127.0.0.1", port=`+freePort(t)).Replace(m[3])
		}
	}
	if !strings.Contains(config, "base-files") {
		t.Fatalf("the page has no such app.yaml: %s", config)
	}
	w.write("app.yaml", config)
	port := strings.TrimSuffix(strings.Split(strings.Split(config, "port=")[1], ")")[0], ",")
	w.makes(w.path("app.yaml"), "newcomer:e2e", "app.tar")
	mustCairn(t, "lint", w.path("app.yaml"))
	var twin struct{ Docker string }
	if err := json.Unmarshal([]byte(mustCairn(t, "twin", "--format", "json", w.path("app.yaml"), "newcomer:debug", w.path("debug.tar"))), &twin); err != nil {
		t.Fatal(err)
	}
	for image, file := range map[string]string{"newcomer:e2e": "app.tar", "newcomer:debug": "debug.tar"} {
		e.load(w.path(file))
		e.removeAfter(image)
	}
	container, _ := e.start("--name", "newcomer", "newcomer:e2e")
	if status, body := e.get(container, port, "/"); status != http.StatusOK || body != "Hello from an image without a shell.\n" {
		t.Errorf("status %d, %q", status, body)
	}
	if out, err := exec.Command("docker", "run", "--rm", "--entrypoint=sh", "newcomer:e2e", "-c", "true").CombinedOutput(); err == nil {
		t.Errorf("has a shell: %s", out)
	}
	command := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(twin.Docker, "NAME", "newcomer"), " -it ", " "))
	if out := e.docker(append(command[1:], "-c", "id -u; grep -c Flask /proc/1/root/srv/app.py")...); out != "65532\n2\n" {
		t.Errorf("from the twin: %q", out)
	}
}

// view looks at the entry with a feed that knows something of the C library: every
// package is looked up, and the library is what is found.
func (c catalogueEntry) view(w *world, packages int) {
	w.t.Helper()
	w.write("feed.json", `{"urlprefix": "https://packages.wolfi.dev", "reponame": "os", "packages": [
		{"pkg": {"name": "libc6", "secfixes": {"1.0-r0": ["CVE-2026-1"], "99.0-r0": ["CVE-2026-2"]}}},
		{"pkg": {"name": "musl", "secfixes": {"1.0-r0": ["CVE-2026-1"], "99.0-r0": ["CVE-2026-2"]}}}]}`)
	image := w.path(c.folder + "-" + c.name + "/")
	var out, errs bytes.Buffer
	code := run(w.t.Context(), []string{"quickview", "--distro", "wolfi", "--feed", w.path("feed.json"), "--format", "json", image}, streams{strings.NewReader(""), &out, &errs})
	var view struct {
		Rows     []struct{ Packages int }
		Findings []struct {
			ID      string
			Package struct{ Name string }
		}
	}
	if err := json.Unmarshal(out.Bytes(), &view); err != nil {
		w.t.Fatalf("quickview: %v: %s", err, errs.String())
	}
	library := strings.Contains(mustCairn(w.t, "show", "packages", "--format", " {{.Name}} ", image), map[bool]string{true: " libc6 ", false: " musl "}[c.folder == "debian"])
	var want []string
	if library {
		want = []string{"CVE-2026-2"}
	}
	var found []string
	for _, f := range view.Findings {
		found = append(found, f.ID)
	}
	if !slices.Equal(found, want) || (code == exitFindings) != library || view.Rows[0].Packages != packages {
		w.t.Errorf("quickview: exit code %d, found %q in %d packages, expected %q in %d", code, found, view.Rows[0].Packages, want, packages)
	}
}

// row builds the entry as it is.
func (c catalogueEntry) row(w *world) catalogueRow {
	w.t.Helper()
	made := w.makes(append([]string{c.config, "catalogue:e2e", c.folder + "-" + c.name + "/"}, c.args...)...)
	layers := 0
	for _, n := range made.Images[0].Layers {
		layers += n
	}
	return catalogueRow{c.folder, c.name, bytesText(made.Images[0].Size), made.Images[0].Packages, layers}
}

// test holds the entry, as it was built, against its test file and the one that
// all share, commands in the engine included.
func (c catalogueEntry) test(w *world) {
	w.t.Helper()
	list := []string{strings.TrimSuffix(c.config, ".yaml") + ".test.yaml"}
	if c.user() != 0 {
		list = append(list, projectFile(w.t, "configs", "shared", "nonroot.test.yaml"))
	}
	cmd := w.command(append([]string{"test", "--commands=docker", c.folder + "-" + c.name + "/"}, list...)...)
	cmd.Env = append(cmd.Env, "DOCKER_HOST="+os.Getenv("DOCKER_HOST"))
	if code, stdout, stderr := runs(cmd); code != 0 {
		w.t.Errorf("cairn test: exit code %d: %s%s", code, stdout, stderr)
	} else {
		w.t.Log(strings.TrimSpace(stdout))
	}
	// The configuration says what it does without; the image alone does not.
	w.cairn(append([]string{"lint", c.config}, c.args...)...)
	w.cairn("lint", "--fail-on=error", c.folder+"-"+c.name+"/")
}

// probe builds the entry with the probe in it, runs that, and then what is
// particular to the entry.
func (c catalogueEntry) probe(e engine, w *world, ca, probe, server string) {
	t := e.t
	t.Helper()
	config := w.path(c.folder + "-" + c.name + ".yaml")
	tag := c.folder + "-" + c.name + ":e2e"
	text := "include: " + c.config + "\n" +
		"certificates:\n  additional:\n    - name: e2e\n      content: |\n" + indented(8, ca) +
		"files:\n" + sourceFile(t, "/probe", probe, 0o755) + c.extra(t, w)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	w.makes(append([]string{config, tag, "probe.tar"}, c.args...)...)
	e.load(w.path("probe.tar"))
	out := e.docker("run", "--rm", "--network", "host", "--entrypoint", "/probe", tag, server)
	var got struct {
		UID, GID                      int
		Home                          string
		HomeIsOurs                    bool
		Trusts                        string
		Summer                        int
		Tmp                           string
		SetUID, WorldWritable, Shells []string
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.UID != c.user() || got.GID != c.user() || !got.HomeIsOurs {
		t.Errorf("runs as %d:%d, home %s, writable %v", got.UID, got.GID, got.Home, got.HomeIsOurs)
	}
	if got.Trusts != "" {
		t.Errorf("does not trust the bundle's authority: %s", got.Trusts)
	}
	if got.Summer != 7200 || got.Tmp != "dtrwxrwxrwx" {
		t.Errorf("Zurich is %d seconds from UTC, /tmp %s", got.Summer, got.Tmp)
	}
	if len(got.SetUID) > 0 && !c.shell() || len(got.WorldWritable) > 0 {
		t.Errorf("setuid %q, writable for everybody %q", got.SetUID, got.WorldWritable)
	}
	if (len(got.Shells) > 0) != c.shell() {
		t.Errorf("shells %q", got.Shells)
	}
	if run := catalogueRuns[c.name]; run != nil {
		run(e, tag, server)
	}
}

// sourceFile is an entry of files.
func sourceFile(t *testing.T, path, source string, mode os.FileMode) string {
	t.Helper()
	return fmt.Sprintf("  - {path: %s, source: %q, sha256: %s, mode: 0o%o}\n", path, source, fileSum(t, source), mode)
}

// extra is what the entry's own test needs in the image.
func (c catalogueEntry) extra(t *testing.T, w *world) string {
	t.Helper()
	switch c.name {
	case "java-17":
		needTool(t, "javac")
		mustRun(t, "javac", "--release", "17", "-d", w.dir, filepath.Join("testdata", "catalogue", "Probe.java"))
		return sourceFile(t, "/srv/Probe.class", w.path("Probe.class"), 0o644)
	case "cc":
		if c.folder != "debian" {
			return ""
		}
		needTool(t, "g++")
		w.write("hello.cc", "#include <iostream>\n#include <stdexcept>\nint main() { try { throw std::runtime_error(\"hello\"); } catch (std::exception &e) { std::cout << e.what() << std::endl; } }\n")
		mustRun(t, "g++", "-fopenmp", "-o", w.path("hello"), w.path("hello.cc"))
		return sourceFile(t, "/srv/hello", w.path("hello"), 0o755)
	case "go-builder":
		return "  - {path: /srv/go.mod, content: \"module hello\\n\"}\n  - {path: /srv/main.go, content: \"package main\\n\\nfunc main() { println(40 + 2) }\\n\"}\n"
	case "nginx":
		return "  - {path: /srv/www/index.html, content: \"hello from the catalogue\\n\"}\n"
	}
	return ""
}

const catalogueNode = `const https = require('https');
https.get('https://' + process.argv[1], r => console.log(r.statusCode, new Intl.DateTimeFormat('en', {timeZone: 'Europe/Zurich', hour: 'numeric', hour12: false}).format(new Date('2024-07-01T00:00:00Z'))))
  .on('error', e => { console.log(e.code); });`

const cataloguePython = `import datetime, sys, urllib.request, zoneinfo
print(urllib.request.urlopen('https://' + sys.argv[1]).status, datetime.datetime(2024, 7, 1, tzinfo=zoneinfo.ZoneInfo('Europe/Zurich')).utcoffset())`

// catalogueRuns is what entries are tried with beside the probe.
var catalogueRuns = map[string]func(e engine, tag, server string){
	"python": func(e engine, tag, server string) {
		e.says("200 2:00:00\n", tag, "-c", cataloguePython, server)
	},
	"node": func(e engine, tag, server string) {
		// Node has authorities of its own, and takes the system's when asked to.
		e.says("200 02\n", "-e", "NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt", tag, "-e", catalogueNode, server)
	},
	"java-17": func(e engine, tag, server string) {
		e.says("200 +02:00 17\n", tag, "-cp", "/srv", "Probe", "https://"+server)
	},
	"cc": func(e engine, tag, _ string) {
		if strings.HasPrefix(tag, "debian") {
			e.says("hello\n", "--entrypoint", "/srv/hello", tag)
		}
	},
	"go-builder": func(e engine, tag, _ string) {
		e.says("42\n", tag, "-c", "cd /srv && go build -o /tmp/hello . && /tmp/hello 2>&1")
	},
	"busybox": func(e engine, tag, _ string) {
		e.says("uid=65532(nonroot) gid=65532(nonroot) groups=65532(nonroot)\n", tag, "-c", "busybox id")
	},
	"alpine-base": func(e engine, tag, _ string) {
		e.says("busybox\n", tag, "-c", "apk info -q --no-network 2>/dev/null | grep '^busybox$'")
	},
	"nginx": func(e engine, tag, _ string) {
		container, _ := e.start(tag)
		if status, body := e.get(container, "8080", "/"); status != 200 || body != "hello from the catalogue\n" {
			e.t.Errorf("status %d: %s", status, body)
		}
		e.stop(container)
	},
	"postgres": func(e engine, tag, _ string) {
		container, _ := e.start("-e", "POSTGRES_PASSWORD=secret", tag)
		const psql = `for i in $(busybox seq 100); do /usr/lib/postgresql/15/bin/psql -h 127.0.0.1 -U postgres -Atc 'select 40 + 2' && exit; busybox sleep 0.2; done; exit 1`
		out := e.docker("exec", "-e", "PGPASSWORD=secret", container, "/bin/busybox", "sh", "-c", psql+" 2>/dev/null")
		if out != "42\n" {
			e.t.Errorf("found %q", out)
		}
		e.stop(container)
		code, _, stderr := tryRun(e.t, "docker", "run", "--rm", "--network", "none", tag)
		if code != 64 || !strings.Contains(stderr, "set POSTGRES_PASSWORD") {
			e.t.Errorf("without a password: exit code %d: %s", code, stderr)
		}
	},
}

// says runs a container that must end well and print just this.
func (e engine) says(want string, args ...string) {
	e.t.Helper()
	code, out, stderr := tryRun(e.t, "docker", append([]string{"run", "--rm", "--network", "host"}, args...)...)
	if code != 0 || out != want {
		e.t.Errorf("exit code %d: found %q, expected %q\n%s", code, out, want, stderr)
	}
}

const (
	catalogueBegin = "<!-- made by make e2e-catalogue UPDATE=1 -->\n"
	catalogueEnd   = "<!-- end -->\n"
)

// checkCatalogueTable holds the table of configs/README.md against what was
// built. Sizes depend on Debian's updates, so a difference is only told; which
// entries there are is not.
func checkCatalogueTable(t *testing.T, rows []catalogueRow) {
	t.Helper()
	var b strings.Builder
	b.WriteString("| image | packages from | size | packages | layers |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d |\n", r.name, r.folder, r.size, r.packages, r.layers)
	}
	name := projectFile(t, "configs", "README.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), catalogueBegin)
	was, after, ok2 := strings.Cut(rest, catalogueEnd)
	if !ok || !ok2 {
		t.Fatalf("%s: no table between %q and %q", name, catalogueBegin, catalogueEnd)
	}
	if *updateCatalogue {
		if err := os.WriteFile(name, []byte(before+catalogueBegin+b.String()+catalogueEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if was != b.String() {
		t.Logf("the table of %s has\n%snow it is\n%s", name, was, b.String())
	}
	for _, r := range rows {
		if !strings.Contains(was, fmt.Sprintf("| %s | %s |", r.name, r.folder)) {
			t.Errorf("%s: no row for %s/%s; renew it with make e2e-catalogue UPDATE=1", name, r.folder, r.name)
		}
	}
}

// distrolessAs are images of Google's distroless and ours for the same purpose.
var distrolessAs = []struct{ image, list, entry string }{
	{"static", "STATIC_PACKAGES", "static"}, {"base", "BASE_PACKAGES", "base"}, {"cc", "CC_PACKAGES", "cc"},
	{"python3", "PYTHON_PACKAGES", "python"}, {"java", "JAVA_BASE_PACKAGES", "java-17"},
}

// Whatever package is in a distroless image is in ours for the same purpose.
func TestCatalogueHasWhatDistrolessHas(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(apktest.Data(t, "distroless"), "packages.json"))
	if err != nil {
		t.Skipf("no list: %v", err)
	}
	var lists map[string]map[string][]string
	if err := json.Unmarshal(raw, &lists); err != nil {
		t.Fatal(err)
	}
	w := newE2E(t)
	entries := catalogueEntries(t, w)
	for _, d := range distrolessAs {
		i := slices.IndexFunc(entries, func(c catalogueEntry) bool { return c.folder == "debian" && c.name == d.entry })
		if i < 0 {
			t.Fatalf("no debian/%s", d.entry)
		}
		c := entries[i]
		var shown []struct{ Name string }
		out := w.cairn(append([]string{"show", "packages", "--format=json", c.config}, c.args...)...)
		if err := json.Unmarshal([]byte(out), &shown); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		var missing []string
		for _, want := range ofRelease(lists[d.image][d.list]) {
			name := debianOf(want)
			if distrolessNot[name] == "" && !slices.ContainsFunc(shown, func(p struct{ Name string }) bool { return p.Name == name }) {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			t.Errorf("%s: without %q", d.entry, missing)
		}
	}
}

// ofRelease takes the packages for Debian 12 out of a list that names a release
// and then its packages, or those for Debian 13 where there are no others.
func ofRelease(list []string) []string {
	var out []string
	for i, name := range list {
		switch {
		case name == "debian13" && i > 0:
			return out
		case !strings.HasPrefix(name, "debian"):
			out = append(out, name)
		}
	}
	return out
}

// debianOf spells a package of a later Debian as the release here does.
func debianOf(name string) string {
	name = strings.ReplaceAll(strings.TrimSuffix(name, "t64"), "3.13", "3.11")
	return strings.Replace(name, "gcc-14-base", "gcc-12-base", 1)
}

// distrolessNot are packages of distroless images that ours do without.
var distrolessNot = map[string]string{
	"tzdata-legacy":   "part of tzdata in this release",
	"python3.11-venv": "makes environments with pip, which builds are for",
}
