package layer

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// mixed is a tree that has a layer of every kind when planned with mixedPlan.
func mixed(t *testing.T, st *store.Store) *rootfs.Tree {
	t.Helper()
	specs := []apktest.Spec{
		pkg("big", file("usr/lib/big", strings.Repeat("big data ", 40000))),
		pkg("a", file("usr/bin/a", "a")), pkg("b", file("usr/bin/b", "b")),
		{Package: apk.Package{Name: "odd", Version: "1"}, Files: []apktest.File{file("odd", strings.Repeat("odd", 90000))}, NoEndOfArchive: true},
	}
	tree := plainTree(t, st, specs...)
	put(tree, apk.Entry{Path: "installed", Type: apk.TypeFile, Mode: 0o644}, strings.Repeat("database ", 40000))
	return tree
}

func mixedPlan(t *testing.T, tree *rootfs.Tree) *Plan {
	p := mustPlan(t, tree, Options{Budget: 4})
	if got := kindsOf(p); got != "verbatim big|packed a b|rewritten odd" {
		t.Fatalf("plan is %s", got)
	}
	return p
}

// files lists what is in the store, with sizes and times of change.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		i, err := d.Info()
		if err == nil {
			out[p] = i.ModTime().String()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apko compresses everything again in every build; here the second writing
// writes nothing at all.
func TestApkoDefect_WarmWriteWritesNothing(t *testing.T) {
	st := openStore(t)
	tree := mixed(t, st)
	for _, plan := range []func() *Plan{
		func() *Plan { return mixedPlan(t, tree) },
		func() *Plan { return mustPlan(t, tree, Options{Strategy: Single}) },
	} {
		first := mustWrite(t, plan(), st)
		before := files(t, filepath.Join(st.Dir(), "blobs"))
		second := mustWrite(t, plan(), st)
		if d := cmp.Diff(first, second); d != "" {
			t.Error(d)
		}
		if d := cmp.Diff(before, files(t, filepath.Join(st.Dir(), "blobs"))); d != "" {
			t.Error(d)
		}
	}
}

// The result does not depend on what the store holds.
func TestWrite_ColdAndWarmAgree(t *testing.T) {
	one, two := openStore(t), openStore(t)
	a := mustWrite(t, mixedPlan(t, mixed(t, one)), one)
	tree := mixed(t, two)
	mustWrite(t, mustPlan(t, tree, Options{Strategy: Single}), two) // other objects in the way
	b := mustWrite(t, mixedPlan(t, tree), two)
	for i := range a {
		a[i].Path, b[i].Path = "", ""
	}
	if d := cmp.Diff(a, b); d != "" {
		t.Error(d)
	}
}

// A segment that is kept gives the same bytes as one that is made on the fly.
func TestWrite_SegmentsChangeNothing(t *testing.T) {
	st := openStore(t)
	p := mixedPlan(t, mixed(t, st))
	direct := mustWrite(t, p, st)[1]
	w := &writer{p: p, st: st}
	recipes, err := w.recipes(&p.layers[1])
	if err != nil {
		t.Fatal(err)
	}
	dirs, err := p.layers[1].dirHeaders()
	if err != nil {
		t.Fatal(err)
	}
	pk := &packing{dirs: dirs, recipes: recipes, segments: make([]store.Object, len(recipes))}
	for i, r := range recipes {
		if pk.segments[i], err = w.segment(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := pk.join(t.Context(), st, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if ociHash(b.diffID) != direct.DiffID || b.inflated != direct.Inflated {
		t.Errorf("diff ID %s, want %s", b.diffID, direct.DiffID)
	}
	b, err = w.make(t.Context(), "test", func(out io.Writer) (*blob, error) { return pk.join(t.Context(), st, out) })
	if err != nil || ociHash(b.digest) != direct.Digest {
		t.Errorf("digest %v, want %s: %v", b, direct.Digest, err)
	}
}

// flip damages a file of the store at a position.
func flip(t *testing.T, name string, at int) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b[(at+len(b))%len(b)] ^= 0x20
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// apko trusts what is in its cache. Here a damaged data section is an error,
// and a damaged derived blob is made again.
func TestApkoDefect_CachedDataIsNotTrusted(t *testing.T) {
	for _, at := range []int{0, 12, 100, -9, -1} {
		st := openStore(t)
		tree := mixed(t, st)
		layers := mustWrite(t, mixedPlan(t, tree), st)
		for i, l := range layers {
			if l.Path == "" {
				continue
			}
			flip(t, l.Path, at)
			again, err := mixedPlan(t, tree).Write(t.Context(), st)
			if l.Kind == Verbatim {
				if !errors.Is(err, store.ErrCorrupt) {
					t.Errorf("%s layer, byte %d: %v, want a corrupt package", l.Kind, at, err)
				}
				tree = mixed(t, st) // fetch it again
				continue
			}
			if err != nil {
				t.Fatalf("%s layer, byte %d: %v", l.Kind, at, err)
			}
			if d := cmp.Diff(layers[i], again[i]); d != "" {
				t.Errorf("%s layer, byte %d: %s", l.Kind, at, d)
			}
			imageOf(t, again)
		}
	}
}

// What the tree says about a file is checked when its bytes are written.
func TestWrite_ContentIsChecked(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("a", "content")))
	r := *tree.Packages[0].Receipt
	r.Entries = append([]apk.Entry(nil), r.Entries...)
	r.Entries[0].SHA256[0] ^= 1
	tree.Packages[0].Receipt = &r
	tree.Entries[0].Entry = r.Entries[0]
	tree.Entries[0].Mode = 0o600
	_, err := mustPlan(t, tree, Options{}).Write(t.Context(), st)
	if err == nil || !strings.Contains(err.Error(), "a: content has sha256 ") {
		t.Errorf("got %v, want a content error", err)
	}
}

func TestWrite_MissingPackage(t *testing.T) {
	tree := mixed(t, openStore(t))
	_, err := mixedPlan(t, tree).Write(t.Context(), openStore(t))
	if !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}

func TestWrite_Cancelled(t *testing.T) {
	st := openStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, o := range []Options{{}, {Strategy: Single}, {Compat: true}} {
		layers, err := mustPlan(t, mixed(t, st), o).Write(ctx, st)
		if !errors.Is(err, context.Canceled) || layers != nil {
			t.Errorf("%+v: %v, %v; want %v", o, layers, err, context.Canceled)
		}
	}
}

// Cached bytes carry the name of what made them; this fails when go.mod moves
// on and the constant does not.
func TestCompressorIsNamed(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range []string{"github.com/klauspost/compress", "github.com/klauspost/pgzip"} {
		for line := range strings.Lines(string(mod)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, module+" ") && !strings.Contains(compressor+", "+apkoCompressor, line) {
				t.Errorf("go.mod has %s, the cache keys say %q and %q", line, compressor, apkoCompressor)
			}
		}
	}
}

// The bytes of small layers, so that a change of them does not go unnoticed:
// it would change every image.
func TestWrite_StableBytes(t *testing.T) {
	st := openStore(t)
	var got []string
	for _, l := range mustWrite(t, mixedPlan(t, mixed(t, st)), st) {
		got = append(got, string(l.Kind)+" "+l.DiffID.Hex[:16]+" "+l.Digest.Hex[:16])
	}
	got = append(got, "single "+mustWrite(t, mustPlan(t, mixed(t, st), Options{Strategy: Single}), st)[0].Digest.Hex[:16])
	want := []string{
		"verbatim 904543ef8482184d 0cd4a5ff384694c3",
		"packed ecb8c3eb0d1fd14a 213eb3d73978fd09",
		"rewritten f10ee312c2d6b45e 22d04ba30f75a57e",
		"top 1effab9cf7926988 8bf208b3245906ee",
		"single 6141b3c1075df87b",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func FuzzPlan(f *testing.F) {
	f.Add(uint64(1), byte(3), byte(0))
	f.Add(uint64(99), byte(12), byte(3))
	f.Add(uint64(7), byte(20), byte(1))
	f.Fuzz(func(t *testing.T, seed uint64, packages, budget byte) {
		w := newWorld(seed, int(packages%24))
		p := mustPlan(t, w.tree, Options{Budget: int(budget % 20)})
		checkUnpacked(t, w.tree, p.entriesOf())
	})
}
