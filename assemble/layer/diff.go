package layer

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// whiteoutPrefix marks a deleted path in a layer (OCI image specification,
// "Layer Filesystem Changeset", Whiteouts).
const whiteoutPrefix = ".wh."

// target is the tree to arrive at, with what is needed to look things up in it.
type target struct {
	tree   *rootfs.Tree
	byPath map[string]int
	// want is what each entry must be; a hard link's is that of the entry that
	// holds the content. Content digests and sizes are always set.
	want   []*apk.Entry
	leader []int   // entry that holds the content: itself unless a hard link
	linked [][]int // by leader: the hard links to it; nil when there are none
	from   [][]int // by package: entries whose bytes or metadata come from it unchanged
	apart  bool    // applications have layers of their own
}

// newTarget checks the tree and indexes it.
func newTarget(tree *rootfs.Tree) (*target, error) {
	n := len(tree.Entries)
	t := &target{
		tree:   tree,
		byPath: make(map[string]int, n),
		want:   make([]*apk.Entry, n),
		leader: make([]int, n),
		linked: make([][]int, n),
		from:   make([][]int, tree.Sources()),
	}
	for i := range tree.Entries {
		if err := t.add(i); err != nil {
			return nil, err
		}
	}
	for i := range tree.Entries {
		if err := t.join(i); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// add checks one entry and indexes it by path and package.
func (t *target) add(i int) error {
	e := &t.tree.Entries[i]
	p := e.Path
	if p == "." {
		p = ""
	}
	switch {
	case p != "" && !fs.ValidPath(p):
		return fmt.Errorf("tree: path %q: expected a clean path relative to the root", e.Path)
	case p == "" && e.Type != apk.TypeDir:
		return fmt.Errorf("tree: root: type %q: expected a directory", e.Type)
	case strings.HasPrefix(path.Base(p), whiteoutPrefix):
		return fmt.Errorf("tree: path %q: names starting with %q mean deletion in an image layer and cannot be files", e.Path, whiteoutPrefix)
	case e.Package >= t.tree.Sources():
		return fmt.Errorf("tree: path %q: package %d: the tree has %d", e.Path, e.Package, len(t.tree.Packages))
	}
	if _, ok := t.byPath[p]; ok {
		return fmt.Errorf("tree: path %q: stands twice", e.Path)
	}
	t.byPath[p] = i
	w, err := wanted(t.tree, e)
	if err != nil {
		return err
	}
	t.want[i], t.leader[i] = w, i
	if e.Package >= 0 && e.Content == nil {
		t.from[e.Package] = append(t.from[e.Package], i)
	}
	return nil
}

// wanted returns what an entry must be once unpacked, with digest and size.
func wanted(tree *rootfs.Tree, e *rootfs.Entry) (*apk.Entry, error) {
	if e.Package >= 0 {
		if n := len(tree.Receipt(e.Package).Entries); e.Member < 0 || e.Member >= n {
			return nil, fmt.Errorf("tree: path %q: member %d: package %s has %d", e.Path, e.Member, nameOf(tree, e.Package), n)
		}
	}
	if e.Type != apk.TypeFile {
		return &e.Entry, nil
	}
	w := e.Entry
	if e.Content != nil || e.Package < 0 {
		w.SHA256, w.Size = sha256.Sum256(e.Content), int64(len(e.Content))
		return &w, nil
	}
	r := tree.Receipt(e.Package)
	src := contentMember(r.Entries, e.Member)
	if src < 0 {
		return nil, fmt.Errorf("tree: path %q: member %q of package %s: type %q: expected a regular file", e.Path,
			r.Entries[e.Member].Path, nameOf(tree, e.Package), r.Entries[e.Member].Type)
	}
	w.SHA256, w.Size = r.Entries[src].SHA256, r.Entries[src].Size
	return &w, nil
}

// contentMember returns the member that holds the bytes of member i: itself, or
// a hard link's target; -1 when it is neither.
func contentMember(entries []apk.Entry, i int) int {
	switch entries[i].Type {
	case apk.TypeFile:
		return i
	case apk.TypeHardlink:
		for j := i - 1; j >= 0; j-- {
			if entries[j].Path == entries[i].Link {
				if entries[j].Type == apk.TypeHardlink {
					return contentMember(entries, j)
				}
				if entries[j].Type == apk.TypeFile {
					return j
				}
				return -1
			}
		}
	}
	return -1
}

// join checks an entry's parent and resolves a hard link.
func (t *target) join(i int) error {
	e := &t.tree.Entries[i]
	if dir := path.Dir(e.Path); dir != "." {
		if j, ok := t.byPath[dir]; !ok || t.tree.Entries[j].Type != apk.TypeDir {
			return fmt.Errorf("tree: path %q: its parent is not a directory of the tree", e.Path)
		}
	}
	if e.Type != apk.TypeHardlink {
		return nil
	}
	j, ok := t.byPath[e.Link]
	if !ok || t.tree.Entries[j].Type != apk.TypeFile {
		return fmt.Errorf("tree: path %q: hard link to %q: that is not a regular file of the tree", e.Path, e.Link)
	}
	t.leader[i], t.want[i] = j, t.want[j]
	t.linked[j] = append(t.linked[j], i)
	return nil
}

// at returns the entry at path, or -1.
func (t *target) at(p string) int {
	if p == "." {
		p = ""
	}
	if i, ok := t.byPath[p]; ok {
		return i
	}
	return -1
}

// holds reports whether the path's final entry is member idx of package pkg,
// unchanged.
func (t *target) holds(p string, pkg, idx int) bool {
	i := t.at(p)
	return i >= 0 && t.tree.Entries[i].Package == pkg && t.tree.Entries[i].Member == idx && t.tree.Entries[i].Content == nil
}

// difference is what a top layer must hold.
type difference struct {
	entries   []int    // of the tree; parents and hard-linked companions included
	whiteouts []string // paths to delete
	// apps are the entries of each application's layer, parents included.
	apps [][]int
	// stale are the nodes that stand where the tree has something else or
	// nothing; not directories of which only the metadata differs.
	stale []*node
}

// diff compares what the layers give with the tree.
func (t *target) diff(f *fsys) *difference {
	d := &difference{}
	in := make([]bool, len(t.tree.Entries))
	owner := map[*inode]int{}
	for i := range t.tree.Entries {
		e := &t.tree.Entries[i]
		n := f.lookup(e.Path)
		if !t.matches(i, n) {
			in[i] = true
			if n != nil && !n.isDir() {
				d.stale = append(d.stale, n)
			}
			continue
		}
		if !n.isDir() {
			if first, ok := owner[n.ino]; ok && first != t.leader[i] {
				in[i] = true // shares an inode with what it must not share one with
				d.stale = append(d.stale, n)
				continue
			}
			owner[n.ino] = t.leader[i]
		}
	}
	t.completeLinks(f, in, d)
	t.findExtra(f.root, "", d)
	t.takeApps(in, d)
	t.completeParents(in, d)
	for i, ok := range in {
		if ok {
			d.entries = append(d.entries, i)
		}
	}
	return d
}

// matches reports whether entry i is as it must be.
func (t *target) matches(i int, n *node) bool {
	w := t.want[i]
	if n == nil {
		return false
	}
	if w.Type == apk.TypeDir {
		return n.isDir() && n.sure && n.meta != nil && sameMeta(w, n.meta)
	}
	return !n.isDir() && n.ino.sure && sameFile(w, n.ino.entry)
}

// sameFile reports whether two non-directories are the same once unpacked.
func sameFile(a, b *apk.Entry) bool {
	if a.Type != b.Type || a.UID != b.UID || a.GID != b.GID || a.MTime != b.MTime || !maps.Equal(a.Xattrs, b.Xattrs) {
		return false
	}
	switch a.Type {
	case apk.TypeSymlink:
		return a.Link == b.Link
	case apk.TypeFile:
		return a.Mode == b.Mode && a.Size == b.Size && a.SHA256 == b.SHA256
	default:
		return a.Mode == b.Mode && a.DevMajor == b.DevMajor && a.DevMinor == b.DevMinor
	}
}

// completeLinks takes a whole group of hard links when one of it is taken or
// when they do not share one inode: links cannot cross layers.
func (t *target) completeLinks(f *fsys, in []bool, d *difference) {
	for leader, links := range t.linked {
		if links == nil {
			continue
		}
		whole := in[leader]
		first := f.lookup(t.tree.Entries[leader].Path)
		for _, i := range links {
			n := f.lookup(t.tree.Entries[i].Path)
			whole = whole || in[i] || n == nil || first == nil || n.ino != first.ino
		}
		if !whole {
			continue
		}
		for _, i := range append(slices.Clone(links), leader) {
			if in[i] {
				continue
			}
			in[i] = true
			if n := f.lookup(t.tree.Entries[i].Path); n != nil && !n.isDir() {
				d.stale = append(d.stale, n)
			}
		}
	}
}

// findExtra collects the topmost paths that must not exist.
func (t *target) findExtra(dir *node, prefix string, d *difference) {
	for _, name := range slices.Sorted(maps.Keys(dir.children)) {
		n := dir.children[name]
		p := prefix + name
		i := t.at(p)
		if i < 0 {
			d.whiteouts = append(d.whiteouts, p)
			d.markStale(n)
			continue
		}
		if !n.isDir() {
			continue
		}
		if t.want[i].Type == apk.TypeDir {
			t.findExtra(n, p+"/", d)
		} else {
			d.markStale(n) // replaced, with all that is in it
		}
	}
}

// markStale records every member at and below n.
func (d *difference) markStale(n *node) {
	if n.pkg >= 0 {
		d.stale = append(d.stale, n)
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		d.markStale(n.children[name])
	}
}

// completeParents gives every path of the top layer explicit parents, so that
// no unpacker has to imply one.
func (t *target) completeParents(in []bool, d *difference) {
	need := func(p string) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			i := t.byPath[dir]
			if in[i] {
				return
			}
			in[i] = true
		}
	}
	// Deepest first is not needed: a parent that is already in has its own
	// parents seen to when its turn comes.
	for i := range in {
		if in[i] {
			need(t.tree.Entries[i].Path)
		}
	}
	for _, p := range d.whiteouts {
		need(p)
	}
	if i, ok := t.byPath[""]; ok {
		in[i] = true
	}
}
