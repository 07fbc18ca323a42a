//go:build e2e

package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/build/buildkit/buildkittest"
	"github.com/cairn-dev/cairn/packages/tree"
)

// `make e2e-packages` builds packages from definitions in sandboxes made of packages that
// were Debian's, and compares them with what melange makes of the same.

// toolchain are the packages of Debian that environments are made of.
var toolchain = strings.Fields("bash coreutils gcc g++ libc6-dev make binutils sed grep tar python3 findutils diffutils gawk base-files xz-utils busybox " +
	"perl libperl-dev zlib1g-dev autoconf automake libtool pax-utils m4 patch libtest-exception-perl hostname texinfo libmodule-build-perl libncurses-dev groff-base git")

// workshop has a repository of Debian's packages, and seeds that give them the names
// that definitions know.
type workshop struct {
	t            *testing.T
	dir          string
	debian, key  string // repository, and the key of its index
	signing      string // private key of what is built
	repositories []string
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	w := &workshop{t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		logs, _ := filepath.Glob(filepath.Join(w.dir, "*", ".cairn", "x86_64", "logs", "*.log"))
		for _, name := range logs {
			if b, err := os.ReadFile(name); err == nil && t.Failed() && !bytes.Contains(b, []byte(": packed\n")) {
				t.Logf("%s: %s", filepath.Base(name), tail(string(b), 1500))
			}
		}
	})
	w.debian, w.key = debianRepositoryIn(t, "packages", toolchain)
	t.Setenv("CAIRN_CACHE_DIR", filepath.Join(w.dir, "cache"))
	mustCairn(t, "key", "generate", "--apk", "--output", filepath.Join(w.dir, "me.rsa"))
	w.signing = filepath.Join(w.dir, "me.rsa")
	seeds := filepath.Join(w.dir, "seeds")
	mustCairn(t, "package", "build", "--runner", "host", "--signing-key", w.signing, "--out", seeds, projectFile(t, "testdata", "definitions", "seeds"))
	w.repositories = []string{"-r", w.debian, "-r", seeds, "-k", w.key, "-k", w.signing + ".pub"}
	return w
}

func (w *workshop) build(out string, more ...string) string {
	w.t.Helper()
	start := time.Now()
	args := append([]string{"package", "build", "--signing-key", w.signing, "--out", filepath.Join(w.dir, out)}, w.repositories...)
	text := mustCairn(w.t, append(args, more...)...)
	w.t.Logf("%s: built in %v\n%s", out, time.Since(start).Round(10*time.Millisecond), text)
	return text
}

// apks are the packages of a repository.
func (w *workshop) apks(out string) (files []string) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, out, "x86_64", "*.apk"))
	if err != nil || len(files) == 0 {
		w.t.Fatalf("%s: no packages, %v", out, err)
	}
	return files
}

// same compares the packages of two repositories, byte for byte.
func (w *workshop) same(a, b string) {
	w.t.Helper()
	for _, f := range w.apks(a) {
		x, err := os.ReadFile(f)
		if err != nil {
			w.t.Fatal(err)
		}
		if y, err := os.ReadFile(filepath.Join(w.dir, b, "x86_64", filepath.Base(f))); err != nil || !bytes.Equal(x, y) {
			w.t.Errorf("%s: built again it is another file (%v)", filepath.Base(f), err)
		}
	}
}

// The project's own definitions: a library and a program that links it, a module of
// Python, a package that stands for others, a service in Go; built twice to the same
// bytes, tested, and an image of them run in an engine.
func TestPackagesOwn(t *testing.T) {
	w := newWorkshop(t)
	e := newEngine(t)
	definitions := projectFile(t, "testdata", "definitions")
	for _, out := range []string{"one", "two"} {
		if text := w.build(out, "--provenance", "--parallel", "2", definitions); !strings.Contains(text, "x86_64: 4 built") {
			t.Errorf("%s", text)
		}
	}
	w.same("one", "two")
	if text := w.build("one", "--provenance", definitions); !strings.Contains(text, "x86_64: 4 current") {
		t.Errorf("nothing changed: %s", text)
	}
	out := mustCairn(t, append([]string{"package", "test", "--out", filepath.Join(w.dir, "one"), definitions}, w.repositories...)...)
	for _, name := range []string{"hello-greet", "py-greet"} {
		if !strings.Contains(out, "pass  "+name) {
			t.Errorf("%s", out)
		}
	}
	mustCairn(t, append([]string{"package", "prove", "--signing-key", w.signing, "--rebuild", filepath.Join(definitions, "libgreet.yaml"), filepath.Join(w.dir, "one", "x86_64", "libgreet-1.0-r0.apk")}, w.repositories...)...)
	if _, err := exec.LookPath("go"); err == nil {
		mustCairn(t, "package", "build", "--runner", "host", "--signing-key", w.signing, "--out", filepath.Join(w.dir, "one"), filepath.Join(definitions, "service"))
	}
	config := filepath.Join(w.dir, "image.yaml")
	text := fmt.Sprintf("contents:\n  repositories: [%s, %s, %s]\n  keyring: [%s, %s.pub]\n  packages: [hello-greet, greet-service, base-files]\narchs: [x86_64]\nentrypoint: {command: /usr/bin/hello-greet}\nenvironment: {LISTEN: \"127.0.0.1:PORT\"}\n",
		filepath.Join(w.dir, "one"), w.debian, filepath.Join(w.dir, "seeds"), w.key, w.signing)
	port := freePort(t)
	if err := os.WriteFile(config, []byte(strings.Replace(text, "PORT", port, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(w.dir, "image.tar")
	mustCairn(t, "build", config, "greet:e2e", archive)
	e.load(archive)
	e.removeAfter("greet:e2e")
	if out := e.docker("run", "--rm", "--network=none", "greet:e2e"); out != "hello, world\n" {
		t.Errorf("the program says %q", out)
	}
	container, _ := e.start("--entrypoint=/usr/bin/greet-service", "greet:e2e")
	if status, body := e.get(container, port, "/"); status != http.StatusOK || body != "hello, world\n" {
		t.Errorf("the service: status %d, %q", status, body)
	}
}

// The same packages, byte for byte, when root builds them here and when another user does,
// in a user namespace, on another file system with one processor.
func TestPackagesElsewhere(t *testing.T) {
	w := newWorkshop(t)
	definitions := t.TempDir() // in a directory that the other user can read
	if err := os.CopyFS(definitions, os.DirFS(projectFile(t, "testdata", "definitions"))); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(w.repositories); i += 2 {
		if w.repositories[i-1] == "-r" {
			server := httptest.NewServer(http.FileServer(http.Dir(w.repositories[i])))
			t.Cleanup(server.Close)
			w.repositories[i] = server.URL
			continue
		}
		key := filepath.Join(definitions, filepath.Base(w.repositories[i]))
		mustRun(t, "cp", w.repositories[i], key)
		w.repositories[i] = key
	}
	w.build("here", definitions)
	place := elsewhere(t, definitions, w.signing)
	args := append([]string{"package", "build", "--signing-key", w.signing, "--cache-dir", filepath.Join(place.dir, "cache"), "--out", filepath.Join(place.dir, "out")}, w.repositories...)
	start := time.Now()
	if out, err := place.command(append(args, definitions)...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("elsewhere: built in %v", time.Since(start).Round(10*time.Millisecond))
	mustRun(t, "cp", "-R", filepath.Join(place.dir, "out"), filepath.Join(w.dir, "elsewhere"))
	w.same("here", "elsewhere")
}

// The same packages, byte for byte, from two BuildKit daemons as from sandboxes here, also
// when one of the daemons is killed meanwhile.
func TestPackagesBuildkit(t *testing.T) {
	w := newWorkshop(t)
	definitions := projectFile(t, "testdata", "definitions")
	w.build("here", definitions)
	one, _ := buildkittest.Start(t)
	two, process := buildkittest.Start(t)
	w.build("daemons", "--runner", "buildkit", "--buildkit", one+","+two, "--parallel", "2", definitions)
	w.same("here", "daemons")
	time.AfterFunc(time.Second, func() { _ = process.Kill() })
	// Another time in the packages, so that nothing is in the daemons' caches.
	w.build("killed", "--runner", "buildkit", "--buildkit", two+","+one, "--parallel", "2", "--build-date", "2026-01-02T03:04:05Z", definitions)
	w.build("here-later", "--build-date", "2026-01-02T03:04:05Z", definitions)
	w.same("here-later", "killed")
	out := mustCairn(t, append([]string{"package", "test", "--runner", "buildkit", "--buildkit", one, "--out", filepath.Join(w.dir, "daemons"), definitions}, w.repositories...)...)
	if !strings.Contains(out, "pass  hello-greet") {
		t.Errorf("%s", out)
	}
}

// wolfi are unmodified definitions of Wolfi whose sources Debian has, byte for byte.
var wolfi = map[string]string{
	"perl-algorithm-diff":     "liba/libalgorithm-diff-perl/libalgorithm-diff-perl_1.201.orig.tar.gz",
	"perl-io-gzip":            "libp/libperlio-gzip-perl/libperlio-gzip-perl_0.20.orig.tar.gz",
	"perl-perlio-utf8-strict": "libp/libperlio-utf8-strict-perl/libperlio-utf8-strict-perl_0.010.orig.tar.gz",
	"perl-canary-stability":   "libc/libcanary-stability-perl/libcanary-stability-perl_2013.orig.tar.gz",
	"perl-pod-parser":         "libp/libpod-parser-perl/libpod-parser-perl_1.67.orig.tar.gz",
	"autoconf-archive":        "a/autoconf-archive/autoconf-archive_20241016.orig.tar.xz",
}

// cloned are those whose sources are in git. CAIRN_GIT_MIRRORS is a directory with clones
// of such repositories, OWNER/NAME; without it, or a clone that has the commit, they are
// left out, which the test says.
var cloned = []string{"perl-tie-ixhash", "unifdef", "skalibs", "xfpt", "libfastjson", "less"}

var gitSource = regexp.MustCompile(`(?m)^ +repository: (https://github\.com/(\S+?)(?:\.git)?)$`)

// withMirrors copies definitions whose sources a mirror has, and points git to the
// mirrors: that of cairn by the environment, that of melange by the file returned.
func withMirrors(t *testing.T, data, definitions, cache string) (names []string, envFile string) {
	t.Helper()
	mirrors := os.Getenv("CAIRN_GIT_MIRRORS")
	config := map[string]string{}
	for _, name := range cloned {
		b, err := os.ReadFile(filepath.Join(data, name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		repository, commit := gitSource.FindSubmatch(b), regexp.MustCompile(`expected-commit: ([0-9a-f]{40})`).FindSubmatch(b)
		dir := filepath.Join(mirrors, string(repository[2]))
		if mirrors == "" || exec.Command("git", "-C", dir, "cat-file", "-e", string(commit[1])).Run() != nil {
			t.Logf("%s: left out: no clone of %s with its commit in CAIRN_GIT_MIRRORS", name, repository[2])
			continue
		}
		own := filepath.Join(cache, "git", string(repository[2])) // where melange's sandbox sees it
		mustRun(t, "git", "clone", "--quiet", "--mirror", dir, own)
		mustRun(t, "chmod", "-R", "a+rX", own)
		if err := os.WriteFile(filepath.Join(definitions, name+".yaml"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		config["url.file://"+own+".insteadOf"] = string(repository[1])
		names = append(names, name)
	}
	var lines []string
	for i, key := range slices.Sorted(maps.Keys(config)) {
		t.Setenv(fmt.Sprintf("GIT_CONFIG_KEY_%d", i), key)
		t.Setenv(fmt.Sprintf("GIT_CONFIG_VALUE_%d", i), config[key])
		lines = append(lines, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, strings.Replace(key, cache, "/var/cache/melange", 1)), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, config[key]))
	}
	if len(names) > 0 {
		t.Setenv("GIT_CONFIG_COUNT", fmt.Sprint(len(config)))
		lines = append(lines, fmt.Sprintf("GIT_CONFIG_COUNT=%d", len(config)))
	}
	envFile = filepath.Join(filepath.Dir(definitions), "melange.env")
	if err := os.WriteFile(envFile, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	return names, envFile
}

// Definitions of Wolfi as they are: the packages have the files, modes, owners, needs and
// names of those that melange makes in the same environment, and come out twice the same.
func TestPackagesWolfi(t *testing.T) {
	w := newWorkshop(t)
	data := apktest.Data(t, "wolfi-definitions")
	definitions, sources := filepath.Join(w.dir, "definitions"), filepath.Join(w.dir, "sources")
	cache := filepath.Join(w.dir, "cache", "package-build", "sources")
	for _, dir := range []string{definitions, sources, cache} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range wolfi {
		b, err := os.ReadFile(filepath.Join(data, name+".yaml"))
		if err == nil {
			err = os.WriteFile(filepath.Join(definitions, name+".yaml"), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get("http://deb.debian.org/debian/pool/main/" + path)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Skipf("%s cannot be had: %v", path, err)
		}
		b, err = io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{sources, cache} { // melange has the same names
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("sha256:%x", sha256.Sum256(b))), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	names, envFile := withMirrors(t, data, definitions, sources)
	names = append(names, slices.Collect(maps.Keys(wolfi))...)
	pipelines := absolute(t, filepath.Join(data, "pipelines"))
	for _, out := range []string{"one", "two"} {
		w.build(out, "--pipeline-dir", pipelines, definitions)
	}
	w.same("one", "two")
	t.Logf("%d definitions", len(names))
	start := time.Now()
	for _, name := range names {
		args := []string{"build", filepath.Join(definitions, name+".yaml"), "--arch=x86_64", "--runner=bubblewrap", "--signing-key=" + w.signing, "--cache-dir=" + sources,
			"--pipeline-dir=" + pipelines, "--out-dir=" + filepath.Join(w.dir, "melange"), "--git-commit=" + strings.Repeat("0", 40), "--git-repo-url=https://example.org/x", "--env-file=" + envFile}
		for i := 0; i < len(w.repositories); i += 2 {
			args = append(args, map[string]string{"-r": "--repository-append", "-k": "--keyring-append"}[w.repositories[i]]+"="+w.repositories[i+1])
		}
		if out, err := reference(t, "melange", args...); err != nil {
			t.Fatalf("melange %s: %v\n%s", name, err, tail(out, 3000))
		}
	}
	t.Logf("melange: built in %v", time.Since(start).Round(10*time.Millisecond))
	for _, f := range w.apks("melange") {
		compareWithMelange(t, f, filepath.Join(w.dir, "one", "x86_64", filepath.Base(f)))
	}
}

// compareWithMelange compares what two packages are to those who install them.
func compareWithMelange(t *testing.T, theirs, ours string) {
	t.Helper()
	var sides [2]*tree.Package
	for i, name := range []string{theirs, ours} {
		p, err := tree.OpenPackage(t.Context(), name, tree.PackageOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		defer p.Close()
		sides[i] = p
	}
	name := filepath.Base(ours)
	var lists [2][]string
	for i, p := range sides {
		for _, e := range p.Entries() {
			if strings.HasPrefix(e.Path, "var/lib/db/sbom") {
				continue
			}
			lists[i] = append(lists[i], fmt.Sprintf("%s %c %04o %d:%d %d %s %s", e.Path, e.Type, e.Mode, e.UID, e.GID, e.Size, e.SHA256, e.Link))
		}
		m := &p.Receipt.Package
		for what, list := range map[string][]apk.Dependency{"depend": m.Depends, "provides": m.Provides, "replaces": m.Replaces} {
			for _, d := range list {
				lists[i] = append(lists[i], what+" "+d.String())
			}
		}
		lists[i] = append(lists[i], "description "+m.Description, "license "+m.License, "origin "+m.Origin)
		slices.Sort(lists[i])
	}
	if !slices.Equal(lists[0], lists[1]) {
		for _, l := range lists[0] {
			if !slices.Contains(lists[1], l) {
				t.Errorf("%s: melange only: %s", name, l)
			}
		}
		for _, l := range lists[1] {
			if !slices.Contains(lists[0], l) {
				t.Errorf("%s: cairn only: %s", name, l)
			}
		}
	}
}
