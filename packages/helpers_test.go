package packages

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
)

// spec is a package with one file; deps are its depend lines.
func spec(name, version string, built int64, deps ...string) apktest.Spec {
	s := apktest.Spec{
		Package: apk.Package{Name: name, Version: version, BuildTime: built, Origin: name},
		Files:   []apktest.File{{Path: "usr/share/" + name, Content: name + " " + version}},
		Parents: true,
	}
	for _, d := range deps {
		dep, err := apk.ParseDependency(d)
		if err != nil {
			panic(err)
		}
		s.Package.Depends = append(s.Package.Depends, dep)
	}
	return s
}

// repo writes a repository for each architecture and returns its directory and
// the file of its key.
func repo(t *testing.T, key *apktest.Key, arches []string, specs ...apktest.Spec) (dir, keyFile string) {
	t.Helper()
	dir = t.TempDir()
	fill(t, dir, key, arches, specs...)
	if key == nil {
		return dir, ""
	}
	keyFile = filepath.Join(t.TempDir(), key.Name)
	if err := os.WriteFile(keyFile, key.PublicPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir, keyFile
}

func fill(t *testing.T, dir string, key *apktest.Key, arches []string, specs ...apktest.Spec) {
	t.Helper()
	for _, arch := range arches {
		apktest.Repository{Arch: arch, Key: key, Packages: specs}.Write(t, dir)
	}
}

func open(t *testing.T, o Options) *Workspace {
	t.Helper()
	if o.CacheDir == "" {
		o.CacheDir = t.TempDir()
	}
	w, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

func resolve(t *testing.T, w *Workspace, r Request) *lock.Lock {
	t.Helper()
	l, err := w.Resolve(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// ids spells the packages of a lock for one architecture.
func ids(l *lock.Lock, arch string) string {
	var out []string
	for _, p := range l.For(arch) {
		out = append(out, p.Name+"-"+p.Version)
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func x86(r Request) Request {
	r.Architectures = []string{"x86_64"}
	return r
}

// wantError checks that err has every part in its text.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, expected one about %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q: expected %q in it", err, p)
		}
	}
}

// server serves a directory and counts requests.
type server struct {
	*httptest.Server
	requests atomic.Int64
	// user and password are asked for when user is set.
	user, password string
	extra          map[string]func(http.ResponseWriter)
}

func serve(t *testing.T, dir string) *server {
	t.Helper()
	s := &server{extra: map[string]func(http.ResponseWriter){}}
	files := http.FileServer(http.Dir(dir))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if f := s.extra[r.URL.Path]; f != nil {
			f(w)
			return
		}
		if u, p, _ := r.BasicAuth(); s.user != "" && (u != s.user || p != s.password) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func marshal(t *testing.T, l *lock.Lock) string {
	t.Helper()
	b, err := l.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
