package rootfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ErrInvalid is wrapped by every error of [Tree.Validate].
var ErrInvalid = errors.New("invalid tree")

// Validate checks what everything that reads a tree relies on: entries are
// sorted and unique, paths are clean and relative, every parent is a directory
// of the tree, hard links lead to regular files with the same metadata, every
// entry has exactly one known owner, and regular files have their bytes. It
// returns all problems, not only the first.
func (t *Tree) Validate() error {
	var errs []error
	types := make(map[string]int, len(t.Entries))
	for i := range t.Entries {
		types[t.Entries[i].Path] = i
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		if i > 0 && ComparePaths(t.Entries[i-1].Path, e.Path) >= 0 {
			errs = append(errs, t.invalid(e, "it does not come after %q", t.Entries[i-1].Path))
		}
		for _, check := range []func(*Entry, map[string]int) error{t.checkPath, t.checkType, t.checkOwner, t.checkOrigin} {
			if err := check(e, types); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

func (t *Tree) invalid(e *Entry, format string, args ...any) error {
	return fmt.Errorf("%w: path %q: %s", ErrInvalid, e.Path, fmt.Sprintf(format, args...))
}

func (t *Tree) checkPath(e *Entry, byPath map[string]int) error {
	if !cleanPath(e.Path) || strings.IndexByte(e.Path, 0) >= 0 {
		return t.invalid(e, "expected a clean path relative to the root")
	}
	dir, _ := split(e.Path)
	if dir == "" {
		return nil
	}
	if i, ok := byPath[dir]; !ok || t.Entries[i].Type != apk.TypeDir {
		return t.invalid(e, "its parent is not a directory of the tree")
	}
	return nil
}

// cleanPath reports whether p is a path relative to the root without empty, "."
// and ".." components.
func cleanPath(p string) bool {
	for start, i := 0, 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if name := p[start:i]; name == "" || name == "." || name == ".." {
			return false
		}
		start = i + 1
	}
	return true
}

func (t *Tree) checkType(e *Entry, byPath map[string]int) error {
	if e.Mode&^0o7777 != 0 || e.UID < 0 || e.GID < 0 || e.Size < 0 {
		return t.invalid(e, "mode %o, owner %d:%d, size %d: out of range", e.Mode, e.UID, e.GID, e.Size)
	}
	switch e.Type {
	case apk.TypeFile:
		if e.Content != nil && (e.SHA256 != sha256.Sum256(e.Content) || e.Size != int64(len(e.Content))) {
			return t.invalid(e, "its size or digest is not that of its content")
		}
		return nil
	case apk.TypeHardlink:
		i, ok := byPath[e.Link]
		if !ok || t.Entries[i].Type != apk.TypeFile {
			return t.invalid(e, "hard link to %q: that is not a regular file of the tree", e.Link)
		}
		o := &t.Entries[i]
		if o.Mode != e.Mode || o.UID != e.UID || o.GID != e.GID || o.MTime != e.MTime || !maps.Equal(o.Xattrs, e.Xattrs) {
			return t.invalid(e, "hard link to %q: their metadata differ", e.Link)
		}
	case apk.TypeSymlink:
		if e.Link == "" || strings.IndexByte(e.Link, 0) >= 0 {
			return t.invalid(e, "symlink to %q: that is no path", e.Link)
		}
	case apk.TypeDir, apk.TypeChar, apk.TypeBlock, apk.TypeFIFO:
	default:
		return t.invalid(e, "type %q: unknown", e.Type)
	}
	if e.Content != nil || e.Size != 0 {
		return t.invalid(e, "type %q: it has content", e.Type)
	}
	return nil
}

func (t *Tree) checkOwner(e *Entry, _ map[string]int) error {
	switch e.Owner.Kind {
	case OwnedByPackage:
		if !slices.ContainsFunc(t.Packages, func(p Package) bool { return p.Receipt.Package.Name == e.Owner.Name }) && !t.baseHas(e.Owner.Name) {
			return t.invalid(e, "owner %q: no such package", e.Owner.Name)
		}
	case OwnedByConfig, OwnedByGenerator, OwnedByBase:
		if e.Owner.Name == "" {
			return t.invalid(e, "owner: it has no name")
		}
	default:
		return t.invalid(e, "owner: kind %q is unknown", e.Owner.Kind)
	}
	return nil
}

// baseHas tells whether the base image has a package.
func (t *Tree) baseHas(name string) bool {
	return t.Base != nil && slices.ContainsFunc(t.Base.Installed, func(p apk.InstalledPackage) bool { return p.Name == name })
}

// checkOrigin checks that an entry's bytes are somewhere.
func (t *Tree) checkOrigin(e *Entry, _ map[string]int) error {
	if e.Package < 0 {
		if e.Type == apk.TypeFile && e.Content == nil {
			return t.invalid(e, "regular file without content and without package")
		}
		if e.Owner.Kind == OwnedByPackage {
			return t.invalid(e, "owner %q: the entry comes from no package", e.Owner.Name)
		}
		return nil
	}
	if e.Package >= t.Sources() || e.Member < 0 || e.Member >= len(t.Receipt(e.Package).Entries) {
		return t.invalid(e, "member %d of package %d: there is none", e.Member, e.Package)
	}
	r := t.Receipt(e.Package)
	if t.OfBase(e.Package) {
		return nil
	}
	if e.Owner.Kind == OwnedByPackage && r.Package.Name != e.Owner.Name {
		return t.invalid(e, "owner %q: the entry comes from package %s", e.Owner.Name, r.Package.Name)
	}
	return nil
}
