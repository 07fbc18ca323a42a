package slice_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/slice"
	"github.com/cairn-dev/cairn/packages/apk"
)

func parse(t *testing.T, text string) *slice.Definitions {
	t.Helper()
	d, err := slice.Parse("slices.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

const openssl = `openssl:
  libs:
    paths: [/usr/lib/*.so.*]
    needs: [config, zlib/libs]
  config:
    paths: [etc/ssl/**]
    exclude: [etc/ssl/misc/**]
    needs: [libs]
  bin:
    paths: [usr/bin/openssl]
zlib:
  libs: {paths: [usr/lib/libz.so.1]}
`

func TestPattern(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		dir, want     bool
	}{
		{"/usr/bin/a", "usr/bin/a", false, true},
		{"usr/bin/a", "usr/bin/ab", false, false},
		{"usr/bin/a", "usr/bin/a", true, false},
		{"usr/bin/a/", "usr/bin/a", true, true},
		{"usr/bin/a/", "usr/bin/a", false, false},
		{"usr/*", "usr/bin/a", false, false},
		{"usr/lib?/*.so.[0-9]", "usr/lib6/x.so.1", false, true},
		{"usr/lib?/*.so.[0-9]", "usr/lib6/x.so.x", false, false},
		{"usr/**", "usr/a/b", false, true},
		{"usr/**", "usr/a/b", true, true},
		{"usr/**", "usr", true, true},
		{"usr/**", "us/r", false, false},
		{"**/x", "x", false, true},
		{"**/x", "a/b/x", false, true},
		{"**/x", "a/b/xx", false, false},
		{"a/**/b/**/c", "a/b/b/c", false, true},
		{"a/**/b/**/c", "a/x/y/b/z/c", false, true},
		{"a/**/b/**/c", "a/x/y/c", false, false},
		{"a/**/b*/c", "a/b1/x/b2/c", false, true},
		{"**", "anything/at/all", false, true},
	} {
		p, err := slice.ParsePattern(tc.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Match(tc.path, tc.dir); got != tc.want {
			t.Errorf("%s on %s (directory %v): %v", tc.pattern, tc.path, tc.dir, got)
		}
	}
	for _, bad := range []string{"", "/", "a//b", "../a", "a/./b", "a/**b", "a[", "a\x00", strings.Repeat("a", 5000)} {
		if _, err := slice.ParsePattern(bad); err == nil {
			t.Errorf("%.20q: no error", bad)
		}
	}
}

func TestClosure(t *testing.T) {
	d := parse(t, openssl)
	got, err := d.Closure([]slice.Ref{{Package: "openssl", Name: "libs"}})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pkg := range []string{"openssl", "zlib"} {
		for _, s := range got[pkg] {
			names = append(names, s.String()+" "+s.Place)
		}
	}
	want := []string{"openssl/config slices.yaml:5", "openssl/libs slices.yaml:2", "zlib/libs slices.yaml:12"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	var unknown *slice.UnknownError
	if _, err := d.Closure([]slice.Ref{{Package: "openssl", Name: "lib"}}); !errors.As(err, &unknown) || unknown.Hint() != "did you mean libs?" {
		t.Errorf("found %v", err)
	}
	_, err = d.Closure([]slice.Ref{{Package: "opensl", Name: "libs"}})
	if !errors.As(err, &unknown) || unknown.Hint() != "did you mean openssl?" {
		t.Errorf("found %v", err)
	}
}

func TestKeep(t *testing.T) {
	d := parse(t, openssl)
	var entries []apk.Entry
	for _, p := range []string{"etc/", "etc/ssl/", "etc/ssl/misc/", "etc/ssl/misc/ca.pl", "etc/ssl/openssl.cnf",
		"usr/", "usr/bin/", "usr/bin/openssl", "usr/lib/", "usr/lib/libssl.so.3"} {
		e := apk.Entry{Path: strings.TrimSuffix(p, "/"), Type: apk.TypeFile}
		if e.Path != p {
			e.Type = apk.TypeDir
		}
		entries = append(entries, e)
	}
	all, err := d.Closure([]slice.Ref{{Package: "openssl", Name: "libs"}})
	if err != nil {
		t.Fatal(err)
	}
	keep, err := slice.Keep(t.Context(), entries, all["openssl"])
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for m := range entries {
		if keep[m] {
			got = append(got, entries[m].Path)
		}
	}
	want := []string{"etc", "etc/ssl", "etc/ssl/openssl.cnf", "usr", "usr/lib", "usr/lib/libssl.so.3"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a, b := slice.FilesDigest(entries, keep), slice.FilesDigest(entries, make([]bool, len(entries))); a == b {
		t.Error("one digest for two lists")
	}
	_, err = slice.Keep(t.Context(), entries[:5], all["openssl"])
	if err == nil || err.Error() != "slices.yaml:3: slice openssl/libs: usr/lib/*.so.*: nothing in the package is there" {
		t.Errorf("found %v", err)
	}
}

func TestParseMistakes(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"", "s.yaml:1:1: slices: empty: found no key, expected the name of a package"},
		{"a: {}", "s.yaml:1:1: a: empty: expected at least one slice"},
		{"a: 1", "s.yaml:1:4: a: wrong type: found number 1, expected a mapping"},
		{"a: {b: {}}", "s.yaml:1:8: a.b.paths: missing: expected paths here"},
		{"a: {b: {paths: []}}", "s.yaml:1:16: a.b.paths: empty: expected at least one path"},
		{"a: {b: {paths: x}}", "s.yaml:1:16: a.b.paths: wrong type: found \"x\", expected a list\n  hint: a list with one element is written [x]"},
		{"a: {b: {paths: [x], path: [y]}}", "s.yaml:1:21: a.b.path: unknown key: expected one of paths, exclude, needs\n  hint: did you mean paths?"},
		{"a: {b: {paths: [/x/../y]}}", "s.yaml:1:17: a.b.paths[0]: impossible path: found \"/x/../y\": expected a clean path below the root"},
		{"a: {b: {paths: [x], needs: [b]}}", "s.yaml:1:29: a.b.needs[0]: needs itself: found \"b\", expected another slice"},
		{"a: {b: {paths: [x], needs: [c/d/e]}}", "s.yaml:1:29: a.b.needs[0]: impossible name: found \"c/d/e\", expected SLICE or PACKAGE/SLICE"},
		{"a: {B: {paths: [x]}}", "s.yaml:1:5: a.B: impossible name: found \"B\", expected lower case letters, digits, \"-\", \"_\", \".\" and \"+\""},
		{"a/b: {c: {paths: [x]}}", "s.yaml:1:1: a/b: impossible name: found \"a/b\", expected the name of a package"},
		{"a: {b: {paths: [x]}, b: {paths: [y]}}", "s.yaml:1:22: a.b: duplicate key: already set in line 1"},
		{"a: {b: {paths: [x]}}\n---\nb: 1", "s.yaml:3:1: slices: second YAML document: found one more after \"---\", expected one"},
	} {
		_, err := slice.Parse("s.yaml", []byte(tc.text))
		if got := fmt.Sprint(err); got != tc.want {
			t.Errorf("%s:\nfound    %s\nexpected %s", tc.text, got, tc.want)
		}
	}
	if _, err := slice.Parse("s.yaml", make([]byte, slice.MaxFileSize+1)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("found %v", err)
	}
}

func TestMergeAndCheck(t *testing.T) {
	a := parse(t, openssl)
	_, err := slice.Merge(a, parse(t, "zlib: {libs: {paths: [x]}}"))
	if err == nil || err.Error() != "slices.yaml:1: slice zlib/libs: defined twice: first at slices.yaml:12" {
		t.Errorf("found %v", err)
	}
	d, err := slice.Merge(a, parse(t, "curl: {bin: {paths: [usr/bin/openssl], needs: [openssl/lib]}}"))
	if err != nil {
		t.Fatal(err)
	}
	problems := d.Check()
	if len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), "slices.yaml:1: slice openssl/lib: unknown slice: found \"lib\", expected one of bin, config, libs") {
		t.Errorf("found %v", problems)
	}
	all := map[string][]*slice.Slice{
		"curl":    {d.Get(slice.Ref{Package: "curl", Name: "bin"})},
		"openssl": {d.Get(slice.Ref{Package: "openssl", Name: "bin"})},
	}
	if c := slice.Conflicts(all); len(c) != 1 || c[0].Error() != "slices.yaml:10: slice openssl/bin: conflict: usr/bin/openssl is a file of curl/bin too, at slices.yaml:1" {
		t.Errorf("found %v", c)
	}
}

// A definition's digest is of what it says and not of where it stands.
func TestDigest(t *testing.T) {
	get := func(text string) apk.SHA256 {
		return slice.Digest([]*slice.Slice{parse(t, text).Get(slice.Ref{Package: "a", Name: "b"})})
	}
	same := get("a: {b: {paths: [x], needs: [c]}}")
	if get("# moved\na:\n  b: {needs: [c], paths: [/x]}") != same {
		t.Error("the place matters")
	}
	var seen []apk.SHA256
	for _, text := range []string{"a: {b: {paths: [x]}}", "a: {b: {paths: [y], needs: [c]}}", "a: {b: {paths: [x], exclude: [y], needs: [c]}}"} {
		if d := get(text); d == same || slices.Contains(seen, d) {
			t.Errorf("%s: same digest", text)
		} else {
			seen = append(seen, d)
		}
	}
}
