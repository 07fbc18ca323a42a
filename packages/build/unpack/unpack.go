// Package unpack unpacks the tar that a build's steps left into a directory, with
// all that a package can say of a file. What is in it was made by code that nobody
// vouches for.
//
// It is for plain tars of whole directories; packages have their own reader
// (github.com/cairn-dev/cairn/packages/store).
//
//	if err := unpack.Tar(ctx, file, dir, 4<<30); err != nil {
//		return err
//	}
package unpack

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ErrTar is for a result that cannot be unpacked.
var ErrTar = errors.New("result cannot be unpacked")

const xattrPrefix = "SCHILY.xattr."

// Tar unpacks the tar of a result into an empty directory, with modes, links
// and attributes, and, as root, owners. Nothing is written outside of it; what is
// neither file, directory nor link is refused. At most limit bytes of content are
// taken.
func Tar(ctx context.Context, r io.Reader, dir string, limit int64) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	u := &unpacker{root: root, left: limit, owners: os.Geteuid() == 0}
	defer func() { err = errors.Join(err, root.Close()) }()
	in := tar.NewReader(r)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return u.directories()
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTar, err)
		}
		if err := u.member(h, in); err != nil {
			return fmt.Errorf("%s: %w: %w", h.Name, ErrTar, err)
		}
	}
}

type unpacker struct {
	root   *os.Root
	left   int64
	owners bool
	dirs   []*tar.Header
}

func (u *unpacker) member(h *tar.Header, content io.Reader) error {
	name := filepath.Clean(strings.Trim(h.Name, "/"))
	switch h.Typeflag {
	case tar.TypeDir:
		h.Name = name
		u.dirs = append(u.dirs, h) // its mode may forbid to write to it
		if name == "." {
			return nil
		}
		return u.root.MkdirAll(name, 0o700)
	case tar.TypeLink:
		return u.root.Link(filepath.Clean(strings.Trim(h.Linkname, "/")), name)
	case tar.TypeSymlink:
		if err := u.root.Symlink(h.Linkname, name); err != nil {
			return err
		}
		return u.chown(name, h)
	case tar.TypeReg:
		return u.file(name, h, content)
	}
	return fmt.Errorf("found type %q, expected a file, a directory or a link", h.Typeflag)
}

func (u *unpacker) chown(name string, h *tar.Header) error {
	if !u.owners {
		return nil
	}
	return u.root.Lchown(name, h.Uid, h.Gid)
}

func (u *unpacker) file(name string, h *tar.Header, content io.Reader) (err error) {
	if u.left -= h.Size; u.left < 0 {
		return errors.New("more content than the limit")
	}
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := io.Copy(f, content); err != nil {
		return err
	}
	return u.finish(f, h)
}

// directories gives directories what they are said to have, the innermost first.
func (u *unpacker) directories() error {
	for i := len(u.dirs) - 1; i >= 0; i-- {
		h := u.dirs[i]
		f, err := u.root.Open(h.Name)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", h.Name, ErrTar, err)
		}
		if err := errors.Join(u.finish(f, h), f.Close()); err != nil {
			return fmt.Errorf("%s: %w: %w", h.Name, ErrTar, err)
		}
	}
	return nil
}

// finish sets owner, mode and attributes, in this order: a change of owner drops
// special bits and capabilities.
func (u *unpacker) finish(f *os.File, h *tar.Header) error {
	if u.owners {
		if err := f.Chown(h.Uid, h.Gid); err != nil {
			return err
		}
	}
	const special = fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if err := f.Chmod(h.FileInfo().Mode() & (fs.ModePerm | special)); err != nil {
		return err
	}
	for key, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(key, xattrPrefix)
		if !ok {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, []byte(value), 0); err != nil {
			return fmt.Errorf("attribute %s: %w", name, err)
		}
	}
	return nil
}
