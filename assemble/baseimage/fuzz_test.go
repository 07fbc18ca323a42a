package baseimage

import (
	"archive/tar"
	"bytes"
	"testing"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// FuzzFlatten: whatever two layers hold, unpacking them ends in an error or in
// entries that everything after relies on.
func FuzzFlatten(f *testing.F) {
	for _, seed := range [][2][]string{
		{{"d etc 0755", "f etc/motd hello", "l bin usr/bin"}, {"f etc/.wh.motd ", "d bin"}},
		{{"f b x", "h c b", "h a c"}, {"f .wh.b ", "h d c"}},
		{{"d a", "f a/b x"}, {"f a/.wh..wh..opq ", "f a/c x"}},
		{{"d ./", "x a v", "c n"}, {"l a b", "h e a"}},
		{{"f ../x y"}, {"f a/../../b x"}},
	} {
		f.Add(archive(f, seed[0]...), archive(f, seed[1]...))
	}
	f.Fuzz(func(t *testing.T, low, high []byte) {
		fl := newFlattener()
		for i, layer := range [][]byte{low, high} {
			fl.at, fl.member = i, 0
			if err := fl.read(t.Context(), tar.NewReader(bytes.NewReader(layer))); err != nil {
				return
			}
		}
		b := &Base{Layers: make([]layer.Layer, 2)}
		fl.finish(b)
		checkEntries(t, b)
		again := &Base{Layers: make([]layer.Layer, 2)}
		if err := again.take(b.encode()); err != nil || !bytes.Equal(again.encode(), b.encode()) {
			t.Errorf("the list of files: %v", err)
		}
	})
}

// FuzzList: whatever a list of files says, it is refused or is such as unpacking
// gives.
func FuzzList(f *testing.F) {
	b, err := Open(f.Context(), write(f, various(f)), amd64)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.Files())
	f.Add(b.Files()[:len(b.Files())/2])
	f.Fuzz(func(t *testing.T, list []byte) {
		again := &Base{Layers: make([]layer.Layer, 2)}
		if again.take(list) == nil {
			checkEntries(t, again)
		}
	})
}

func checkEntries(t *testing.T, b *Base) {
	t.Helper()
	seen := map[string]apk.EntryType{"": apk.TypeDir}
	for i := range b.Entries {
		e := &b.Entries[i]
		if i > 0 && rootfs.ComparePaths(b.Entries[i-1].Path, e.Path) >= 0 {
			t.Errorf("%q does not come after %q", e.Path, b.Entries[i-1].Path)
		}
		if p, err := clean(e.Path); err != nil || p != e.Path || p == "" {
			t.Errorf("path %q: %v", e.Path, err)
		}
		if seen[parentOf(e.Path)] != apk.TypeDir {
			t.Errorf("%q: its parent is no directory", e.Path)
		}
		if e.Type == apk.TypeHardlink && seen[e.Link] != apk.TypeFile {
			t.Errorf("%q: hard link to %q, which is no file before it", e.Path, e.Link)
		}
		seen[e.Path] = e.Type
	}
	if len(b.places) != len(b.Entries) {
		t.Errorf("%d places for %d entries", len(b.places), len(b.Entries))
	}
	tree := newTree(b.Entries)
	for p := range seen {
		tree.resolve(p + "/a/../b")
	}
}
