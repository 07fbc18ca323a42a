package slice_test

import (
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/slice"
	"github.com/cairn-dev/cairn/packages/apk"
)

// FuzzParse reads any text; what is accepted can be used.
func FuzzParse(f *testing.F) {
	f.Add([]byte(openssl))
	f.Add([]byte("a: &x {b: {paths: [x]}}\nc: *x"))
	f.Add([]byte("a: {b: {paths: ['[^/']}}"))
	f.Add([]byte("a: {<<: {b: 1}}"))
	entries := []apk.Entry{{Path: "usr", Type: apk.TypeDir}, {Path: "usr/a", Type: apk.TypeFile}}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := slice.Parse("fuzz", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "fuzz:") {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		d.Check()
		for _, pkg := range d.Packages() {
			for _, name := range d.Names(pkg) {
				s, err := d.Lookup(slice.Ref{Package: pkg, Name: name})
				if err != nil {
					t.Fatal(err)
				}
				if keep, err := slice.Keep(t.Context(), entries, []*slice.Slice{s}); err == nil && keep[1] && !keep[0] {
					t.Fatal("a file without its directory")
				}
			}
		}
	})
}

// FuzzPattern holds matching against the plain recursive rule.
func FuzzPattern(f *testing.F) {
	f.Add("a/**/b/*", "a/x/b/c", false)
	f.Add("**/**/", "a/b", true)
	f.Fuzz(func(t *testing.T, pattern, file string, dir bool) {
		p, err := slice.ParsePattern(pattern)
		if err != nil || len(file) > 40 || strings.Count(pattern, "**") > 6 {
			return
		}
		body, onlyDir := strings.CutSuffix(strings.TrimPrefix(pattern, "/"), "/")
		names := strings.Split(body, "/")
		want := plain(names, strings.Split(file, "/"))
		if dir && !onlyDir && names[len(names)-1] != "**" || onlyDir && !dir {
			want = false
		}
		if got := p.Match(file, dir); got != want {
			t.Fatalf("%q on %q: %v", pattern, file, got)
		}
	})
}

// plain is the rule for "**" without any cleverness.
func plain(pattern, names []string) bool {
	switch {
	case len(pattern) == 0:
		return len(names) == 0
	case pattern[0] == "**":
		return plain(pattern[1:], names) || len(names) > 0 && plain(pattern, names[1:])
	case len(names) == 0:
		return false
	}
	one, err := slice.ParsePattern(pattern[0])
	return err == nil && one.Match(names[0], false) && plain(pattern[1:], names[1:])
}
