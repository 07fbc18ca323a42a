package apk

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// installedText is what apk-tools 2.14 writes for three packages: one whose
// every key is set, one with the usual root-owned files, one without files.
const installedText = `C:` + sum2 + `
P:hello
V:2.12-r1
A:x86_64
S:1234
I:5678
T:says hello: to all = everyone
U:https://example.org/?a=b:c
L:MIT AND BSD-3-Clause
o:hello-src
m:A B <a@example.org>
t:1700000000
c:0123456789abcdef-dirty
k:20
D:so:libc.musl-x86_64.so.1 !bye foo>=1.2 bar~3
p:cmd:hello=2.12-r1 greeter
i:base hello-src=2.12-r1
r:old-hello<2 other
q:5
s:edge
f:fx
F:
R:toplevel
a:0:0:600
Z:` + sum1 + `
F:usr
F:usr/bin
R:hello
a:0:42:4755:` + sum2 + `
Z:` + sum1 + `
R:hi
a:0:0:777
Z:` + sum2 + `
F:var/spool
M:8:12:1777
F:dev
R:null
a:0:0:666

C:` + sum1 + `
P:plain
V:1-r0
A:noarch
S:10
I:0
T:
U:
L:MIT
F:etc
R:plain.conf
Z:` + sum1 + `

C:` + sum1 + `
P:virtual
V:0
S:0
I:0
T:
U:
L:

`

func sha1Of(t *testing.T, s string) SHA1 {
	t.Helper()
	sum, err := ParseSHA1(s)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func helloInstalled(t *testing.T) *InstalledPackage {
	s1, s2 := sha1Of(t, sum1), sha1Of(t, sum2)
	p := &InstalledPackage{Package: *helloPackage(t), Tag: "edge", Broken: "fx", Dirs: []InstalledDir{
		{Path: "", Mode: 0o755, Files: []InstalledFile{{Name: "toplevel", Mode: 0o600, SHA1: s1}}},
		{Path: "usr", Mode: 0o755},
		{Path: "usr/bin", Mode: 0o755, Files: []InstalledFile{
			{Name: "hello", Mode: 0o4755, GID: 42, Xattrs: s2, SHA1: s1}, {Name: "hi", Mode: 0o777, SHA1: s2}}},
		{Path: "var/spool", Mode: 0o1777, UID: 8, GID: 12},
		{Path: "dev", Mode: 0o755, Files: []InstalledFile{{Name: "null", Mode: 0o666}}},
	}}
	p.Replaces, p.ReplacesPriority = deps(t, "old-hello<2 other"), 5
	return p
}

func TestParseInstalled(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"whole": strings.NewReader(installedText), "bytes": iotest.OneByteReader(strings.NewReader(installedText)),
		"no last newline": strings.NewReader(strings.TrimRight(installedText, "\n")),
	} {
		got, err := ParseInstalled(r)
		if err != nil || len(got) != 3 {
			t.Errorf("%s: %d, %v", name, len(got), err)
			continue
		}
		if d := cmp.Diff(helloInstalled(t), &got[0]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		var b []byte
		for i := range got {
			b = AppendInstalled(b, &got[i])
		}
		if d := cmp.Diff(installedText, string(b)); d != "" {
			t.Errorf("%s: written again: %s", name, d)
		}
	}
	if got, err := ParseInstalled(strings.NewReader("")); len(got) != 0 || err != nil {
		t.Errorf("empty: %v, %v", got, err)
	}
}

func TestParseInstalledErrors(t *testing.T) {
	const head = "P:a\nV:1\n"
	for text, want := range map[string]string{
		"V:1\n\n":                                `line 1: entry has no name (P:)`,
		head + "\nP:b\n":                         `line 4: entry b has no version (V:)`,
		head + "junk\n":                          `line 3: "junk": expected a letter, a colon and a value`,
		head + "x:1\n":                           `line 3: key 'x' is not known to this version`,
		head + "W:1\n":                           `line 3: key 'W' is not known to this version`,
		head + "M:0:0:755\n":                     `line 3: M: stands before the first F:`,
		head + "R:f\n":                           `line 3: R: stands before the first F:`,
		head + "F:d\na:0:0:644\n":                `line 4: a: stands before the first R:`,
		head + "F:d\nZ:" + sum1 + "\n":           `line 4: Z: stands before the first R:`,
		head + "F:d\nR:f\nF:e\nZ:" + sum1 + "\n": `line 6: Z: stands before the first R:`,
		head + "F:d\nR:f\nZ:d41d8cd98f00b204e9800998ecf8427e\n": `line 5: Z: checksum "d41d8cd98f00b204e9800998ecf8427e": expected "Q1" and 28 base64 characters`,
		head + "F:d\nM:0:0\n":         `line 4: "0:0": expected uid:gid:mode with an octal mode`,
		head + "F:d\nM:0:0:789\n":     `line 4: "0:0:789": expected uid:gid:mode with an octal mode`,
		head + "F:d\nM:-1:0:755\n":    `line 4: "-1:0:755": expected uid:gid:mode with an octal mode`,
		head + "F:d\nM:0:0:10755\n":   `line 4: "0:0:10755": expected uid:gid:mode with an octal mode`,
		head + "F:d\nM:0:0:755:Q1x\n": `line 4: "0:0:755:Q1x": expected uid:gid:mode with an octal mode`,
		head + "F:/etc\n":             `line 3: F: "/etc": expected a clean path below the root`,
		head + "F:etc/\n":             `line 3: F: "etc/": expected a clean path below the root`,
		head + "F:etc/../..\n":        `line 3: F: "etc/../..": expected a clean path below the root`,
		head + "F:etc\nR:\n":          `line 4: R: "": expected a clean path below the root`,
		head + "F:etc\nR:..\n":        `line 4: R: "..": expected a clean path below the root`,
		head + "F:etc\nR:a/b\n":       `line 4: R: "a/b": expected a name without directory`,
		head + "f:fsz\n":              `line 3: f: "fsz": expected letters of "fsxS"`,
		head + "q:high\n":             `line 3: q: "high": expected a decimal number`,
		head + "r:a=\n":               `line 3: r:: dependency "a=": no version after "="`,
		head + "D:a=\n":               `line 3: dependency "a=": no version after "="`,
		head + "S:big\n":              `line 3: value "big" of S: cannot be read`,
		"P:../a\n":                    `line 1: package name "../a" begins with '.'`,
	} {
		got, err := ParseInstalled(strings.NewReader(text))
		if got != nil || err == nil || err.Error() != "installed database "+want || !errors.Is(err, ErrInstalled) {
			t.Errorf("%q:\n got %v\nwant installed database %s", text, err, want)
		}
	}
	broken := errors.New("broken")
	if _, err := ParseInstalled(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("reader's error: %v", err)
	}
}

// Research §1.4: apko writes empty fields and lists in Go's spelling.
func TestApkoDefect_InstalledEmptyFieldsAndSliceSyntax(t *testing.T) {
	text := string(AppendInstalled(nil, &InstalledPackage{Package: Package{Name: "a", Version: "1", InstallIf: []Dependency{{Name: "b"}, {Name: "c"}}}}))
	for _, wrong := range []string{"\nD:", "\np:", "\nr:", "\nk:", "\nm:", "[", "]"} {
		if strings.Contains(text, wrong) {
			t.Errorf("%q in %q", wrong, text)
		}
	}
	if !strings.Contains(text, "\ni:b c\n") {
		t.Errorf("install_if in %q", text)
	}
	got, err := ParseInstalled(strings.NewReader("P:a\nV:1\nU:\nD:\np:\ni:[]\n\nP:b\nV:1\ni:[c d=1]\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(got[0].InstallIf) != 0 || !slices.Equal(got[1].InstallIf, deps(t, "c d=1")) {
		t.Errorf("apko's database: %v, %v", got[0].InstallIf, got[1].InstallIf)
	}
}

func entries() []Entry {
	return []Entry{
		{Path: ".dummy", Type: TypeFile, Mode: 0o644},
		{Path: "usr", Type: TypeDir, Mode: 0o755},
		{Path: "usr/bin", Type: TypeDir, Mode: 0o755},
		{Path: "usr/bin/su", Type: TypeFile, Mode: 0o4755, GID: 42, SHA1: SHA1{1}, Xattrs: map[string]string{"user.b": "2", "user.a": "1"}},
		{Path: "usr/bin/sudo", Type: TypeHardlink, Mode: 0o4755, GID: 42, Link: "usr/bin/su", SHA1: SHA1{9}},
		{Path: "var", Type: TypeDir, Mode: 0o755},
		{Path: "usr/bin/sh", Type: TypeSymlink, Mode: 0o777, Link: "su", SHA1: SHA1{2}},
		{Path: "usr/bin/.keep_x", Type: TypeFile, Mode: 0o644},
		{Path: "top", Type: TypeFile, Mode: 0o644, SHA1: SHA1{3}},
		{Path: "usr", Type: TypeDir, Mode: 0o711, UID: 7},
		{Path: "var/null", Type: TypeChar, Mode: 0o666, SHA1: SHA1{4}},
	}
}

func TestNewInstalledPackage(t *testing.T) {
	p, err := NewInstalledPackage(&Package{Name: "a", Version: "1"}, entries())
	if err != nil {
		t.Fatal(err)
	}
	want := []InstalledDir{
		{Path: "usr", Mode: 0o711, UID: 7},
		{Path: "usr/bin", Mode: 0o755, Files: []InstalledFile{
			{Name: "su", Mode: 0o4755, GID: 42, SHA1: SHA1{1}, Xattrs: XattrSHA1(map[string]string{"user.a": "1", "user.b": "2"})},
			{Name: "sudo", Mode: 0o4755, GID: 42, SHA1: SHA1{1}},
			{Name: "sh", Mode: 0o777, SHA1: SHA1{2}}}},
		{Path: "var", Mode: 0o755, Files: []InstalledFile{{Name: "null", Mode: 0o666}}},
		{Path: "", Mode: 0o755, Files: []InstalledFile{{Name: "top", Mode: 0o644, SHA1: SHA1{3}}}},
	}
	if d := cmp.Diff(want, p.Dirs); d != "" {
		t.Error(d)
	}
}

func TestNewInstalledPackageErrors(t *testing.T) {
	for _, c := range []struct {
		e    Entry
		want string
	}{
		{Entry{Path: "opt/x/f", Type: TypeFile}, `package a-1: file "opt/x/f": no entry for directory "opt/x" before it`},
		{Entry{Path: "usr/l", Type: TypeHardlink, Link: "usr/none"}, `package a-1: hard link "usr/l": no target "usr/none" before it`},
		{Entry{Path: "usr/a\nZ:b", Type: TypeFile}, `package a-1: file "usr/a\nZ:b": control character in the path`},
	} {
		if _, err := NewInstalledPackage(&Package{Name: "a", Version: "1"}, append(entries(), c.e)); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v", c.e.Path, err)
		}
	}
}

func TestXattrSHA1(t *testing.T) {
	if !XattrSHA1(nil).IsZero() || !XattrSHA1(map[string]string{}).IsZero() {
		t.Error("no attributes have a checksum")
	}
	// printf '\0\0\0\1a\0\0\0\2bc' | sha1sum
	if got := XattrSHA1(map[string]string{"a": "bc"}).Hex(); got != "cfc35fa12c3d918b8cbef8670f796208b1ff8e6a" {
		t.Errorf("%s", got)
	}
}

func TestCompareNames(t *testing.T) {
	names := []string{"zlib", "R", "perl", "Abc", "a52dec", "abc", "r", "py3-a"}
	slices.SortFunc(names, CompareNames)
	if d := cmp.Diff([]string{"a52dec", "Abc", "abc", "perl", "py3-a", "R", "r", "zlib"}, names); d != "" {
		t.Error(d)
	}
}

func FuzzParseInstalled(f *testing.F) {
	f.Add([]byte(installedText))
	f.Add([]byte("P:a\nV:1\nF:\nR:x\na:1:2:3\nF:d\nM:0:0:0\nF:\nR:y"))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := ParseInstalled(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrInstalled) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		var text []byte
		for i := range list {
			text = AppendInstalled(text, &list[i])
			for _, d := range list[i].Dirs {
				if strings.HasPrefix(d.Path, "/") || strings.Contains("/"+d.Path+"/", "/../") {
					t.Errorf("unsafe directory %q", d.Path)
				}
			}
		}
		again, err := ParseInstalled(bytes.NewReader(text))
		if err != nil || len(again) != len(list) {
			t.Fatalf("written text is refused: %v\n%q", err, text)
		}
		var twice []byte
		for i := range again {
			twice = AppendInstalled(twice, &again[i])
		}
		if !bytes.Equal(text, twice) {
			t.Errorf("written text is read differently:\n%q\n%q", text, twice)
		}
	})
}

func BenchmarkParseInstalled(b *testing.B) {
	text := bytes.Repeat([]byte(installedText), 200)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseInstalled(bytes.NewReader(text)); err != nil {
			b.Fatal(err)
		}
	}
}
