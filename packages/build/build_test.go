package build

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/tree"
)

var epoch = time.Unix(1_700_000_000, 0)

// compiled reads a definition; what is beside it comes with it.
func compiled(t testing.TB, text string, beside ...string) *definition.Build {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(beside); i += 2 {
		name := filepath.Join(dir, beside[i])
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(beside[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(dir, "definition.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	d, err := definition.ReadFile(file, definition.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := definition.Compile(d, definition.CompileOptions{Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// hosted builds on this machine; the definitions are the tests' own.
func hosted(t testing.TB, d *definition.Build) (dir string, files []string, log string, err error) {
	t.Helper()
	b := New(Options{Runner: runner.Host{}, SourceCache: t.TempDir(), Epoch: epoch, Namespace: "test", TempDir: t.TempDir()})
	dir = t.TempDir()
	var out bytes.Buffer
	files, err = b.Build(t.Context(), distro.Task{Build: d, Dir: dir, Log: &out})
	for i := range files {
		if filepath.Dir(files[i]) != dir {
			t.Errorf("%s is not in %s", files[i], dir)
		}
		files[i] = filepath.Base(files[i])
	}
	return dir, files, out.String(), err
}

const hello = `package:
  name: hello
  version: 1.2
  epoch: 3
  description: says hello
  url: https://example.org
  copyright: [{license: MIT}, {license: LicenseRef-Own, license-path: LICENSE}]
  dependencies:
    runtime: [cmd-needed]
    provides: [greeter=1]
  scriptlets:
    post-install: "#!/bin/sh\ntrue\n"
    trigger: {script: "#!/bin/sh\ntrue\n", paths: [/usr/share/x]}
  setcap: [{path: /usr/bin/hello, add: {cap_net_raw: "+ep"}, reason: pings}]
environment:
  environment: {GREETING: hello}
pipeline:
  - runs: |
      mkdir -p ${{targets.destdir}}/usr/bin
      printf '#!/bin/sh\necho %s\n' "$GREETING" > ${{targets.destdir}}/usr/bin/hello
      chmod 755 ${{targets.destdir}}/usr/bin/hello
      ln ${{targets.destdir}}/usr/bin/hello ${{targets.destdir}}/usr/bin/hullo
      mkdir -p ${{targets.destdir}}/usr/share/hello
      cp data.txt ${{targets.destdir}}/usr/share/hello/
      chmod 1777 ${{targets.destdir}}/usr/share/hello
  - environment: {GREETING: other}
    pipeline:
      - runs: test "$GREETING" = other
      - if: ${{build.arch}} == 'aarch64'
        runs: exit 1
    assertions: {required-steps: 1}
subpackages:
  - name: hello-doc
    description: how to
    setcap: [{path: /usr/share/doc/tool, add: {cap_net_admin: "+p"}, reason: pings}]
    pipeline:
      - runs: |
          mkdir -p ${{targets.subpkgdir}}/usr/share/doc
          echo read > ${{targets.subpkgdir}}/usr/share/doc/tool
`

// recorder is a runner that runs nothing.
type recorder struct {
	runner.Host
	box   *runner.Sandbox
	steps []runner.Step
}

func (r *recorder) Run(_ context.Context, s *runner.Sandbox, steps []runner.Step) error {
	r.box, r.steps = s, steps
	return nil
}

func TestNetworkAndUser(t *testing.T) {
	text := strings.Replace(hello, "  copyright: [{license: MIT}, {license: LicenseRef-Own, license-path: LICENSE}]\n", "  annotations: {dev.cairn.network: \"true\"}\n", 1)
	build := func(text string, allowed bool) (*recorder, error) {
		r := &recorder{}
		b := New(Options{Runner: r, SourceCache: t.TempDir(), Epoch: epoch, TempDir: t.TempDir(), Network: allowed})
		_, err := b.Build(t.Context(), distro.Task{Build: compiled(t, text), Dir: t.TempDir()})
		return r, err
	}
	if r, err := build(text, false); !errors.Is(err, ErrNetwork) || r.box != nil || !strings.Contains(err.Error(), "--allow-network") {
		t.Errorf("not allowed: %v", err)
	}
	if r, _ := build(text, true); r.box == nil || !r.box.Network || len(r.steps) != 3 || r.box.User != nil {
		t.Errorf("allowed: %+v", r)
	}
	if r, _ := build(hello, true); r.box == nil || r.box.Network || !slices.Equal(r.box.Keep, []string{"LICENSE"}) {
		t.Errorf("allowed and not asked for: %+v", r)
	}
	for name, want := range map[string]*runner.User{"build": {UID: 1000, GID: 1000}, "1000": {UID: 1000, GID: 1000}, "7": {UID: 7, GID: 7}, "me": {UID: 5, GID: 6}} {
		r, _ := build(strings.Replace(text, "environment:\n", "environment:\n  accounts: {run-as: \""+name+"\", users: [{username: me, uid: 5, gid: 6}]}\n", 1), true)
		if r.box == nil || r.box.User == nil || *r.box.User != *want {
			t.Errorf("run-as %s: %+v", name, r.box)
		}
	}
	if _, err := build(strings.Replace(text, "environment:\n", "environment:\n  accounts: {run-as: you}\n", 1), true); !errors.Is(err, ErrDefinition) || !strings.Contains(err.Error(), `found "you", expected a number or one of build`) {
		t.Errorf("run-as nobody: %v", err)
	}
}

func besides() []string {
	return []string{"hello/data.txt", "data\n", "hello/LICENSE", "do what you like\n"}
}

func opened(t *testing.T, file string) *tree.Package {
	t.Helper()
	p, err := tree.OpenPackage(t.Context(), file, tree.PackageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func TestBuild(t *testing.T) {
	dir, files, log, err := hosted(t, compiled(t, hello, besides()...))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if want := []string{"hello-1.2-r3.apk", "hello-doc-1.2-r3.apk"}; !slices.Equal(files, want) {
		t.Fatalf("files %v, expected %v", files, want)
	}
	main, doc := opened(t, filepath.Join(dir, files[0])), opened(t, filepath.Join(dir, files[1]))
	p := main.Receipt.Package
	if p.Description != "says hello" || p.License != "MIT AND LicenseRef-Own" || p.Origin != "hello" || p.Arch != "x86_64" || p.BuildTime != epoch.Unix() {
		t.Errorf("%+v", p)
	}
	var provides, depends []string
	for _, d := range p.Provides {
		provides = append(provides, d.String())
	}
	for _, d := range p.Depends {
		depends = append(depends, d.String())
	}
	if !slices.Contains(provides, "greeter=1") || !slices.Contains(provides, "cmd:hello=1.2-r3") || !slices.Contains(depends, "cmd-needed") {
		t.Errorf("provides %v, depends %v", provides, depends)
	}
	if len(p.Triggers) != 1 || main.Receipt.Scripts[".post-install"] == nil || main.Receipt.Scripts[".trigger"] == nil {
		t.Errorf("triggers %v, scripts %v", p.Triggers, main.Receipt.Scripts)
	}
	found := map[string]apk.Entry{}
	for _, e := range main.Entries() {
		found[e.Path] = e
	}
	if e := found["usr/bin/hello"]; e.Mode != 0o755 || tree.CapabilityText([]byte(e.Xattrs[tree.CapabilityXattr])) != "cap_net_raw+ep" {
		t.Errorf("%+v", e)
	}
	if e := found["usr/bin/hullo"]; e.Type != apk.TypeHardlink { // TestMelangeDefect B10
		t.Errorf("%+v", e)
	}
	if e := found["usr/share/hello"]; e.Mode != 0o1777 { // TestMelangeDefect B9
		t.Errorf("%+v", e)
	}
	if _, ok := found["var/lib/db/sbom/hello-1.2-r3.spdx.json"]; !ok {
		t.Error("no SBOM")
	}
	// TestMelangeDefect B3: capabilities of a subpackage's files are not dropped.
	for _, e := range doc.Entries() {
		if e.Path == "usr/share/doc/tool" && tree.CapabilityText([]byte(e.Xattrs[tree.CapabilityXattr])) != "cap_net_admin+p" {
			t.Errorf("%+v", e)
		}
	}
	if doc.Receipt.Package.Description != "how to" || doc.Receipt.Package.Origin != "hello" {
		t.Errorf("%+v", doc.Receipt.Package)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// A library is held against what the definition's test uses.
func TestLintKnowsTheTest(t *testing.T) {
	const library = `package: {name: lib, version: 1, epoch: 0, description: x, copyright: [{license: MIT}]}
pipeline:
  - runs: mkdir -p ${{targets.destdir}}/usr/lib/pkgconfig && touch ${{targets.destdir}}/usr/lib/pkgconfig/x.pc
`
	for _, warns := range []bool{true, false} {
		d := compiled(t, library)
		if !warns { // as compiled, with a distribution's pipeline
			d.Test = &definition.Test{Pipeline: []definition.Pipeline{{Pipeline: []definition.Pipeline{{Uses: "test/pkgconf", Pipeline: []definition.Pipeline{{Runs: "true"}}}}}}}
		}
		_, _, log, err := hosted(t, d)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		if strings.Contains(log, "pkgconf") != warns {
			t.Errorf("warns: %t\n%s", !warns, log)
		}
	}
}

// melange's log says "auth configured for: 0x10a8a40" and "melange version  with
// runner": this one's first line says who builds what, and nothing in it is of the
// program's memory.
func TestMelangeDefect_LogNamesNothing(t *testing.T) {
	_, _, log, err := hosted(t, compiled(t, hello, besides()...))
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	if first, _, _ := strings.Cut(log, "\n"); first != "--- hello 1.2-r3 for x86_64: cairn of no version, runner host" || strings.Contains(log, "0x") {
		t.Errorf("%s", log)
	}
}

// TestTheSameBytes: whoever builds, wherever, with however many processors.
func TestTheSameBytes(t *testing.T) {
	d := compiled(t, hello, besides()...)
	var first map[string][]byte
	for i, setting := range []func(){
		func() {},
		func() { old := syscall.Umask(0o077); t.Cleanup(func() { syscall.Umask(old) }) },
		func() { t.Setenv("TZ", "Asia/Tokyo"); t.Setenv("LC_ALL", "C"); t.Setenv("HOME", "/") },
		func() { old := runtime.GOMAXPROCS(1); t.Cleanup(func() { runtime.GOMAXPROCS(old) }) },
	} {
		setting()
		dir, files, log, err := hosted(t, d)
		if err != nil {
			t.Fatalf("%v\n%s", err, log)
		}
		now := map[string][]byte{}
		for _, f := range files {
			if now[f], err = os.ReadFile(filepath.Join(dir, f)); err != nil {
				t.Fatal(err)
			}
		}
		if first == nil {
			first = now
			continue
		}
		for f := range first {
			if !bytes.Equal(first[f], now[f]) {
				t.Errorf("setting %d: %s differs", i, f)
			}
		}
	}
}

func TestBuildFails(t *testing.T) {
	for _, c := range []struct {
		name, from, to string
		want           error
		text           string
	}{
		{"a step", "test \"$GREETING\" = other", "exit 9", runner.ErrStep, "hello: step 2.1: step failed: exit status 9"},
		{"an assertion", "required-steps: 1", "required-steps: 2", ErrDefinition, "found 1 steps that run, expected 2"},
		{"a licence outside", "license-path: LICENSE", "license-path: ../../../../etc/passwd", ErrDefinition, "license-path"},
		{"a licence by a link", "cp data.txt", "ln -sf /etc/passwd LICENSE; cp data.txt", ErrDefinition, "license-path"},
		{"no licence", "license-path: LICENSE", "license-path: NONE", ErrDefinition, "license-path"},
		{"a file where none belongs", "/usr/share/hello\n", "/usr/share/hello ${{targets.destdir}}/dev\n      touch ${{targets.destdir}}/dev/x\n", ErrLint, "dev"},
		{"capabilities of nothing", "path: /usr/bin/hello, add", "path: /usr/bin/none, add", nil, "usr/bin/none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(hello, c.from, c.to, 1)
			if text == hello {
				t.Fatal("nothing was replaced")
			}
			dir, files, log, err := hosted(t, compiled(t, text, besides()...))
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%v, %v\n%s", files, err, log)
			}
			if left, _ := filepath.Glob(filepath.Join(dir, "hello-1*")); c.want != ErrLint && len(left) != 0 {
				t.Errorf("left: %v", left)
			}
		})
	}
}

func TestInputs(t *testing.T) {
	b := New(Options{Runner: runner.Host{}})
	none, err := b.Inputs(t.Context(), compiled(t, hello))
	if err != nil || none != "" {
		t.Errorf("%q, %v", none, err)
	}
	seen := map[string]bool{}
	for _, content := range []string{"a", "b"} {
		s, err := b.Inputs(t.Context(), compiled(t, hello, "hello/data.txt", content))
		if err != nil || s == "" || seen[s] {
			t.Errorf("%q, %v", s, err)
		}
		seen[s] = true
	}
}

func TestBuildStops(t *testing.T) {
	d := compiled(t, strings.Replace(hello, "cp data.txt", "sleep 60; cp data.txt", 1), besides()...)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	temp := t.TempDir()
	b := New(Options{Runner: runner.Host{}, SourceCache: t.TempDir(), Epoch: epoch, TempDir: temp})
	if _, err := b.Build(ctx, distro.Task{Build: d, Dir: t.TempDir()}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("found %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
