package layer

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Two models of how the world unpacks layers, independent of the simulation
// under test. One unpacks everything into one directory and follows symlinks
// in parents (umoci; containerd on a mounted overlay). The other unpacks each
// layer into a directory of its own and lets an overlay mount join them
// (Docker's overlay2, Podman).

// unpacked is a path after unpacking.
type unpacked struct {
	typ      apk.EntryType
	mode     uint32
	uid, gid int
	mtime    int64 // nowTime when the unpacker set it to the time of unpacking
	link     string
	size     int64
	sha      apk.SHA256
	xattrs   map[string]string
	dev      [2]int64
}

const nowTime = 1 << 40

// vnode is a file of a model file system.
type vnode struct {
	unpacked
	children map[string]*vnode // directories
	whiteout bool              // overlay: hides what is below and is nothing
}

func newDir() *vnode {
	return &vnode{unpacked: unpacked{typ: apk.TypeDir, mode: 0o755, mtime: nowTime}, children: map[string]*vnode{}}
}

// vfs unpacks one archive after the other into one root.
type vfs struct {
	root     *vnode
	overlay  bool // unpack whiteouts as markers instead of deleting
	deferred []deferredTime
	written  map[string]bool // by the present layer
}

type deferredTime struct {
	path  string
	mtime int64
}

// walk resolves a directory path, following symlinks and creating what is
// missing.
func (v *vfs) walk(dir string, depth int) (*vnode, error) {
	n, at := v.root, ""
	if depth > 20 {
		return nil, fmt.Errorf("%s: too many links", dir)
	}
	for _, name := range strings.Split(dir, "/") {
		if name == "" || name == "." {
			continue
		}
		next := n.children[name]
		if next == nil || next.whiteout {
			next = newDir()
			n.children[name] = next
			n.mtime = nowTime
		}
		if next.typ == apk.TypeSymlink {
			to := next.link
			if !strings.HasPrefix(to, "/") {
				to = path.Join("/", at, to)
			}
			var err error
			if next, err = v.walk(to, depth+1); err != nil {
				return nil, err
			}
			at = path.Clean(to)
		} else {
			at = path.Join(at, name)
		}
		if next.typ != apk.TypeDir {
			return nil, fmt.Errorf("%s: %s is not a directory", dir, at)
		}
		n = next
	}
	return n, nil
}

// layer unpacks one archive.
func (v *vfs) layer(entries []apk.Entry) error {
	v.deferred, v.written = nil, map[string]bool{}
	for i := range entries {
		if err := v.one(&entries[i]); err != nil {
			return err
		}
	}
	for _, d := range v.deferred {
		n, err := v.walk(d.path, 0) // Chtimes follows links; a missing path is an error
		if err != nil {
			return err
		}
		n.mtime = d.mtime
	}
	return nil
}

func (v *vfs) one(e *apk.Entry) error {
	if e.Path == "" {
		v.root.set(e)
		v.deferred = append(v.deferred, deferredTime{"", e.MTime})
		return nil
	}
	dir, err := v.walk(path.Dir(e.Path), 0)
	if err != nil {
		return err
	}
	base := path.Base(e.Path)
	dir.mtime = nowTime
	if gone, ok := strings.CutPrefix(base, ".wh."); ok {
		if v.written[path.Join(path.Dir(e.Path), gone)] {
			return fmt.Errorf("%s: whiteout of a path of the same layer", e.Path)
		}
		delete(dir.children, gone)
		if v.overlay {
			dir.children[gone] = &vnode{whiteout: true}
		}
		return nil
	}
	v.written[e.Path] = true
	old := dir.children[base]
	if old != nil && old.whiteout {
		return fmt.Errorf("%s: both deleted and written by one layer", e.Path)
	}
	switch e.Type {
	case apk.TypeDir:
		if old == nil || old.typ != apk.TypeDir {
			old = newDir()
			dir.children[base] = old
		}
		old.set(e)
		v.deferred = append(v.deferred, deferredTime{e.Path, e.MTime})
	case apk.TypeHardlink:
		at, err := v.walk(path.Dir(e.Link), 0)
		if err != nil {
			return err
		}
		to := at.children[path.Base(e.Link)]
		if to == nil || to.typ == apk.TypeDir || to.whiteout {
			return fmt.Errorf("%s: hard link to %s: no such file", e.Path, e.Link)
		}
		delete(dir.children, base)
		dir.children[base] = to
		to.mode, to.uid, to.gid, to.mtime = e.Mode, e.UID, e.GID, e.MTime
	default:
		n := &vnode{}
		n.set(e)
		dir.children[base] = n
	}
	return nil
}

func (n *vnode) set(e *apk.Entry) {
	n.unpacked = unpacked{typ: e.Type, mode: e.Mode, uid: e.UID, gid: e.GID, mtime: e.MTime, xattrs: e.Xattrs}
	switch e.Type {
	case apk.TypeFile:
		n.size, n.sha = e.Size, e.SHA256
	case apk.TypeSymlink:
		n.link, n.mode = e.Link, 0
	case apk.TypeChar, apk.TypeBlock:
		n.dev = [2]int64{e.DevMajor, e.DevMinor}
	}
}

// sequential unpacks all layers into one directory.
func sequential(layers [][]apk.Entry) (*vnode, error) {
	v := &vfs{root: newDir()}
	for i, l := range layers {
		if err := v.layer(l); err != nil {
			return nil, fmt.Errorf("sequential: layer %d: %w", i, err)
		}
	}
	return v.root, nil
}

// overlaid unpacks each layer by itself and joins them.
func overlaid(layers [][]apk.Entry) (*vnode, error) {
	merged := newDir()
	for i, l := range layers {
		v := &vfs{root: newDir(), overlay: true}
		if err := v.layer(l); err != nil {
			return nil, fmt.Errorf("overlay: layer %d: %w", i, err)
		}
		merged = merge(merged, v.root)
	}
	return merged, nil
}

// merge lays one directory over another.
func merge(lower, upper *vnode) *vnode {
	out := &vnode{unpacked: upper.unpacked, children: maps.Clone(lower.children)}
	for name, n := range upper.children {
		l := lower.children[name]
		switch {
		case n.whiteout:
			delete(out.children, name)
		case n.typ == apk.TypeDir && l != nil && l.typ == apk.TypeDir:
			out.children[name] = merge(l, n)
		default:
			out.children[name] = n
		}
	}
	return out
}

// flatten lists all paths below a directory.
func flatten(n *vnode, prefix string, out map[string]*vnode) {
	for name, c := range n.children {
		out[prefix+name] = c
		if c.typ == apk.TypeDir {
			flatten(c, prefix+name+"/", out)
		}
	}
}

// checkUnpacked unpacks the layers both ways and compares with the tree, path
// by path.
func checkUnpacked(t *testing.T, tree *rootfs.Tree, layers [][]apk.Entry) {
	t.Helper()
	for name, unpack := range map[string]func([][]apk.Entry) (*vnode, error){"sequential": sequential, "overlay": overlaid} {
		root, err := unpack(layers)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := map[string]*vnode{}
		flatten(root, "", got)
		for _, d := range compareTree(tree, got) {
			t.Errorf("%s: %s", name, d)
		}
	}
}

func compareTree(tree *rootfs.Tree, got map[string]*vnode) (diffs []string) {
	index := map[string]int{}
	for i := range tree.Entries {
		index[tree.Entries[i].Path] = i
	}
	inode := map[*vnode]string{}
	for i := range tree.Entries {
		e := &tree.Entries[i]
		if e.Path == "" {
			continue
		}
		leader := e.Path
		if e.Type == apk.TypeHardlink {
			leader = e.Link
		}
		w := expected(tree, &tree.Entries[index[leader]])
		g := got[e.Path]
		if g == nil {
			diffs = append(diffs, e.Path+": missing")
			continue
		}
		if fmt.Sprint(w) != fmt.Sprint(g.unpacked) {
			diffs = append(diffs, fmt.Sprintf("%s:\n got %v\nwant %v", e.Path, g.unpacked, w))
		}
		if g.typ != apk.TypeDir {
			if other, ok := inode[g]; ok && other != leader {
				diffs = append(diffs, fmt.Sprintf("%s: is a hard link to %s", e.Path, other))
			}
			inode[g] = leader
			if got[leader] != g {
				diffs = append(diffs, fmt.Sprintf("%s: is no hard link to %s", e.Path, leader))
			}
		}
	}
	for p := range got {
		if _, ok := index[p]; !ok {
			diffs = append(diffs, p+": must not exist")
		}
	}
	slices.Sort(diffs)
	return diffs
}

// expected is what a tree entry must look like.
func expected(tree *rootfs.Tree, e *rootfs.Entry) unpacked {
	w, err := wanted(tree, e)
	if err != nil {
		panic(err)
	}
	n := &vnode{}
	n.set(w)
	return n.unpacked
}

// entriesOf lists the layers of a plan as an unpacker sees them.
func (p *Plan) entriesOf() [][]apk.Entry {
	var out [][]apk.Entry
	for _, l := range p.layers {
		var es []apk.Entry
		l.visit(func(m *member) { es = append(es, *m.entry) })
		out = append(out, es)
	}
	var top []apk.Entry
	for _, it := range p.top.items {
		top = append(top, *it.header)
	}
	if p.single && len(out) > 0 {
		out[len(out)-1] = append(out[len(out)-1], top...)
	} else {
		out = append(out, top)
	}
	return out
}
