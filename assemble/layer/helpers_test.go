package layer

import (
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// file, dir, link and hard are members of test packages.
func file(path, content string) apktest.File { return apktest.File{Path: path, Content: content} }
func dir(path string, mode int64) apktest.File {
	return apktest.File{Path: path, Type: apk.TypeDir, Mode: mode}
}
func link(path, to string) apktest.File {
	return apktest.File{Path: path, Type: apk.TypeSymlink, Link: to}
}
func hard(path, to string) apktest.File {
	return apktest.File{Path: path, Type: apk.TypeHardlink, Link: to}
}

// pkg is a package of the given members.
func pkg(name string, files ...apktest.File) apktest.Spec {
	return apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", Arch: "x86_64"}, Files: files, Parents: true}
}

// plainTree installs packages where nothing is difficult: the last one wins,
// symlinks in parents are not followed.
func plainTree(t testing.TB, st *store.Store, specs ...apktest.Spec) *rootfs.Tree {
	t.Helper()
	tree := &rootfs.Tree{Arch: "x86_64"}
	at := map[string]int{}
	for i, s := range specs {
		r := ingest(t, st, s)
		tree.Packages = append(tree.Packages, rootfs.Package{Receipt: r})
		for m, e := range r.Entries {
			te := rootfs.Entry{Entry: e, Package: i, Member: m, Owner: rootfs.Owner{Kind: rootfs.OwnedByPackage, Name: s.Package.Name}}
			if j, ok := at[e.Path]; ok {
				tree.Entries[j] = te
				continue
			}
			at[e.Path] = len(tree.Entries)
			tree.Entries = append(tree.Entries, te)
		}
	}
	sortTree(tree)
	return tree
}

func sortTree(tree *rootfs.Tree) {
	slices.SortFunc(tree.Entries, func(a, b rootfs.Entry) int { return rootfs.ComparePaths(a.Path, b.Path) })
}

// entry returns the tree's entry at a path, to be changed.
func entry(t testing.TB, tree *rootfs.Tree, path string) *rootfs.Entry {
	t.Helper()
	e := tree.Lookup(path)
	if e == nil {
		t.Fatalf("%s: not in the tree", path)
	}
	return e
}

// remove takes a path and all below it out of the tree.
func remove(tree *rootfs.Tree, path string) {
	tree.Entries = slices.DeleteFunc(tree.Entries, func(e rootfs.Entry) bool {
		return e.Path == path || strings.HasPrefix(e.Path, path+"/")
	})
}

// put adds a path that comes from no package.
func put(tree *rootfs.Tree, e apk.Entry, content string) {
	te := rootfs.Entry{Entry: e, Package: -1, Owner: rootfs.Owner{Kind: rootfs.OwnedByConfig, Name: "test"}}
	if e.Type == apk.TypeFile {
		te.Content = []byte(content)
	}
	tree.Entries = append(tree.Entries, te)
	sortTree(tree)
}

// kindsOf spells the kinds of a plan's layers with their packages:
// "verbatim a|packed b c".
func kindsOf(p *Plan) string {
	var out []string
	for _, l := range p.layers {
		s := string(l.kind)
		for _, pkg := range l.packages {
			s += " " + p.t.packageName(pkg)
		}
		out = append(out, s)
	}
	return strings.Join(out, "|")
}

// topOf spells what the top layer holds.
func topOf(p *Plan) string {
	var out []string
	for _, it := range p.top.items {
		out = append(out, it.header.Path)
	}
	return strings.Join(out, " ")
}
