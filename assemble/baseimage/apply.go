package baseimage

import (
	"archive/tar"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Names that mean deletion in a layer (OCI image specification, "Layer Filesystem
// Changeset", Whiteouts). Other names with the longer prefix are what AUFS left.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
	aufs     = ".wh..wh."
)

// apply unpacks one member.
func (f *flattener) apply(h *tar.Header, r io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := clean(h.Name)
	if err != nil {
		return err
	}
	if name == "" {
		return f.setRoot(h)
	}
	dir, base := path.Split(name)
	parent, err := f.parent(strings.TrimSuffix(dir, "/"))
	if err != nil {
		return err
	}
	switch {
	case base == opaque:
		parent.clear(f.at)
		return nil
	case strings.HasPrefix(base, aufs):
		return nil
	case base == whiteout:
		return errors.New("whiteout of nothing")
	case strings.HasPrefix(base, whiteout):
		parent.remove(strings.TrimPrefix(base, whiteout), f.at)
		return nil
	}
	return f.put(parent, base, name, h, r)
}

// clean gives a member's path relative to the root. Unpackers drop what leads
// nowhere; a path that leads out is refused.
func clean(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("a path of %d bytes: expected at most %d", len(name), maxPath)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", errors.New("path leads out of the image")
		}
	}
	if strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("path with a zero byte")
	}
	return strings.TrimPrefix(path.Clean("/"+name), "/"), nil
}

func (f *flattener) setRoot(h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		return fmt.Errorf("type %q: expected a directory for the root", h.Typeflag)
	}
	f.root.ino.entry = newEntry("", h, apk.TypeDir)
	f.root.ino.stated = true
	return nil
}

// parent walks to a directory; what is missing is made, as unpackers do.
func (f *flattener) parent(dir string) (*node, error) {
	at := f.root
	at.touched = f.at
	if dir == "" {
		return at, nil
	}
	for part := range strings.SplitSeq(dir, "/") {
		next := at.ino.kids[part]
		switch {
		case next == nil:
			next = at.add(part, newDir(), f.at)
		case !next.isDir():
			return nil, fmt.Errorf("path leads through %q, which is no directory: unpackers do not agree on it", next.path())
		}
		next.touched = f.at
		at = next
	}
	return at, nil
}

// put places a member, in place of what is there. A directory keeps its content.
func (f *flattener) put(parent *node, base, name string, h *tar.Header, r io.Reader) error {
	typ, ok := entryTypes[h.Typeflag]
	if !ok {
		return fmt.Errorf("type %q: not known", h.Typeflag)
	}
	if sparse(h) {
		return errors.New("sparse file: a few bytes may stand for any number")
	}
	if h.Uid < 0 || h.Gid < 0 || h.Uid > math.MaxUint32 || h.Gid > math.MaxUint32 || h.Devmajor < 0 || h.Devminor < 0 {
		return fmt.Errorf("owner %d:%d, device %d:%d: expected numbers of at most 32 bits", h.Uid, h.Gid, h.Devmajor, h.Devminor)
	}
	if len(h.Linkname) > maxPath || strings.IndexByte(h.Linkname, 0) >= 0 {
		return fmt.Errorf("link to %.100q: expected a path of at most %d bytes", h.Linkname, maxPath)
	}
	old := parent.ino.kids[base]
	switch {
	case typ == apk.TypeHardlink:
		ino, err := f.linked(h.Linkname, old)
		if err != nil || ino == nil {
			return err
		}
		parent.add(base, ino, f.at)
		return nil
	case typ == apk.TypeDir && old != nil && old.isDir():
		old.layer, old.touched = f.at, f.at
		old.ino.entry = newEntry(name, h, typ)
		return nil
	case typ == apk.TypeDir:
		ino := newDir()
		ino.entry = newEntry(name, h, typ)
		parent.add(base, ino, f.at)
		return nil
	}
	ino := &inode{entry: newEntry(name, h, typ), place: place{f.at, f.member}}
	if typ == apk.TypeSymlink && ino.entry.Link == "" {
		return errors.New("symbolic link to nothing")
	}
	if typ == apk.TypeFile {
		if err := f.content(ino, name, h.Size, r); err != nil {
			return err
		}
	}
	parent.add(base, ino, f.at)
	return nil
}

// sparse tells whether a member's holes are left out of the archive, in one of
// GNU tar's three PAX forms. (The older form has a type of its own.)
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// linked returns what a hard link names, nil when the link is there already. A
// link into a layer below is a copy: an overlay cannot keep the two one file.
func (f *flattener) linked(link string, old *node) (*inode, error) {
	target, err := clean(link)
	if err != nil {
		return nil, fmt.Errorf("hard link to %.200q: %w", link, err)
	}
	n := f.root.walk(target)
	switch {
	case n == nil:
		return nil, fmt.Errorf("hard link to %.200q: no such file before it", link)
	case n.isDir():
		return nil, fmt.Errorf("hard link to %.200q: that is a directory", link)
	case n == old:
		return nil, nil
	case n.layer == f.at:
		return n.ino, nil
	}
	twin := *n.ino
	return &twin, nil
}

var entryTypes = map[byte]apk.EntryType{
	tar.TypeReg: apk.TypeFile, tar.TypeDir: apk.TypeDir, tar.TypeSymlink: apk.TypeSymlink, tar.TypeLink: apk.TypeHardlink,
	tar.TypeChar: apk.TypeChar, tar.TypeBlock: apk.TypeBlock, tar.TypeFifo: apk.TypeFIFO,
}

// xattrPrefix is that of the PAX records of extended attributes.
const xattrPrefix = "SCHILY.xattr."

func newEntry(name string, h *tar.Header, typ apk.EntryType) apk.Entry {
	e := apk.Entry{
		Path: name, Type: typ, Mode: uint32(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid,
		MTime: h.ModTime.Unix(),
	}
	switch typ {
	case apk.TypeSymlink:
		e.Link, e.Mode, e.SHA1 = h.Linkname, 0o777, sha1.Sum([]byte(h.Linkname))
	case apk.TypeChar, apk.TypeBlock:
		e.DevMajor, e.DevMinor = h.Devmajor, h.Devminor
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, xattrPrefix); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	return e
}

// content hashes a regular file and keeps it when planning may need it.
func (f *flattener) content(ino *inode, name string, size int64, r io.Reader) error {
	s1, s256 := sha1.New(), sha256.New()
	f.elf.Begin(size)
	w := []io.Writer{s1, s256, &f.elf}
	var keep *keeper
	if wanted(name, size) {
		if f.kept += size; f.kept > maxContents {
			return fmt.Errorf("more than %d bytes of settings and databases", maxContents)
		}
		keep = &keeper{}
		w = append(w, keep)
	}
	if _, err := io.Copy(io.MultiWriter(w...), r); err != nil {
		return err
	}
	e := &ino.entry
	e.Size, e.ELF = size, f.elf.Facts()
	s1.Sum(e.SHA1[:0])
	s256.Sum(e.SHA256[:0])
	if keep != nil {
		ino.content = append([]byte{}, keep.b...)
	}
	return nil
}

// keeper collects what is written to it.
type keeper struct{ b []byte }

func (k *keeper) Write(p []byte) (int, error) {
	k.b = append(k.b, p...)
	return len(p), nil
}

// wanted reports whether the bytes of a file are kept: what a package's receipt
// keeps, and the files of apk's database whatever their size.
func wanted(name string, size int64) bool {
	if size > maxContent {
		return false
	}
	dir, _ := path.Split(name)
	return store.ContentWanted(name, size) || dir == "lib/apk/db/" || dir == "usr/lib/apk/db/"
}
