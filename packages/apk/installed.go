package apk

import (
	"bytes"
	"cmp"
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// InstalledPackage is one entry of the installed database
// (lib/apk/db/installed).
type InstalledPackage struct {
	Package
	// Tag is the repository tag the package came from (s:), without "@".
	Tag string
	// Broken lists what went wrong on installation (f:): 'f' files, 's' a
	// script, 'x' extended attributes, in this order. Empty when nothing did.
	Broken string
	// Dirs are in the order of the package's archive.
	Dirs []InstalledDir
}

// InstalledDir is a directory that a package owns or has files in.
type InstalledDir struct {
	Path     string // without leading or trailing slash; empty: the root
	Mode     uint32 // 07777
	UID, GID int
	Xattrs   SHA1 // see XattrSHA1; zero: none
	Files    []InstalledFile
}

// InstalledFile is anything but a directory.
type InstalledFile struct {
	Name     string // without directory
	Mode     uint32 // 07777
	UID, GID int
	Xattrs   SHA1 // see XattrSHA1; zero: none
	// SHA1 is the checksum of the content or of a symlink's target; zero for
	// devices and where it is not known.
	SHA1 SHA1
}

// The modes that the database leaves out, with root as the owner.
const (
	defaultDirMode  = 0o755
	defaultFileMode = 0o644
)

// NewInstalledPackage groups the entries of p's data section by directory, as
// apk-tools 2.14 records them: paths that begin with a dot and files named
// ".keep_…" are left out, a hard link has the checksum of its target, and a file
// whose directory has no entry of its own before it is an error (the root
// excepted), as are a hard link without target and a path with a control
// character.
func NewInstalledPackage(p *Package, entries []Entry) (*InstalledPackage, error) {
	b := installer{p: &InstalledPackage{Package: *p}, dirs: map[string]int{}, sums: map[string]SHA1{}}
	for i := range entries {
		if err := b.add(&entries[i]); err != nil {
			return nil, fmt.Errorf("package %s: %w", p.ID(), err)
		}
	}
	return b.p, nil
}

type installer struct {
	p    *InstalledPackage
	dirs map[string]int  // path → position in p.Dirs
	sums map[string]SHA1 // path of a file → its checksum
}

func (b *installer) add(e *Entry) error {
	if e.Path == "" || strings.HasPrefix(e.Path, ".") {
		return nil
	}
	if i := strings.IndexFunc(e.Path, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
		return fmt.Errorf("file %q: control character in the path", e.Path)
	}
	if e.Type == TypeDir {
		d := &b.p.Dirs[b.dir(e.Path)]
		d.Mode, d.UID, d.GID, d.Xattrs = e.Mode, e.UID, e.GID, XattrSHA1(e.Xattrs)
		return nil
	}
	parent, name := path.Split(e.Path)
	parent = strings.TrimSuffix(parent, "/")
	if len(name) > len(".keep_") && strings.HasPrefix(name, ".keep_") {
		return nil
	}
	i, ok := b.dirs[parent]
	if !ok {
		if parent != "" {
			return fmt.Errorf("file %q: no entry for directory %q before it", e.Path, parent)
		}
		i = b.dir("")
	}
	sum, err := b.checksum(e)
	if err != nil {
		return err
	}
	b.sums[e.Path] = sum
	d := &b.p.Dirs[i]
	d.Files = append(d.Files, InstalledFile{Name: name, Mode: e.Mode, UID: e.UID, GID: e.GID, Xattrs: XattrSHA1(e.Xattrs), SHA1: sum})
	return nil
}

// dir returns the position of the directory, which it adds when it is new.
func (b *installer) dir(p string) int {
	i, ok := b.dirs[p]
	if !ok {
		i = len(b.p.Dirs)
		b.dirs[p] = i
		b.p.Dirs = append(b.p.Dirs, InstalledDir{Path: p, Mode: defaultDirMode})
	}
	return i
}

func (b *installer) checksum(e *Entry) (SHA1, error) {
	switch e.Type {
	case TypeFile, TypeSymlink:
		return e.SHA1, nil
	case TypeHardlink:
		sum, ok := b.sums[e.Link]
		if !ok {
			return SHA1{}, fmt.Errorf("hard link %q: no target %q before it", e.Path, e.Link)
		}
		return sum, nil
	}
	return SHA1{}, nil
}

// XattrSHA1 returns the checksum of extended attributes as the installed
// database records it: SHA-1 over length (32 bits, big endian) and bytes of each
// name and value, in the order of names. It is zero without attributes.
func XattrSHA1(xattrs map[string]string) SHA1 {
	if len(xattrs) == 0 {
		return SHA1{}
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(xattrs)) {
		for _, s := range []string{name, xattrs[name]} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
			b = append(b, s...)
		}
	}
	return sha1.Sum(b)
}

// CompareNames orders packages as apk-tools lists and records them: by name
// without regard to case, then byte-wise.
func CompareNames(a, b string) int {
	return cmp.Or(strings.Compare(lowerASCII(a), lowerASCII(b)), strings.Compare(a, b))
}

func lowerASCII(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i]-'A' < 26 {
			return string(bytes.ToLower([]byte(s)))
		}
	}
	return s
}

// AppendInstalled appends p as one entry of the installed database, the blank
// line that ends it included, and returns the extended buffer. The entries of a
// database are in the order of [CompareNames].
//
// The keys are those that apk-tools 2.14 writes: the keys of an index entry
// ([AppendIndexEntry]), then r q s f, then for each directory F and M, and for
// each of its files R, a and Z; M and a only where owner and mode are not root
// and 0755 or 0644.
func AppendInstalled(b []byte, p *InstalledPackage) []byte {
	b = AppendIndexEntry(b, &p.Package)
	b = b[:len(b)-1]
	b = appendList(b, "r:", p.Replaces)
	b = appendNonZero(b, "q:", p.ReplacesPriority)
	b = appendNonEmpty(b, "s:", p.Tag)
	b = appendNonEmpty(b, "f:", p.Broken)
	for i := range p.Dirs {
		d := &p.Dirs[i]
		b = appendText(b, "F:", d.Path)
		b = appendACL(b, "M:", defaultDirMode, d.Mode, d.UID, d.GID, d.Xattrs)
		for j := range d.Files {
			f := &d.Files[j]
			b = appendText(b, "R:", f.Name)
			b = appendACL(b, "a:", defaultFileMode, f.Mode, f.UID, f.GID, f.Xattrs)
			if !f.SHA1.IsZero() {
				b = appendText(b, "Z:", f.SHA1.String())
			}
		}
	}
	return append(b, '\n')
}

// appendACL appends "uid:gid:mode" and the checksum of extended attributes.
func appendACL(b []byte, key string, usual, mode uint32, uid, gid int, xattrs SHA1) []byte {
	if mode == usual && uid == 0 && gid == 0 && xattrs.IsZero() {
		return b
	}
	b = append(b, key...)
	b = append(strconv.AppendInt(b, int64(uid), 10), ':')
	b = append(strconv.AppendInt(b, int64(gid), 10), ':')
	b = strconv.AppendUint(b, uint64(mode), 8)
	if !xattrs.IsZero() {
		b = append(append(b, ':'), xattrs.String()...)
	}
	return append(b, '\n')
}
