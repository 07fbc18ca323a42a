package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// lockStore takes a lock on the store in dir: unix.LOCK_SH or unix.LOCK_EX. A
// store whose lock file is missing or out of reach (a read-only copy of one) is
// used without a lock.
func lockStore(dir string, how int) (*os.File, error) {
	name := filepath.Join(dir, lockFile)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store: open %s: %w", name, err)
	}
	if err := flock(f, how); err != nil {
		return nil, errors.Join(fmt.Errorf("store: lock %s: %w", name, err), f.Close())
	}
	return f, nil
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// session is this process's directory for unfinished files. As long as the
// process lives it holds an exclusive lock on it; what is left by a process
// that is gone can be told by that.
type session struct {
	dir  string
	lock *os.File
	next atomic.Int64
}

// temp returns a new file for writing in the session's directory, which is made
// when there is none yet.
func (s *Store) temp() (*os.File, error) {
	s.mu.Lock()
	if s.session == nil {
		n, err := newSession(s.path(tmpDir))
		if err != nil {
			s.mu.Unlock()
			return nil, storageError("create a temporary directory", err)
		}
		s.session = n
	}
	session := s.session
	s.wrote = true
	s.mu.Unlock()
	name := filepath.Join(session.dir, strconv.FormatInt(session.next.Add(1), 10))
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	return f, storageError("create a temporary file", err)
}

func newSession(parent string) (*session, error) {
	if err := makeDir(parent); err != nil {
		return nil, err
	}
	for range 100 {
		dir, err := os.MkdirTemp(parent, strconv.Itoa(os.Getpid())+"-")
		if err != nil {
			return nil, err
		}
		lock, err := os.Open(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept between the two calls
		}
		if err != nil {
			return nil, err
		}
		if err := flock(lock, unix.LOCK_EX); err != nil {
			return nil, errors.Join(err, lock.Close())
		}
		if stillThere(lock, dir) {
			return &session{dir: dir, lock: lock}, nil
		}
		_ = lock.Close()
	}
	return nil, fmt.Errorf("%s: directories vanish as soon as they are made", parent)
}

// stillThere reports whether the open directory is the one that the path names.
func stillThere(f *os.File, dir string) bool {
	a, err := f.Stat()
	if err != nil {
		return false
	}
	b, err := os.Lstat(dir)
	return err == nil && os.SameFile(a, b)
}

func (n *session) close() error {
	return errors.Join(os.RemoveAll(n.dir), n.lock.Close())
}

// sweep removes what processes that are gone left unfinished. It is a courtesy:
// what cannot be removed stays.
func (s *Store) sweep() {
	list, err := os.ReadDir(s.path(tmpDir))
	if err != nil {
		return
	}
	for _, e := range list {
		dir := s.path(tmpDir, e.Name())
		f, err := os.Open(dir)
		if err != nil {
			continue
		}
		if flock(f, unix.LOCK_EX|unix.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = f.Close()
	}
}

// discard closes and removes a temporary file.
func discard(f *os.File) {
	_ = f.Close()
	_ = os.Remove(f.Name())
}

// commit makes the finished temporary file f the file name, in one step. f is
// closed and gone from the temporary directory in any case.
func (s *Store) commit(f *os.File, name string) error {
	err := f.Chmod(0o444)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeDir(filepath.Dir(name)); err == nil {
			err = os.Rename(f.Name(), name)
		}
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return storageError("write "+name, err)
	}
	return nil
}

// filledTemp returns a new temporary file with the given content.
func (s *Store) filledTemp(content []byte) (*os.File, error) {
	f, err := s.temp()
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(content); err != nil {
		discard(f)
		return nil, storageError("write "+f.Name(), err)
	}
	return f, nil
}

// writeFile writes a small file in one step.
func (s *Store) writeFile(name string, content []byte) error {
	f, err := s.filledTemp(content)
	if err != nil {
		return err
	}
	return s.commit(f, name)
}
