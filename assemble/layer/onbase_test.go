package layer

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// baseFrom makes a base image of a tree, whatever it came from.
func baseFrom(t testing.TB, tree *rootfs.Tree) *rootfs.Base {
	t.Helper()
	b := &rootfs.Base{Receipt: &store.Receipt{}, Owners: make([]rootfs.BaseOwner, len(tree.Entries))}
	first := map[string]string{} // path that holds a content → first name of it
	for i := range tree.Entries {
		e := &tree.Entries[i]
		leader := e.Path
		if e.Type == apk.TypeHardlink {
			leader = e.Link
		}
		entry := *expectedEntry(t, tree, tree.Lookup(leader))
		entry.Path = e.Path
		if name, ok := first[leader]; ok && entry.Type == apk.TypeFile {
			entry.Type, entry.Link, entry.Size, entry.SHA256 = apk.TypeHardlink, name, 0, apk.SHA256{}
		} else {
			first[leader] = e.Path
		}
		b.Receipt.Entries = append(b.Receipt.Entries, entry)
	}
	return b
}

func expectedEntry(t testing.TB, tree *rootfs.Tree, e *rootfs.Entry) *apk.Entry {
	t.Helper()
	w, err := wanted(tree, e)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// stand puts a tree on a base: what the tree has at a path, it has; the rest of
// the base stays, as far as it can.
func stand(tree *rootfs.Tree, base *rootfs.Base) {
	tree.Base = base
	has := map[string]apk.EntryType{}
	for i := range tree.Entries {
		has[tree.Entries[i].Path] = tree.Entries[i].Type
	}
	first := map[string]string{}
	for i := range base.Receipt.Entries {
		e := rootfs.Entry{Entry: base.Receipt.Entries[i], Package: len(tree.Packages), Member: i, Owner: rootfs.Owner{Kind: rootfs.OwnedByBase, Name: "image"}}
		if _, taken := has[e.Path]; taken || hidden(has, e.Path) {
			continue
		}
		if leader := leaderOf(&e.Entry); e.Type == apk.TypeFile || e.Type == apk.TypeHardlink {
			content := base.Receipt.Entries[contentMember(base.Receipt.Entries, i)]
			if name, ok := first[leader]; ok {
				e.Type, e.Link = apk.TypeHardlink, name
			} else {
				first[leader] = e.Path
				e.Type, e.Link, e.Size, e.SHA256 = apk.TypeFile, "", content.Size, content.SHA256
			}
		}
		tree.Entries = append(tree.Entries, e)
	}
	sortTree(tree)
}

func leaderOf(e *apk.Entry) string {
	if e.Type == apk.TypeHardlink {
		return e.Link
	}
	return e.Path
}

// hidden tells whether something above a path is no directory.
func hidden(has map[string]apk.EntryType, p string) bool {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if typ, ok := has[dir]; ok && typ != apk.TypeDir {
			return true
		}
	}
	return false
}

// TestProperty_OnBase: whatever is below, unpacking base and layers gives the
// tree, and the layers hold nothing that the base has.
func TestProperty_OnBase(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 40
	}
	for seed := range uint64(rounds) {
		base := baseFrom(t, newWorld(2e6+seed, 1+int(seed%9)).tree)
		for _, o := range []Options{{}, {Budget: 4, Base: make([]Layer, 2)}, {Budget: 3, Base: make([]Layer, 2)}, {Base: make([]Layer, 124)}} {
			w := newWorld(seed, 1+int(seed%11))
			stand(w.tree, base)
			p, err := New(w.tree, o)
			if err != nil {
				t.Fatalf("seed %d, %d layers below: %v", seed, len(o.Base), err)
			}
			layers := p.entriesOf()
			if n := len(layers) + len(o.Base); n > max(o.Budget, DefaultBudget) && n > MaxLayers {
				t.Errorf("%d layers", n)
			}
			checkUnpacked(t, w.tree, append([][]apk.Entry{linksLast(base.Receipt.Entries)}, layers...))
			if t.Failed() {
				t.Fatalf("seed %d, %d layers below", seed, len(o.Base))
			}
		}
	}
}

// linksLast orders entries as an archive holds them.
func linksLast(entries []apk.Entry) []apk.Entry {
	out := slices.Clone(entries)
	slices.SortStableFunc(out, func(a, b apk.Entry) int { return linkLast(&a) - linkLast(&b) })
	return out
}

// TestOnBase: what is as the base has it is in no layer.
func TestOnBase(t *testing.T) {
	st := openStore(t)
	below := plainTree(t, st, pkg("low", dir("etc", 0o755), file("etc/low", "low"), file("usr/lib/low", "low"), hard("usr/lib/twin", "usr/lib/low")))
	for _, test := range []struct {
		name   string
		specs  []apktest.Spec
		opts   Options
		change func(*rootfs.Tree)
		layers string
		top    string
	}{
		{name: "nothing on top"},
		{name: "a package", specs: []apktest.Spec{pkg("a", file("opt/a", "a"))}, layers: "verbatim a"},
		{name: "in a directory of the base", specs: []apktest.Spec{pkg("a", file("usr/lib/a", "a"))}, layers: "verbatim a"},
		{name: "a directory of the base stays", specs: []apktest.Spec{pkg("a", dir("etc", 0o700), file("etc/a", "a"))}, layers: "verbatim a", top: "etc",
			change: func(tree *rootfs.Tree) { tree.Lookup("etc").Mode = 0o755 }},
		{name: "a file of the base stays", specs: []apktest.Spec{pkg("a", dir("etc", 0o755), file("etc/low", "high"))}, layers: "verbatim a", top: "etc etc/low",
			change: func(tree *rootfs.Tree) {
				e := tree.Lookup("etc/low")
				e.Entry, e.Package, e.Member = tree.Base.Receipt.Entries[1], len(tree.Packages), 1
			}},
		{name: "a path of the base goes", top: "etc etc/.wh.low", change: func(tree *rootfs.Tree) { remove(tree, "etc/low") }},
		{name: "in one layer", specs: []apktest.Spec{pkg("a", file("opt/a", "a")), pkg("b", file("etc/b", "b"))}, opts: Options{Base: make([]Layer, 124)},
			layers: "packed a b"},
		{name: "packed, where the budget is used up", specs: []apktest.Spec{pkg("a", file("opt/a", "a")), pkg("b", file("opt/b", "b"))},
			opts: Options{Base: make([]Layer, 98)}, layers: "packed a b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := plainTree(t, st, test.specs...)
			stand(tree, baseFrom(t, below))
			tree.Base.ReadFile = func(context.Context, int) ([]byte, error) { return []byte("low"), nil }
			if test.change != nil {
				test.change(tree)
			}
			p := mustPlan(t, tree, test.opts)
			if kindsOf(p) != test.layers || topOf(p) != test.top {
				t.Errorf("layers %s, top %s; expected %s, %s", kindsOf(p), topOf(p), test.layers, test.top)
			}
			layers := mustWrite(t, p, st)
			checkUnpacked(t, tree, append([][]apk.Entry{linksLast(tree.Base.Receipt.Entries)}, readLayers(t, layers)...))
			if p.single && slices.ContainsFunc(readLayers(t, layers)[0], func(e apk.Entry) bool { return strings.HasPrefix(e.Path, "usr") }) {
				t.Error("a directory that nothing is in is in the single layer")
			}
		})
	}
}

func TestOnBaseRefuses(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("a", "a")))
	if _, err := New(tree, Options{Base: make([]Layer, 125)}); err == nil || err.Error() != "base image with 125 layers: expected at most 124, so that there is room for one more" {
		t.Errorf("error %v", err)
	}
	stand(tree, &rootfs.Base{Receipt: &store.Receipt{}})
	if _, err := New(tree, Options{Compat: true}); err == nil || err.Error() != "layers as apko makes them: not possible on a base image" {
		t.Errorf("error %v", err)
	}
	tree.Entries[0].Package = 2
	if _, err := New(tree, Options{}); err == nil || err.Error() != `tree: path "a": package 2: the tree has 1` {
		t.Errorf("error %v", err)
	}
}

// TestBaseContentIsChecked: what the base gives is held against its entry.
func TestBaseContentIsChecked(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("f", "high")))
	stand(tree, baseFrom(t, plainTree(t, st, pkg("low", file("f", "low")))))
	e := tree.Lookup("f")
	e.Entry, e.Package, e.Member = tree.Base.Receipt.Entries[0], 1, 0
	tree.Base.ReadFile = func(context.Context, int) ([]byte, error) { return []byte("lie"), nil }
	if _, err := mustPlan(t, tree, Options{}).Write(t.Context(), st); err == nil || !strings.HasPrefix(err.Error(), "layer: f: content has sha256 ") {
		t.Errorf("error %v", err)
	}
	broken := errors.New("unreadable")
	tree.Base.ReadFile = func(context.Context, int) ([]byte, error) { return nil, broken }
	if _, err := mustPlan(t, tree, Options{}).Write(t.Context(), st); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// TestRootOfBase: a package that describes the root does not change the base's.
func TestRootOfBase(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("a", "a")))
	r := tree.Packages[0].Receipt
	r.Entries = append([]apk.Entry{{Path: "", Type: apk.TypeDir, Mode: 0o700}}, r.Entries...)
	tree.Entries[0].Member = 1
	root := &apk.Entry{Type: apk.TypeDir, Mode: 0o711, MTime: 7}
	stand(tree, &rootfs.Base{Receipt: &store.Receipt{}, Root: root})
	p := mustPlan(t, tree, Options{})
	if len(p.top.items) != 1 || p.top.items[0].header != root {
		t.Errorf("top layer %q", topOf(p))
	}
}

func TestDescribeBase(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st, pkg("a", file("a", "a")))
	stand(tree, &rootfs.Base{Receipt: &store.Receipt{}})
	low := Layer{Kind: Base, Digest: ociHash(apk.SHA256{1}), DiffID: ociHash(apk.SHA256{2}), Size: 10, Inflated: 20}
	d, err := mustPlan(t, tree, Options{Base: []Layer{low}}).Describe()
	if err != nil {
		t.Fatal(err)
	}
	want := LayerDescription{Kind: Base, Digest: apk.SHA256{1}, DiffID: apk.SHA256{2}, Size: 10, Inflated: 20}
	if len(d.Layers) != 2 || !cmp.Equal(d.Layers[0], want) || d.Layers[1].Kind != Verbatim {
		t.Errorf("described as %+v", d.Layers)
	}
}
