package image

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// openNameless opens a file without a name in dir: when the process is
// killed, the file system takes it back. It returns nil where that cannot be
// done; the caller then uses a named temporary file.
func openNameless(dir string) *os.File {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil
	}
	if _, err := os.Stat(procFD(fd)); err != nil { // no /proc: it could not be named later
		unix.Close(fd)
		return nil
	}
	return os.NewFile(uintptr(fd), filepath.Join(dir, tempPrefix+"nameless"))
}

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// nameFile gives a nameless file a temporary name in dir.
func nameFile(f *os.File, dir string) (string, error) {
	from := procFD(int(f.Fd()))
	for i := range 10000 {
		name := filepath.Join(dir, fmt.Sprintf("%s%d-%d", tempPrefix, os.Getpid(), i))
		err := unix.Linkat(unix.AT_FDCWD, from, unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW)
		if !errors.Is(err, fs.ErrExist) {
			if err != nil {
				err = &os.LinkError{Op: "link", Old: from, New: name, Err: err}
			}
			return name, err
		}
	}
	return "", fmt.Errorf("%s: no free temporary name", dir)
}

// clone makes dst share src's blocks (FICLONE). dst must be empty.
func clone(dst, src *os.File) error {
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd()))
}

// lockDir locks dir against other writers of cairn until the returned closer
// is closed or the process ends.
func lockDir(dir string) (io.Closer, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil && !errors.Is(err, unix.ENOTSUP) && !errors.Is(err, unix.ENOLCK) {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}
