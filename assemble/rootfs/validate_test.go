package rootfs

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Each change breaks one invariant of a valid tree.
func TestValidate(t *testing.T) {
	valid := func() *Tree {
		in := input(t, files(), pkg("a-1-r0", "bin/x is=x", "bin/h => bin/x", "bin/l -> x", "srv/d/"))
		return plan(t, in)
	}
	for _, c := range []struct {
		name   string
		change func(*Tree)
		err    string
	}{
		{"nothing", func(*Tree) {}, ""},
		{"order", func(t *Tree) { t.Entries[0], t.Entries[1] = t.Entries[1], t.Entries[0] }, `path "bin": it does not come after "bin/h"`},
		{"twice", func(t *Tree) { t.Entries = slices.Insert(t.Entries, 1, t.Entries[0]) }, `path "bin": it does not come after "bin"`},
		{"absolute", func(t *Tree) { t.Lookup("srv/d").Path = "/srv/d" }, `path "/srv/d": expected a clean path relative to the root`},
		{"escape", func(t *Tree) { t.Lookup("srv/d").Path = "srv/../../d" }, `path "srv/../../d": expected a clean path relative to the root`},
		{"root", func(t *Tree) { t.Lookup("srv/d").Path = "" }, `path "": expected a clean path relative to the root`},
		{"no parent", func(t *Tree) { t.Lookup("srv/d").Path = "srv/e/f" }, `path "srv/e/f": its parent is not a directory of the tree`},
		{"parent is a file", func(t *Tree) { t.Lookup("srv").Type = apk.TypeFIFO }, `path "srv/d": its parent is not a directory of the tree`},
		{"hard link to nothing", func(t *Tree) { t.Lookup("bin/h").Link = "bin/y" }, `path "bin/h": hard link to "bin/y": that is not a regular file of the tree`},
		{"hard link to a link", func(t *Tree) { t.Lookup("bin/h").Link = "bin/l" }, `path "bin/h": hard link to "bin/l": that is not a regular file of the tree`},
		{"hard link with another mode", func(t *Tree) { t.Lookup("bin/h").Mode = 0o600 }, `path "bin/h": hard link to "bin/x": their metadata differ`},
		{"hard link with attributes", func(t *Tree) { t.Lookup("bin/h").Xattrs = map[string]string{"a": "b"} }, `path "bin/h": hard link to "bin/x": their metadata differ`},
		{"symlink to nothing", func(t *Tree) { t.Lookup("bin/l").Link = "" }, `path "bin/l": symlink to "": that is no path`},
		{"unknown type", func(t *Tree) { t.Lookup("bin/l").Type = 's' }, `path "bin/l": type 's': unknown`},
		{"directory with content", func(t *Tree) { t.Lookup("srv/d").Content = []byte{} }, `path "srv/d": type 'd': it has content`},
		{"mode", func(t *Tree) { t.Lookup("srv/d").Mode = 0o40755 }, `path "srv/d": mode 40755, owner 0:0, size 0: out of range`},
		{"owner below zero", func(t *Tree) { t.Lookup("srv/d").UID = -1 }, `path "srv/d": mode 755, owner -1:0, size 0: out of range`},
		{"no owner", func(t *Tree) { t.Lookup("srv/d").Owner = Owner{} }, `path "srv/d": owner: kind "" is unknown`},
		{"owner without a name", func(t *Tree) { t.Lookup("srv/d").Owner = Owner{Kind: OwnedByConfig} }, `path "srv/d": owner: it has no name`},
		{"unknown package", func(t *Tree) { t.Lookup("srv/d").Owner.Name = "b" }, `path "srv/d": owner "b": no such package`},
		{"a package's entry from nowhere", func(t *Tree) { t.Lookup("srv/d").Package = -1 }, `path "srv/d": owner "a": the entry comes from no package`},
		{"a file from nowhere", func(t *Tree) {
			t.Lookup("bin/x").Package = -1
			t.Lookup("bin/x").Owner = Owner{OwnedByConfig, "files[0]"}
		}, `path "bin/x": regular file without content and without package`},
		{"no such member", func(t *Tree) { t.Lookup("bin/x").Member = 99 }, `path "bin/x": member 99 of package 0: there is none`},
		{"wrong digest", func(t *Tree) { t.Lookup("etc/apk/arch").Content = []byte("x86-64\n") }, `path "etc/apk/arch": its size or digest is not that of its content`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := valid()
			c.change(tree)
			err := tree.Validate()
			switch {
			case c.err == "" && err != nil:
				t.Error(err)
			case c.err != "" && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.err)):
				t.Errorf("error %v, expected %s", err, c.err)
			}
		})
	}
}

func TestComparePaths(t *testing.T) {
	sorted := []string{"a", "a/b", "a/b/c", "a/b-c", "a!", "a-b", "a.b", "ab", "b"}
	if !slices.IsSortedFunc(sorted, ComparePaths) {
		t.Error("not in order")
	}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := ComparePaths(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%q, %q: %d", a, b, got)
			}
		}
	}
}

func TestLookup(t *testing.T) {
	tree := plan(t, input(t, nil, pkg("a-1-r0", "srv/a-b", "srv/a/b")))
	for _, p := range []string{"srv", "srv/a", "srv/a/b", "srv/a-b"} {
		if e := tree.Lookup(p); e == nil || e.Path != p {
			t.Errorf("%s: %v", p, e)
		}
	}
	for _, p := range []string{"", "/srv", "srv/", "srv/b", "zzz"} {
		if e := tree.Lookup(p); e != nil {
			t.Errorf("%q: found %s", p, e.Path)
		}
	}
}
