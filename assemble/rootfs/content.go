package rootfs

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// errNoReader is the error of a plan that needs a package's bytes and has no
// way to them.
var errNoReader = errors.New("its content is needed, and there is no way to read packages")

// read returns the content of a regular file.
func (b *builder) read(n *node) ([]byte, error) {
	ino := n.ino
	if ino.typ != apk.TypeFile {
		return nil, fmt.Errorf("/%s: expected a regular file", n.path())
	}
	if ino.changed || ino.pkg < 0 {
		return ino.content, nil
	}
	e, of := b.member(ino.pkg, ino.member), "package "+b.packageID(ino.pkg)
	if b.onBase(ino.pkg) {
		of = BaseImage
	}
	content, ok := b.receipt(ino.pkg).Contents[e.Path]
	if !ok {
		var err error
		if content, err = b.readMember(ino.pkg, ino.member); err != nil {
			return nil, fmt.Errorf("/%s: %s: %w", n.path(), of, err)
		}
	}
	if got := apk.SHA256(sha256.Sum256(content)); got != e.SHA256 {
		return nil, fmt.Errorf("/%s: %s: content with digest %s, expected %s", n.path(), of, got, e.SHA256)
	}
	return content, nil
}

// readMember reads a file that is not among its package's small ones.
func (b *builder) readMember(p, m int32) ([]byte, error) {
	switch {
	case b.onBase(p) && b.in.Base.ReadFile != nil:
		return b.in.Base.ReadFile(b.ctx, int(m))
	case !b.onBase(p) && b.in.ReadFile != nil:
		return b.in.ReadFile(b.ctx, int(p), int(m))
	}
	return nil, errNoReader
}

// readAt returns the content of the file that p leads to, and its node; both
// are nil when there is none.
func (b *builder) readAt(p string) ([]byte, *node, error) {
	at, err := b.lookup(p, true)
	if err != nil || at.node == nil {
		return nil, nil, err
	}
	content, err := b.read(at.node)
	return content, at.node, err
}

// rewrite replaces the content of a regular file, keeping owner, mode and
// names. from are the packages and keys the new content was made from besides
// the file's own package.
func (b *builder) rewrite(n *node, content []byte, owner Owner, from ...string) {
	ino := n.ino
	if !ino.changed && ino.pkg >= 0 {
		ino.derived = append(ino.derived, b.packageName(ino.pkg, ino.member))
	}
	for _, f := range from {
		if len(ino.derived) == 0 || ino.derived[len(ino.derived)-1] != f {
			ino.derived = append(ino.derived, f)
		}
	}
	ino.content, ino.changed, ino.owner, ino.mtime = content, true, owner, b.created
	if b.compat() && owner.Name == generatorCerts {
		ino.mtime = b.apkoBuilt()
	}
}
