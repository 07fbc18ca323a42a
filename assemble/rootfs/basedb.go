package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
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
	content, err := b.baseFile(b.scriptsFile())
	if err == nil && b.scriptsFile() == compressedScripts {
		content, err = inflated(content)
	}
	if err != nil {
		return nil, fmt.Errorf("scripts of the base image: %w", err)
	}
	in := bytes.NewReader(content)
	end := 0
	for r := tar.NewReader(in); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return content[:end], nil
		}
		if err != nil {
			return nil, fmt.Errorf("scripts of the base image: %w", err)
		}
		end = len(content) - in.Len() + int(h.Size+tarBlock-1)&^(tarBlock-1)
		if end > len(content) {
			return nil, fmt.Errorf("scripts of the base image: they end within %q", h.Name)
		}
	}
}

// The archive of scripts: apk-tools 3 compresses a new one, and goes on with a
// plain one that is there.
const (
	plainScripts      = "scripts.tar"
	compressedScripts = "scripts.tar.gz"
)

// scriptsFile names the archive of scripts in the installed database.
func (b *builder) scriptsFile() string {
	if base := b.in.Base; base != nil && !b.baseHasFile(base.Database+"/"+plainScripts) && b.baseHasFile(base.Database+"/"+compressedScripts) {
		return compressedScripts
	}
	return plainScripts
}

// maxScripts is the largest archive of scripts, in bytes when inflated.
const maxScripts = 256 << 20

func inflated(b []byte) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(z, maxScripts+1))
	if err == nil && len(out) > maxScripts {
		err = fmt.Errorf("more than %d bytes", maxScripts)
	}
	return out, err
}

func compressed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	err := z.Close()
	return out.Bytes(), err
}

// hasScripts tells whether a package on top of the base has scripts, or the base
// no archive for them.
func (b *builder) hasScripts() bool {
	for i := range b.in.Packages {
		if len(b.in.Packages[i].Receipt.Scripts) > 0 {
			return true
		}
	}
	return !b.baseHasFile(b.in.Base.Database + "/" + b.scriptsFile())
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
