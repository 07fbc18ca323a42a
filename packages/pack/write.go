package pack

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/tree"
)

// Options say how a package is written. None but the keys changes a byte of it.
type Options struct {
	// Keys each make a signature; without any the package is unsigned.
	Keys []repository.SigningKey
	// TempDir holds the data section until its hash is known; "" is the
	// directory of the package ([WriteFile]) or the system's.
	TempDir string
	// Jobs is the number of processors to use; 0 means all.
	Jobs int
}

// Result is what was written.
type Result struct {
	// Package is the Spec's, completed: it is the package's index entry.
	Package    apk.Package
	FileSHA256 apk.SHA256 // of the whole file
	// DataOffset is where the data section begins in the file, DataSize its size
	// in bytes. Its SHA-256 is Package.DataHash.
	DataOffset, DataSize int64
	// DiffID is the SHA-256 of the tar in the data section, InflatedSize its size.
	DiffID       apk.SHA256
	InflatedSize int64
}

// Write writes the package to w. The tree is hashed if it is not yet. Memory does
// not depend on the size of the tree; the compressed data section is kept in a
// temporary file meanwhile.
func Write(ctx context.Context, w io.Writer, t *tree.Tree, s Spec, o Options) (_ *Result, err error) {
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	id := s.Package.ID()
	if err := t.Hash(ctx, o.Jobs); err != nil {
		return nil, fmt.Errorf("package %s: %w", id, err)
	}
	data, err := temporary(o.TempDir)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", id, err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	r, err := write(ctx, w, data, t, s, o)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", id, err)
	}
	return r, nil
}

// temporary returns a file that is gone when it is closed.
func temporary(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, ".cairn-data-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func write(ctx context.Context, w io.Writer, data *os.File, t *tree.Tree, s Spec, o Options) (*Result, error) {
	d, err := writeData(ctx, data, t, s.Package.BuildTime, o.Jobs)
	if err != nil {
		return nil, err
	}
	r := &Result{DataSize: int64(d.size), InflatedSize: int64(d.inflated)}
	d.diff.Sum(r.DiffID[:0])
	p := &s.Package
	p.InstalledSize = t.InstalledSize()
	d.hash.Sum(p.DataHash[:0])
	control, err := s.control(r.DiffID)
	if err != nil {
		return nil, err
	}
	signature, err := repository.SignatureMember(control, o.Keys)
	if err != nil {
		return nil, err
	}
	r.DataOffset = int64(len(signature) + len(control))
	p.Checksum, p.Size = sha1.Sum(control), r.DataOffset+r.DataSize
	r.Package = *p
	whole := sha256.New()
	out := io.MultiWriter(w, whole)
	for _, b := range [][]byte{signature, control} {
		if _, err := out.Write(b); err != nil {
			return nil, err
		}
	}
	if err := copyAll(ctx, out, io.NewSectionReader(data, 0, r.DataSize), r.DataSize); err != nil {
		return nil, err
	}
	whole.Sum(r.FileSHA256[:0])
	return r, nil
}

// copyAll copies exactly n bytes and stops when ctx does.
func copyAll(ctx context.Context, w io.Writer, r io.Reader, n int64) error {
	for n > 0 {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := io.CopyN(w, r, min(n, 8<<20))
		if n -= k; err != nil {
			return err
		}
	}
	return nil
}

// WriteFile writes the package to the file name. The file is there as a whole or
// not at all, and its mode is 0644 whatever the umask.
func WriteFile(ctx context.Context, name string, t *tree.Tree, s Spec, o Options) (r *Result, err error) {
	if o.TempDir == "" {
		o.TempDir = filepath.Dir(name)
	}
	err = replace(name, func(w io.Writer) error {
		r, err = Write(ctx, w, t, s, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// replace puts what fill writes at name.
func replace(name string, fill func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".tmp-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	if err = fill(f); err != nil {
		return err
	}
	if err = f.Chmod(0o644); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Rename(f.Name(), name))
}
