package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// tarBlock is the size of a tar archive's blocks.
const tarBlock = 512

// baseHasFile tells whether the base has a file that stays as it is.
func (b *builder) baseHasFile(p string) bool {
	at, err := b.lookup(p, true)
	return err == nil && at.node != nil && b.unchanged(at.node.ino)
}

// baseFile reads a file of the base's installed database; nil when there is
// none.
func (b *builder) baseFile(name string) ([]byte, error) {
	if b.in.Base == nil || b.in.Base.Database == "" {
		return nil, nil
	}
	content, _, err := b.readAt(b.in.Base.Database + "/" + name)
	return content, err
}

// baseScripts returns the members of the base's scripts.tar, without the end of
// the archive, so that others can follow.
func (b *builder) baseScripts() ([]byte, error) {
	content, err := b.baseFile("scripts.tar")
	if err != nil {
		return nil, err
	}
	in := bytes.NewReader(content)
	end := 0
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return content[:end], nil
		}
		if err != nil {
			return nil, fmt.Errorf("scripts.tar of the base image: %w", err)
		}
		end = len(content) - in.Len() + int(h.Size+tarBlock-1)&^(tarBlock-1)
		if end > len(content) {
			return nil, fmt.Errorf("scripts.tar of the base image: it ends within %q", h.Name)
		}
	}
}

// hasScripts tells whether a package on top of the base has scripts, or the base
// no archive for them.
func (b *builder) hasScripts() bool {
	for i := range b.in.Packages {
		if len(b.in.Packages[i].Receipt.Scripts) > 0 {
			return true
		}
	}
	return !b.baseHasFile(b.in.Base.Database + "/scripts.tar")
}

// baseTriggers returns the lines of the base's triggers.
func (b *builder) baseTriggers() []byte {
	content, err := b.baseFile("triggers")
	if err != nil || content == nil {
		return []byte{}
	}
	out := bytes.Clone(content)
	if len(out) > 0 && out[len(out)-1] != '\n' {
		out = append(out, '\n')
	}
	return out
}
