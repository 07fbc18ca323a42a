package rootfs

import (
	"errors"
	"fmt"
	"github.com/cairn-dev/cairn/assemble/config"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// errMissing is wrapped when the configuration names a path that is not there.
var errMissing = errors.New("no such path in the image")

// configPaths applies the configuration's paths in order.
func (b *builder) configPaths() error {
	for i := range b.cfg.Paths {
		m := &b.cfg.Paths[i]
		key := fmt.Sprintf("paths[%d]", i)
		if err := b.mutate(m, newChange(m, key, b.cfg.PermissionsGiven(i))); err != nil {
			return &ConfigError{key, fmt.Errorf("%s: %w", m.Path, err)}
		}
	}
	return nil
}

func (b *builder) mutate(m *config.PathMutation, change change) error {
	if strings.Trim(m.Path, "/") == "" {
		return errors.New("expected a path below the root")
	}
	switch m.Type {
	case "directory":
		return b.pathDirectory(m, change)
	case "empty-file":
		return b.pathEmptyFile(m, change)
	case "hardlink":
		return b.pathHardlink(m, change)
	case "symlink":
		return b.pathSymlink(m, change)
	case "permissions":
		return b.pathPermissions(m, change)
	}
	return fmt.Errorf("type %q: expected directory, empty-file, hardlink, symlink or permissions", m.Type)
}

// change is what a path entry wants of mode and owner; what is not given stays
// as it is.
type change struct {
	owner    Owner
	chmod    bool
	mode     uint32
	chown    bool
	uid, gid int
}

// newChange reads mode and owner. Where only one of uid and gid is given the
// other is 0, as in apko.
func newChange(m *config.PathMutation, key string, chmod bool) change {
	c := change{owner: Owner{OwnedByConfig, key}, chmod: chmod, mode: m.Permissions & 0o7777, chown: m.UID != nil || m.GID != nil}
	if m.UID != nil {
		c.uid = int(*m.UID)
	}
	if m.GID != nil {
		c.gid = int(*m.GID)
	}
	return c
}

// apply changes an inode. Symlinks have no mode of their own, and changing
// their target's is not what was asked for.
func (c *change) apply(ino *inode) {
	was := [3]uint32{ino.mode, uint32(ino.uid), uint32(ino.gid)}
	if c.chmod && ino.typ != apk.TypeSymlink {
		ino.mode = c.mode
	}
	if c.chown {
		ino.uid, ino.gid = c.uid, c.gid
	}
	if was != [3]uint32{ino.mode, uint32(ino.uid), uint32(ino.gid)} {
		ino.owner, ino.own = c.owner, true
	}
}

// applyBelow changes everything below a directory.
func (c *change) applyBelow(n *node) {
	for _, kid := range n.ino.kids {
		c.apply(kid.ino)
		if kid.isDir() {
			c.applyBelow(kid)
		}
	}
}

// pathDirectory makes a directory, or changes the one that is there. Missing
// parents are implied directories, whatever mode the last one gets.
func (b *builder) pathDirectory(m *config.PathMutation, c change) error {
	at, err := b.lookup(m.Path, true)
	if err != nil {
		return err
	}
	if at.node == nil {
		n, err := b.mkdirAll(m.Path)
		if err != nil {
			return err
		}
		n.ino.owner = c.owner
		c.apply(n.ino)
		return nil
	}
	if !at.node.isDir() {
		return fmt.Errorf("expected a directory there or nothing, %s has a file", b.ownerOf(at.node).Name)
	}
	c.apply(at.node.ino)
	if m.Recursive {
		c.applyBelow(at.node)
	}
	return nil
}

// pathEmptyFile makes an empty file, or empties the one that is there.
func (b *builder) pathEmptyFile(m *config.PathMutation, c change) error {
	at, err := b.fileAt(m.Path)
	if err != nil {
		return err
	}
	mode, uid, gid := uint32(0o644), 0, 0
	if at.node != nil {
		mode, uid, gid = at.node.ino.mode, at.node.ino.uid, at.node.ino.gid
		b.detach(at.node)
	}
	ino := b.newInode(apk.TypeFile, mode, c.owner)
	ino.content, ino.changed, ino.uid, ino.gid = []byte{}, true, uid, gid
	c.apply(ino)
	b.attach(at.dir, at.name, ino, -1, -1)
	return nil
}

// fileAt returns where a file at p would be written to: symlinks are followed,
// missing parents made.
func (b *builder) fileAt(p string) (place, error) {
	dir, _ := split(strings.Trim(p, "/"))
	if _, err := b.mkdirAll(dir); err != nil {
		return place{}, err
	}
	for {
		at, err := b.lookup(p, true)
		if err != nil {
			return place{}, err
		}
		switch {
		case at.node == nil && at.deeper: // the parents of a dangling symlink's target
			b.attach(at.dir, at.name, b.newInode(apk.TypeDir, 0o755, Owner{OwnedByGenerator, generatorImplied}), -1, -1)
			continue
		case at.node != nil && at.node.ino.typ != apk.TypeFile:
			return place{}, fmt.Errorf("expected a regular file there or nothing, %s has something else", b.ownerOf(at.node).Name)
		}
		return at, nil
	}
}

// pathHardlink gives the file at source a second name, in place of a file or
// symlink that has it.
func (b *builder) pathHardlink(m *config.PathMutation, c change) error {
	source, err := b.lookup(m.Source, true)
	switch {
	case err != nil:
		return err
	case source.node == nil:
		return fmt.Errorf("source %s: %w", m.Source, errMissing)
	case source.node.ino.typ != apk.TypeFile:
		return fmt.Errorf("source %s: expected a regular file", m.Source)
	}
	at, err := b.parentOf(m.Path)
	if err != nil {
		return err
	}
	if at.node != nil {
		if at.node.isDir() {
			return fmt.Errorf("expected no directory there, %s has one", b.ownerOf(at.node).Name)
		}
		if at.node == source.node {
			return fmt.Errorf("source %s: it is the same file", m.Source)
		}
		b.detach(at.node)
	}
	n := b.attach(at.dir, at.name, source.node.ino, -1, -1)
	n.owner = &c.owner
	c.apply(n.ino)
	return nil
}

// pathSymlink makes a symlink; uid and gid are the link's own.
func (b *builder) pathSymlink(m *config.PathMutation, c change) error {
	if m.Source == "" || strings.IndexByte(m.Source, 0) >= 0 {
		return fmt.Errorf("source %q: expected the path that the link leads to", m.Source)
	}
	at, err := b.parentOf(m.Path)
	if err != nil {
		return err
	}
	if at.node != nil {
		return fmt.Errorf("it already exists, owned by %s", b.ownerOf(at.node).Name)
	}
	ino := b.newInode(apk.TypeSymlink, 0o777, c.owner)
	ino.link = m.Source
	c.apply(ino)
	b.attach(at.dir, at.name, ino, -1, -1)
	return nil
}

// pathPermissions changes what is there. A symlink at the path itself is
// followed, inside the tree; those below it are not.
func (b *builder) pathPermissions(m *config.PathMutation, c change) error {
	at, err := b.lookup(m.Path, true)
	if err != nil {
		return err
	}
	if at.node == nil {
		return errMissing
	}
	if at.node.parent == nil {
		return errors.New("it leads to the root directory, which has no entry in an image")
	}
	c.apply(at.node.ino)
	if m.Recursive && at.node.isDir() {
		c.applyBelow(at.node)
	}
	return nil
}
