package layer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

const big = rewriteAbove + 4096

// planCase is a tree with what the plan must make of it.
type planCase struct {
	name   string
	specs  []apktest.Spec
	change func(t *testing.T, tree *rootfs.Tree)
	opts   Options
	layers string // as kindsOf
	top    string // as topOf
	why    string // part of the first reason
}

var planCases = []planCase{
	{
		name:   "untouched packages travel as they are and need no top layer",
		specs:  []apktest.Spec{pkg("a", file("usr/bin/a", "a")), pkg("b", file("usr/bin/b", "b"))},
		layers: "verbatim a|verbatim b",
	},
	{
		name:   "a package without content has no layer",
		specs:  []apktest.Spec{pkg("meta"), pkg("a", file("a", "a"))},
		layers: "verbatim a",
	},
	{
		name:   "a directory that two packages describe differently is stated in the top layer",
		specs:  []apktest.Spec{pkg("a", dir("var", 0o755), dir("var/tmp", 0o1777)), pkg("b", dir("var/tmp", 0o755), file("var/tmp/x", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) { entry(t, tree, "var/tmp").Mode = 0o1777 },
		layers: "verbatim a|verbatim b",
		top:    "var var/tmp",
	},
	{
		name: "a directory that is only implied is stated in the top layer",
		specs: []apktest.Spec{pkg("a", dir("opt", 0o700), file("opt/a", "")),
			{Package: apk.Package{Name: "b", Version: "1"}, Files: []apktest.File{file("opt/b", "")}}},
		layers: "verbatim a|verbatim b",
		top:    "opt",
	},
	{
		name:  "what the configuration changes is in the top layer, with its parents",
		specs: []apktest.Spec{pkg("a", file("etc/a/conf", "old"))},
		change: func(t *testing.T, tree *rootfs.Tree) {
			e := entry(t, tree, "etc/a/conf")
			e.Content = []byte("new")
		},
		layers: "verbatim a",
		top:    "etc etc/a etc/a/conf",
	},
	{
		name:   "what must not exist is deleted, topmost path only",
		specs:  []apktest.Spec{pkg("a", file("usr/share/doc/a/x", ""), file("usr/share/doc/a/y", ""), file("usr/bin/a", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) { remove(tree, "usr/share/doc") },
		layers: "verbatim a",
		top:    "usr usr/share usr/share/.wh.doc",
	},
	{
		name:   "the winner's layer is moved above the loser's",
		specs:  []apktest.Spec{pkg("winner", file("etc/conf", "w")), pkg("loser", file("etc/conf", "l")), pkg("x", file("x", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) { keepFrom(t, tree, "etc/conf", 0) },
		layers: "verbatim loser|verbatim winner|verbatim x",
	},
	{
		name: "two packages that each win a path: the larger one by order, the smaller one by the top layer",
		specs: []apktest.Spec{pkg("a", file("one", strings.Repeat("1", 100)), file("two", "2")),
			pkg("b", file("one", "1"), file("two", "two"))},
		change: func(t *testing.T, tree *rootfs.Tree) { keepFrom(t, tree, "one", 0) },
		layers: "verbatim b|verbatim a",
		top:    "two",
	},
	{
		name: "two packages that each win a large path: one is rewritten",
		specs: []apktest.Spec{pkg("a", file("one", strings.Repeat("1", 2*big)), file("two", "2")),
			pkg("b", file("one", "1"), file("two", strings.Repeat("2", big)))},
		change: func(t *testing.T, tree *rootfs.Tree) { keepFrom(t, tree, "one", 0) },
		layers: "verbatim b|rewritten a",
		why:    "would be copied into the top layer",
	},
	{
		name: "a small file below a symlinked directory moves by the top layer",
		specs: []apktest.Spec{pkg("base", dir("usr", 0o755), dir("usr/bin", 0o755), link("bin", "usr/bin")),
			pkg("a", dir("bin", 0o755), file("bin/a", "a"))},
		change: func(t *testing.T, tree *rootfs.Tree) { moveUnderUsr(t, tree, "bin/a") },
		layers: "verbatim a|verbatim base",
		top:    "usr usr/bin usr/bin/a",
	},
	{
		name: "a large one makes its package be rewritten",
		specs: []apktest.Spec{pkg("base", dir("usr", 0o755), dir("usr/bin", 0o755), link("bin", "usr/bin")),
			pkg("a", dir("bin", 0o755), file("bin/a", strings.Repeat("a", big)))},
		change: func(t *testing.T, tree *rootfs.Tree) { moveUnderUsr(t, tree, "bin/a") },
		layers: "rewritten a|verbatim base",
		why:    "would be copied into the top layer",
	},
	{
		name: "no unpacker has to decide what an implied directory over a symlink means",
		specs: []apktest.Spec{pkg("base", dir("usr", 0o755), dir("usr/bin", 0o755), link("bin", "usr/bin")),
			{Package: apk.Package{Name: "a", Version: "1"}, Files: []apktest.File{file("bin/a", "a")}}},
		change: func(t *testing.T, tree *rootfs.Tree) { moveUnderUsr(t, tree, "bin/a") },
		layers: "verbatim base|rewritten a",
		top:    "usr usr/bin",
		why:    "bin/a lies below a path that is not a directory",
	},
	{
		name:  "a large recursive change of mode rewrites the package",
		specs: []apktest.Spec{pkg("a", file("opt/x", strings.Repeat("x", big)))},
		change: func(t *testing.T, tree *rootfs.Tree) {
			entry(t, tree, "opt/x").Mode, entry(t, tree, "opt").Mode = 0o600, 0o700
		},
		layers: "rewritten a",
		why:    "would be copied into the top layer",
	},
	{
		name:   "a package that cannot be taken as it is",
		specs:  []apktest.Spec{{Package: apk.Package{Name: "a", Version: "1"}, Files: []apktest.File{file("a", "a")}, NoEndOfArchive: true}},
		layers: "rewritten a",
		why:    "end-of-archive",
	},
	{
		name:   "a hard link's group travels whole when one of it changes",
		specs:  []apktest.Spec{pkg("a", file("bin/a", "a"), hard("bin/b", "bin/a"), hard("bin/c", "bin/a"))},
		change: func(t *testing.T, tree *rootfs.Tree) { entry(t, tree, "bin/a").Mode = 0o4755 },
		layers: "verbatim a",
		top:    "bin bin/a bin/b bin/c",
	},
	{
		name: "a path that changes from directory to file takes what was below it along",
		specs: []apktest.Spec{pkg("a", file("srv/x/y", "y")),
			pkg("b", file("z", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) {
			remove(tree, "srv")
			put(tree, apk.Entry{Path: "srv", Type: apk.TypeSymlink, Link: "z", Mode: 0o777}, "")
		},
		layers: "verbatim a|verbatim b",
		top:    "srv",
	},
	{
		name:  "device nodes come from the top layer",
		specs: []apktest.Spec{pkg("a", file("a", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) {
			put(tree, apk.Entry{Path: "null", Type: apk.TypeChar, Mode: 0o666, DevMajor: 1, DevMinor: 3}, "")
		},
		layers: "verbatim a",
		top:    "null",
	},
	{
		name:   "markers that apk ignores are deleted",
		specs:  []apktest.Spec{pkg("a", file("usr/.keep_dir", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) { remove(tree, "usr/.keep_dir") },
		layers: "verbatim a",
		top:    "usr usr/.wh..keep_dir",
	},
	{
		name:   "dot-files in the root are left out",
		specs:  []apktest.Spec{pkg("a", file(".dummy", "x"), file("usr/a", ""))},
		change: func(t *testing.T, tree *rootfs.Tree) { remove(tree, ".dummy") },
		layers: "rewritten a",
		why:    "dot-file in the root",
	},
	{
		name:  "a single layer leaves out what the tree does not have",
		specs: []apktest.Spec{pkg("a", file("usr/bin/a", "a"), file("usr/doc", "")), pkg("b", file("etc/b", "b"))},
		change: func(t *testing.T, tree *rootfs.Tree) {
			remove(tree, "usr/doc")
			entry(t, tree, "etc/b").Content = []byte("c")
		},
		opts:   Options{Strategy: Single},
		layers: "packed a b",
		top:    "etc/b",
		why:    "usr/doc is not as the package has it",
	},
	{
		name:   "a budget of one is a single layer",
		specs:  []apktest.Spec{pkg("a", file("a", "")), pkg("b", file("b", ""))},
		opts:   Options{Budget: 1},
		layers: "packed a b",
	},
	{
		name: "packages of an origin stay together",
		specs: []apktest.Spec{withOrigin(pkg("a", file("a", "")), "o"), pkg("b", file("b", "")),
			withOrigin(pkg("c", file("c", "")), "o")},
		opts:   Options{Strategy: PerOrigin},
		layers: "packed a c|verbatim b",
	},
	{
		name:   "a packed layer has a path once: the loser's is left out",
		specs:  []apktest.Spec{pkg("a", file("x", "a"), file("a", "")), pkg("b", file("x", "b"), file("b", ""))},
		opts:   Options{Budget: 2},
		layers: "packed a b",
		why:    "x stands twice in a layer",
	},
}

func withOrigin(s apktest.Spec, origin string) apktest.Spec {
	s.Package.Origin = origin
	return s
}

// keepFrom makes a path come from another package than the last one.
func keepFrom(t *testing.T, tree *rootfs.Tree, path string, pkg int) {
	t.Helper()
	for m, e := range tree.Packages[pkg].Receipt.Entries {
		if e.Path == path {
			*entry(t, tree, path) = rootfs.Entry{Entry: e, Package: pkg, Member: m}
			return
		}
	}
	t.Fatalf("%s: not in package %d", path, pkg)
}

// moveUnderUsr makes the first package's symlink bin → usr/bin win, and a file
// of the second one land where it points.
func moveUnderUsr(t *testing.T, tree *rootfs.Tree, path string) {
	t.Helper()
	e := *entry(t, tree, path)
	remove(tree, "bin")
	e.Path = "usr/" + path
	tree.Entries = append(tree.Entries, e)
	for m, l := range tree.Packages[0].Receipt.Entries {
		if l.Path == "bin" {
			tree.Entries = append(tree.Entries, rootfs.Entry{Entry: l, Package: 0, Member: m})
		}
	}
	sortTree(tree)
}

func TestPlan(t *testing.T) {
	for _, c := range planCases {
		t.Run(c.name, func(t *testing.T) {
			st := openStore(t)
			tree := plainTree(t, st, c.specs...)
			if c.change != nil {
				c.change(t, tree)
			}
			p := mustPlan(t, tree, c.opts)
			if got := kindsOf(p); got != c.layers {
				t.Errorf("layers: %s\n want: %s", got, c.layers)
			}
			if got := topOf(p); got != c.top {
				t.Errorf("top: %s\nwant: %s", got, c.top)
			}
			checkReason(t, p, c.why)
			layers := mustWrite(t, p, st)
			imageOf(t, layers)
			checkWritten(t, p, layers)
		})
	}
}

func checkReason(t *testing.T, p *Plan, want string) {
	t.Helper()
	d, err := p.Describe()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range d.Layers {
		for _, r := range l.Reasons {
			got = append(got, r.Why)
		}
	}
	if all := strings.Join(got, "; "); want == "" && all != "" || !strings.Contains(all, want) {
		t.Errorf("reasons: %q, want %q", all, want)
	}
}

// badTree is a tree that cannot be layered, or options that make no sense.
type badTree struct {
	name    string
	entries []rootfs.Entry
	opts    Options
	want    string
}

func none(e apk.Entry) rootfs.Entry { return rootfs.Entry{Entry: e, Package: -1} }

var badTrees = []badTree{
	{"absolute path", []rootfs.Entry{none(apk.Entry{Path: "/etc", Type: 'd'})}, Options{},
		`tree: path "/etc": expected a clean path relative to the root`},
	{"path that climbs", []rootfs.Entry{none(apk.Entry{Path: "../etc", Type: 'd'})}, Options{},
		`tree: path "../etc": expected a clean path relative to the root`},
	{"trailing slash", []rootfs.Entry{none(apk.Entry{Path: "etc/", Type: 'd'})}, Options{},
		`tree: path "etc/": expected a clean path relative to the root`},
	{"twice", []rootfs.Entry{none(apk.Entry{Path: "a", Type: 'f'}), none(apk.Entry{Path: "a", Type: 'f'})}, Options{},
		`tree: path "a": stands twice`},
	{"no parent", []rootfs.Entry{none(apk.Entry{Path: "a/b", Type: 'f'})}, Options{},
		`tree: path "a/b": its parent is not a directory of the tree`},
	{"parent is a symlink", []rootfs.Entry{none(apk.Entry{Path: "a", Type: 'l'}), none(apk.Entry{Path: "a/b", Type: 'f'})}, Options{},
		`tree: path "a/b": its parent is not a directory of the tree`},
	{"whiteout", []rootfs.Entry{none(apk.Entry{Path: ".wh.a", Type: 'f'})}, Options{},
		`tree: path ".wh.a": names starting with ".wh." mean deletion in an image layer and cannot be files`},
	{"hard link to nothing", []rootfs.Entry{none(apk.Entry{Path: "a", Type: 'h', Link: "b"})}, Options{},
		`tree: path "a": hard link to "b": that is not a regular file of the tree`},
	{"hard link to a hard link", []rootfs.Entry{none(apk.Entry{Path: "a", Type: 'h', Link: "b"}), none(apk.Entry{Path: "b", Type: 'h', Link: "a"})}, Options{},
		`tree: path "a": hard link to "b": that is not a regular file of the tree`},
	{"root that is a file", []rootfs.Entry{none(apk.Entry{Path: ".", Type: 'f'})}, Options{},
		`tree: root: type 'f': expected a directory`},
	{"unknown package", []rootfs.Entry{{Entry: apk.Entry{Path: "a", Type: 'f'}, Package: 3}}, Options{},
		`tree: path "a": package 3: the tree has 1`},
	{"unknown member", []rootfs.Entry{{Entry: apk.Entry{Path: "a", Type: 'f'}, Package: 0, Member: 7}}, Options{},
		`tree: path "a": member 7: package p has 1`},
	{"file from a directory", []rootfs.Entry{{Entry: apk.Entry{Path: "a", Type: 'f'}, Package: 0, Member: 0}}, Options{},
		`tree: path "a": member "d" of package p: type 'd': expected a regular file`},
	{"strategy", nil, Options{Strategy: "best"}, `layering strategy "best": expected one of package, origin, single`},
	{"budget too large", nil, Options{Budget: 128}, `layering budget 128: expected 1 to 127`},
	{"negative budget", nil, Options{Budget: -1}, `layering budget -1: expected 1 to 127`},
	{"negative weight", nil, Options{Weights: map[string]float64{"a": 1, "b": -1, "c": -2}}, `update rate of "b": -1: expected 0 or more`},
}

func TestNew_BadInput(t *testing.T) {
	for _, c := range badTrees {
		t.Run(c.name, func(t *testing.T) {
			tree := &rootfs.Tree{Entries: c.entries, Packages: []rootfs.Package{{Receipt: &store.Receipt{
				Package: apk.Package{Name: "p"}, Entries: []apk.Entry{{Path: "d", Type: 'd'}},
			}}}}
			p, err := New(tree, c.opts)
			if err == nil || err.Error() != c.want {
				t.Errorf("got %v\nwant %s", err, c.want)
			}
			if p != nil {
				t.Error("a plan beside an error")
			}
		})
	}
}

func TestNew_EmptyTree(t *testing.T) {
	for _, o := range []Options{{}, {Strategy: Single}, {Strategy: PerOrigin}} {
		p := mustPlan(t, &rootfs.Tree{}, o)
		layers := mustWrite(t, p, openStore(t))
		imageOf(t, layers)
		if len(layers) != 1 || layers[0].Kind != Top {
			t.Errorf("%s: %+v, want one top layer", o.Strategy, layers)
		}
	}
}

func TestNewContext_Cancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	tree := plainTree(t, openStore(t), pkg("a", file("usr/bin/a", "a")))
	if p, err := NewContext(ctx, tree, Options{}); !errors.Is(err, context.Canceled) || p != nil {
		t.Errorf("%v, %v", p, err)
	}
}

// A plan is a function of its input: same packages, same plan, whatever order
// maps are walked in.
func TestNew_Deterministic(t *testing.T) {
	for seed := range uint64(20) {
		w := newWorld(seed, 12)
		o := Options{Budget: 5, Weights: map[string]float64{"o1": 0.1, "o2": 0.7, "o3": 0.3}}
		var first string
		for i := range 5 {
			d, err := mustPlan(t, w.tree, o).Describe()
			if err != nil {
				t.Fatal(err)
			}
			if got := fmt.Sprintf("%+v", d); i == 0 {
				first = got
			} else if got != first {
				t.Fatalf("seed %d: plan differs:\n%s\n%s", seed, got, first)
			}
		}
	}
}

func TestMaxLayers(t *testing.T) {
	var specs []apktest.Spec
	for i := range 140 {
		specs = append(specs, pkg(fmt.Sprintf("p%03d", i), file(fmt.Sprintf("f%03d", i), "x")))
	}
	st := openStore(t)
	tree := plainTree(t, st, specs...)
	put(tree, apk.Entry{Path: "top", Type: apk.TypeFile, Mode: 0o644}, "")
	for budget, most := range map[int]int{0: DefaultBudget, 127: MaxLayers, 2: 2, 50: 50} {
		layers := mustWrite(t, mustPlan(t, tree, Options{Budget: budget}), st)
		if len(layers) != most {
			t.Errorf("budget %d: %d layers, want %d", budget, len(layers), most)
		}
	}
}
