package rootfs

import (
	"crypto/sha1"
	"crypto/sha256"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// tree turns the nodes into sorted entries.
func (b *builder) tree() (*Tree, error) {
	if err := b.ctx.Err(); err != nil {
		return nil, err
	}
	t := &Tree{Arch: b.in.Arch, Packages: b.in.Packages, Base: b.in.Base, Entries: make([]Entry, 0, len(b.nodes)), User: b.user, Warnings: b.warnings}
	b.emit(t, b.root, "")
	return t, nil
}

// emit appends what is in the directory n, depth first.
func (b *builder) emit(t *Tree, n *node, prefix string) {
	names := make([]string, 0, len(n.ino.kids))
	for name := range n.ino.kids {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		kid := n.ino.kids[name]
		t.Entries = append(t.Entries, Entry{})
		e := &t.Entries[len(t.Entries)-1]
		b.fill(e, kid)
		if n := len(prefix); len(e.Path) != n+len(name) || e.Path[:n] != prefix || e.Path[n:] != name {
			e.Path = prefix + name
		}
		if kid.isDir() {
			b.emit(t, kid, e.Path+"/")
		}
	}
}

// fill makes the entry of a node, but for its path.
func (b *builder) fill(e *Entry, n *node) {
	ino := n.ino
	e.Package, e.Member = -1, -1
	leads := len(ino.names) == 0 || ino.names[0] == n
	switch {
	case n.pkg >= 0 && ino.pkg >= 0:
		e.Package, e.Member = int(n.pkg), int(n.member)
		e.Entry = *b.member(n.pkg, n.member)
	case ino.pkg >= 0 && leads:
		e.Package, e.Member = int(ino.pkg), int(ino.member)
		e.Entry = *b.member(ino.pkg, ino.member)
	}
	e.Owner = b.ownerOf(n)
	e.Derived, e.App = ino.derived, ino.app
	e.Type, e.Mode, e.MTime, e.Link = ino.typ, ino.mode, ino.mtime, ino.link
	if e.Package < 0 {
		e.DevMajor, e.DevMinor = ino.major, ino.minor
	}
	if e.UID != ino.uid || e.Package < 0 {
		e.UID, e.Uname = ino.uid, ""
	}
	if e.GID != ino.gid || e.Package < 0 {
		e.GID, e.Gname = ino.gid, ""
	}
	if ino.typ != apk.TypeFile {
		return
	}
	if !leads {
		b.fillLink(e, ino)
		return
	}
	b.fillContent(e, ino)
}

// fillLink makes e a hard link to the first of the inode's names.
func (b *builder) fillLink(e *Entry, ino *inode) {
	e.Type, e.Link = apk.TypeHardlink, ino.names[0].path()
	e.Size, e.SHA256, e.SHA1, e.ELF = 0, apk.SHA256{}, apk.SHA1{}, nil
	if ino.pkg >= 0 {
		e.Xattrs = b.member(ino.pkg, ino.member).Xattrs
	}
}

// fillContent sets what a regular file's bytes decide.
func (b *builder) fillContent(e *Entry, ino *inode) {
	if ino.changed || ino.pkg < 0 {
		e.Content = ino.content
		if e.Content == nil {
			e.Content = []byte{}
		}
		e.Size, e.SHA256, e.SHA1 = int64(len(ino.content)), sha256.Sum256(ino.content), sha1.Sum(ino.content)
		e.ELF = nil
		return
	}
	src := b.member(ino.pkg, ino.member)
	e.Size, e.SHA256, e.SHA1, e.ELF, e.Xattrs = src.Size, src.SHA256, src.SHA1, src.ELF, src.Xattrs
}
