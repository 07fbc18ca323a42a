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
	r, e := b.in.Packages[ino.pkg].Receipt, b.member(ino.pkg, ino.member)
	content, ok := r.Contents[e.Path]
	if !ok {
		if b.in.ReadFile == nil {
			return nil, fmt.Errorf("/%s: package %s: %w", n.path(), r.Package.ID(), errNoReader)
		}
		var err error
		if content, err = b.in.ReadFile(b.ctx, int(ino.pkg), int(ino.member)); err != nil {
			return nil, fmt.Errorf("/%s: package %s: %w", n.path(), r.Package.ID(), err)
		}
	}
	if got := apk.SHA256(sha256.Sum256(content)); got != e.SHA256 {
		return nil, fmt.Errorf("/%s: package %s: content with digest %s, expected %s", n.path(), r.Package.ID(), got, e.SHA256)
	}
	return content, nil
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
		ino.derived = append(ino.derived, b.in.Packages[ino.pkg].Receipt.Package.Name)
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
