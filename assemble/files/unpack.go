package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/packages/apk"
)

// maxUnpacked bounds the contents that are unpacked, in bytes.
const maxUnpacked = 8 << 30

// Unpack writes the tree of an image into an empty directory, and nothing
// outside of it. Everything belongs to the caller, who may read and write
// whatever it is; setuid and setgid bits are dropped, device nodes left out.
func (t *Tree) Unpack(ctx context.Context, dir string) (err error) {
	if t.source == nil {
		return fmt.Errorf("%s: %w: a plan is not unpacked", dir, ErrUnread)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := &unpacker{root: root, first: map[apk.SHA256]*Node{}}
	if err := u.skeleton(t.list); err != nil {
		return err
	}
	if u.total > maxUnpacked {
		return fmt.Errorf("%s: %w: more than %d bytes to unpack", dir, ErrUnread, int64(maxUnpacked))
	}
	for i, l := range t.source.layers {
		if err := u.layer(ctx, t.source, i, l); err != nil {
			return err
		}
	}
	return u.finish(ctx, t.list)
}

// unpacker writes below root. Nodes come from a tree, in which the parents of
// each are directories: no link is ever walked through.
type unpacker struct {
	root  *os.Root
	first map[apk.SHA256]*Node // contents and where they are written first
	total int64

	source *reader
	at     int
	file   *os.File
	err    error
}

// skeleton makes directories and symbolic links.
func (u *unpacker) skeleton(list []*Node) error {
	for _, n := range list {
		var err error
		switch n.Type {
		case apk.TypeDir:
			err = u.root.Mkdir(n.Path, 0o700)
		case apk.TypeSymlink:
			err = u.root.Symlink(n.Link, n.Path)
		case apk.TypeFile:
			u.total += n.Size
			if u.first[n.SHA256] == nil {
				u.first[n.SHA256] = n
			}
		}
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name(), err)
		}
	}
	return nil
}

// layer writes the contents that lie in one layer.
func (u *unpacker) layer(ctx context.Context, source *reader, i int, l v1.Layer) error {
	u.source, u.at = source, i
	u.err = nil
	if _, err := image.ListWith(ctx, l, nil, u); err != nil {
		return err
	}
	return u.err
}

// Begin is for [image.Watcher]: a file that the tree has from this place is
// written where it belongs.
func (u *unpacker) Begin(path string, _ int64) io.Writer {
	n := u.wants(path)
	if n == nil || u.err != nil {
		return nil
	}
	if u.file, u.err = u.root.OpenFile(n.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); u.err != nil {
		return nil
	}
	return u.file
}

// wants finds the node whose content a member of the layer is.
func (u *unpacker) wants(path string) *Node {
	sum, ok := u.source.at[member{u.at, path}]
	if !ok || u.source.where[sum] != (member{u.at, path}) {
		return nil
	}
	return u.first[sum]
}

// End is for [image.Watcher].
func (u *unpacker) End(*apk.Entry) {
	u.err = errors.Join(u.err, u.file.Close())
}

// finish makes the other files of equal content, and sets modes, the innermost
// directory first.
func (u *unpacker) finish(ctx context.Context, list []*Node) error {
	for i := len(list) - 1; i >= 0; i-- {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := list[i]
		var err error
		switch n.Type {
		case apk.TypeFile:
			err = u.same(n)
			if err == nil && n.HardLink == "" {
				err = u.root.Chmod(n.Path, os.FileMode(n.Mode&0o777)|0o400)
			}
		case apk.TypeDir:
			err = u.root.Chmod(n.Path, dirMode(n.Mode))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name(), err)
		}
	}
	return nil
}

// dirMode lets the caller remove what is in a directory again.
func dirMode(mode uint32) os.FileMode {
	m := os.FileMode(mode&0o777) | 0o700
	if mode&0o1000 != 0 {
		m |= os.ModeSticky
	}
	return m
}

// same copies a content to another of its places.
func (u *unpacker) same(n *Node) (err error) {
	first := u.first[n.SHA256]
	if first == n {
		return nil
	}
	if n.HardLink != "" && n.HardLink == first.Path {
		return u.root.Link(first.Path, n.Path)
	}
	in, err := u.root.Open(first.Path)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // was only read
	out, err := u.root.OpenFile(n.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
