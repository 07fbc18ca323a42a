// Package packages is the façade of everything about packages: it resolves a
// request against repositories into a lock, and brings the locked packages,
// verified, into the store.
//
// It knows nothing of images; assemble builds them from what this package
// returns. The rooms below it (apk, repository, solve, lock, store) are visible
// to the rest of cairn but promise no compatibility; this package does.
//
//	ws, err := packages.Open(packages.Options{})
//	if err != nil {
//		return err
//	}
//	defer ws.Close()
//	l, err := ws.Resolve(ctx, packages.Request{
//		Packages:      []string{"hello-http"},
//		Repositories:  []string{"builtin://demo"},
//		Keyring:       []string{"builtin://demo/cairn-demo.rsa.pub"},
//		Architectures: []string{"x86_64"},
//	})
//	if err != nil {
//		return err
//	}
//	receipts, err := ws.Fetch(ctx, l, "x86_64", packages.FetchOptions{})
package packages

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/repository/demo"
	"github.com/cairn-dev/cairn/packages/store"
)

// Options opens a [Workspace].
type Options struct {
	// CacheDir holds the store and the index cache. Default: cairn in the
	// user's cache directory.
	CacheDir string
	// SecretFile, when given, holds a secret, and is made when it is missing.
	// With it, who can write to the cache directory alone, such as the jobs
	// that share it on a build server, cannot supply index entries or keys.
	// Keep it outside CacheDir.
	SecretFile string
	// Offline forbids every network connection.
	Offline bool
	// MaxSize limits the store, in bytes; 0 is no limit.
	MaxSize int64
	// Jobs is how many packages are fetched at a time. Default: twice the
	// number of processors, at least 4.
	Jobs int
	// Progress is told what happens, from several goroutines but never at the
	// same time. Optional.
	Progress func(Event)
	// Dir is the directory that relative paths of repositories and keys are
	// relative to. Default: the working directory.
	Dir string
	// Limits bounds what is read from repositories.
	Limits Limits
}

// Event is one step of the work.
type Event struct {
	Kind    EventKind
	Arch    string
	Subject string // package name-version, or redacted index URL
	Bytes   int64  // of the package file or index
	Reused  bool   // it was in the store already
}

// EventKind says what an [Event] is about.
type EventKind string

// The kinds of events.
const (
	IndexLoaded    EventKind = "index"
	PackagesChosen EventKind = "chosen" // Bytes is the number of packages
	PackageReady   EventKind = "package"
)

// Workspace is a store and a client for repositories, shared by any number of
// operations. Its methods may be called concurrently.
type Workspace struct {
	options Options
	client  *repository.Client
	store   *store.Store

	progress sync.Mutex
	mu       sync.Mutex
	receipts map[apk.SHA1]*store.Receipt // of this process, by control checksum
}

// DefaultCacheDir returns the directory that [Open] uses when none is given.
func DefaultCacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache directory: %w\nhint: give --cache-dir or set HOME", err)
	}
	return filepath.Join(dir, "cairn"), nil
}

// Open opens the workspace, making its directories where needed.
func Open(o Options) (*Workspace, error) {
	if o.CacheDir == "" {
		dir, err := DefaultCacheDir()
		if err != nil {
			return nil, err
		}
		o.CacheDir = dir
	}
	if o.Jobs <= 0 {
		o.Jobs = max(4, 2*runtime.GOMAXPROCS(0))
	}
	st, err := store.Open(filepath.Join(o.CacheDir, "store"), store.Options{MaxSize: o.MaxSize, Limits: o.Limits.store()})
	if err != nil {
		return nil, err
	}
	auth, err := repository.AuthFromEnvironment(os.Getenv)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	var secret []byte
	if o.SecretFile != "" {
		if secret, err = repository.CacheSecretFile(o.SecretFile); err != nil {
			return nil, errors.Join(err, st.Close())
		}
	}
	client, err := repository.NewClient(repository.Options{
		Auth:        auth,
		CacheDir:    filepath.Join(o.CacheDir, "index"),
		CacheSecret: secret,
		Offline:     o.Offline,
		Dir:         o.Dir,
		Limits:      o.Limits.repository(),
		Builtins:    map[string]fs.FS{"demo": demo.FS()},
	})
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	return &Workspace{options: o, client: client, store: st, receipts: map[apk.SHA1]*store.Receipt{}}, nil
}

// Close releases the workspace. What it stored stays.
func (w *Workspace) Close() error {
	w.client.Close()
	return w.store.Close()
}

// Store returns the store, for reading blobs and for maintenance.
func (w *Workspace) Store() *store.Store { return w.store }

// Forget drops the receipts that this process remembers, so that the store is
// asked again. It is for callers to whom the store said that something is
// damaged.
func (w *Workspace) Forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.receipts)
}

func (w *Workspace) tell(e Event) {
	if w.options.Progress == nil {
		return
	}
	w.progress.Lock()
	defer w.progress.Unlock()
	w.options.Progress(e)
}
