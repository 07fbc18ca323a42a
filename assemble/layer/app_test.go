package layer

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// appTree is two packages, a file of the configuration, and two applications: one in
// a directory of its own, one beside a package's files.
func appTree(t testing.TB, st *store.Store) *rootfs.Tree {
	t.Helper()
	tree := plainTree(t, st, pkg("a", file("usr/bin/a", "a")), pkg("b", file("usr/bin/b", "b")))
	put(tree, apk.Entry{Path: "motd", Type: apk.TypeFile, Mode: 0o644}, "hello")
	put(tree, apk.Entry{Path: "srv", Type: apk.TypeDir, Mode: 0o755}, "")
	put(tree, apk.Entry{Path: "srv/app", Type: apk.TypeDir, Mode: 0o755}, "")
	put(tree, apk.Entry{Path: "srv/app/run", Type: apk.TypeFile, Mode: 0o755, UID: 1000}, "program")
	put(tree, apk.Entry{Path: "srv/app/zlink", Type: apk.TypeHardlink, Link: "srv/app/run"}, "")
	put(tree, apk.Entry{Path: "usr/bin/tool", Type: apk.TypeFile, Mode: 0o755}, "tool")
	entry(t, tree, "srv/app").App = 1
	entry(t, tree, "srv/app/run").App = 1
	entry(t, tree, "usr/bin/tool").App = 2
	return tree
}

// appsOf spells what the layers of applications hold.
func appsOf(p *Plan) string {
	var out []string
	for _, l := range p.apps {
		var paths []string
		for _, it := range l.items {
			paths = append(paths, it.header.Path)
		}
		out = append(out, strings.Join(paths, " "))
	}
	return strings.Join(out, "|")
}

func TestApplications(t *testing.T) {
	for _, test := range []struct {
		name              string
		opts              Options
		layers, top, apps string
		kinds             []Kind
	}{
		{"each is a layer above the top layer, with explicit parents", Options{},
			"verbatim a|verbatim b", "motd srv", "srv srv/app srv/app/run srv/app/zlink|usr usr/bin usr/bin/tool",
			[]Kind{Verbatim, Verbatim, Top, App, App}},
		{"the budget counts them", Options{Budget: 4},
			"packed a b", "motd srv", "srv srv/app srv/app/run srv/app/zlink|usr usr/bin usr/bin/tool",
			[]Kind{Packed, Top, App, App}},
		{"a budget without room for packages is the strategy single", Options{Budget: 3},
			"packed a b", "motd srv/app/run usr/bin/tool srv/app/zlink", "", []Kind{Packed}},
		{"single is single", Options{Strategy: Single},
			"packed a b", "motd srv/app/run usr/bin/tool srv/app/zlink", "", []Kind{Packed}},
	} {
		t.Run(test.name, func(t *testing.T) {
			st := openStore(t)
			p := mustPlan(t, appTree(t, st), test.opts)
			if kindsOf(p) != test.layers || topOf(p) != test.top || appsOf(p) != test.apps {
				t.Errorf("found %s; top %s; apps %s", kindsOf(p), topOf(p), appsOf(p))
			}
			layers := mustWrite(t, p, st)
			imageOf(t, layers)
			checkWritten(t, p, layers)
			var kinds []Kind
			for _, l := range p.Outline() {
				kinds = append(kinds, l.Kind)
			}
			if !slices.Equal(kinds, test.kinds) || len(layers) != len(kinds) {
				t.Errorf("found %v", kinds)
			}
			d, err := p.Describe()
			if err != nil || len(d.Layers) != len(kinds) {
				t.Fatal(err, d)
			}
			for i, l := range layers {
				if d.Layers[i].Kind != l.Kind || l.Kind != Verbatim && d.Layers[i].Inflated != l.Inflated {
					t.Errorf("layer %d: described as %+v", i, d.Layers[i])
				}
			}
		})
	}
}

// A change of an application changes its layer and no other.
func TestApplicationChanges(t *testing.T) {
	st := openStore(t)
	tree := appTree(t, st)
	before := mustWrite(t, mustPlan(t, tree, Options{}), st)
	entry(t, tree, "srv/app/run").Content = []byte("another")
	put(tree, apk.Entry{Path: "srv/app/more", Type: apk.TypeFile, Mode: 0o644}, "more")
	entry(t, tree, "srv/app/more").App = 1
	p := mustPlan(t, tree, Options{})
	after := mustWrite(t, p, st)
	for i := range before {
		if same := before[i].Digest == after[i].Digest; same != (i != 3) {
			t.Errorf("layer %d (%s): the same: %v", i, before[i].Kind, same)
		}
	}
	if p.Comment(3) != "application /srv/app" || after[3].App != 1 || after[4].App != 2 {
		t.Errorf("%q %d %d", p.Comment(3), after[3].App, after[4].App)
	}
	keys := map[string]bool{}
	for i := 2; i < 5; i++ {
		key, err := p.Key(i)
		if err != nil || keys[key] || len(p.Needs(i)) > 0 {
			t.Error(i, key, err, p.Needs(i))
		}
		keys[key] = true
	}
	have := map[int]Layer{3: {Kind: App, App: 1, Digest: before[3].Digest}}
	given, err := p.WriteOthers(context.Background(), st, have)
	if err != nil || given[3].Digest != before[3].Digest || given[4].Digest != after[4].Digest {
		t.Error(err)
	}
}

// TestProperty_ApplicationsGiveTheTree does what TestProperty_WrittenLayersGiveTheTree
// does, with things that no package brings as applications' at random, also where a
// package has had the path.
func TestProperty_ApplicationsGiveTheTree(t *testing.T) {
	st := openStore(t)
	apps := 0
	for seed := range uint64(12) {
		w := newRealWorld(t, st, 3e6+seed, 2+int(seed%12))
		for i := range w.tree.Entries {
			if e := &w.tree.Entries[i]; e.Package < 0 && (seed+uint64(i))%3 > 0 {
				e.App = int(seed+uint64(i)) % 3
			}
		}
		for _, o := range []Options{{}, {Budget: 5}, {Strategy: PerOrigin, Budget: 6}, {Strategy: Single}} {
			p := mustPlan(t, w.tree, o)
			layers := mustWrite(t, p, st)
			imageOf(t, layers)
			checkWritten(t, p, layers)
			checkElsewhere(t, p, st, layers, map[string]string{})
			if t.Failed() {
				t.Fatalf("seed %d, %s/%d", seed, o.Strategy, o.Budget)
			}
			apps += len(p.apps)
		}
	}
	if apps < 12 {
		t.Errorf("%d layers of applications", apps)
	}
}
