package distro

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/disk"
)

// recordFormat is the version of the records' form. Those of another are not
// read: everything is built again.
const recordFormat = 1

// record is what is kept of the last good build of a definition.
type record struct {
	Format int    `json:"format"`
	Name   string `json:"name"`
	// Parts are what Key is made of, to say what changed.
	Parts parts `json:"parts"`
	// Request is the digest of all that the environment was solved from, so that
	// it need not be solved again; Environment is the solution.
	Request     string   `json:"request"`
	Environment []member `json:"environment"`
	Packages    []made   `json:"packages"`
	// Output is the digest of the packages' identities.
	Output  string  `json:"output"`
	Seconds float64 `json:"seconds"`
}

// parts are what a build depends on, as digests.
type parts struct {
	Definition  string `json:"definition"`
	Inputs      string `json:"inputs"`
	Builder     string `json:"builder"`
	Environment string `json:"environment"`
}

// member is a package of an environment.
type member struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// ID is the identity of what was built here, the checksum of all others.
	ID string `json:"id"`
}

// made is a package file in the repository.
type made struct {
	Name     string     `json:"name"`
	Version  string     `json:"version"`
	SHA256   apk.SHA256 `json:"sha256"`
	Checksum string     `json:"checksum"`
	Size     int64      `json:"size"`
	// Modified is the file's time in nanoseconds, which tells that it is as it
	// was without reading it.
	Modified int64  `json:"modified"`
	Identity string `json:"identity"`
}

func (m made) file() string { return m.Name + "-" + m.Version + ".apk" }

// state is the directory below Dir/.cairn.
type state struct{ packages, builds, logs, work string }

func newState(dir, arch string) (*state, error) {
	own := filepath.Join(dir, ".cairn", arch)
	s := &state{filepath.Join(dir, arch), filepath.Join(own, "builds"), filepath.Join(own, "logs"), filepath.Join(own, "work")}
	for _, d := range []string{s.packages, s.builds, s.logs, s.work} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, fmt.Errorf("repository %w", err)
		}
	}
	return s, nil
}

func (s *state) log(name string) string { return filepath.Join(s.logs, name+".log") }

// read returns what is kept of a build; nil when there is nothing, or nothing
// that can be used.
func (s *state) read(name string) (*record, error) {
	b, err := os.ReadFile(filepath.Join(s.builds, name+".json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r record
	if json.Unmarshal(b, &r) != nil || r.Format != recordFormat || r.Name != name {
		return nil, nil // it is built again
	}
	return &r, nil
}

// write keeps a record, whole or not at all.
func (s *state) write(r *record) (err error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return err
	}
	f, err := os.CreateTemp(s.builds, ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b.Bytes())
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(s.builds, r.Name+".json"))
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// workspace makes the directory for the builds of this run, and removes those of
// runs that ended without doing so. Each run holds a lock in its own.
func (s *state) workspace(ctx context.Context) (dir string, end func() error, err error) {
	all, err := disk.Lock(ctx, filepath.Join(s.work, "lock"), unix.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, all.Close()) }()
	entries, err := os.ReadDir(s.work)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		if e.IsDir() && strings.HasPrefix(e.Name(), "run-") {
			if err := removeDead(filepath.Join(s.work, e.Name())); err != nil {
				return "", nil, err
			}
		}
	}
	if dir, err = os.MkdirTemp(s.work, "run-"); err != nil {
		return "", nil, err
	}
	own, err := disk.Lock(ctx, filepath.Join(dir, "lock"), unix.LOCK_EX)
	if err != nil {
		return "", nil, errors.Join(err, os.RemoveAll(dir))
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), own.Close()) }, nil
}

// removeDead removes a run's directory when no process has its lock.
func removeDead(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil
		}
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return os.RemoveAll(dir)
}
