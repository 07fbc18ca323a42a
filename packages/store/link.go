package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LinkBlob makes dst a file with the package's data section: a hard link to the
// store's own (read-only) file where that is possible, else a reflink, else a
// copy. A file at dst is replaced in one step. It does not verify the blob.
func (s *Store) LinkBlob(ctx context.Context, r *Receipt, dst string) error {
	if err := s.link(ctx, s.blobPath(r.DataHash), dst); err != nil {
		return fmt.Errorf("package %s: %w", r.ID(), err)
	}
	return nil
}

// LinkObject is LinkBlob for an object.
func (s *Store) LinkObject(ctx context.Context, o Object, dst string) error {
	return s.link(ctx, o.Path, dst)
}

func (s *Store) link(ctx context.Context, src, dst string) error {
	tmp := filepath.Join(filepath.Dir(dst), ".cairn-"+rand.Text())
	err := os.Link(src, tmp)
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EOPNOTSUPP) {
		err = s.clone(ctx, src, tmp)
	}
	if err == nil {
		err = os.Rename(tmp, dst)
	}
	// Renaming a hard link onto another one of the same file leaves both.
	_ = os.Remove(tmp)
	if err != nil {
		return storageError("write "+dst, err)
	}
	return nil
}

// clone copies src to the new file dst, sharing the blocks where the file system
// can.
func (s *Store) clone(ctx context.Context, src, dst string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(out.Fd()), int(in.Fd())) != nil {
		_, err = s.copyTo(ctx, out, in)
	}
	return errors.Join(err, out.Chmod(0o444), out.Close())
}
