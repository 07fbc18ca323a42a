package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Format is the version of the directory layout that this package reads and
// writes. A directory of a newer format is refused, see [ErrFormat].
const Format = 1

// Limits bound what one package may cost that is taken in. The zero value of a
// field means the default; a negative value switches the limit off.
type Limits struct {
	File         int64 // size of an .apk file in bytes, 8 GiB
	DataInflated int64 // size of the inflated data section in bytes, 16 GiB
	// Ratio of inflated to compressed size, checked from 256 MiB inflated on;
	// 500. (Deflate cannot do better than 1032.)
	Ratio    int64
	Entries  int64 // members of the data section, 1,000,000
	Metadata int64 // bytes of names, links and extended attributes, 256 MiB
	Control  apk.Limits
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value *int64
		def   int64
	}{{&l.File, 8 << 30}, {&l.DataInflated, 16 << 30}, {&l.Ratio, 500}, {&l.Entries, 1e6}, {&l.Metadata, 256 << 20}} {
		switch {
		case *f.value == 0:
			*f.value = f.def
		case *f.value < 0:
			*f.value = 1 << 60
		}
	}
	return l
}

// Options are the settings of a store. The zero value is good for all of them.
type Options struct {
	Limits Limits
	// MaxSize is the size in bytes that Close prunes the store to, the least
	// recently used things first, when something was added and no other process
	// uses the store. 0 means no limit.
	MaxSize int64
}

// Store is an open store. Its methods may be called concurrently.
type Store struct {
	dir    string
	opts   Options
	opened time.Time
	lock   *os.File // shared lock on the store, nil when it cannot be locked

	gc sync.RWMutex // held for writing while things are removed

	mu      sync.Mutex
	session *session // nil until something is written
	wrote   bool
	flights map[apk.SHA1]*flight
	buffers *buffers
}

// Open opens the store in dir and creates it when it does not exist. A
// directory that cannot be written to is opened for reading.
//
// An open store is locked against pruning by others; Close it.
func Open(dir string, o Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", dir, err)
	}
	o.Limits = o.Limits.withDefaults()
	// File times may lag a little behind the clock.
	opened := time.Now().Add(-time.Second)
	s := &Store{dir: dir, opts: o, opened: opened, flights: map[apk.SHA1]*flight{}, buffers: newBuffers()}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	if s.lock, err = lockStore(dir, unix.LOCK_SH); err != nil {
		return nil, err
	}
	s.sweep()
	return s, nil
}

// Dir returns the store's directory as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Close ends the use of the store and removes temporary files. See
// [Options.MaxSize] for the pruning that it may do.
func (s *Store) Close() error {
	s.mu.Lock()
	session, wrote := s.session, s.wrote
	s.session = nil
	s.mu.Unlock()
	var err error
	if session != nil {
		err = session.close()
	}
	if wrote && s.opts.MaxSize > 0 {
		_, e := s.Prune(context.Background(), PruneOptions{MaxSize: s.opts.MaxSize, KeepNewerThan: s.opened})
		if !errors.Is(e, ErrBusy) {
			err = errors.Join(err, e)
		}
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

const (
	formatFile = "format"
	formatText = "cairn store "
	lockFile   = "lock"
	tmpDir     = "tmp"
)

// prepare makes the directory a store, or checks that it is one.
func (s *Store) prepare() error {
	err := readFormat(s.path(formatFile))
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(s.dir); err != nil {
		return storageError("create "+s.dir, err)
	}
	for _, d := range []string{"blobs", "receipts", "by-data", "objects", tmpDir} {
		if err := makeDir(s.path(d)); err != nil {
			return storageError("create "+s.path(d), err)
		}
	}
	f, err := os.OpenFile(s.path(lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Close())
	}
	if err != nil {
		return storageError("create "+s.path(lockFile), err)
	}
	return s.writeFormat()
}

// writeFormat makes the format file in one step, so that nobody sees half of it.
func (s *Store) writeFormat() error {
	f, err := os.CreateTemp(s.dir, formatFile+"-")
	if err != nil {
		return storageError("create "+s.path(formatFile), err)
	}
	_, err = fmt.Fprintf(f, "%s%d\n", formatText, Format)
	err = errors.Join(err, f.Chmod(0o444), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path(formatFile))
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return storageError("create "+s.path(formatFile), err)
	}
	return nil
}

func readFormat(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		return fmt.Errorf("store: read %s: %w", name, err)
	}
	text, ok := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), formatText)
	n, err := strconv.Atoi(text)
	switch {
	case !ok || err != nil || n < 1:
		return &kindError{kind: ErrFormat, text: fmt.Sprintf("store: %s holds %q, expected %q", name, b, formatText+strconv.Itoa(Format))}
	case n > Format:
		return &kindError{kind: ErrFormat, text: fmt.Sprintf("store: %s: format %d, this version knows up to %d: use a newer cairn or another cache directory", filepath.Dir(name), n, Format)}
	}
	return nil
}

// path returns a path in the store.
func (s *Store) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// makeDir creates a directory and its parents with mode 0755 whatever the umask
// is.
func makeDir(dir string) error {
	err := os.Mkdir(dir, 0o755)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		if err := makeDir(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o755)
	}
	switch {
	case err == nil:
		return os.Chmod(dir, 0o755)
	case errors.Is(err, fs.ErrExist):
		return nil
	}
	return err
}

// Layout. Digests are in hexadecimal, under a directory of their first two digits.
//
//	blobs/DD/SHA256            data sections and objects, mode 0444
//	receipts/CC/SHA1           receipt of the package whose control section has
//	                           this SHA-1
//	receipts/CC/SHA1.FFFFFFFF  the same for a further file with that control
//	                           section (signed by another key); F: its SHA-256
//	by-data/DD/SHA256-NAME     empty: receipt NAME has this data section
//	objects/KIND/KK/SHA256     where the object with this key is
//	tmp/PROCESS/…              unfinished files of a process, which holds a lock
//	                           on the directory
func (s *Store) blobPath(d apk.SHA256) string {
	h := d.Hex()
	return s.path("blobs", h[:2], h)
}

func (s *Store) receiptPath(name string) string { return s.path("receipts", name[:2], name) }

func (s *Store) dataMarkPath(d apk.SHA256, receipt string) string {
	h := d.Hex()
	return s.path("by-data", h[:2], h+"-"+receipt)
}

// variantName is the name of a receipt that shares its control section with
// another one.
func variantName(control apk.SHA1, file apk.SHA256) string {
	return control.Hex() + "." + file.Hex()[:16]
}
