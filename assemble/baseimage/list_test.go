package baseimage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// various is an image with all that a list of files can say.
func various(t testing.TB) v1.Image {
	return gzipped(t,
		archive(t, "d ./ 0750", "d etc 0755", "f etc/passwd root:x:0:0::/:/bin/sh", "f etc/gone x", "d usr/bin", "f usr/bin/a program", "h usr/bin/b usr/bin/a", "l bin usr/bin"),
		archive(t, "f etc/.wh.gone ", "x usr/attr value", "c dev/null", "f opt/file later"))
}

func opened(t testing.TB, src Source) *Base {
	t.Helper()
	b, err := Open(t.Context(), src, amd64)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameBase compares all that is known of two bases.
func sameBase(t *testing.T, what string, got, want *Base) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{}), cmpopts.IgnoreFields(Base{}, "Image"), cmp.AllowUnexported(Base{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

// TestPieces takes a base apart and puts it together again, and reads its layers
// from where they are.
func TestPieces(t *testing.T) {
	src := write(t, various(t)).index(t, "P:a\nV:1-r0\nF:usr/bin\nR:a\n\n")
	b := opened(t, src)
	p, err := b.Pieces()
	if err != nil {
		t.Fatal(err)
	}
	again, err := FromPieces(p, amd64)
	if err != nil {
		t.Fatal(err)
	}
	sameBase(t, "put together", again, b)
	if _, err := again.Unpack(t.Context()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("layers that are nowhere: %v", err)
	}
	layers := 0
	from, err := again.WithLayers(func(d v1.Descriptor) (io.ReadCloser, error) {
		layers++
		return os.Open(filepath.Join(src.Image, "blobs/sha256", d.Digest.Hex))
	})
	if err != nil {
		t.Fatal(err)
	}
	list, err := from.Unpack(t.Context())
	if err != nil || !bytes.Equal(list, b.Files()) || layers != 2 {
		t.Errorf("unpacked again: %d bytes, expected %d (%v)", len(list), len(b.Files()), err)
	}
	for i := range from.Entries {
		if e := &from.Entries[i]; e.Path == "opt/file" {
			if text, err := from.ReadFile(t.Context(), i); err != nil || string(text) != "later" {
				t.Errorf("%s: %q, %v", e.Path, text, err)
			}
		}
	}
	wrong, err := again.WithLayers(func(v1.Descriptor) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hello")), nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wrong.Unpack(t.Context()); err == nil {
		t.Error("other bytes were taken for a layer")
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := from.Unpack(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestPiecesAreRefused: they come from whoever made a kit.
func TestPiecesAreRefused(t *testing.T) {
	b := opened(t, write(t, various(t)))
	at := func(b *Base, path string) *apk.Entry {
		for i := range b.Entries {
			if b.Entries[i].Path == path {
				return &b.Entries[i]
			}
		}
		t.Fatalf("no entry %s", path)
		return nil
	}
	for _, c := range []struct {
		name   string
		change func(*Base)
		want   string
	}{
		{"path that climbs", func(b *Base) { at(b, "bin").Path = "../x" }, `path "../x": path leads out of the image`},
		{"path that is not clean", func(b *Base) { at(b, "bin").Path = "./bin" }, `path "./bin": not a clean path`},
		{"no path", func(b *Base) { at(b, "bin").Path = "" }, `path "": not a clean path`},
		{"order", func(b *Base) { at(b, "usr").Path = "a" }, `path "a": after "opt/file"`},
		{"twice", func(b *Base) { at(b, "dev").Path = "bin" }, `path "bin": after "bin"`},
		{"file as a directory", func(b *Base) { at(b, "opt").Type = apk.TypeFile }, `path "opt/file": not in a directory`},
		{"no directory", func(b *Base) { at(b, "opt/file").Path = "opu/file" }, `path "opu/file": not in a directory`},
		{"deletion", func(b *Base) { at(b, "opt/file").Path = "opt/.wh.x" }, `path "opt/.wh.x": a name that means deletion`},
		{"hard link to nothing", func(b *Base) { at(b, "usr/bin/b").Link = "x" }, `path "usr/bin/b": type 'h' with link "x"`},
		{"hard link forwards", func(b *Base) { at(b, "usr/bin/b").Link = "usr/bin/c" }, `with link "usr/bin/c"`},
		{"symbolic link to nothing", func(b *Base) { at(b, "bin").Link = "" }, `path "bin": type `},
		{"type", func(b *Base) { at(b, "bin").Type = 'z' }, `path "bin": type 'z' with link`},
		{"owner's name", func(b *Base) { at(b, "bin").Uname = "root" }, `path "bin": an owner's name`},
		{"owner", func(b *Base) { at(b, "bin").UID = 1 << 40 }, `path "bin": owner 1099511627776:0`},
		{"content", func(b *Base) { b.Contents = map[string][]byte{"etc/passwd": []byte("evil")} }, `path "etc/passwd": its content is another`},
		{"content of nothing", func(b *Base) { b.Contents = map[string][]byte{"x": nil} }, `path "x": its content is another`},
		{"root that is a file", func(b *Base) { b.Root = &apk.Entry{Type: apk.TypeFile} }, `root "" of type `},
		{"layers", func(b *Base) { b.Layers = b.Layers[1:] }, "of 1 layers, the image has 2"},
		{"place in no layer", func(b *Base) { b.places[0].layer = 2 }, "member 7 of layer 2, the image has 2 layers"},
		{"places", func(b *Base) { b.places = b.places[1:] }, "places for "},
	} {
		own := *b
		own.Entries, own.places, own.Layers = append([]apk.Entry{}, b.Entries...), append([]place{}, b.places...), append(own.Layers[:0:0], b.Layers...)
		c.change(&own)
		p, err := b.Pieces()
		if err != nil {
			t.Fatal(err)
		}
		p.Files = own.encode()
		got, err := FromPieces(p, amd64)
		if !errors.Is(err, errList) || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*Pieces)
		want   string
	}{
		{"no list", func(p *Pieces) { p.Files = nil }, "format 0, this version reads 1"},
		{"list cut short", func(p *Pieces) { p.Files = p.Files[:20] }, "unexpected EOF"},
		{"unknown field", func(p *Pieces) { p.Files = appendVarint(p.Files, 9, 1) }, "field 9"},
		{"wire type", func(p *Pieces) { p.Files = append(p.Files, 0x0d) }, "field 1 has wire type 5"},
		{"no manifest", func(p *Pieces) { p.Manifest = []byte("hello") }, "invalid character 'h'"},
		{"another configuration", func(p *Pieces) { p.Config = []byte("{}") }, "configuration: "},
		{"list of packages", func(p *Pieces) { p.Packages = []byte("X") }, "the list of its packages: installed database line 1"},
	} {
		p, err := b.Pieces()
		if err != nil {
			t.Fatal(err)
		}
		c.change(&p)
		if got, err := FromPieces(p, amd64); err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
	}
	p, _ := b.Pieces()
	arm := amd64
	arm.Architecture = "arm64"
	if _, err := FromPieces(p, arm); err == nil || err.Error() != "image for linux/amd64: expected one for linux/arm64" {
		t.Errorf("another architecture: %v", err)
	}
}

// TestUnpackedOnce: with a store the layers are inflated once.
func TestUnpackedOnce(t *testing.T) {
	src := write(t, various(t))
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	want := opened(t, src)
	src.Store = st
	sameBase(t, "first", opened(t, src), want)
	for i := range want.Layers {
		if err := os.Rename(filepath.Join(src.Image, "blobs/sha256", want.Layers[i].Digest.Hex), filepath.Join(t.TempDir(), "layer")); err != nil {
			t.Fatal(err)
		}
	}
	sameBase(t, "without its layers", opened(t, src), want)

	// The list is hashed whenever it is used; a damaged one is no list.
	damage(t, st.Dir())
	if _, err := Open(t.Context(), src, amd64); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("damaged: error %v, expected the layers to be missed", err)
	}
	// One that says something impossible is none either.
	if _, err := st.PutObject(t.Context(), kindFiles, want.key(), func(w io.Writer) error { _, err := w.Write([]byte("hello")); return err }); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), src, amd64); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("strange: error %v, expected the layers to be missed", err)
	}
	if r, err := st.Prune(t.Context(), store.PruneOptions{MaxSize: 1}); err != nil || r.Kept.Count != 0 {
		t.Errorf("pruned: %+v, %v", r, err)
	}
}

// damage changes a byte in each large file of a store.
func damage(t *testing.T, dir string) {
	t.Helper()
	n := 0
	err := filepath.WalkDir(filepath.Join(dir, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		b[len(b)/2] ^= 1
		n++
		return errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, b, 0o644))
	})
	if err != nil || n == 0 {
		t.Fatalf("%d files damaged: %v", n, err)
	}
}

// TestAStoreThatTakesNothing is no reason to fail.
func TestAStoreThatTakesNothing(t *testing.T) {
	dir := t.TempDir()
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, part := range []string{"tmp", "blobs", "objects"} {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, part), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	src := write(t, various(t))
	src.Store = st
	if b := opened(t, src); len(b.Entries) == 0 {
		t.Error("nothing was unpacked")
	}
}

func TestOwnersThatAreNone(t *testing.T) {
	for _, h := range []string{"f a x", "d a", "l a b"} {
		low, content := member(t, h)
		low.Uid = -1
		f := newFlattener()
		if err := f.apply(low, strings.NewReader(content)); err == nil || !strings.Contains(err.Error(), "owner -1:0, device 0:0: expected numbers of at most 32 bits") {
			t.Errorf("%s: %v", h, err)
		}
	}
}

// BenchmarkOpen opens a base image of 20,000 files and 100 MB, with its list of
// files in a store and without.
func BenchmarkOpen(b *testing.B) {
	var lines []string
	noise := make([]byte, 5000)
	x := uint32(1)
	for i := range 20000 {
		for n := range noise {
			x = x*1664525 + 1013904223
			noise[n] = byte(x>>24)&63 + 32
		}
		lines = append(lines, "f usr/share/"+string(rune('a'+i%26))+"/"+strings.Repeat("x", i%40)+string(rune('a'+i/26%26))+string(rune('a'+i/676%26))+string(rune('a'+i/17576))+" "+string(noise))
	}
	src := write(b, gzipped(b, archive(b, lines...)))
	st, err := store.Open(b.TempDir(), store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	for _, c := range []struct {
		name string
		st   *store.Store
	}{{"unpacked", nil}, {"kept", st}} {
		src.Store = c.st
		opened(b, src)
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				opened(b, src)
			}
		})
	}
}

// TestTheListStays: locks hold its digest, so a change of the encoding needs another
// listFormat, and locks made anew.
func TestTheListStays(t *testing.T) {
	const want = "sha256:1a62263e2abf843bb6d74377a665c26951c2f82520023a9d6f6db36e524938d1"
	if got := opened(t, write(t, various(t))).FilesDigest().String(); got != want {
		t.Errorf("list of files %s, expected %s", got, want)
	}
}

// TestTheListIsOfFiles, and not of how layers are compressed.
func TestTheListIsOfFiles(t *testing.T) {
	tar := archive(t, "d etc 0755", "f etc/passwd root:x:0:0::/:/bin/sh", "l a etc")
	var want []byte
	for _, mt := range []types.MediaType{types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.DockerLayer} {
		b := opened(t, write(t, newImage(t, linuxAMD64, newBlob(t, tar, mt))))
		if want == nil {
			want = b.Files()
		}
		if !bytes.Equal(b.Files(), want) {
			t.Errorf("%s: another list", mt)
		}
		if b.Layers[0].Inflated != int64(len(tar)) {
			t.Errorf("%s: inflates to %d bytes, expected %d", mt, b.Layers[0].Inflated, len(tar))
		}
	}
}

// TestOrderOfPaths is that of trees.
func TestOrderOfPaths(t *testing.T) {
	paths := []string{"a", "a/b", "a/b/c", "a/b-", "a-", "a.b", "ab", "b", "a//b", "A", "a/c"}
	for _, p := range paths {
		for _, q := range paths {
			if got, want := comesAfter(p, q), rootfs.ComparePaths(p, q) > 0; got != want {
				t.Errorf("%q after %q: %v, expected %v", p, q, got, want)
			}
		}
	}
}

// TestKeptByDigest: another image has another list.
func TestKeptByDigest(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var digests []apk.SHA256
	for _, text := range []string{"one", "two", "one"} {
		src := write(t, gzipped(t, archive(t, "f etc "+text)))
		src.Store = st
		digests = append(digests, opened(t, src).FilesDigest())
	}
	if digests[0] == digests[1] || digests[0] != digests[2] {
		t.Errorf("lists %v", digests)
	}
	info, err := st.Info()
	if err != nil || info.Objects[kindFiles].Count != 2 {
		t.Errorf("%+v, %v: expected two lists", info.Objects, err)
	}
}

// TestCancelledWithAStore stops, whether the list is there or not.
func TestCancelledWithAStore(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	src := write(t, various(t))
	src.Store = st
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 {
		if b, err := Open(ctx, src, amd64); !errors.Is(err, context.Canceled) || b != nil {
			t.Errorf("%v, %v", b, err)
		}
		opened(t, src)
	}
}

// TestLayersAreDescribed without reading them; what cannot be a layer is refused.
func TestLayersAreDescribed(t *testing.T) {
	b := opened(t, write(t, various(t)))
	own := &Base{Image: b.Image}
	if err := own.describe(); err != nil {
		t.Fatal(err)
	}
	for i := range own.Layers {
		want := b.Layers[i]
		want.Inflated = 0
		if diff := cmp.Diff(want, own.Layers[i]); diff != "" {
			t.Errorf("layer %d:\n%s", i, diff)
		}
	}
	strange := &Base{Image: newImage(t, linuxAMD64, newBlob(t, archive(t, "f a x"), "application/x-strange"))}
	var wrong *LayerError
	if err := strange.describe(); !errors.As(err, &wrong) || wrong.Layer != 1 || !strings.Contains(err.Error(), `media type "application/x-strange": expected a tar`) {
		t.Errorf("%v", err)
	}
	if err := (&Base{Image: newImage(t, linuxAMD64)}).describe(); err == nil || err.Error() != "0 layers: expected 1 to 124" {
		t.Errorf("%v", err)
	}
}

// TestOnlyTheListIsTaken: what a store or a kit gives is read as a whole or not at
// all, and a base without layers to read still says what is in it.
func TestOnlyTheListIsTaken(t *testing.T) {
	b := opened(t, write(t, various(t)))
	for n := range len(b.Files()) {
		own := &Base{Image: b.Image}
		if err := own.describe(); err != nil {
			t.Fatal(err)
		}
		if err := own.take(b.Files()[:n]); !errors.Is(err, errList) {
			t.Errorf("%d of %d bytes: error %v", n, len(b.Files()), err)
		}
	}
	p, err := b.Pieces()
	if err != nil {
		t.Fatal(err)
	}
	again, err := FromPieces(p, amd64)
	if err != nil {
		t.Fatal(err)
	}
	kept := 0
	for i := range again.Entries {
		e := &again.Entries[i]
		if e.Type != apk.TypeFile {
			if _, err := again.ReadFile(t.Context(), i); err == nil {
				t.Errorf("/%s was read, and is no file", e.Path)
			}
			continue
		}
		text, err := again.ReadFile(t.Context(), i)
		if want, ok := again.Contents[e.Path]; ok {
			kept++
			if err != nil || !bytes.Equal(text, want) {
				t.Errorf("/%s: %q, %v", e.Path, text, err)
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("/%s: %q, %v: expected its layer to be missed", e.Path, text, err)
		}
	}
	if kept == 0 {
		t.Error("no content is kept")
	}
}

// TestLinksOfAList are such as unpackers take.
func TestLinksOfAList(t *testing.T) {
	for _, c := range []struct {
		link string
		ok   bool
	}{
		{"usr/bin", true}, {"/usr/bin", true}, {"../x", true}, {strings.Repeat("x", maxPath), true},
		{"", false}, {"a\x00b", false}, {strings.Repeat("x", maxPath+1), false},
	} {
		e := &apk.Entry{Path: "bin", Type: apk.TypeSymlink, Link: c.link}
		if err := checkEntry(e, nil); (err == nil) != c.ok {
			t.Errorf("link to %.20q of %d bytes: %v", c.link, len(c.link), err)
		}
	}
}
