package packages

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// fetchAll resolves and fetches one package.
func fetchAll(t *testing.T, o Options, r Request) error {
	t.Helper()
	w := open(t, o)
	l, err := w.Resolve(t.Context(), x86(r))
	if err == nil {
		_, err = w.Fetch(t.Context(), l, "x86_64", FetchOptions{})
	}
	return err
}

// Every limit is one that something refuses, and what is in the cache is not
// measured again.
func TestLimits(t *testing.T) {
	key := apktest.NewKey("limits.rsa.pub")
	s := spec("a", "1-r0", 1)
	s.Files = append(s.Files, apktest.File{Path: "usr/big", Content: strings.Repeat("0123456789", 2000)})
	s.Scripts = map[string]string{"post-install": strings.Repeat("x", 9000)}
	dir, keyFile := repo(t, key, []string{"x86_64"}, s)
	web := serve(t, dir)
	local := Request{Packages: []string{"a"}, Repositories: []string{dir}, Keyring: []string{keyFile}}
	remote := local
	remote.Repositories = []string{web.URL}
	cache := t.TempDir()
	for _, c := range []struct {
		name   string
		limits Limits
		r      Request
		is     error
		text   string
	}{
		{"control", Limits{Control: 9000}, local, apk.ErrTooLarge, "section inflates to more than 9000 bytes"},
		{"data", Limits{Data: 10000}, local, store.ErrHostile, `member "usr/big": size 20000, at most 10000 are allowed`},
		{"index", Limits{Index: 100}, local, repository.ErrLimit, "at most 100 expected"},
		{"index inflated", Limits{Index: 1000}, local, repository.ErrLimit, "more than 1000 bytes"},
		{"index response", Limits{Response: 100}, remote, repository.ErrLimit, "at most 100 expected"},
		{"none", Limits{Control: -1, Data: -1, Index: -1, Response: -1}, remote, nil, ""},
		{"in the cache", Limits{Control: 9000, Data: 10000}, remote, nil, ""},
	} {
		o := Options{Limits: c.limits}
		if c.is == nil {
			o.CacheDir = cache
		}
		err := fetchAll(t, o, c.r)
		if !errors.Is(err, c.is) || err != nil && !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.text)
		}
	}
}

// A response of unknown length is measured as it comes.
func TestResponseLimit(t *testing.T) {
	key := apktest.NewKey("limits.rsa.pub")
	big, noise := spec("a", "1-r0", 1), make([]byte, 5000)
	random := rand.New(rand.NewPCG(1, 2)) // what deflate cannot make smaller
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	big.Files[0].Content = string(noise)
	dir, keyFile := repo(t, key, []string{"x86_64"}, big)
	raw, err := os.ReadFile(filepath.Join(dir, "x86_64", "a-1-r0.apk"))
	if err != nil || len(raw) < 5000 {
		t.Fatal(len(raw), err)
	}
	web := serve(t, dir)
	web.extra["/x86_64/a-1-r0.apk"] = func(w http.ResponseWriter) {
		for _, part := range [][]byte{raw[:100], raw[100:]} {
			_, _ = w.Write(part)
			w.(http.Flusher).Flush()
		}
	}
	r := Request{Packages: []string{"a"}, Repositories: []string{web.URL}, Keyring: []string{keyFile}}
	err = fetchAll(t, Options{Limits: Limits{Response: 4000}}, r)
	if !errors.Is(err, repository.ErrLimit) || !strings.Contains(err.Error(), "more than 4000 bytes") {
		t.Errorf("error %v", err)
	}
	if err := fetchAll(t, Options{Limits: Limits{Response: int64(len(raw))}}, r); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
}

// Relative repositories and keys are looked for in Dir, and recorded as they
// are written.
func TestDir(t *testing.T) {
	key := apktest.NewKey("dir.rsa.pub")
	dir, keyFile := repo(t, key, []string{"x86_64"}, spec("a", "1-r0", 1))
	if err := os.Rename(keyFile, filepath.Join(dir, key.Name)); err != nil {
		t.Fatal(err)
	}
	r := x86(Request{Packages: []string{"a"}, Repositories: []string{filepath.Base(dir)}, Keyring: []string{"./" + filepath.Base(dir) + "/" + key.Name}})
	w := open(t, Options{Dir: filepath.Dir(dir)})
	l := resolve(t, w, r)
	if _, err := w.Fetch(t.Context(), l, "x86_64", FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	if text := marshal(t, l); strings.Contains(text, filepath.Dir(dir)) {
		t.Errorf("the lock names the directory:\n%s", text)
	}
	r.Repositories = []string{"nowhere"}
	if _, err := w.Resolve(t.Context(), r); err == nil || !strings.Contains(err.Error(), "nowhere/x86_64/APKINDEX.tar.gz") {
		t.Errorf("error %v", err)
	}
}
