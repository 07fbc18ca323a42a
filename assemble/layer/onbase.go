package layer

import (
	"path"

	"github.com/cairn-dev/cairn/packages/apk"
)

// below is what the layers of the base image give; without one, an empty root.
// How an unpacker comes to it is not asked: the base is taken as it is.
func (t *target) below() *fsys {
	f := newFsys()
	base := t.tree.Base
	if base == nil {
		return f
	}
	pkg := len(t.tree.Packages)
	if base.Root != nil {
		f.root.meta, f.root.sure = base.Root, true
	}
	files := map[string]*inode{}
	entries := base.Receipt.Entries
	for i := range entries {
		e := &entries[i]
		dir, name := path.Split(e.Path)
		parent := f.lookup(path.Clean(dir))
		n := &node{name: name, pkg: pkg, idx: i, layer: -1, touched: -1, mixed: -1}
		switch e.Type {
		case apk.TypeDir:
			n.children, n.meta, n.sure = map[string]*node{}, e, true
		case apk.TypeHardlink:
			n.ino = files[e.Link]
		default:
			n.ino = &inode{entry: e, sure: true}
			files[e.Path] = n.ino
		}
		parent.children[name] = n
	}
	return f
}

// rootHeader is what the root directory is to be where the tree does not list
// it.
func (t *target) rootHeader() *apk.Entry {
	if t.tree.Base != nil && t.tree.Base.Root != nil {
		return t.tree.Base.Root
	}
	return &apk.Entry{Type: apk.TypeDir, Mode: 0o755}
}

// neededDirs are the directories that a single layer on a base image must hold:
// those that are not as in the base, and those of everything in the layer. It is
// nil without a base: then all are.
func (t *target) neededDirs(l *planned) map[int]bool {
	if t.tree.Base == nil {
		return nil
	}
	needed := map[int]bool{}
	add := func(p string) {
		for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
			needed[t.at(dir)] = true
		}
	}
	for _, i := range t.diff(t.below()).entries {
		needed[i] = true
		add(t.tree.Entries[i].Path)
	}
	for _, part := range l.members {
		for i := range part {
			add(part[i].entry.Path)
		}
	}
	return needed
}

func describeBase(l *Layer) LayerDescription {
	d := LayerDescription{Kind: Base, Size: l.Size, Inflated: l.Inflated}
	d.Digest, _ = apk.ParseSHA256(l.Digest.Hex)
	d.DiffID, _ = apk.ParseSHA256(l.DiffID.Hex)
	return d
}
