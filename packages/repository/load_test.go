package repository

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// localRepository writes hello-1.0-r0 and more below a directory.
func localRepository(t testing.TB) (dir string, src Source, packages []apk.Package) {
	t.Helper()
	dir = t.TempDir()
	packages = apktest.Repository{Key: apktest.NewKey("test.rsa.pub"), Description: "local v1", Packages: []apktest.Spec{
		{Package: apk.Package{Name: "hello", Version: "1.0-r0"}, Files: []apktest.File{{Path: "usr/bin/hello", Content: "hi"}}},
		{Package: apk.Package{Name: "gtk+3.0", Version: "3.24~git-r1"}},
	}}.Write(t, dir)
	return dir, Source{URL: dir, Arch: "x86_64", Keyring: NewKeyring(testKey(t, "test.rsa.pub"))}, packages
}

func TestLoadLocalAndBuiltin(t *testing.T) {
	dir, src, packages := localRepository(t)
	c := mustClient(t, Options{Builtins: map[string]fs.FS{"demo": os.DirFS(dir)}})
	t.Chdir(filepath.Dir(dir))
	for _, u := range []string{dir, dir + "/", "file://" + dir, filepath.Base(dir), "./" + filepath.Base(dir), "builtin://demo", "builtin://demo/"} {
		s := src
		s.URL = u
		ix, err := c.Load(ctx, s)
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		if ix.Len() != 2 || ix.Description != "local v1" || ix.Arch != "x86_64" || !strings.HasSuffix(ix.URL, "x86_64/APKINDEX.tar.gz") || ix.Source().URL != trimSlashes(u) {
			t.Errorf("%s: %+v", u, ix)
		}
		for i, p := range packages {
			r, size, err := c.OpenPackage(ctx, ix, ix.Package(i))
			if err != nil {
				t.Errorf("%s: %v", u, err)
				continue
			}
			if got := readAll(t, r); int64(len(got)) != p.Size || size != p.Size {
				t.Errorf("%s: %d bytes, size %d, want %d", u, len(got), size, p.Size)
			}
		}
	}
}

// apko warns and goes on without a missing local index (apko index.go).
func TestApkoDefect_MissingLocalIndexIsAnError(t *testing.T) {
	dir := t.TempDir()
	c := mustClient(t, Options{Builtins: map[string]fs.FS{"demo": fstest.MapFS{}}})
	_, err := c.Load(ctx, Source{URL: dir, Arch: "x86_64"})
	wantError(t, err, dir+"/x86_64/APKINDEX.tar.gz: no index for x86_64: no such file or directory\nhint: put the packages into "+dir+"/x86_64 and make one: cairn index create "+dir+"/x86_64")
	wantIs(t, err, ErrNotFound, fs.ErrNotExist)
	writeFile(t, filepath.Join(dir, "x86_64", "a-1.apk"), nil)
	_, err = c.Load(ctx, Source{URL: dir, Arch: "x86_64"})
	wantError(t, err, dir+"/x86_64/APKINDEX.tar.gz: no index for x86_64: no such file or directory\nhint: 1 packages are there; make one: cairn index create "+dir+"/x86_64")
	_, err = c.Load(ctx, Source{URL: "builtin://demo", Arch: "riscv64"})
	wantError(t, err, "builtin://demo/riscv64/APKINDEX.tar.gz: no index for riscv64: file does not exist")
	var m *MissingIndexError
	if !errors.As(err, &m) || m.Arch != "riscv64" {
		t.Errorf("%+v", m)
	}
}

func TestMissingRemoteIndex(t *testing.T) {
	srv := serve(t, http.NotFound)
	src := srv.source(t)
	src.URL = strings.Replace(src.URL, "://", "://user:secret@", 1)
	_, err := mustClient(t, fast(Options{})).Load(ctx, src)
	wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: no index for x86_64: server answered 404 Not Found\nhint: check the repository's URL: the index is expected below it in x86_64/APKINDEX.tar.gz")
	wantIs(t, err, ErrNotFound)
}

func TestLoadErrors(t *testing.T) {
	dir, src, _ := localRepository(t)
	c := mustClient(t, Options{})
	for _, x := range []struct{ url, want string }{
		{"builtin://gone", "builtin://gone/x86_64/APKINDEX.tar.gz: no builtin repository of this name: there is none in this program"},
		{"ftp://h", "repository ftp://h: unknown scheme: …"},
	} {
		s := src
		s.URL = x.url
		_, err := c.Load(ctx, s)
		wantError(t, err, x.want)
	}
	index := filepath.Join(dir, "x86_64", IndexFile)
	for _, x := range []struct {
		name string
		make func() error
		want string
	}{
		{"directory", func() error { return os.Mkdir(index, 0o755) }, "is a directory: expected a regular file"},
		{"fifo", func() error { return syscall.Mkfifo(index, 0o644) }, "is a fifo: expected a regular file"},
		{"empty", func() error { return os.WriteFile(index, nil, 0o644) }, "index: truncated: unexpected EOF (read 0 bytes, sha256:…)"},
	} {
		if err := os.Remove(index); err != nil {
			t.Fatal(err)
		}
		if err := x.make(); err != nil {
			t.Fatal(err)
		}
		_, err := c.Load(ctx, src)
		wantError(t, err, index+": "+x.want)
	}
}

func TestLoadUnsafe(t *testing.T) {
	dir := t.TempDir()
	apktest.Repository{Packages: []apktest.Spec{{Package: apk.Package{Name: "a", Version: "1-r0"}}}}.Write(t, dir)
	c := mustClient(t, Options{CacheDir: t.TempDir()})
	src := Source{URL: dir, Arch: "x86_64", Keyring: NewKeyring(testKey(t, "test.rsa.pub"))}
	for range 2 {
		_, err := c.Load(ctx, src)
		wantError(t, err, dir+"/x86_64/APKINDEX.tar.gz: index: index is not signed")
		wantIs(t, err, ErrUnsigned)
		unsafe := src
		unsafe.UnsafeUnsigned = true
		ix, err := c.Load(ctx, unsafe) // and what it leaves in the cache helps nobody
		if err != nil || !ix.UnsafeUnsigned || ix.SignedBy != (Signer{}) {
			t.Errorf("%+v, %v", ix, err)
		}
	}
}

func TestOpenPackageSizes(t *testing.T) {
	dir, src, packages := localRepository(t)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(dir, strings.TrimPrefix(r.URL.Path, "/repo")))
	})
	chunked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := os.ReadFile(filepath.Join(dir, strings.TrimPrefix(r.URL.Path, "/repo")))
		if err != nil {
			http.NotFound(w, r)
			return
		}
		w.(http.Flusher).Flush()
		_, _ = w.Write(b)
	})
	real := packages[0].Size
	c := mustClient(t, fast(Options{Limits: Limits{Package: real}, Builtins: map[string]fs.FS{"demo": os.DirFS(dir)}}))
	small := mustClient(t, fast(Options{Limits: Limits{Package: real - 1}}))
	for _, u := range []string{dir, "builtin://demo", srv.URL + "/repo", chunked.URL + "/repo"} {
		src.URL = u
		file := Redact(src.PackageURL("hello-1.0-r0.apk"))
		unannounced := strings.HasPrefix(u, chunked.URL)
		for _, x := range []struct {
			client *Client
			size   int64
			want   string
			late   string // when the size is not announced
		}{
			{c, real, "", ""},
			{c, 0, "", ""},
			{c, real + 1, fmt.Sprintf("is %d bytes: the index entry says %d", real, real+1), fmt.Sprintf("unexpected EOF: %d bytes: the index entry says %d", real, real+1)},
			{c, real - 1, fmt.Sprintf("is %d bytes: the index entry says %d", real, real-1), fmt.Sprintf("size limit exceeded: more than the %d bytes of the index entry", real-1)},
			{small, 0, fmt.Sprintf("size limit exceeded: %d bytes: at most %d expected", real, real-1), fmt.Sprintf("size limit exceeded: more than %d bytes", real-1)},
		} {
			if u == "builtin://demo" && x.client == small {
				continue
			}
			p := &apk.Package{Name: "hello", Version: "1.0-r0", Size: x.size}
			var got []byte
			r, size, err := x.client.OpenFile(ctx, src, p)
			if err == nil {
				got, err = io.ReadAll(r)
				err = errors.Join(err, r.Close())
			}
			want := x.want
			if unannounced && want != "" {
				want = x.late
			}
			if want != "" {
				wantError(t, err, "package hello-1.0-r0: "+file+": "+want)
				continue
			}
			if err != nil || int64(len(got)) != real || size != real && !(unannounced && x.size == 0 && size == -1) {
				t.Errorf("%s: %d bytes, size %d, %v", u, len(got), size, err)
			}
		}
	}
}

func TestOpenPackageMissing(t *testing.T) {
	dir, src, _ := localRepository(t)
	srv := serve(t, http.NotFound)
	c := mustClient(t, fast(Options{Builtins: map[string]fs.FS{"demo": os.DirFS(dir)}}))
	hint := "\nhint: the repository changed since its index was made or read; renew the index, or the lock (cairn lock --update)"
	for u, want := range map[string]string{
		dir:              "package gone-1-r0: " + dir + "/x86_64/gone-1-r0.apk: no such file or directory" + hint,
		"builtin://demo": "package gone-1-r0: builtin://demo/x86_64/gone-1-r0.apk: no such file or directory" + hint,
		srv.URL + "?t=s": "package gone-1-r0: " + srv.URL + "/x86_64/gone-1-r0.apk?…: server answered 404 Not Found" + hint,
	} {
		src.URL = u
		_, _, err := c.OpenFile(ctx, src, pkg("gone", "1-r0"))
		wantError(t, err, want)
		wantIs(t, err, ErrNotFound)
	}
}

func TestOpenPackageRefusesPaths(t *testing.T) {
	_, src, _ := localRepository(t)
	c := mustClient(t, Options{})
	for _, p := range []*apk.Package{
		{Name: "../../etc/passwd", Version: "1"}, {Name: "a", Version: "1/../../x"}, {Name: "a\x00", Version: "1"},
		{Name: `a\b`, Version: "1"}, {Name: "", Version: "1"}, {Name: "a"},
	} {
		_, _, err := c.OpenFile(ctx, src, p)
		wantError(t, err, fmt.Sprintf("package %q: no possible file name", p.ID()))
	}
	ix, err := NewIndex(pkg("a", "1"))
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = c.OpenPackage(ctx, ix, ix.Package(0))
	wantError(t, err, "package a-1: index was not loaded by a client: repository: empty URL")
}

// Names with "+" and "~" arrive at the server as they are.
func TestOpenPackagePlus(t *testing.T) {
	dir, src, packages := localRepository(t)
	var asked string
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.RequestURI
		http.ServeFile(w, r, filepath.Join(dir, r.URL.Path))
	})
	src.URL = srv.URL
	r, _, err := mustClient(t, fast(Options{})).OpenFile(ctx, src, &packages[1])
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, r); !bytes.Equal(got, mustRead(t, filepath.Join(dir, "x86_64", "gtk+3.0-3.24~git-r1.apk"))) {
		t.Error("other bytes")
	}
	if asked != "/x86_64/gtk+3.0-3.24~git-r1.apk" {
		t.Error(asked)
	}
}

func TestRealPackagesOpen(t *testing.T) {
	c := mustClient(t, Options{})
	ix, err := c.Load(ctx, Source{URL: testdata(t, "alpine-3.19-boot"), Arch: "x86_64", Keyring: alpineKeys(t)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range ix.Len() {
		r, size, err := c.OpenPackage(ctx, ix, ix.Package(i))
		if err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, r); int64(len(got)) != size {
			t.Errorf("%s: %d of %d bytes", ix.Package(i).ID(), len(got), size)
		}
	}
}

// One client serves several architectures and repositories at once; a key
// document that all need is fetched once.
func TestLoadInParallel(t *testing.T) {
	raw := signedIndex(t, manyPackages(30)...)
	set := jwks(t, jwkOf("test.rsa.pub"))
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/apk-configuration"):
			_, _ = fmt.Fprintf(w, `{"jwks_uri": "http://%s/jwks"}`, r.Host)
		case r.URL.Path == "/jwks":
			_, _ = w.Write(set)
		default:
			static(raw)(w, r)
		}
	})
	c := mustClient(t, fast(Options{CacheDir: t.TempDir()}))
	var wg sync.WaitGroup
	arches := []string{"x86_64", "aarch64", "armv7", "armhf", "x86", "ppc64le", "s390x", "riscv64"}
	for _, arch := range arches {
		wg.Add(1)
		go func() {
			defer wg.Done()
			ix, err := c.Load(ctx, Source{URL: srv.URL + "/repo", Arch: arch, Discover: true})
			if err != nil || ix.Len() != 30 || ix.Arch != arch || !strings.HasSuffix(ix.URL, "/"+arch+"/"+IndexFile) {
				t.Errorf("%s: %v", arch, err)
			}
		}()
	}
	wg.Wait()
	if want := len(arches) + 2; srv.count() != want {
		t.Errorf("%d requests, want %d", srv.count(), want)
	}
}

func TestSourceKinds(t *testing.T) {
	for u, want := range map[string][3]bool{
		"https://h/r": {true, false, false}, "http://h/r": {true, false, false},
		"/srv": {false, true, false}, "file:///srv": {false, true, false}, "r": {false, true, false},
		"builtin://r": {false, false, true}, "ftp://r": {},
	} {
		s := Source{URL: u, Arch: "x86_64"}
		if got := [3]bool{s.Remote(), s.Local(), s.Builtin()}; got != want {
			t.Errorf("%s: %v, want %v", u, got, want)
		}
	}
}

func TestKind(t *testing.T) {
	for m, want := range map[fs.FileMode]string{
		fs.ModeDir: "directory", fs.ModeNamedPipe: "fifo", fs.ModeDevice: "device", fs.ModeDevice | fs.ModeCharDevice: "device", fs.ModeSocket: "special file",
	} {
		if got := kind(m); got != want {
			t.Errorf("%s: %s, want %s", m, got, want)
		}
	}
}

// A directory whose name has the characters of a pattern is still looked into.
func TestMissingIndexHintInOddDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), `a[b]*?\c`)
	writeFile(t, filepath.Join(dir, "x86_64", "a-1.apk"), nil)
	writeFile(t, filepath.Join(dir, "x86_64", "b-1.apk"), nil)
	_, err := mustClient(t, Options{}).Load(ctx, Source{URL: dir, Arch: "x86_64"})
	wantError(t, err, "…: no index for x86_64: no such file or directory\nhint: 2 packages are there; make one: cairn index create …")
}
