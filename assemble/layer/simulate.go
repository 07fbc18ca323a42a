package layer

import (
	"maps"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// member is one entry of a layer as it will stand in the archive.
type member struct {
	pkg, idx int // position in the tree's packages and in the receipt's entries; pkg -1: top layer
	entry    *apk.Entry
	raw      bool // copied as it stands in the data section, headers and all
	content  int  // when not raw: the receipt entry whose content follows the new header, -1 for none
}

// problem says what about a member unpackers do not agree on.
type problem string

const (
	throughOther problem = "lies below a path that is not a directory"
	typeChange   problem = "changes between directory and non-directory within a layer"
	duplicate    problem = "stands twice in a layer"
	linkTarget   problem = "is a hard link to what is not a file of its layer"
	reserved     problem = "has a name that means deletion in an image layer"
)

// conflict is a member that cannot stay where it is, and the one it collides
// with (pkg -1 when there is none).
type conflict struct {
	problem            problem
	layer              int
	pkg, idx           int
	otherPkg, otherIdx int
	// path is where the member would have gone, otherPath where the other is.
	path, otherPath string
}

// inode is a non-directory; hard links share it.
type inode struct {
	entry *apk.Entry
	// sure is false when the headers of several links disagree, so that the
	// outcome depends on the unpacker.
	sure bool
}

// node is a path of the simulated file system.
type node struct {
	name     string
	pkg, idx int // of the member that wrote it last
	layer    int // that holds the last explicit entry for it, -1: implied only
	touched  int // last layer that wrote it or anything below it
	ino      *inode

	// For directories:
	children map[string]*node
	meta     *apk.Entry // nil when implied only
	sure     bool       // every unpacker comes to the metadata in meta
	mixed    int        // layer that describes it in more than one way, -1: none
}

func (n *node) isDir() bool { return n.ino == nil }

// fsys is what unpacking layers one after the other gives, as far as the
// unpackers agree, and where they do not.
//
// The rules are those that containerd (unpacking onto the mounted layers
// below), Docker's and Podman's drivers (unpacking each layer by itself, an
// overlay mount joins them) and umoci (unpacking all into one directory) have
// in common:
//
//   - an entry replaces what is at its path, unless both are directories;
//   - a directory keeps its content and takes the metadata of the last entry;
//   - a parent without an entry of its own in the same layer is implied: some
//     make it 0755 root:root and so change the one below, others keep that;
//     and the directory's time is that of unpacking. Its metadata is not sure
//     until a later layer states it;
//   - a parent that is a symlink in a layer below is followed by some and
//     hidden by a new directory by others;
//   - a hard link needs its target earlier in the same layer.
type fsys struct {
	root      *node
	conflicts []conflict
}

func newFsys() *fsys {
	return &fsys{root: &node{pkg: -1, idx: -1, layer: -1, touched: -1, mixed: -1, children: map[string]*node{}}}
}

// apply unpacks one member of a layer. A member that cannot be unpacked alike
// everywhere is reported in conflicts and left out.
func (f *fsys) apply(layer int, m *member) {
	path := m.entry.Path
	if path == "" || path == "." {
		f.applyDir(layer, m, f.root)
		return
	}
	dir, base, blocker := f.parent(layer, path)
	switch {
	case blocker != nil:
		f.conflict(throughOther, layer, m, blocker, base)
		return
	case strings.HasPrefix(base, whiteoutPrefix):
		f.conflict(reserved, layer, m, nil, "")
		return
	}
	old := dir.children[base]
	switch m.entry.Type {
	case apk.TypeDir:
		if old == nil || !old.isDir() {
			if old != nil && old.layer == layer {
				f.conflict(typeChange, layer, m, old, path)
				return
			}
			old = &node{name: base, layer: -1, mixed: -1, children: map[string]*node{}}
			dir.children[base] = old
		}
		f.applyDir(layer, m, old)
	default:
		f.applyOther(layer, m, dir, base, old)
	}
}

// parent walks to the directory that holds path, implying what is missing. If
// something is in the way, it returns that, and its path as base.
func (f *fsys) parent(layer int, path string) (dir *node, base string, blocker *node) {
	dir = f.root
	whole := path
	for {
		dir.touched = layer
		if dir.layer != layer {
			dir.sure = false
		}
		name, rest, more := strings.Cut(path, "/")
		if !more {
			return dir, name, nil
		}
		next := dir.children[name]
		if next == nil {
			next = &node{name: name, pkg: -1, idx: -1, layer: -1, mixed: -1, children: map[string]*node{}}
			dir.children[name] = next
		}
		if !next.isDir() {
			return nil, whole[:len(whole)-len(rest)-1], next
		}
		dir, path = next, rest
	}
}

func (f *fsys) applyDir(layer int, m *member, n *node) {
	if n.layer == layer && n.meta != nil && !sameMeta(n.meta, m.entry) {
		n.mixed = layer
	}
	n.meta, n.sure = m.entry, n.mixed != layer
	n.layer, n.touched = layer, layer
	n.pkg, n.idx = m.pkg, m.idx
}

func (f *fsys) applyOther(layer int, m *member, dir *node, base string, old *node) {
	path := m.entry.Path
	switch {
	case old == nil:
	case old.isDir() && old.touched == layer:
		f.conflict(typeChange, layer, m, old, path)
		return
	case !old.isDir() && old.layer == layer:
		f.conflict(duplicate, layer, m, old, path)
		return
	}
	ino := &inode{entry: m.entry, sure: true}
	if m.entry.Type == apk.TypeHardlink {
		target := f.lookup(m.entry.Link)
		if target == nil || target.isDir() || target.layer != layer || target.ino.entry.Type != apk.TypeFile {
			f.conflict(linkTarget, layer, m, target, m.entry.Link)
			return
		}
		ino = target.ino
		if !sameMeta(ino.entry, m.entry) {
			ino.sure = false
		}
	}
	dir.children[base] = &node{name: base, pkg: m.pkg, idx: m.idx, layer: layer, touched: layer, ino: ino}
}

// whiteout unpacks the marker that deletes a path of the layers below.
func (f *fsys) whiteout(layer int, path string) {
	dir, base, blocker := f.parent(layer, path)
	if blocker == nil && dir.children[base] != nil && dir.children[base].touched != layer {
		delete(dir.children, base)
	}
}

func (f *fsys) conflict(p problem, layer int, m *member, with *node, at string) {
	c := conflict{problem: p, layer: layer, pkg: m.pkg, idx: m.idx, otherPkg: -1, otherIdx: -1, path: m.entry.Path, otherPath: at}
	if with != nil {
		c.otherPkg, c.otherIdx = with.pkg, with.idx
	}
	f.conflicts = append(f.conflicts, c)
}

// lookup returns the node at path without following links, or nil.
func (f *fsys) lookup(path string) *node {
	n := f.root
	if path == "" || path == "." {
		return n
	}
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, "/")
		if !n.isDir() {
			return nil
		}
		if n = n.children[name]; n == nil {
			return nil
		}
	}
	return n
}

// sameMeta reports whether two entries give a path the same metadata.
func sameMeta(a, b *apk.Entry) bool {
	return a == b || a.Mode == b.Mode && a.UID == b.UID && a.GID == b.GID && a.MTime == b.MTime &&
		maps.Equal(a.Xattrs, b.Xattrs)
}
