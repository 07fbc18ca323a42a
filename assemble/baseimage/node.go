package baseimage

import (
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// node is a name in a directory.
type node struct {
	name    string
	parent  *node // nil for the root
	ino     *inode
	layer   int // that wrote it
	touched int // the last layer that wrote it or anything below it
}

// inode is what names lead to.
type inode struct {
	entry   apk.Entry
	stated  bool             // of the root: a layer describes it
	kids    map[string]*node // nil: no directory
	place   place
	content []byte // nil: not kept
}

// newDir returns a directory as it is when no layer describes it.
func newDir() *inode {
	return &inode{entry: apk.Entry{Type: apk.TypeDir, Mode: 0o755}, kids: map[string]*node{}}
}

func (n *node) isDir() bool { return n.ino.kids != nil }

// add names ino in a directory, in place of what has the name.
func (n *node) add(name string, ino *inode, layer int) *node {
	kid := &node{name: name, parent: n, ino: ino, layer: layer, touched: layer}
	n.ino.kids[name] = kid
	return kid
}

// remove deletes what the layers below one have under a name.
func (n *node) remove(name string, layer int) {
	kid := n.ino.kids[name]
	switch {
	case kid == nil:
	case kid.touched != layer:
		delete(n.ino.kids, name)
	case kid.isDir():
		kid.clear(layer)
	}
}

// clear deletes what the layers below one have in a directory.
func (n *node) clear(layer int) {
	for _, name := range slices.Sorted(maps.Keys(n.ino.kids)) {
		n.remove(name, layer)
	}
}

// path returns the clean path from the root.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	if n.parent.parent == nil {
		return n.name
	}
	return n.parent.path() + "/" + n.name
}

// walk returns the node at a clean path without following symbolic links; nil
// when there is none.
func (n *node) walk(p string) *node {
	for p != "" {
		var part string
		part, p, _ = strings.Cut(p, "/")
		if !n.isDir() {
			return nil
		}
		if n = n.ino.kids[part]; n == nil {
			return nil
		}
	}
	return n
}

// finish lists what is there.
func (f *flattener) finish(b *Base) {
	b.Contents = map[string][]byte{}
	if f.root.ino.stated {
		b.Root = &f.root.ino.entry
	}
	l := lister{Base: b, first: map[*inode]string{}}
	l.list(f.root, "")
}

// lister turns nodes into entries.
type lister struct {
	*Base
	first map[*inode]string // path of the name that holds the content
}

func (l *lister) list(dir *node, prefix string) {
	for _, name := range slices.Sorted(maps.Keys(dir.ino.kids)) {
		n := dir.ino.kids[name]
		e := n.ino.entry
		e.Path = prefix + name
		if leader, linked := l.first[n.ino]; linked && e.Type == apk.TypeFile {
			e.Type, e.Link, e.Size, e.SHA1, e.SHA256, e.ELF = apk.TypeHardlink, leader, 0, apk.SHA1{}, apk.SHA256{}, nil
		} else if e.Type == apk.TypeFile {
			l.first[n.ino] = e.Path
			if n.ino.content != nil {
				l.Contents[e.Path] = n.ino.content
			}
		}
		l.Entries = append(l.Entries, e)
		l.places = append(l.places, n.ino.place)
		if n.isDir() {
			l.list(n, e.Path+"/")
		}
	}
}
