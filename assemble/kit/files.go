package kit

import (
	"bytes"
	"io/fs"
	"path"
	"path/filepath"
	"time"
)

// openFrom opens files of a kit by the names they were opened under, and
// nothing else.
func openFrom(files []File) func(string) (fs.File, error) {
	return func(name string) (fs.File, error) {
		for i := range files {
			if f := &files[i]; f.Path == name && f.Role != RoleApp {
				return &memory{Reader: bytes.NewReader(f.Bytes), name: f.Path, size: int64(len(f.Bytes))}, nil
			}
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

// appFrom gives the trees of a kit by their paths in the image.
func appFrom(files []File) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		for i := range files {
			if f := &files[i]; f.Path == name && f.Role == RoleApp {
				return f.Bytes, nil
			}
		}
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
}

// memory is a file of a kit as [fs.File] and [fs.FileInfo].
type memory struct {
	*bytes.Reader
	name string
	size int64
}

func (m *memory) Stat() (fs.FileInfo, error) { return m, nil }
func (m *memory) Close() error               { return nil }
func (m *memory) Name() string               { return path.Base(filepath.ToSlash(m.name)) }
func (m *memory) Size() int64                { return m.size }
func (m *memory) Mode() fs.FileMode          { return 0o444 }
func (m *memory) ModTime() time.Time         { return time.Time{} }
func (m *memory) IsDir() bool                { return false }
func (m *memory) Sys() any                   { return nil }
