package packages

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// sample is a lock of one package over a server, and what is needed to change
// one of them.
type sample struct {
	dir  string
	http *server
	lock *lock.Lock
	file string // the package
}

func newSample(t *testing.T) *sample {
	t.Helper()
	dir, keyFile := repo(t, apktest.NewKey("a.rsa.pub"), []string{"x86_64"}, spec("lib", "1-r0", 1), spec("app", "1-r0", 1, "lib"))
	s := &sample{dir: dir, http: serve(t, dir), file: filepath.Join(dir, "x86_64", "app-1-r0.apk")}
	s.lock = resolve(t, open(t, Options{}), x86(Request{Packages: []string{"app"}, Repositories: []string{s.http.URL}, Keyring: []string{keyFile}}))
	return s
}

func TestFetchFromALock(t *testing.T) {
	s := newSample(t)
	cache := t.TempDir()
	w := open(t, Options{CacheDir: cache})
	first, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(first) != 2 || first[0].Package.Name != "lib" || first[1].Package.Name != "app" {
		t.Errorf("receipts out of order: %v", first)
	}
	for _, r := range first {
		if err := w.Store().Verify(t.Context(), r); err != nil {
			t.Error(err)
		}
	}
	// What the store holds needs no network, in this process or the next.
	before := s.http.requests.Load()
	for _, w := range []*Workspace{w, open(t, Options{CacheDir: cache, Offline: true})} {
		again, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if again[1].Digest() != first[1].Digest() {
			t.Error("another receipt the second time")
		}
	}
	if n := s.http.requests.Load() - before; n != 0 {
		t.Errorf("%d requests for what is in the store", n)
	}
	// An architecture that is not locked has nothing.
	if got, err := w.Fetch(t.Context(), s.lock, "aarch64", FetchOptions{}); err != nil || len(got) != 0 {
		t.Errorf("aarch64: %v, %v", got, err)
	}
}

func TestFetchOffline(t *testing.T) {
	s := newSample(t)
	_, err := open(t, Options{Offline: true}).Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	if !errors.Is(err, repository.ErrOffline) {
		t.Errorf("error %v, expected %v", err, repository.ErrOffline)
	}
}

func TestFetchStopsWithTheContext(t *testing.T) {
	s := newSample(t)
	_, err := open(t, Options{}).Fetch(cancelled(), s.lock, "x86_64", FetchOptions{})
	wantError(t, err, "context canceled")
}

func TestFetchRefusesOtherBytes(t *testing.T) {
	good, err := os.ReadFile(newSample(t).file)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int) []byte {
		b := append([]byte(nil), good...)
		b[at] ^= 1
		return b
	}
	for name, bytes := range map[string][]byte{
		"a bit in the control section": changed(40),
		"a bit in the data section":    changed(len(good) - 40),
		"a bit of the last trailer":    changed(len(good) - 1),
		"cut short":                    good[:len(good)-10],
		"more behind it":               append(append([]byte(nil), good...), good...),
		"empty":                        {},
		"no package":                   []byte("<html>not found</html>"),
		"same name, rebuilt":           apktest.Build(rebuilt()),
		"same control, signed anew":    signedAnew(),
	} {
		t.Run(name, func(t *testing.T) {
			s := newSample(t)
			if err := os.WriteFile(s.file, bytes, 0o644); err != nil {
				t.Fatal(err)
			}
			w := open(t, Options{})
			_, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
			wantError(t, err, "app-1-r0")
			if _, err := w.Store().Lookup(s.lock.For("x86_64")[1].Checksum); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the store has it: %v", err)
			}
			// With the right bytes back, the same store is good.
			if err := os.WriteFile(s.file, good, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
}

func rebuilt() apktest.Spec {
	s := spec("app", "1-r0", 2, "lib")
	s.Package.Arch = "x86_64"
	return s
}

// signedAnew is the package with a signature before the same control section:
// all that the index knows of it is unchanged but for the size.
func signedAnew() []byte {
	s := spec("app", "1-r0", 1, "lib")
	s.Package.Arch, s.Sign = "x86_64", apktest.NewKey("stranger.rsa.pub")
	return apktest.Build(s)
}

// Every hash of a lock is checked against what is there, also where the package
// is in the store already and in the very process that locked it.
func TestFetchChecksEveryHashOfTheLock(t *testing.T) {
	for name, alter := range map[string]func(*lock.Package){
		"file":      func(p *lock.Package) { p.Cairn.SHA256[0] ^= 1 },
		"size":      func(p *lock.Package) { p.Cairn.Size++ },
		"diff id":   func(p *lock.Package) { p.Cairn.DiffID[0] ^= 1 },
		"receipt":   func(p *lock.Package) { p.Cairn.Receipt[0] ^= 1 },
		"data":      func(p *lock.Package) { p.Data.Checksum = lock.Checksum(apk.SHA256{1}) },
		"data text": func(p *lock.Package) { p.Data.Checksum = "sha256-???" },
		"control":   func(p *lock.Package) { p.Checksum[0] ^= 1 },
		"name":      func(p *lock.Package) { p.Name = "lib" },
		"version":   func(p *lock.Package) { p.Version = "2-r0" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSample(t)
			warm := open(t, Options{})
			if _, err := warm.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
				t.Fatal(err)
			}
			alter(&s.lock.Contents.Packages[1])
			for _, w := range []*Workspace{open(t, Options{}), warm} {
				if _, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err == nil {
					t.Errorf("accepted (warm: %v)", w == warm)
				}
			}
		})
	}
}

func TestFetchRefusesAnUnknownURL(t *testing.T) {
	s := newSample(t)
	s.lock.Contents.Packages[1].URL = s.http.URL + "/other.apk"
	_, err := open(t, Options{}).Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	wantError(t, err, "package app-1-r0: url", "expected REPOSITORY/x86_64/app-1-r0.apk")
}

func TestFetchRefusesABrokenKeyring(t *testing.T) {
	s := newSample(t)
	s.lock.Contents.Keyring[0].Content = "no key"
	_, err := open(t, Options{}).Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	wantError(t, err, "keyring: ")
	if !errors.Is(err, lock.ErrInvalid) {
		t.Errorf("error %v, expected %v", err, lock.ErrInvalid)
	}
}

// A lock by apko has no whole-file hashes, sizes or receipts.
func TestFetchFromApkosLock(t *testing.T) {
	s := newSample(t)
	s.lock.Cairn = nil
	for i := range s.lock.Contents.Packages {
		s.lock.Contents.Packages[i].Cairn = nil
	}
	s.lock.Contents.Keyring[0].Content = ""
	if _, err := open(t, Options{}).Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
		t.Error(err)
	}
	s.lock.Contents.Packages[1].Data.Checksum = lock.Checksum(apk.SHA256{1})
	_, err := open(t, Options{}).Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	wantError(t, err, "package app-1-r0: data section: found sha256-", "lock has sha256-")
	if !errors.Is(err, store.ErrMismatch) {
		t.Errorf("error %v, expected %v", err, store.ErrMismatch)
	}
}

func TestRepositoryOf(t *testing.T) {
	for url, want := range map[string]string{
		"https://h/r/x86_64/a-1-r0.apk":    "https://h/r",
		"dir/x86_64/a-1-r0.apk":            "dir",
		"https://h/r/x86_64/a-1-r0.apk?…":  "https://h/r?…",
		"https://h/r/x86_64/b-1-r0.apk":    "",
		"https://h/r/aarch64/a-1-r0.apk":   "",
		"https://h/r/x86_64/a-1-r0.apk/x":  "",
		"https://h/r/x86_64/a-1-r0.tar.gz": "",
	} {
		got, ok := RepositoryOf(&lock.Package{Name: "a", Version: "1-r0", Architecture: "x86_64", URL: url})
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %q, %v", url, got, ok)
		}
	}
}

func TestKeys(t *testing.T) {
	a, b := apktest.NewKey("a.rsa.pub"), apktest.NewKey("b.rsa.pub")
	_, fileA := repo(t, a, nil)
	_, fileB := repo(t, b, nil)
	w := open(t, Options{})
	keys, err := w.Keys(t.Context(), []string{fileB, fileA})
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 2 || keys[0].Name != "a.rsa.pub" || string(keys[0].PEM()) != string(a.PublicPEM()) {
		t.Errorf("keys: %v", keys)
	}
	if _, err := w.Keys(t.Context(), []string{fileA + "x"}); err == nil {
		t.Error("a key that is not there")
	}
}

func TestForgetAsksTheStoreAgain(t *testing.T) {
	s := newSample(t)
	w := open(t, Options{})
	receipts, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(w.Store().BlobPath(receipts[1])); err != nil {
		t.Fatal(err)
	}
	before := s.http.requests.Load()
	w.Forget()
	if _, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	if s.http.requests.Load() == before {
		t.Error("the missing blob was not fetched")
	}
	if err := w.Store().Verify(t.Context(), receipts[1]); err != nil {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{CacheDir: file}); err == nil {
		t.Error("a file as the cache directory")
	}
	t.Setenv("HOME", "")
	t.Setenv("XDG_CACHE_HOME", "")
	_, err := Open(Options{})
	wantError(t, err, "cache directory: ", "hint: give --cache-dir or set HOME")
	t.Setenv("XDG_CACHE_HOME", "/somewhere")
	if dir, err := DefaultCacheDir(); err != nil || !strings.HasPrefix(dir, "/somewhere/cairn") {
		t.Errorf("%q, %v", dir, err)
	}
}
