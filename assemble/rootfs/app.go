package rootfs

import (
	"fmt"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
)

// apps puts the trees of the app key into the tree. They take nobody's place: of
// what is there already they share directories only.
func (b *builder) apps() error {
	for i := range b.cfg.App {
		a := &b.cfg.App[i]
		key := fmt.Sprintf("app[%d]", i)
		if a.Tree == nil {
			return &ConfigError{key, fmt.Errorf("%s: its source was not read", a.Path)}
		}
		for j := range a.Tree.Entries {
			if err := b.appEntry(a, &a.Tree.Entries[j], key, i); err != nil {
				return &ConfigError{key, err}
			}
		}
	}
	return nil
}

func (b *builder) appEntry(a *config.App, e *apptree.Entry, key string, app int) error {
	name := e.Name(a.Path)
	at, err := b.parentOf(name)
	if err != nil {
		return fmt.Errorf("/%s: %w", name, err)
	}
	if at.node != nil {
		if at.node.isDir() && e.Type == apk.TypeDir {
			return nil
		}
		return fmt.Errorf("/%s: in %s, and already there: %s has it", name, a.Opened, b.describeOwner(at.node))
	}
	ino := b.newInode(e.Type, a.ModeOf(e), Owner{OwnedByConfig, key})
	ino.uid, ino.gid, ino.app = int(a.UID), int(a.GID), app+1
	switch e.Type {
	case apk.TypeFile:
		ino.content, ino.changed = e.Content, true
	case apk.TypeSymlink:
		ino.link = e.Link
	}
	b.attach(at.dir, at.name, ino, -1, -1)
	return nil
}

// describeOwner names who has a path, for errors.
func (b *builder) describeOwner(n *node) string {
	o := b.ownerOf(n)
	if o.Kind == OwnedByConfig {
		return o.Name
	}
	return string(o.Kind) + " " + o.Name
}
