package apptree

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/cairn-dev/cairn/packages/apk"
)

// archiveSuffixes are the names of files that are unpacked; every other file, a
// zip or a jar among them, is taken as it is.
var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz"}

// IsArchive tells whether a file of this name is unpacked.
func IsArchive(name string) bool {
	for _, s := range archiveSuffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}

// Open reads a directory, an archive or a file of the machine. A symbolic link
// that is named itself is followed; nothing in a directory is.
func Open(name string, o Options) (*Tree, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	t, err := open(name, f, o)
	return t, errors.Join(err, f.Close())
}

func open(name string, f *os.File, o Options) (*Tree, error) {
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return openDir(name, o)
	case !info.Mode().IsRegular():
		return nil, ErrType
	case IsArchive(name):
		return ReadArchive(f, o)
	}
	b, err := newBuilder(o)
	if err != nil {
		return nil, err
	}
	content, err := b.read(f, info.Size())
	if err != nil {
		return nil, err
	}
	if err := b.put(Entry{Type: apk.TypeFile, Mode: b.normal(apk.TypeFile, unixMode(info.Mode())), Content: content}); err != nil {
		return nil, err
	}
	return b.finish()
}

func openDir(name string, o Options) (_ *Tree, err error) {
	dir, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	b, err := newBuilder(o)
	if err != nil {
		return nil, err
	}
	err = fs.WalkDir(dir.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p == "." {
			p = ""
		}
		if b.exclude.excludes(p) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if err := b.walked(dir, p, d); err != nil {
			return fmt.Errorf("%s: %w", orTree(p), err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return b.finish()
}

// walked adds what a directory has at p.
func (b *builder) walked(dir *os.Root, p string, d fs.DirEntry) error {
	e := Entry{Path: p}
	switch {
	case d.IsDir():
		info, err := d.Info()
		if err != nil {
			return err
		}
		e.Type, e.Mode = apk.TypeDir, b.normal(apk.TypeDir, unixMode(info.Mode()))
	case d.Type() == fs.ModeSymlink:
		link, err := dir.Readlink(p)
		if err != nil {
			return err
		}
		e.Type, e.Mode, e.Link = apk.TypeSymlink, 0o777, link
	case d.Type().IsRegular():
		f, err := dir.OpenFile(p, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
		if err != nil {
			return err
		}
		info, err := f.Stat()
		if err == nil && !info.Mode().IsRegular() {
			err = ErrType // it was something else a moment ago
		}
		if err == nil {
			e.Content, err = b.read(f, info.Size())
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		e.Type, e.Mode = apk.TypeFile, b.normal(apk.TypeFile, unixMode(info.Mode()))
	default:
		return fmt.Errorf("%s: %w", typeName(d.Type()), ErrType)
	}
	return b.put(e)
}

// read reads a file of the size that it had a moment ago.
func (b *builder) read(f io.Reader, size int64) ([]byte, error) {
	if err := b.room(size); err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(f, size+1))
	if err == nil && int64(len(content)) != size {
		err = errors.New("changed while it was read")
	}
	return content, err
}

// unixMode is a mode in the bits of chmod.
func unixMode(m fs.FileMode) uint32 {
	out := uint32(m.Perm())
	for _, bit := range []struct {
		is  fs.FileMode
		bit uint32
	}{{fs.ModeSetuid, 0o4000}, {fs.ModeSetgid, 0o2000}, {fs.ModeSticky, 0o1000}} {
		if m&bit.is != 0 {
			out |= bit.bit
		}
	}
	return out
}

func typeName(m fs.FileMode) string {
	switch {
	case m&fs.ModeDevice != 0:
		return "device"
	case m&fs.ModeNamedPipe != 0:
		return "named pipe"
	case m&fs.ModeSocket != 0:
		return "socket"
	}
	return "irregular file"
}

// Name is the path of an entry in an image, without the slash in front; target is
// where the tree goes, an absolute path.
func (e *Entry) Name(target string) string {
	return strings.TrimPrefix(path.Join(target, e.Path), "/")
}
