package assemble

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
)

// fixture is a repository, a store, and a directory for configurations.
type fixture struct {
	t     *testing.T
	dir   string // holds configurations, key.rsa.pub and repo/
	cache string
	ws    *packages.Workspace
	key   *apktest.Key
}

var bothArches = []string{"x86_64", "aarch64"}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), cache: t.TempDir(), key: apktest.NewKey("key.rsa.pub")}
	f.ws = f.open(f.cache)
	f.write("key.rsa.pub", string(f.key.PublicPEM()))
	f.packages(bothArches, base(), lib(), app())
	return f
}

func (f *fixture) open(cache string) *packages.Workspace {
	f.t.Helper()
	ws, err := packages.Open(packages.Options{CacheDir: cache})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := ws.Close(); err != nil {
			f.t.Error(err)
		}
	})
	return ws
}

func (f *fixture) write(name, content string) string {
	f.t.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
	return path
}

func (f *fixture) packages(arches []string, specs ...apktest.Spec) {
	f.t.Helper()
	for _, arch := range arches {
		apktest.Repository{Arch: arch, Key: f.key, Packages: specs}.Write(f.t, filepath.Join(f.dir, "repo"))
	}
}

// config loads a configuration: a head with the repository, then more.
func (f *fixture) config(more string) *config.Config {
	f.t.Helper()
	text := "contents:\n  repositories: [" + f.dir + "/repo]\n  keyring: [" + f.dir + "/key.rsa.pub]\n"
	if !strings.Contains(more, "packages:") {
		text += "  packages: [base, app]\n"
	}
	if !strings.Contains(more, "archs:") {
		more += "\narchs: [x86_64, aarch64]\n"
	}
	return f.load("image.yaml", text+more)
}

func (f *fixture) load(name, text string) *config.Config {
	f.t.Helper()
	cfg, err := config.Load(f.write(name, text), config.Options{})
	if err != nil {
		f.t.Fatal(err)
	}
	return cfg
}

// build builds and holds the result against the OCI rules.
func (f *fixture) build(cfg *config.Config, o Options) *Result {
	f.t.Helper()
	return f.buildWith(f.ws, cfg, o)
}

func (f *fixture) buildWith(ws *packages.Workspace, cfg *config.Config, o Options) *Result {
	f.t.Helper()
	r, err := Build(f.t.Context(), ws, cfg, o)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := validate.Index(r.Index); err != nil {
		f.t.Error(err)
	}
	return r
}

func (f *fixture) fail(cfg *config.Config, o Options, parts ...string) error {
	f.t.Helper()
	r, err := Build(f.t.Context(), f.ws, cfg, o)
	if err == nil || r != nil {
		f.t.Fatalf("result %v, error %v: expected an error about %q", r, err, parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			f.t.Errorf("error %q: expected %q in it", err, p)
		}
	}
	return err
}

func (f *fixture) lock(cfg *config.Config, o LockOptions) *lock.Lock {
	f.t.Helper()
	l, err := Lock(f.t.Context(), f.ws, cfg, o)
	if err != nil {
		f.t.Fatal(err)
	}
	return l
}

// throughFile writes a lock and reads it again.
func (f *fixture) throughFile(l *lock.Lock) *lock.Lock {
	f.t.Helper()
	b, err := l.Marshal()
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := lock.ReadFile(f.write("image.lock.json", string(b)))
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

func spec(name, version string, built int64, files ...apktest.File) apktest.Spec {
	return apktest.Spec{
		Package: apk.Package{Name: name, Version: version, BuildTime: built, Origin: name, License: "MIT", Description: name},
		Files:   files, Parents: true,
	}
}

func base() apktest.Spec {
	return spec("base", "1-r0", 100,
		apktest.File{Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\nservice:x:77:77:s:/:/bin/false\n"},
		apktest.File{Path: "etc/group", Content: "root:x:0:\nservice:x:77:\n"},
		apktest.File{Path: "etc/os-release", Content: "ID=test\n"})
}

func lib() apktest.Spec {
	s := spec("lib", "1-r0", 200, apktest.File{Path: "usr/lib/lib", Content: strings.Repeat("library\n", 500)})
	s.Package.Origin = "app"
	return s
}

func app() apktest.Spec {
	s := spec("app", "1-r0", 300, apktest.File{Path: "usr/bin/app", Mode: 0o755, Content: strings.Repeat("program\n", 900)})
	s.Package.Depends = []apk.Dependency{{Name: "lib"}}
	return s
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// specs makes one package of different size for each name.
func (f *fixture) specs(names []string) []apktest.Spec {
	var out []apktest.Spec
	for i, n := range names {
		out = append(out, spec(n, "1-r0", 10, apktest.File{Path: "usr/share/" + n, Content: strings.Repeat(n+"\n", 100*(i+1))}))
	}
	return out
}
