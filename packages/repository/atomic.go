package repository

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const temporaryMark = ".tmp-"

func isTemporary(name string) bool { return strings.Contains(filepath.Base(name), temporaryMark) }

// writeAtomic puts content at name: after it, whatever happens, name is the old
// file or the new one. The mode does not depend on the umask.
func writeAtomic(name string, content []byte, mode os.FileMode) error {
	tmp, err := writeTemporary(name, content, mode)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

// writeNew is writeAtomic for a name that must not exist yet (fs.ErrExist).
func writeNew(name string, content []byte, mode os.FileMode) error {
	tmp, err := writeTemporary(name, content, mode)
	if err != nil {
		return err
	}
	return errors.Join(os.Link(tmp, name), os.Remove(tmp))
}

func writeTemporary(name string, content []byte, mode os.FileMode) (tmp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+temporaryMark+"*")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// lockFile takes an exclusive lock that ends with the process at the latest. The
// file stays: removing it would let two processes lock two files of one name.
func lockFile(ctx context.Context, name string) (unlock func() error, err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", name, err), f.Close())
		}
	}
}
