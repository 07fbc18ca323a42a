package mirror

import (
	"bytes"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// world is a repository, a store, and a lock of its packages.
type world struct {
	dir  string
	ws   *packages.Workspace
	lock *lock.Lock
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	key := apktest.NewKey("key.rsa.pub")
	pkg := func(name, content string) apktest.Spec {
		s := apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", BuildTime: 100, License: "MIT"}, Files: []apktest.File{{Path: "usr/" + name, Content: content}}, Parents: true, Sign: key}
		return s
	}
	apktest.Repository{Arch: "x86_64", Key: key, Packages: []apktest.Spec{pkg("a", "a"), pkg("b", strings.Repeat("b", 1000))}}.Write(t, filepath.Join(w.dir, "repo"))
	if err := os.WriteFile(filepath.Join(w.dir, "key.rsa.pub"), key.PublicPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.ws, err = packages.Open(packages.Options{CacheDir: filepath.Join(w.dir, "cache")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.ws.Close() })
	w.lock, err = w.ws.Resolve(t.Context(), packages.Request{Architectures: []string{"x86_64"}, Repositories: []string{filepath.Join(w.dir, "repo")},
		Keyring: []string{filepath.Join(w.dir, "key.rsa.pub")}, Packages: []string{"a", "b"}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) original(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "repo", "x86_64", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDirectory(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "deep", "mirror")
	r, err := ToDir(t.Context(), w.ws, w.lock, dir, Options{})
	if err != nil || r.Packages != 2 || r.Written.Blobs != 2 || r.Written.Bytes != r.Bytes {
		t.Fatalf("%+v, %v", r, err)
	}
	path := filepath.Join(dir, "x86_64", "a-1-r0.apk")
	want := w.original(t, "a-1-r0.apk")
	same := func(what string) {
		t.Helper()
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: the package differs (%v)", what, err)
		}
	}
	same("written")
	// The same size is damage, another size another package.
	damaged := bytes.Clone(want)
	damaged[len(damaged)/2] ^= 1
	if err := os.WriteFile(path, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	if r, err := ToDir(t.Context(), w.ws, w.lock, dir, Options{}); err != nil || r.Written.Blobs != 1 {
		t.Errorf("damaged: %+v, %v", r, err)
	}
	same("repaired")
	if err := os.WriteFile(path, want[:10], 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := ToDir(t.Context(), w.ws, w.lock, dir, Options{}); !errors.Is(err, ErrConflict) {
		t.Errorf("another package: %v", err)
	}
	// Nothing temporary is left.
	names, err := filepath.Glob(filepath.Join(dir, "*", ".cairn-*"))
	if err != nil || len(names) != 0 {
		t.Errorf("left over: %v, %v", names, err)
	}
}

// TestIndexKeepsWhatIsThere: a mirror of several locks has an index of all of them, also
// when they are made at the same time.
func TestIndexKeepsWhatIsThere(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	var g sync.WaitGroup
	for i := range w.lock.Contents.Packages {
		part := *w.lock
		part.Contents.Packages = w.lock.Contents.Packages[i : i+1]
		g.Go(func() {
			if _, err := ToDir(t.Context(), w.ws, &part, dir, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	g.Wait()
	f, err := os.Open(filepath.Join(dir, "x86_64", "APKINDEX.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ix, err := repository.ReadIndex(f, repository.ReadOptions{UnsafeUnsigned: true})
	if err != nil || ix.Len() != 2 {
		t.Fatalf("%v, %v", ix, err)
	}
	for i := range 2 {
		p := ix.Package(i)
		if p.Size != int64(len(w.original(t, p.Filename()))) || p.Checksum.IsZero() {
			t.Errorf("%+v", p)
		}
	}
}

func TestRegistryAndBack(t *testing.T) {
	w := newWorld(t)
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	name := strings.TrimPrefix(srv.URL, "http://") + "/team/packages:1"
	ref, err := target.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	x, err := target.Open(t.Context(), ref, target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), name, target.Options{}); !errors.Is(err, target.ErrNotFound) {
		t.Errorf("before: %v", err)
	}
	r, err := ToRegistry(t.Context(), w.ws, w.lock, x, Options{})
	if err != nil || r.Written.Blobs != 4 || !strings.Contains(r.Reference, "@sha256:") { // two packages, the lock, the configuration
		t.Fatalf("%+v, %v", r, err)
	}
	for _, name := range []string{name, r.Reference} {
		m, err := Open(t.Context(), name, target.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range w.lock.Contents.Packages {
			p := &w.lock.Contents.Packages[i]
			rc, err := m.Package(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(rc)
			if err != nil || !bytes.Equal(b, w.original(t, p.Name+"-"+p.Version+".apk")) {
				t.Errorf("%s: differs (%v)", p.Name, err)
			}
			rc.Close()
		}
		other := w.lock.Contents.Packages[0]
		other.Version = "2-r0"
		if _, err := m.Package(t.Context(), &other); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a package that is not there: %v", err)
		}
		locks, err := m.Locks(t.Context())
		if err != nil || len(locks) != 1 || locks[LockName] == nil {
			t.Errorf("%v, %v", locks, err)
		}
	}
}

// TestNamesLeadNowhere: a lock cannot make a mirror open a file outside of it.
func TestNamesLeadNowhere(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "secret-1.apk"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := Open(t.Context(), filepath.Join(dir, "mirror", ".."), target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m.dir = filepath.Join(dir, "mirror")
	for _, p := range []lock.Package{{Architecture: "..", Name: "secret", Version: "1"}, {Architecture: "x", Name: "../../secret", Version: "1"}, {Architecture: "/", Name: "secret", Version: "1"}} {
		if _, err := m.Package(t.Context(), &p); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%+v: %v", p, err)
		}
	}
}
