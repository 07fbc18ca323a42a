package rootfs

import (
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// configFiles puts the files of the configuration into the tree, in place of
// files and symlinks of packages.
func (b *builder) configFiles() error {
	for i := range b.cfg.Files {
		f := &b.cfg.Files[i]
		key := fmt.Sprintf("files[%d]", i)
		if err := b.configFile(f.Path, key, f.FileMode(), f.Bytes, int(f.UID), int(f.GID)); err != nil {
			return &ConfigError{key, fmt.Errorf("%s: %w", f.Path, err)}
		}
	}
	return nil
}

func (b *builder) configFile(p, key string, mode uint32, content []byte, uid, gid int) error {
	at, err := b.parentOf(p)
	if err != nil {
		return err
	}
	if at.node != nil {
		if at.node.isDir() {
			return fmt.Errorf("expected no directory there, %s has one", b.ownerOf(at.node).Name)
		}
		b.detach(at.node)
	}
	ino := b.newInode(apk.TypeFile, mode&0o7777, Owner{OwnedByConfig, key})
	ino.content, ino.changed, ino.uid, ino.gid = content, true, uid, gid
	b.attach(at.dir, at.name, ino, -1, -1)
	return nil
}
