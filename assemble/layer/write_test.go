package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"io"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

func openStore(t testing.TB) *store.Store {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st
}

// ingest builds a package and puts it into the store.
func ingest(t testing.TB, st *store.Store, spec apktest.Spec) *store.Receipt {
	t.Helper()
	raw, p := apktest.BuildEntry(spec)
	r, err := st.Ingest(t.Context(), bytes.NewReader(raw), store.Expect{Checksum: p.Checksum})
	if err != nil {
		t.Fatalf("package %s: %v", spec.Package.Name, err)
	}
	return r
}

// onDisk turns the invented packages of a world into real ones in a store.
func (w *world) onDisk(t testing.TB, st *store.Store) {
	t.Helper()
	for i := range w.tree.Packages {
		r := w.tree.Packages[i].Receipt
		spec := apktest.Spec{Package: apk.Package{Name: r.Package.Name, Version: "1-r0", Arch: "x86_64", Origin: r.Package.Origin}}
		for _, e := range r.Entries {
			f := apktest.File{Path: e.Path, Type: e.Type, Mode: int64(e.Mode), UID: e.UID, GID: e.GID,
				Link: e.Link, Xattrs: e.Xattrs, MTime: e.MTime}
			if e.Type == apk.TypeFile {
				f.Content = w.contents[e.SHA256]
			}
			spec.Files = append(spec.Files, f)
		}
		spec.DirSlash = i%2 == 0
		spec.TrailingZeroBlocks = 2 + i%3*9
		spec.NoEndOfArchive = i%7 == 3
		raw, p := apktest.BuildEntry(spec)
		got, err := st.Ingest(t.Context(), bytes.NewReader(raw), store.Expect{Checksum: p.Checksum})
		if err != nil { // the store refuses some of what chance comes up with
			w.tree.Packages[i].Receipt = ingest(t, st, apktest.Spec{Package: spec.Package})
			continue
		}
		w.tree.Packages[i].Receipt = got
	}
}

func newRealWorld(t testing.TB, st *store.Store, seed uint64, packages int) *world {
	w := newWorld(seed, packages)
	w.onDisk(t, st)
	w.tree.Entries = nil
	w.install()
	w.configure()
	return w
}

// readLayer lists a written layer's members as an unpacker sees them.
func readLayer(t testing.TB, l *Layer) []apk.Entry {
	t.Helper()
	rc, err := l.AsV1().Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	var out []apk.Entry
	tr := tar.NewReader(rc)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("layer %s: %v", l.Kind, err)
		}
		out = append(out, entryOf(t, h, tr))
	}
}

func entryOf(t testing.TB, h *tar.Header, content io.Reader) apk.Entry {
	t.Helper()
	e := apk.Entry{Path: strings.TrimPrefix(path.Clean("/"+h.Name), "/"), Mode: uint32(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid,
		MTime: h.ModTime.Unix(), Link: h.Linkname, DevMajor: h.Devmajor, DevMinor: h.Devminor}
	types := map[byte]apk.EntryType{tar.TypeReg: 'f', tar.TypeDir: 'd', tar.TypeSymlink: 'l', tar.TypeLink: 'h',
		tar.TypeChar: 'c', tar.TypeBlock: 'b', tar.TypeFifo: 'p'}
	if e.Type = types[h.Typeflag]; e.Type == 0 {
		t.Fatalf("%s: type flag %q", h.Name, h.Typeflag)
	}
	if e.Type == apk.TypeHardlink {
		e.Link = strings.TrimPrefix(path.Clean("/"+e.Link), "/")
	}
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, xattrPrefix); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[name] = v
		}
	}
	if e.Type == apk.TypeFile {
		sum := sha256.New()
		n, err := io.Copy(sum, content)
		if err != nil {
			t.Fatal(err)
		}
		e.Size = n
		sum.Sum(e.SHA256[:0])
	}
	return e
}

func readLayers(t testing.TB, layers []Layer) [][]apk.Entry {
	out := make([][]apk.Entry, len(layers))
	for i := range layers {
		out[i] = readLayer(t, &layers[i])
	}
	return out
}

// imageOf puts layers into an image and validates it: every digest, diff ID
// and size against the bytes.
func imageOf(t testing.TB, layers []Layer) v1.Image {
	t.Helper()
	vs := make([]v1.Layer, len(layers))
	for i, l := range layers {
		vs[i] = l.AsV1()
		if err := validate.Layer(vs[i]); err != nil {
			t.Fatalf("layer %d, %s: %v", i, l.Kind, err)
		}
	}
	img, err := mutate.AppendLayers(empty.Image, vs...)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Fatal(err)
	}
	return img
}

func mustPlan(t testing.TB, tree *rootfs.Tree, o Options) *Plan {
	t.Helper()
	p, err := New(tree, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mustWrite(t testing.TB, p *Plan, st *store.Store) []Layer {
	t.Helper()
	layers, err := p.Write(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	checkOutline(t, p, layers)
	return layers
}

// TestProperty_WrittenLayersGiveTheTree does with bytes what
// TestProperty_UnpackingGivesTheTree does on paper, and checks that a second
// writing gives the same.
func TestProperty_WrittenLayersGiveTheTree(t *testing.T) {
	rounds := 24
	if testing.Short() {
		rounds = 6
	}
	st := openStore(t)
	kinds := map[Kind]int{}
	keys := map[string]string{}
	for seed := range uint64(rounds) {
		w := newRealWorld(t, st, 1e6+seed, 2+int(seed%12))
		for _, o := range []Options{{}, {Budget: 3}, {Strategy: PerOrigin, Budget: 4}, {Strategy: Single}} {
			p := mustPlan(t, w.tree, o)
			layers := mustWrite(t, p, st)
			imageOf(t, layers)
			checkWritten(t, p, layers)
			again := mustWrite(t, mustPlan(t, w.tree, o), st)
			if d := cmp.Diff(layers, again); d != "" {
				t.Errorf("second writing differs: %s", d)
			}
			checkElsewhere(t, p, st, layers, keys)
			if t.Failed() {
				t.Fatalf("seed %d, %s/%d", seed, o.Strategy, o.Budget)
			}
			for _, l := range layers {
				kinds[l.Kind]++
			}
		}
	}
	for _, k := range []Kind{Verbatim, Rewritten, Packed, Top} {
		if kinds[k] == 0 {
			t.Errorf("no %s layer", k)
		}
	}
	t.Log(kinds)
}

// checkWritten checks everything about written layers but their digests.
func checkWritten(t *testing.T, p *Plan, layers []Layer) {
	t.Helper()
	entries := readLayers(t, layers)
	checkUnpacked(t, p.t.tree, entries)
	checkNoDuplicates(t, layers, entries)
	checkDescription(t, p, layers, entries)
}

// checkNoDuplicates makes sure that no path but a directory stands twice in a
// layer we made: readers that take the first of two exist.
func checkNoDuplicates(t *testing.T, layers []Layer, entries [][]apk.Entry) {
	t.Helper()
	for i := range layers {
		seen := map[string]apk.EntryType{}
		for _, e := range entries[i] {
			if old, ok := seen[e.Path]; ok && (old != apk.TypeDir || e.Type != apk.TypeDir) {
				t.Errorf("layer %d, %s: %s stands twice", i, layers[i].Kind, e.Path)
			}
			seen[e.Path] = e.Type
		}
	}
}

// checkDescription compares what was said before writing with what came out.
func checkDescription(t *testing.T, p *Plan, layers []Layer, entries [][]apk.Entry) {
	t.Helper()
	d, err := p.Describe()
	if err != nil {
		t.Fatal(err)
	}
	if len(d.Layers) != len(layers) {
		t.Fatalf("%d layers described, %d written", len(d.Layers), len(layers))
	}
	for i, l := range layers {
		g := d.Layers[i]
		if g.Kind != l.Kind || g.Inflated != l.Inflated || g.Entries != len(entries[i]) {
			t.Errorf("layer %d: described as %s of %d bytes with %d entries, is %s of %d with %d", i,
				g.Kind, g.Inflated, g.Entries, l.Kind, l.Inflated, len(entries[i]))
		}
		if l.Kind == Verbatim && (g.Digest.Hex() != l.Digest.Hex || g.DiffID.Hex() != l.DiffID.Hex || g.Size != l.Size) {
			t.Errorf("layer %d: described as %s, is %s", i, g.Digest, l.Digest)
		}
		if p.Comment(i) == "" {
			t.Errorf("layer %d: no comment", i)
		}
	}
}
