package apk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

const sum2 = "Q1AQIDBAUGBwgJCgsMDQ4PEBESExQ="

const indexText = `C:` + sum2 + `
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

C:` + sum1 + `
P:bare
V:0
S:0
I:0
T:
U:
L:

`

func parseAll(t *testing.T, r io.Reader) ([]*Package, error) {
	t.Helper()
	var out []*Package
	err := ParseIndex(r, func(p *Package) error { out = append(out, p); return nil })
	return out, err
}

func deps(t *testing.T, s string) []Dependency {
	t.Helper()
	list, err := ParseDependencies(s)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func helloPackage(t *testing.T) *Package {
	sum, err := ParseSHA1(sum2)
	if err != nil {
		t.Fatal(err)
	}
	return &Package{Name: "hello", Version: "2.12-r1", Arch: "x86_64", Description: "says hello: to all = everyone",
		URL: "https://example.org/?a=b:c", License: "MIT AND BSD-3-Clause", Origin: "hello-src", Maintainer: "A B <a@example.org>",
		Commit: "0123456789abcdef-dirty", Size: 1234, InstalledSize: 5678, BuildTime: 1700000000, ProviderPriority: 20, Checksum: sum,
		Depends:   deps(t, "so:libc.musl-x86_64.so.1 !bye foo>=1.2 bar~3"),
		Provides:  deps(t, "cmd:hello=2.12-r1 greeter"),
		InstallIf: deps(t, "base hello-src=2.12-r1")}
}

func TestParseIndex(t *testing.T) {
	for name, r := range map[string]io.Reader{
		"whole":       strings.NewReader(indexText),
		"by bytes":    iotest.OneByteReader(strings.NewReader(indexText)),
		"data at EOF": iotest.DataErrReader(strings.NewReader(indexText)),
		"no newline":  strings.NewReader(strings.TrimRight(indexText, "\n")),
		"more blanks": strings.NewReader("\n\n" + strings.ReplaceAll(indexText, "\n\n", "\n\n\n")),
	} {
		got, err := parseAll(t, r)
		if err != nil || len(got) != 2 {
			t.Errorf("%s: %d packages, %v", name, len(got), err)
			continue
		}
		if d := cmp.Diff(helloPackage(t), got[0]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		sum, _ := ParseSHA1(sum1)
		if d := cmp.Diff(&Package{Name: "bare", Version: "0", Checksum: sum}, got[1]); d != "" {
			t.Errorf("%s: %s", name, d)
		}
		var b []byte
		for _, p := range got {
			b = AppendIndexEntry(b, p)
		}
		if d := cmp.Diff(indexText, string(b)); d != "" {
			t.Errorf("%s: written again: %s", name, d)
		}
	}
}

// The last of two equal keys wins, lists are joined: apk-tools 2.14 does so.
func TestParseIndexRepeatedKeys(t *testing.T) {
	got, err := parseAll(t, strings.NewReader("P:a\nP:b\nV:1\nV:2\nD:x y\nD:z\np:m\nD:w\np:n\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := &Package{Name: "b", Version: "2", Depends: deps(t, "x y z w"), Provides: deps(t, "m n")}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Error(d)
	}
}

func TestParseIndexLenient(t *testing.T) {
	for field, want := range map[string]string{
		"x:unknown":                        "",
		"r:foo":                            "",
		"q:abc":                            "",
		"F:usr":                            "",
		"Z:junk":                           "",
		"p:so:x=0unstab":                   "",
		"W:unknown":                        `key 'W' is not known to this version`,
		"9:unknown":                        `key '9' is not known to this version`,
		"D:a b=!":                          `dependency "b=!": version "!": expected digits{.digits}{letter}{_suffix{digits}}{-r#}`,
		"p:a @":                            `dependency "@": no name`,
		"i:a >1":                           `dependency ">1": no name`,
		"S:1x":                             `value "1x" of S: cannot be read`,
		"I:-5":                             `value "-5" of I: cannot be read`,
		"t:":                               `value "" of t: cannot be read`,
		"k:9999999999999999999":            `value "9999999999999999999" of k: cannot be read`,
		"C:Q1xyz":                          `value "Q1xyz" of C: cannot be read`,
		"C:Q2AQIDBAUGBwgJCgsMDQ4PEBESExQ=": `value "Q2AQIDBAUGBwgJCgsMDQ4PEBESExQ=" of C: cannot be read`,
	} {
		got, err := parseAll(t, strings.NewReader("P:a\nV:1\n"+field+"\n\nP:b\nV:1\n"))
		if err != nil || len(got) != 2 || got[0].Uninstallable != want || got[1].Uninstallable != "" {
			t.Errorf("%s: %+v, %v; want %q", field, got, err, want)
		}
	}
}

func TestParseIndexErrors(t *testing.T) {
	for text, want := range map[string]string{
		"V:1\n\n":                      `index line 1: entry has no name (P:)`,
		"P:a\nV:1\n\n\nP:b\n\n":        `index line 5: entry b has no version (V:)`,
		"P:a\nV:1\nnonsense\n":         `index line 3: "nonsense": expected a letter, a colon and a value`,
		"P:a\nV:1\r\n\r\n":             `index line 2: version "1\r": unexpected character "\r"`,
		"P:a\nV:1\n\r\nP:b\n":          `index line 3: "\r": expected a letter, a colon and a value`,
		"P:../../etc/passwd\nV:1\n":    `index line 1: package name "../../etc/passwd" begins with '.'`,
		"P:a/b\nV:1\n":                 `index line 1: package name "a/b": unexpected character "/"`,
		"P:\nV:1\n":                    `index line 1: package name is ""`,
		"P:-a\nV:1\n":                  `index line 1: package name "-a" begins with '-'`,
		"P:a\x00\nV:1\n":               `index line 1: package name "a\x00": unexpected character "\x00"`,
		"P:a\nV:1/../../x\n":           `index line 2: version "1/../../x": unexpected character "/"`,
		"P:a\nV:..\n":                  `index line 2: version is ".."`,
		"P:a\nV:1\nA:../x\n":           `index line 3: architecture "../x": unexpected character "/"`,
		"P:a\nV:1\nA:..\n":             `index line 3: architecture is ".."`,
		"<!DOCTYPE html>\n":            `index line 1: "<!DOCTYPE html>": expected a letter, a colon and a value`,
		"P:a\nV:1\n\n\x1f\x8b\x08\n":   `index line 4: "\x1f\x8b\b": expected a letter, a colon and a value`,
		"P:a\nV:1\n\nP:" + "x" + "@\n": `index line 4: package name "x@": unexpected character "@"`,
	} {
		_, err := parseAll(t, strings.NewReader(text))
		if err == nil || err.Error() != want || !errors.Is(err, ErrIndex) {
			t.Errorf("%q:\n got %v\nwant %s", text, err, want)
		}
	}
}

func TestParseIndexPassesErrorsOn(t *testing.T) {
	broken := errors.New("broken")
	_, err := parseAll(t, io.MultiReader(strings.NewReader(indexText), iotest.ErrReader(broken)))
	if !errors.Is(err, broken) || errors.Is(err, ErrIndex) {
		t.Errorf("reader's error: %v", err)
	}
	// A truncated gzip stream must not look like the end.
	_, err = parseAll(t, io.MultiReader(strings.NewReader(indexText), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("truncation: %v", err)
	}
	n := 0
	err = ParseIndex(strings.NewReader(indexText), func(*Package) error { n++; return broken })
	if err != broken || n != 1 {
		t.Errorf("callback's error: %v after %d", err, n)
	}
	_, err = parseAll(t, stuck{})
	if !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("stuck reader: %v", err)
	}
}

type stuck struct{}

func (stuck) Read([]byte) (int, error) { return 0, nil }

// Chunks of input end anywhere; entries longer than the buffer are read whole,
// line numbers count on.
func TestParseIndexAcrossChunks(t *testing.T) {
	var b bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&b, "P:p%d\nV:1\nT:%s\nD:%s\n\n", i, strings.Repeat("t", i%300), strings.Repeat("d ", i%200))
	}
	fmt.Fprintf(&b, "P:big\nV:1\nD:%s\n\nP:last\nV:1\nbad\n", strings.Repeat("dep ", 200_000))
	got, err := parseAll(t, &b)
	if len(got) != 5001 || err == nil || err.Error() != `index line 25007: "bad": expected a letter, a colon and a value` {
		t.Fatalf("%d packages, %v", len(got), err)
	}
	for i, p := range got[:5000] {
		if p.Name != fmt.Sprint("p", i) || len(p.Description) != i%300 || len(p.Depends) != i%200 {
			t.Fatalf("package %d: %s, %d, %d", i, p.Name, len(p.Description), len(p.Depends))
		}
	}
	if len(got[5000].Depends) != 200_000 {
		t.Errorf("big: %d dependencies", len(got[5000].Depends))
	}
}

// Lists of two packages share a slab but never an element: appending to one
// must not show in the other.
func TestParseIndexListsAreSeparate(t *testing.T) {
	got, err := parseAll(t, strings.NewReader("P:a\nV:1\nD:x\np:y\n\nP:b\nV:1\nD:z\n"))
	if err != nil {
		t.Fatal(err)
	}
	_ = append(got[0].Depends, Dependency{Name: "intruder"})
	if got[0].Provides[0].Name != "y" || got[1].Depends[0].Name != "z" {
		t.Errorf("%+v %+v", got[0], got[1])
	}
}

// An entry without end is refused before it fills the memory.
func TestParseIndexEntryTooLong(t *testing.T) {
	_, err := parseAll(t, &endless{})
	if want := fmt.Sprintf("index line 1: entry is longer than %d bytes", maxEntry); err == nil || err.Error() != want {
		t.Errorf("%v", err)
	}
}

type endless struct{}

func (*endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func FuzzParseIndex(f *testing.F) {
	f.Add([]byte(indexText))
	f.Add([]byte("P:a\nV:1\nD:x\nD:y\nW:1\n\n\nP:b\nV:2"))
	f.Add([]byte("C:" + sum1 + "\nP:a\nV:1\np:so:x=0unstable\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var text []byte
		n := 0
		err := ParseIndex(bytes.NewReader(b), func(p *Package) error {
			n++
			if strings.ContainsAny(p.ID()+p.Arch, "/\x00\n ") || p.Name == "" || p.Version == "" {
				t.Errorf("unsafe: %q %q", p.ID(), p.Arch)
			}
			text = AppendIndexEntry(text, p)
			return nil
		})
		if err != nil {
			if !errors.Is(err, ErrIndex) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		var again []byte
		m := 0
		err = ParseIndex(bytes.NewReader(text), func(p *Package) error { m++; again = AppendIndexEntry(again, p); return nil })
		if err != nil || m != n || !bytes.Equal(again, text) {
			t.Errorf("written text is read differently: %v, %d of %d\n%q\n%q", err, m, n, text, again)
		}
	})
}
