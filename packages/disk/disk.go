// Package disk has what rooms that keep files on a disk have in common: locks between
// processes, and removing what does not want to be removed.
//
// It writes nothing: how files are replaced is for each room to say.
//
//	lock, err := disk.Lock(ctx, dir+".lock", unix.LOCK_EX)
//	if err != nil {
//		return err
//	}
//	defer lock.Close()
package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Lock makes the file name when it is not there, and locks it as flock(2) does: how is
// unix.LOCK_EX or unix.LOCK_SH. It waits until the context ends. The lock ends when the
// file is closed, or with the process. Whoever has an exclusive lock may remove the file:
// the one that is returned is at its name.
func Lock(ctx context.Context, name string, how int) (*os.File, error) {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		if err == nil && isAt(f, name) {
			return f, nil
		}
		if err != nil && !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock %s: %w", name, context.Cause(ctx))
		case <-time.After(wait):
		}
	}
}

// isAt tells whether an open file is the one that a name stands for.
func isAt(f *os.File, name string) bool {
	is, err1 := f.Stat()
	at, err2 := os.Stat(name)
	return err1 == nil && err2 == nil && os.SameFile(is, at)
}

// RemoveAll removes a directory, also one in which directories forbid to write to them.
func RemoveAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(name string, e fs.DirEntry, _ error) error {
		if e != nil && e.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}
