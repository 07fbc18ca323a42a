package rootfs

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// errNoReader is the error of a plan that needs a package's bytes and has no
// way to them.
var errNoReader = errors.New("its content is needed, and there is no way to read packages")

// read returns the content of a regular file.
func (b *builder) read(n *node) ([]byte, error) {
	contents, err := b.readAll([]*node{n})
	return contents[n.ino], err
}

// readAll returns the contents of regular files. No package is gone through
// twice for them.
func (b *builder) readAll(nodes []*node) (map[*inode][]byte, error) {
	contents := make(map[*inode][]byte, len(nodes))
	byPackage := map[int32][]*node{}
	for _, n := range nodes {
		ino := n.ino
		switch _, seen := contents[ino]; {
		case seen:
		case ino.typ != apk.TypeFile:
			return nil, fmt.Errorf("/%s: expected a regular file", n.path())
		default:
			contents[ino] = ino.content
			if !ino.changed && ino.pkg >= 0 {
				byPackage[ino.pkg] = append(byPackage[ino.pkg], n)
			}
		}
	}
	for _, p := range slices.Sorted(maps.Keys(byPackage)) {
		list, err := b.readMembers(p, byPackage[p])
		if err != nil {
			return nil, err
		}
		for i, n := range byPackage[p] {
			contents[n.ino] = list[i]
		}
	}
	return contents, nil
}

// readMembers returns the bytes of files that are as package p has them.
func (b *builder) readMembers(p int32, nodes []*node) ([][]byte, error) {
	r, of := b.receipt(p), "package "+b.packageID(p)
	if b.onBase(p) {
		of = BaseImage
	}
	list := make([][]byte, len(nodes))
	var missing, members []int
	for i, n := range nodes {
		var ok bool
		if list[i], ok = r.Contents[b.member(p, n.ino.member).Path]; !ok {
			missing, members = append(missing, i), append(members, int(n.ino.member))
		}
	}
	if len(missing) > 0 {
		read, err := b.load(p, members)
		if err != nil {
			return nil, fmt.Errorf("/%s: %s: %w", nodes[missing[0]].path(), of, err)
		}
		for k, i := range missing {
			list[i] = read[k]
		}
	}
	for i, n := range nodes {
		e := b.member(p, n.ino.member)
		if got := apk.SHA256(sha256.Sum256(list[i])); got != e.SHA256 {
			return nil, fmt.Errorf("/%s: %s: content with digest %s, expected %s", n.path(), of, got, e.SHA256)
		}
	}
	return list, nil
}

// load reads files that are not among their package's small ones.
func (b *builder) load(p int32, members []int) (list [][]byte, err error) {
	switch {
	case !b.onBase(p) && b.in.ReadFiles != nil:
		return b.in.ReadFiles(b.ctx, int(p), members)
	case !b.onBase(p) || b.in.Base.ReadFile == nil:
		return nil, errNoReader
	}
	list = make([][]byte, len(members))
	for i, m := range members {
		if list[i], err = b.in.Base.ReadFile(b.ctx, m); err != nil {
			return nil, err
		}
	}
	return list, nil
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
