package layer

import (
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// The right behaviour where apko 1.2 is wrong.

// apko walks paths in order, so a link that sorts before its target comes
// before it, and the layer cannot be unpacked.
func TestApkoDefect_HardlinkBeforeTarget(t *testing.T) {
	st := openStore(t)
	tree := plainTree(t, st,
		pkg("git", file("usr/libexec/git", "git"), hard("usr/bin/git", "usr/libexec/git"), hard("bin/git", "usr/libexec/git")),
		pkg("other", file("usr/bin/other", "")))
	entry(t, tree, "usr/libexec/git").Mode = 0o755 // moves the group to the top layer
	for _, o := range []Options{{}, {Budget: 2}, {Strategy: Single}} {
		layers := mustWrite(t, mustPlan(t, tree, o), st)
		checkUnpacked(t, tree, readLayers(t, layers))
		links := 0
		for i := range layers {
			seen := map[string]bool{}
			for _, e := range readLayer(t, &layers[i]) {
				if e.Type == apk.TypeHardlink {
					if links++; !seen[e.Link] {
						t.Errorf("%s: %s comes before its target %s", o.Strategy, e.Path, e.Link)
					}
				}
				seen[e.Path] = true
			}
		}
		if links < 2 {
			t.Errorf("%s: %d hard links, want 2", o.Strategy, links)
		}
	}
}

// apko writes every package file as 0:0 and directories without setgid and
// sticky bits.
func TestApkoDefect_OwnershipAndSpecialBits(t *testing.T) {
	st := openStore(t)
	owned := apktest.File{Path: "var/lib/pg/data", Content: "x", UID: 70, GID: 71, Uname: "postgres", Gname: "postgres", Mode: 0o600}
	setuid := apktest.File{Path: "bin/su", Content: "su", Mode: 0o4755}
	spool := apktest.File{Path: "var/spool/mail", Type: apk.TypeDir, Mode: 0o2775, GID: 12}
	capable := apktest.File{Path: "bin/ping", Content: "ping", Mode: 0o755, Xattrs: map[string]string{"security.capability": netBind}}
	tree := plainTree(t, st, pkg("base", dir("var", 0o755), dir("var/tmp", 0o1777), dir("tmp", 0o1777)), pkg("a", owned, setuid, spool, capable))
	for _, o := range []Options{{}, {Budget: 2}, {Strategy: Single}} {
		layers := mustWrite(t, mustPlan(t, tree, o), st)
		checkUnpacked(t, tree, readLayers(t, layers))
		got := map[string]apk.Entry{}
		for _, es := range readLayers(t, layers) {
			for _, e := range es {
				got[e.Path] = e
			}
		}
		for _, f := range []apktest.File{owned, setuid, spool, capable, dir("var/tmp", 0o1777)} {
			e := got[f.Path]
			if int64(e.Mode) != f.Mode || e.UID != f.UID || e.GID != f.GID || len(e.Xattrs) != len(f.Xattrs) {
				t.Errorf("%s: %s is %o %d:%d %v, want %o %d:%d %v", o.Strategy, f.Path, e.Mode, e.UID, e.GID, e.Xattrs, f.Mode, f.UID, f.GID, f.Xattrs)
			}
		}
	}
}

// apko's origin layers take directories and changed files of the image they
// are in along, so that the same package is another layer in each image.
func TestApkoDefect_SamePackageSameLayerInEveryImage(t *testing.T) {
	st := openStore(t)
	lib := withOrigin(pkg("lib", file("usr/lib/lib.so", strings.Repeat("lib", 99)), file("etc/lib.conf", "")), "lib")
	dev := withOrigin(pkg("lib-dev", file("usr/include/lib.h", "")), "lib")
	one := plainTree(t, st, lib, dev, pkg("one", dir("usr", 0o700), file("usr/one", "")))
	two := plainTree(t, st, pkg("two", dir("etc", 0o711), file("etc/two", "")), lib, dev)
	entry(t, two, "etc/lib.conf").Content = []byte("changed")
	for _, o := range []Options{{}, {Strategy: PerOrigin}} {
		shared := 0
		other := mustWrite(t, mustPlan(t, two, o), st)
		for _, l := range mustWrite(t, mustPlan(t, one, o), st) {
			for _, m := range other {
				if l.Digest == m.Digest && l.DiffID == m.DiffID {
					shared++
				}
			}
		}
		if want := map[Strategy]int{"": 2, PerOrigin: 1}[o.Strategy]; shared != want {
			t.Errorf("%q: %d layers in common, want %d", o.Strategy, shared, want)
		}
	}
}

// apko budgets layers before it adds two more.
func TestApkoDefect_BudgetIsABudget(t *testing.T) {
	for seed := range uint64(30) {
		w := newWorld(seed, 14)
		for budget := 1; budget < 8; budget++ {
			for _, s := range []Strategy{PerPackage, PerOrigin} {
				p := mustPlan(t, w.tree, Options{Strategy: s, Budget: budget})
				d, err := p.Describe()
				if err != nil {
					t.Fatal(err)
				}
				if len(d.Layers) > budget {
					t.Errorf("seed %d, %s: %d layers, the budget is %d", seed, s, len(d.Layers), budget)
				}
			}
		}
	}
}
