package lock

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestStaleSlices(t *testing.T) {
	one := Slice{Package: "a", Slices: []string{"bin"}, Definition: apk.SHA256{1}}
	other := Slice{Package: "b", Slices: []string{"bin", "lib"}, Definition: apk.SHA256{2}}
	more, moved := other, other
	more.Slices, moved.Definition = []string{"lib"}, apk.SHA256{3}
	for _, tc := range []struct {
		old, now []Slice
		want     []string
	}{
		{[]Slice{one, other}, []Slice{one, other}, nil},
		{nil, []Slice{one}, []string{"slices of a: locked all of it, now bin"}},
		{[]Slice{one, other}, []Slice{other}, []string{"slices of a: locked bin, now none"}},
		{[]Slice{other}, []Slice{more}, []string{"slices of b: locked bin, lib, now lib"}},
		{[]Slice{other}, []Slice{moved}, []string{"slices of b: their definition changed"}},
	} {
		l := &Lock{Cairn: &Cairn{Request: Request{Slices: tc.old}}}
		if diff := cmp.Diff(tc.want, l.Stale(Request{Slices: tc.now})); diff != "" {
			t.Error(diff)
		}
	}
	l := &Lock{Cairn: &Cairn{Request: Request{Slices: []Slice{other}}}}
	if !slices.Equal(l.SlicesOf("b"), other.Slices) || l.SlicesOf("a") != nil {
		t.Errorf("found %v and %v", l.SlicesOf("b"), l.SlicesOf("a"))
	}
}

// Records of slices that say nothing, or two things, are no lock.
func TestSlicesAreChecked(t *testing.T) {
	whole := SliceFiles{Architecture: "x86_64", Package: "a", Slices: []string{"bin"}, Files: apk.SHA256{1}}
	none := whole
	none.Slices = nil
	for _, tc := range []struct {
		list []SliceFiles
		want string
	}{
		{[]SliceFiles{whole}, ""},
		{[]SliceFiles{none}, "cairn.slices[0]: architecture, package, slices and files are required"},
		{[]SliceFiles{whole, whole}, "cairn.slices[1]: a stands twice for x86_64"},
	} {
		l := &Lock{Version: Version, Cairn: &Cairn{Format: FormatSlices, Slices: tc.list}}
		text, err := l.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(text)
		if got := ""; err != nil {
			if got = err.Error(); tc.want == "" || !strings.HasSuffix(got, tc.want) {
				t.Errorf("found %q, expected %q", got, tc.want)
			}
		} else if tc.want != "" {
			t.Errorf("no error, expected %q", tc.want)
		}
	}
}
