package rootfs

import (
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// node is a name in a directory; inode is what it names. Several names of one
// regular file are hard links.
type node struct {
	name   string
	parent *node // nil for the root
	ino    *inode
	// pkg and member are the package member that made this name, -1 for none.
	pkg, member int32
	owner       *Owner // of the name when it is not the inode's
}

type inode struct {
	typ      apk.EntryType
	mode     uint32
	uid, gid int
	mtime    int64
	link     string // symlink target as written
	// major and minor are those of a device that no package brings.
	major, minor int64

	kids map[string]*node // of a directory
	// refs are the packages that have the directory, in installation order,
	// under the name spelled (a path through a symlink is another directory to
	// apk-tools, and does not count).
	refs    []ref
	spelled string

	// initdb is the mode of a directory that apk-tools makes before it
	// installs anything, and leaves alone whatever packages say; else 0.
	initdb uint32

	names []*node  // in the order they were made; not for directories
	one   [1]*node // backing of names

	// pkg and member hold the bytes and metadata, -1 for none; links are the
	// members of the same package that are hard links to it.
	pkg, member int32
	links       []int32

	owner   Owner // zero: the package
	content []byte
	changed bool // content is set, be it empty
	// own is set when uid, gid and mode are not the package's any more.
	own bool
	// app is 1 more than the position of the entry of app that it is of, 0 for none.
	app     int
	derived []string
}

type ref struct{ pkg, member int32 }

func (n *node) isDir() bool { return n.ino.typ == apk.TypeDir }

// path returns the clean path from the root, "" for the root.
func (n *node) path() string {
	if n.parent == nil {
		return ""
	}
	if n.parent.parent == nil {
		return n.name
	}
	size := -1
	for m := n; m.parent != nil; m = m.parent {
		size += len(m.name) + 1
	}
	buf := make([]byte, size)
	for m := n; m.parent != nil; m = m.parent {
		size -= len(m.name)
		copy(buf[size:], m.name)
		if size > 0 {
			size--
			buf[size] = '/'
		}
	}
	return string(buf)
}

// newInode returns an inode of the generator or key owner.
func (b *builder) newInode(typ apk.EntryType, mode uint32, owner Owner) *inode {
	ino := b.allocInode()
	*ino = inode{typ: typ, mode: mode, mtime: b.created, pkg: -1, member: -1, owner: owner, own: true}
	if typ == apk.TypeDir {
		ino.kids = map[string]*node{}
	}
	return ino
}

// packageInode returns an inode made from member m of package p.
func (b *builder) packageInode(p, m int32) *inode {
	e := b.member(p, m)
	ino := b.allocInode()
	*ino = inode{typ: e.Type, mode: e.Mode & 0o7777, uid: e.UID, gid: e.GID, mtime: e.MTime, pkg: p, member: m}
	switch e.Type {
	case apk.TypeDir:
		ino.kids = map[string]*node{}
	case apk.TypeSymlink:
		ino.link, ino.mode = e.Link, 0o777
	}
	return ino
}

func (b *builder) allocInode() *inode {
	if len(b.inodes) == cap(b.inodes) {
		b.inodes = make([]inode, 0, 1024)
	}
	b.inodes = b.inodes[:len(b.inodes)+1]
	return &b.inodes[len(b.inodes)-1]
}

// attach names ino in a directory that has no such name.
func (b *builder) attach(dir *node, name string, ino *inode, pkg, member int32) *node {
	if len(b.nodes) == cap(b.nodes) {
		b.nodes = make([]node, 0, 1024)
	}
	b.nodes = append(b.nodes, node{name: name, parent: dir, ino: ino, pkg: pkg, member: member})
	n := &b.nodes[len(b.nodes)-1]
	dir.ino.kids[name] = n
	if b.compat() {
		b.apkoTime(dir.ino, ino)
	}
	if ino.typ != apk.TypeDir {
		if ino.names == nil {
			ino.names = ino.one[:0]
		}
		ino.names = append(ino.names, n)
	}
	return n
}

// detach removes a name that is not a directory.
func (b *builder) detach(n *node) {
	delete(n.parent.ino.kids, n.name)
	names := n.ino.names
	for i := range names {
		if names[i] == n {
			n.ino.names = append(names[:i:i], names[i+1:]...)
			return
		}
	}
}

// ownerOf returns who put n into the tree.
func (b *builder) ownerOf(n *node) Owner {
	if n.owner != nil {
		return *n.owner
	}
	if n.ino.owner != (Owner{}) {
		return n.ino.owner
	}
	if n.ino.pkg < 0 {
		return Owner{Kind: OwnedByGenerator, Name: generatorBase}
	}
	if b.onBase(n.ino.pkg) {
		m := n.ino.member
		if n.pkg == n.ino.pkg {
			m = n.member // of several hard links each has its own line
		}
		if p := b.basePackage(m); p != nil {
			return Owner{Kind: OwnedByPackage, Name: p.Name}
		}
		return baseOwner
	}
	return Owner{Kind: OwnedByPackage, Name: b.in.Packages[n.ino.pkg].Receipt.Package.Name}
}

// split cuts a clean path into its directory and its last name.
func split(p string) (dir, base string) {
	i := strings.LastIndexByte(p, '/')
	if i < 0 {
		return "", p
	}
	return p[:i], p[i+1:]
}
