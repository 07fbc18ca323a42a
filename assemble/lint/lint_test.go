package lint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/sarif"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/packages/apk"
)

// object describes an ELF file of 64 bits.
type object struct {
	machine         uint16 // 0: x86-64
	interp, soname  string
	runpath, needed []string
}

// bytes writes the file: a header, its segments, and one string table.
func (o object) bytes() string {
	const vaddr, segments = 0x400000, 3
	table := []byte{0}
	name := func(s string) uint64 {
		at := len(table)
		table = append(append(table, s...), 0)
		return uint64(at)
	}
	var dynamic [][2]uint64
	for _, n := range o.needed {
		dynamic = append(dynamic, [2]uint64{1, name(n)})
	}
	if o.soname != "" {
		dynamic = append(dynamic, [2]uint64{14, name(o.soname)})
	}
	if o.runpath != nil {
		dynamic = append(dynamic, [2]uint64{29, name(strings.Join(o.runpath, ":"))})
	}
	interp := name(o.interp)
	tableAt := 64 + 56*segments
	dynamicAt := tableAt + len(table) + 16
	dynamic = append(dynamic, [2]uint64{5, vaddr + uint64(tableAt)}, [2]uint64{10, uint64(len(table))}, [2]uint64{0, 0})
	b := make([]byte, dynamicAt+16*len(dynamic))
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	machine := o.machine
	if machine == 0 {
		machine = 62
	}
	le.PutUint16(b[16:], 3)
	le.PutUint16(b[18:], machine)
	le.PutUint64(b[32:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], segments)
	list := []struct{ kind, offset, size int }{{1, 0, len(b)}, {2, dynamicAt, 16 * len(dynamic)}, {3, tableAt + int(interp), len(o.interp) + 1}}
	if o.interp == "" {
		list[2].kind = 0
	}
	for i, s := range list {
		at := 64 + 56*i
		le.PutUint32(b[at:], uint32(s.kind))
		le.PutUint64(b[at+8:], uint64(s.offset))
		le.PutUint64(b[at+16:], vaddr+uint64(s.offset))
		le.PutUint64(b[at+32:], uint64(s.size))
	}
	copy(b[tableAt:], table)
	for i, d := range dynamic {
		le.PutUint64(b[dynamicAt+16*i:], d[0])
		le.PutUint64(b[dynamicAt+16*i+8:], d[1])
	}
	return string(b)
}

// file is a member of a layer with these bytes.
func file(path, mode, content string) string { return "f " + path + " " + mode + " " + content }

// quiet is a configuration that no rule has anything to say about.
func quiet() v1.Config { return v1.Config{User: "65532"} }

// look reads an image and looks at it with every rule.
func look(t *testing.T, c v1.Config, in Input, o Options, layers ...subjecttest.Layer) *Result {
	t.Helper()
	s, err := subject.Open(t.Context(), subjecttest.Layout(t, subjecttest.Image{Arch: "amd64", Layers: layers, Config: c}), subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	got, err := OfImage(t.Context(), s, &s.Images[0])
	if err != nil {
		t.Fatal(err)
	}
	got.NoShell, got.References = in.NoShell, append(got.References, in.References...)
	r, err := Run(t.Context(), got, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// said renders findings, paths indented.
func said(list []Finding) string {
	var b strings.Builder
	for _, f := range list {
		fmt.Fprintf(&b, "%s: %s\n", f.Severity, f)
		for _, p := range f.Paths {
			fmt.Fprintf(&b, "  %s\n", p)
		}
	}
	return b.String()
}

func of(members ...string) subjecttest.Layer { return subjecttest.Layer{Members: members} }

func check(t *testing.T, c v1.Config, in Input, want string, members ...string) {
	t.Helper()
	r := look(t, c, in, Options{}, of(members...))
	if d := cmp.Diff(want, said(r.Findings)); d != "" {
		t.Error(d)
	}
	if len(r.NotLookedAt) > 0 {
		t.Errorf("not looked at: %q", r.NotLookedAt)
	}
}

func TestPythonOfAnotherVersion(t *testing.T) {
	python := []string{file("usr/bin/python3.11", "0755", "python"), "l usr/bin/python3 python3.11", "d usr/lib/python3.11/site-packages", "f usr/lib/python3.11/site-packages/fine.py"}
	check(t, quiet(), Input{}, `error: interpreter-version: /usr/lib/python3.12/site-packages: packages for Python 3.12, and the interpreter is Python 3.11 (/usr/bin/python3.11)
  /usr/lib/python3.12/site-packages/flask
  /usr/lib/python3.12/site-packages/flask-3.0.dist-info
  /usr/lib/python3.12/site-packages/werkzeug
`, append(python, "d usr/lib/python3.12/site-packages", "f usr/lib/python3.12/site-packages/flask/__init__.py", "f usr/lib/python3.12/site-packages/flask-3.0.dist-info/METADATA 0644 Requires-Python: >=3.12",
		"f usr/lib/python3.12/site-packages/werkzeug/speed.cpython-312-x86_64-linux-gnu.so", "f usr/lib/python3.12/site-packages/README.txt", "d usr/lib/python3.12/site-packages/__pycache__")...)
	// A virtual environment, an empty directory, and another interpreter.
	check(t, quiet(), Input{}, `error: interpreter-version: /app/lib/python3.9/site-packages: packages for Python 3.9, and the interpreter is Python 3.11 (/usr/bin/python3.11) and Python 3.13 (/opt/bin/python3.13)
  /app/lib/python3.9/site-packages/six.py
`, append(python, "d usr/lib/python3.12/dist-packages", "f app/lib/python3.9/site-packages/six.py", "d app/bin", "l app/bin/python3.9 /usr/bin/python3.9",
		file("opt/bin/python3.13", "0755", "python"), "f opt/lib/python3.13/site-packages/x.py")...)
	// Without an interpreter nothing is said.
	check(t, quiet(), Input{}, "", "f usr/lib/python3.12/site-packages/gdb.py")
}

func TestPythonModulesAndMetadata(t *testing.T) {
	site := "usr/lib/python3/dist-packages/"
	check(t, quiet(), Input{}, `error: interpreter-version: /usr/lib/python3/dist-packages/old/fast.cpython-39-x86_64-linux-gnu.so: an extension module for Python 3.9, and the interpreter is Python 3.11 (/usr/bin/python3.11)
  /usr/lib/python3/dist-packages/old/fast.cpython-39-x86_64-linux-gnu.so
  /usr/lib/python3/dist-packages/old/more.cpython-39-x86_64-linux-gnu.so
error: interpreter-version: /usr/lib/python3/dist-packages/late-1.dist-info: requires Python >=3.12, and the interpreter is Python 3.11 (/usr/bin/python3.11)
error: interpreter-version: /usr/lib/python3/dist-packages/wheel-1.dist-info: built for Python 3.12, and the interpreter is Python 3.11 (/usr/bin/python3.11)
`, file("usr/bin/python3.11", "0755", "python"),
		"f "+site+"old/fast.cpython-39-x86_64-linux-gnu.so", "f "+site+"old/more.cpython-39-x86_64-linux-gnu.so", "f "+site+"old/fast.cpython-311-x86_64-linux-gnu.so", "f "+site+"stable.abi3.so",
		file(site+"late-1.dist-info/METADATA", "0644", "Name: late\nRequires-Python: >=3.12\n\nRequires-Python: nothing"),
		file(site+"early-1.dist-info/METADATA", "0644", "Name: early\nRequires-Python: >=3.6, <4\n\nRequires-Python: >=9"),
		file(site+"wheel-1.dist-info/WHEEL", "0644", "Wheel-Version: 1.0\nTag: cp312-cp312-manylinux_2_17_x86_64\nTag: cp312-cp312-manylinux2014_x86_64\n"),
		file(site+"pure-1.dist-info/WHEEL", "0644", "Tag: py3-none-any\n"),
		file(site+"stable-1.dist-info/WHEEL", "0644", "Tag: cp37-abi3-manylinux_2_17_x86_64\n"),
		file(site+"both-1.dist-info/WHEEL", "0644", "Tag: cp310.cp311-cp311-linux_x86_64\n"))
}

func TestSpecifiers(t *testing.T) {
	for _, c := range []struct {
		specifiers, version string
		want                bool
	}{
		{">=3.8", "3.11", true}, {">=3.12", "3.11", false}, {">=3.11.4", "3.11", true}, {">3.11", "3.11", false}, {">3.11.2", "3.11", true}, {">3", "3.11", true},
		{"<3.12", "3.11", true}, {"<3.11", "3.11", false}, {"<3.11.5", "3.11", true}, {"<3.11.0", "3.11", false}, {"<=3.10", "3.11", false}, {"<4", "3.11", true},
		{"==3.11.*", "3.11", true}, {"==3.10.*", "3.11", false}, {"==3.*", "3.11", true}, {"!=3.11.*", "3.11", false}, {"!=3.11.2", "3.11", true}, {"!=3.0.*, !=3.1.*, >=2.7", "3.11", true},
		{"~=3.9", "3.11", true}, {"~=3.12", "3.11", false}, {"~=3.11.2", "3.11", true}, {"~=3.10.2", "3.11", false}, {"whatever", "3.11", true}, {"", "3.11", true},
	} {
		if got := accepts(c.specifiers, c.version); got != c.want {
			t.Errorf("%q on %s: found %v", c.specifiers, c.version, got)
		}
	}
}

func TestLibraries(t *testing.T) {
	const ld = "/lib64/ld-linux-x86-64.so.2"
	program := func(path string, o object) string {
		if o.interp == "" {
			o.interp = ld
		}
		return file(path, "0755", o.bytes())
	}
	library := func(path string, o object) string { return file(path, "0644", o.bytes()) }
	usual := []string{"d usr/lib/x86_64-linux-gnu", "l lib usr/lib", library("lib64/ld-linux-x86-64.so.2", object{soname: "ld-linux-x86-64.so.2"}),
		library("usr/lib/x86_64-linux-gnu/libc.so.6", object{soname: "libc.so.6"})}
	check(t, quiet(), Input{}, `error: unresolved-library: /usr/bin/lost: needs libnone.so.1, libno.so, which is nowhere in the image
error: unresolved-library: /usr/bin/musl: needs the program interpreter /lib/ld-musl-x86_64.so.1, which is not there
error: unresolved-library: /usr/bin/wrong: needs libarm.so, which is nowhere in the image
warning: unresolved-library: /usr/bin/private: needs libmine.so, which is not where it is looked for, but at /opt/app/lib/libmine.so
warning: unresolved-library: /usr/lib/module.so: needs libnone.so.1, which is nowhere in the image
`, append(usual,
		program("usr/bin/fine", object{needed: []string{"libc.so.6", "ld-linux-x86-64.so.2"}}),
		program("usr/bin/lost", object{needed: []string{"libc.so.6", "libnone.so.1", "libno.so"}}),
		program("usr/bin/musl", object{interp: "/lib/ld-musl-x86_64.so.1", needed: []string{"libnone.so.1"}}),
		program("usr/bin/private", object{needed: []string{"libmine.so"}}),
		program("usr/bin/wrong", object{needed: []string{"libarm.so"}}), library("usr/lib/libarm.so", object{machine: 183}),
		program("opt/app/bin/origin", object{needed: []string{"libmine.so"}, runpath: []string{"/none", "$ORIGIN/../lib"}}),
		program("opt/app/bin/direct", object{needed: []string{"/opt/app/lib/libmine.so"}}),
		library("opt/app/lib/libmine.so", object{needed: []string{"libc.so.6"}}),
		library("usr/lib/plugin.so", object{needed: []string{"libmine.so"}}), // its program knows where
		library("usr/lib/module.so", object{needed: []string{"libnone.so.1"}}),
		program("lib/firmware/arm", object{machine: 183, needed: []string{"libnone.so.1"}}))...)
	// The environment, and musl's own list.
	c := quiet()
	c.Env = []string{"LD_LIBRARY_PATH=/srv/lib"}
	check(t, c, Input{}, "", "d lib", library("lib/ld-musl-x86_64.so.1", object{}), file("etc/ld-musl-x86_64.path", "0644", "/lib:/opt/lib\n"),
		library("opt/lib/liba.so", object{}), library("srv/lib/libb.so", object{}),
		file("usr/bin/a", "0755", object{interp: "/lib/ld-musl-x86_64.so.1", needed: []string{"liba.so", "libb.so"}}.bytes()))
}

func TestBrokenLinkerCacheIsSaid(t *testing.T) {
	r := look(t, quiet(), Input{}, Options{}, of(file("etc/ld.so.cache", "0644", "what is this")))
	if len(r.NotLookedAt) != 1 || !strings.HasPrefix(r.NotLookedAt[0], "/etc/ld.so.cache: ") {
		t.Errorf("found %q", r.NotLookedAt)
	}
	if NewReport("x", "", []*Result{r}).Complete() {
		t.Error("complete")
	}
}

func TestUserRightsAndShells(t *testing.T) {
	members := []string{"f bin/su 4755 su", "f bin/busybox 0755 sh", "l bin/sh busybox", "x bin/ping security.capability \x01", "f etc/open 0666 x", "d srv/open 0777", "d tmp 1777"}
	want := `warning: root-user: no user is set, which is root
warning: setuid: /bin/su: mode 4755, owner 0:0
warning: setuid: /bin/ping: has file capabilities
warning: world-writable: /etc/open: file with mode 0666
warning: world-writable: /srv/open: directory with mode 0777
`
	check(t, v1.Config{}, Input{}, want, members...)
	c := v1.Config{User: "root:0"}
	check(t, c, Input{NoShell: true}, "error: shell: /bin/busybox: a shell\nerror: shell: /bin/sh: a shell, by way of busybox\n"+
		strings.Replace(want, "no user is set, which is root", "the user is root:0", 1), members...)
}

func TestAuthorities(t *testing.T) {
	client := file("usr/bin/client", "0755", object{needed: []string{"libssl.so.3"}}.bytes())
	lib := file("usr/lib/libssl.so.3", "0644", object{soname: "libssl.so.3"}.bytes())
	module := file("usr/lib/_ssl.so", "0644", object{needed: []string{"libssl.so.3"}}.bytes())
	missing := "warning: ca-bundle: /usr/bin/client: links libssl.so.3, and there is no bundle of certificate authorities: expected one of /etc/ssl/certs/ca-certificates.crt, /etc/ssl/cert.pem, /etc/ssl/ca-bundle.pem, /etc/pki/tls/certs/ca-bundle.crt\n"
	check(t, quiet(), Input{}, "", lib) // nobody uses it
	check(t, quiet(), Input{}, missing, lib, client)
	check(t, quiet(), Input{}, missing+"  /usr/bin/client\n  /usr/lib/_ssl.so\n", lib, client, module)
	check(t, quiet(), Input{}, missing, lib, client, "f etc/ssl/certs/ca-certificates.crt")
	check(t, quiet(), Input{}, "", lib, client, "f etc/ssl/cert.pem 0644 x")
	check(t, quiet(), Input{}, "", lib, client, "f etc/ssl/certs/aa.0 0644 x")
	c := quiet()
	c.Env = []string{"SSL_CERT_FILE=/etc/mine.pem"}
	check(t, c, Input{}, missing, lib, client, "f etc/ssl/cert.pem 0644 x")
	check(t, c, Input{}, "", lib, client, "f etc/mine.pem 0644 x")
}

// The secrets are put together here so that nobody takes this file for a leak.
func TestSecrets(t *testing.T) {
	begin := "-----BEGIN " + "PRIVATE KEY-----\n"
	aws := "AKIA" + "ABCDEFGHIJKLMNOP"
	c := quiet()
	c.Env = []string{"PATH=/bin", "DB_PASSWORD=hunter22", "API_KEY=/run/secrets/key", "TOKEN=x", "NOTE=" + aws, "TOKENIZER=enough", "GITHUB=" + "gh" + "p_" + strings.Repeat("a", 36)}
	check(t, c, Input{}, `error: secret: environment variable DB_PASSWORD holds a value: pass it when the container starts
error: secret: environment variable NOTE holds an AWS access key: pass it when the container starts
error: secret: environment variable GITHUB holds a GitHub token: pass it when the container starts
error: secret: /root/.docker/config.json: holds a registry's password
error: secret: /root/.npmrc: holds an npm token
error: secret: /srv/key.pem: holds a private key
`, file("srv/key.pem", "0600", "x\n"+begin+"MIIE"), file("srv/cert.pem", "0644", "-----BEGIN CERTIFICATE-----"), file("srv/public.pem", "0644", "-----BEGIN PUBLIC KEY-----"),
		file("root/.npmrc", "0600", "//registry.example/:_auth"+"Token=0123456789abcdef0"), file("root/.docker/config.json", "0600", `{"auths":{"x":{"au`+`th":"dXNlcjpwYXNz"}}}`),
		file("large", "0644", begin+strings.Repeat("x", maxSecretFile)))
	// Files of packages are for everybody to read anyway.
	r := look(t, quiet(), Input{}, Options{}, subjecttest.Layer{Members: []string{file("usr/test.pem", "0644", begin)}, Installed: []apk.InstalledPackage{{
		Package: apk.Package{Name: "tests", Version: "1-r0"}, Dirs: []apk.InstalledDir{{Path: "usr", Files: []apk.InstalledFile{{Name: "test.pem", Mode: 0o644}}}}}}})
	if len(r.Findings) > 0 {
		t.Errorf("found %v", r.Findings)
	}
}

func TestReferences(t *testing.T) {
	s := &Reference{Name: "base:1", Key: "contents.baseimage.image", Mutable: "a base image that no lock pins"}
	check(t, quiet(), Input{References: []Reference{*s, {Name: "app:1", Mutable: "a tag", Minor: true}, {Name: "pinned"}}},
		"warning: mutable-reference: base:1: a base image that no lock pins\nnote: unpinned: app:1: a tag\n", "f x")
	c := quiet()
	c.Labels = map[string]string{"org.opencontainers.image.base.name": "docker.io/library/debian:12"}
	check(t, c, Input{}, "warning: mutable-reference: annotation org.opencontainers.image.base.name: docker.io/library/debian:12: no digest beside it\n", "f x")
	c.Labels["org.opencontainers.image.base.digest"] = "sha256:0"
	check(t, c, Input{}, "", "f x")
}

func TestIgnore(t *testing.T) {
	members := of("f bin/su 4755 x", "f bin/sub/su 4755 x", "f open 0666 x")
	for _, c := range []struct {
		ignore                 string
		left, ignored, unused  int
		findings, wantInUnused string
	}{
		{"setuid", 1, 2, 0, "world-writable", ""},
		{"setuid:/bin/*", 2, 1, 0, "/bin/sub/su", ""},
		{"setuid:/bin/s?", 2, 1, 0, "", ""},
		{"setuid:/nowhere", 3, 0, 1, "", "setuid:/nowhere"},
		{"shell", 3, 0, 1, "", "shell"},
	} {
		r := look(t, quiet(), Input{}, Options{Ignore: []string{c.ignore}}, members)
		if len(r.Findings) != c.left || len(r.Ignored) != c.ignored || len(r.Unused) != c.unused ||
			!strings.Contains(said(r.Findings), c.findings) || strings.Join(r.Unused, " ") != c.wantInUnused {
			t.Errorf("%s: found %+v", c.ignore, r)
		}
	}
	// A finding about several paths is silenced when all of them are.
	f := Finding{Path: "/a", Paths: []string{"/a/b", "/a/c"}}
	for pattern, want := range map[string]bool{"/a": true, "/a/*": true, "/a/b": false, "/*": true} {
		if got := f.about(pattern); got != want {
			t.Errorf("%s: found %v", pattern, got)
		}
	}
	for _, text := range []string{"setuids", "none:/x", "setuid:/[", ""} {
		if err := CheckIgnore([]string{text}); !errors.Is(err, ErrRule) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if err := CheckIgnore([]string{"setuids"}); !strings.Contains(err.Error(), "hint: did you mean setuid?") {
		t.Error(err)
	}
	if _, err := Run(t.Context(), Input{}, Options{Ignore: []string{"x"}}); !errors.Is(err, ErrRule) {
		t.Errorf("found %v", err)
	}
}

func TestSARIF(t *testing.T) {
	r := look(t, v1.Config{}, Input{}, Options{Ignore: []string{"root-user"}}, of("f bin/s%C3u 4755 x", "f b 0666 <x>"))
	r.Findings[1].File, r.Findings[1].Line, r.Findings[1].Column = "a b.yaml", 7, 3
	var b, again bytes.Buffer
	report := NewReport("app:1", "", []*Result{r})
	if err := errors.Join(report.WriteSARIF(&b, "1.2"), report.WriteSARIF(&again, "1.2")); err != nil {
		t.Fatal(err)
	}
	if b.String() != again.String() {
		t.Error("not the same twice")
	}
	var got struct {
		Version string
		Runs    []struct {
			Tool    struct{ Driver sarif.Driver }
			Results []sarif.Result
		}
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	run := got.Runs[0]
	if got.Version != "2.1.0" || run.Tool.Driver.Version != "1.2" || len(run.Tool.Driver.Rules) != len(Rules()) || len(run.Results) != 3 {
		t.Fatalf("found %+v", got)
	}
	image := func(name string) []sarif.Logical { return []sarif.Logical{{Name: name, Kind: "resource"}} }
	if d := cmp.Diff([]sarif.Result{
		{RuleID: "setuid", Level: "warning", Message: sarif.Text{Text: "/bin/s%C3u: mode 4755, owner 0:0\non amd64"},
			Locations: []sarif.Location{{Physical: &sarif.Physical{Artifact: sarif.Artifact{URI: "bin/s%25C3u"}}, Logical: image("app:1/bin/s%C3u")}}},
		{RuleID: "world-writable", Level: "warning", Message: sarif.Text{Text: "/b: file with mode 0666\non amd64"},
			Locations: []sarif.Location{{Physical: &sarif.Physical{Artifact: sarif.Artifact{URI: "a%20b.yaml"}, Region: &sarif.Region{StartLine: 7, StartColumn: 3}}, Logical: image("app:1/b")}}},
		{RuleID: "root-user", Level: "warning", Message: sarif.Text{Text: "no user is set, which is root\non amd64"},
			Locations: []sarif.Location{{Logical: image("app:1")}}, Suppressions: []sarif.Suppression{{Kind: "external"}}},
	}, run.Results); d != "" {
		t.Error(d)
	}
	if report.Warnings != 2 || report.Ignored != 1 || report.AtLeast(Warning) != 2 || report.AtLeast(Error) != 0 || !report.Complete() {
		t.Errorf("counted %+v", report)
	}
}

// docs/lint.md has every rule with its severity, what it finds and why, and none
// that is not there.
func TestDocumentHasTheRules(t *testing.T) {
	text, err := os.ReadFile("../../docs/lint.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\| ([a-z]+) \\| (.+) \\| (.+) \\|$").FindAllStringSubmatch(string(text), -1)
	var found []string
	for _, m := range rows {
		found = append(found, strings.Join(m[1:], " | "))
	}
	var want []string
	for _, r := range Rules() {
		want = append(want, fmt.Sprintf("%s | %s | %s | %s", r.Name, r.Severity, r.Finds, r.Reason))
		if !strings.Contains(string(text), "\n### "+r.Name+"\n") {
			t.Errorf("docs/lint.md: no section on %s", r.Name)
		}
	}
	if d := cmp.Diff(want, found); d != "" {
		t.Error(d)
	}
}
