package assemble

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
)

// merged is a base with /lib merged into /usr/lib, a library, a hard link, a
// script, and a file that another package may replace.
func merged() apktest.Spec {
	s := spec("merged", "1-r0", 150,
		apktest.File{Path: "usr/lib", Type: apk.TypeDir},
		apktest.File{Path: "lib", Type: apk.TypeSymlink, Link: "usr/lib"},
		apktest.File{Path: "etc/shared.conf", Content: "merged's\n"},
		apktest.File{Path: "etc/ssl/certs/ca-certificates.crt", Content: "# no certificates\n"},
		apktest.File{Path: "usr/lib/tool", Content: "tool\n"},
		apktest.File{Path: "usr/lib/tool-alias", Type: apk.TypeHardlink, Link: "usr/lib/tool"},
		apktest.File{Path: "opt/private", Type: apk.TypeDir, Mode: 0o700})
	s.Scripts = map[string]string{"post-install": "#!/bin/sh\necho merged\n"}
	return s
}

// over goes on top of merged: through its symlink, in place of its file, into
// its directories.
func over() apktest.Spec {
	s := spec("over", "2-r0", 400,
		apktest.File{Path: "lib", Type: apk.TypeDir},
		apktest.File{Path: "lib/over.so", Content: "over\n"},
		apktest.File{Path: "etc/shared.conf", Content: "over's\n", Mode: 0o600},
		apktest.File{Path: "usr/lib/tool-alias", Content: "over's alias\n"},
		apktest.File{Path: "opt/private/over", Content: "o\n"},
		apktest.File{Path: "usr/share/one", Content: "o\n", UID: 77, Uname: "service"},
		apktest.File{Path: "usr/share/two", Type: apk.TypeHardlink, Link: "usr/share/one"})
	s.Package.Replaces = []apk.Dependency{{Name: "merged"}}
	s.Package.Depends = []apk.Dependency{{Name: "lib"}, {Name: "merged"}}
	s.Scripts = map[string]string{"trigger": "#!/bin/sh\necho over\n"}
	s.Package.Triggers = []string{"/usr/lib"}
	return s
}

func newBaseFixture(t *testing.T) *fixture {
	f := newFixture(t)
	f.packages(bothArches, base(), lib(), app(), merged(), over())
	return f
}

// base builds a base image and writes it with its index to dir.
func (f *fixture) base(dir, more string) *Result {
	f.t.Helper()
	out := filepath.Join(f.dir, dir)
	r := f.build(f.config(more), Options{Outputs: []string{"oci:" + out}})
	for i, img := range r.Index.Images() {
		f.index(dir, f.config(more).Architectures()[i].APK, f.installed(img))
	}
	return r
}

func (f *fixture) installed(img v1.Image) string {
	f.t.Helper()
	b, err := image.ReadFile(f.t.Context(), img, "usr/lib/apk/db/installed", "lib/apk/db/installed")
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

func (f *fixture) index(dir, arch, text string) {
	f.write(filepath.Join(dir, "metadata", arch, "APKINDEX"), text)
}

const baseConfig = "  packages: [base, lib, merged]\nentrypoint: {command: /bin/serve}\nenvironment: {KEEP: me, PATH: /base}\naccounts: {run-as: service}\n"

// onBase is a configuration on top of that base.
func (f *fixture) onBase(pkgs, more string) *config.Config {
	f.t.Helper()
	return f.config(fmt.Sprintf("  packages: [%s]\n  baseimage: {image: %s/base, apkindex: %s/base/metadata}\n%s", pkgs, f.dir, f.dir, more))
}

func (f *fixture) files(img v1.Image) map[string]apk.Entry {
	f.t.Helper()
	list, err := image.Files(f.t.Context(), img)
	if err != nil {
		f.t.Fatal(err)
	}
	out := map[string]apk.Entry{}
	for _, e := range list {
		e.Uname, e.Gname, e.HeaderOffset, e.DataOffset = "", "", 0, 0
		out[e.Path] = e
	}
	return out
}

// timeOfBase tells what has the time of the base's building: what cairn made
// there, and nothing changed since.
func timeOfBase(e *apk.Entry) bool {
	for _, dir := range []string{"dev", "proc", "tmp", "var", "etc/apk", "etc/shadow", "etc/ssl/certs/.ca-certificates.crt.sha256", "root", "usr/lib/apk"} {
		if e.Path == dir || strings.HasPrefix(e.Path, dir+"/") {
			return true
		}
	}
	return false
}

// TestOnBase: what is on top of a base is what everything at once gives, below
// is the base, untouched.
func TestOnBase(t *testing.T) {
	f := newBaseFixture(t)
	low := f.base("base", baseConfig)
	r := f.build(f.onBase("over, app", ""), Options{SBOMDir: t.TempDir(), Version: "test"})
	whole := f.build(f.config(strings.Replace(baseConfig, "merged]", "merged, over, app]", 1)), Options{})
	for i, img := range r.Index.Images() {
		f.sameLayersBelow(low.Index.Images()[i], img)
		got, want := f.files(img), f.files(whole.Index.Images()[i])
		for _, p := range slices.Sorted(maps.Keys(want)) {
			g, w := got[p], want[p]
			if timeOfBase(&w) {
				g.MTime, w.MTime = 0, 0
			}
			if diff := cmp.Diff(w, g); diff != "" {
				t.Errorf("%s:\n%s", p, diff)
			}
			delete(got, p)
		}
		for p := range got {
			t.Errorf("%s: not in the image of everything", p)
		}
		if diff := cmp.Diff(f.installed(whole.Index.Images()[i]), f.installed(img)); diff != "" {
			t.Errorf("installed database:\n%s", diff)
		}
	}
	if r.Images[0].Packages != 2 || r.Images[0].Kinds["base"] != len(low.Images[0].Layers) {
		t.Errorf("%+v", r.Images[0])
	}
}

// sameLayersBelow checks that the base's layers come first, verbatim, and what of
// its configuration is kept.
func (f *fixture) sameLayersBelow(base, img v1.Image) {
	f.t.Helper()
	low, err := base.Manifest()
	if err != nil {
		f.t.Fatal(err)
	}
	high, _ := img.Manifest()
	if len(high.Layers) <= len(low.Layers) {
		f.t.Fatalf("%d layers on %d", len(high.Layers), len(low.Layers))
	}
	for i := range low.Layers {
		if low.Layers[i].Digest != high.Layers[i].Digest {
			f.t.Errorf("layer %d is another", i)
		}
	}
	digest, _ := base.Digest()
	if high.Annotations[image.AnnotationBaseDigest] != digest.String() {
		f.t.Errorf("annotations %v", high.Annotations)
	}
	was, _ := base.ConfigFile()
	now, _ := img.ConfigFile()
	if !cmp.Equal(was.Config.Env, now.Config.Env) || !cmp.Equal(was.Config.Entrypoint, now.Config.Entrypoint) || was.Config.User != now.Config.User ||
		!cmp.Equal(was.History, now.History[:len(was.History)]) {
		f.t.Errorf("configuration was %+v, is %+v", was.Config, now.Config)
	}
}

// TestTopHoldsNothingOfTheBase: only what changed is above the base.
func TestTopHoldsNothingOfTheBase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	r := f.build(f.onBase("over", ""), Options{})
	low := len(f.base("base", baseConfig).Images[0].Layers)
	layers, err := r.Index.Images()[0].Layers()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range layers[low:] {
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		names := tarNames(t, rc)
		got = append(got, names...)
		rc.Close()
	}
	slices.Sort(got)
	// The package has /lib as a directory: its layer hides the base's link, which
	// the top layer gives back.
	want := []string{"etc", "etc/apk", "etc/apk/world", "etc/shared.conf", "lib", "lib/over.so", "opt", "opt/private", "opt/private/over",
		"usr", "usr/lib", "usr/lib/apk", "usr/lib/apk/db", "usr/lib/apk/db/installed", "usr/lib/apk/db/scripts.tar", "usr/lib/apk/db/triggers",
		"usr/lib/over.so", "usr/lib/tool-alias", "usr/share", "usr/share/one", "usr/share/two"}
	if diff := cmp.Diff(want, slices.Compact(got)); diff != "" {
		t.Error(diff)
	}
}

func TestOnBaseGivesTheSameDigestHowever(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	cfg := f.onBase("over, app", "")
	want := f.build(cfg, Options{}).Digest
	l := f.throughFile(f.lock(cfg, LockOptions{}))
	for name, run := range map[string]func() *Result{
		"again":        func() *Result { return f.build(cfg, Options{}) },
		"empty store":  func() *Result { return f.buildWith(f.open(t.TempDir()), cfg, Options{}) },
		"with a lock":  func() *Result { return f.build(cfg, Options{Lock: l}) },
		"lock, empty":  func() *Result { return f.buildWith(f.open(t.TempDir()), cfg, Options{Lock: l}) },
		"apko's lock":  func() *Result { return f.build(cfg, Options{Lock: asApkoWrites(l)}) },
		"listed twice": func() *Result { return f.build(f.onBase("over, app, lib", ""), Options{}) },
	} {
		if got := run().Digest; got != want {
			t.Errorf("%s: %s, expected %s", name, got, want)
		}
	}
}

// asApkoWrites drops what only cairn writes.
func asApkoWrites(l *lock.Lock) *lock.Lock {
	own := *l
	own.Cairn, own.Config.Checksum = nil, ""
	own.Contents.Packages = slices.Clone(l.Contents.Packages)
	for i := range own.Contents.Packages {
		own.Contents.Packages[i].Cairn = nil
	}
	return &own
}

// TestNothingToAdd: a request for what the base has adds no package.
func TestNothingToAdd(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	r := f.build(f.onBase("base, 'lib=1-r0'", ""), Options{SBOMDir: t.TempDir()})
	if got := r.Images[0]; got.Packages != 0 || got.Kinds["top"] != 1 || got.Kinds["verbatim"] != 0 {
		t.Errorf("%+v", got)
	}
	if l := f.lock(f.onBase("lib", ""), LockOptions{}); len(l.Contents.Packages) != 0 || l.Base("x86_64").Version("lib") != "1-r0" {
		t.Errorf("locked %+v", l.Contents.Packages)
	}
}

func TestOnBaseUnsatisfiable(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	newer := lib()
	newer.Package.Version = "2-r0"
	f.packages(bothArches, base(), newer, app(), merged(), over())
	f.fail(f.onBase("'lib>=2'", ""), Options{}, `request for x86_64: "lib>=2" cannot be installed:`, "lib-2-r0 is excluded: the base image holds lib-1-r0")
	f.fail(f.onBase("'!lib'", ""), Options{}, "the base image holds lib-1-r0", "the request forbids lib: lib-1-r0")
}

func TestLockOfAnotherBase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	cfg := f.onBase("over", "")
	l := f.throughFile(f.lock(cfg, LockOptions{}))
	old := l.Base("x86_64").Image
	f.base("base", strings.Replace(baseConfig, "KEEP: me", "KEEP: you", 1))
	err := f.fail(cfg, Options{Lock: l}, "stale", "base image (x86_64): locked "+old.String()+", now sha256:", "base image (aarch64): locked sha256:", "hint: cairn lock")
	var stale *StaleError
	if !errors.As(err, &stale) {
		t.Errorf("%T", err)
	}
	f.index("base", "x86_64", f.read("base/metadata/x86_64/APKINDEX")+"\n")
	f.fail(cfg, Options{Lock: f.lockOf(cfg, l)}, "index of the base image (x86_64): locked sha256:")
	f.fail(f.config("  packages: [over]\n"), Options{Lock: l}, "base image (x86_64): locked "+old.String()+", now none")
	// A lock without a base, of a package that the base has.
	f.fail(f.onBase("over", ""), Options{Lock: asApkoWrites(f.lock(f.config("  packages: [over]\n"), LockOptions{}))},
		"packages (x86_64): locked merged-1-r0, the base image holds merged-1-r0")
}

// lockOf is a lock of the present base image with the index of l.
func (f *fixture) lockOf(cfg *config.Config, l *lock.Lock) *lock.Lock {
	f.t.Helper()
	now := f.lock(cfg, LockOptions{})
	for i := range now.Cairn.Request.Base {
		now.Cairn.Request.Base[i].Index = l.Cairn.Request.Base[i].Index
	}
	return now
}

func (f *fixture) read(name string) string {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(b)
}

// TestBaseErrors: each has the position of the key.
func TestBaseErrors(t *testing.T) {
	f := newBaseFixture(t)
	at := func(part string) string { return filepath.Join(f.dir, "image.yaml") + ":5:" + part }
	f.fail(f.onBase("over", ""), Options{}, at("22: contents.baseimage.image: not readable: found "+f.dir+"/base: no such file or directory"),
		"looked from the working directory and in the include paths")
	f.base("base", baseConfig+"archs: [x86_64]\n")
	f.fail(f.onBase("over", "archs: [aarch64]\n"), Options{}, "contents.baseimage.image: not usable: base image "+f.dir+"/base: no image for linux/arm64: found linux/amd64")
	f.index("base", "x86_64", strings.Replace(f.read("base/metadata/x86_64/APKINDEX"), "P:lib\nV:1-r0", "P:lib\nV:9-r0", 1))
	f.fail(f.onBase("over", "archs: [x86_64]\n"), Options{}, "contents.baseimage.apkindex: not usable: base image "+f.dir+"/base: package lib: ",
		"metadata/x86_64/APKINDEX has 9-r0, the image's /usr/lib/apk/db/installed has 1-r0")
	f.fail(f.onBase("over", "archs: [x86_64]\n"), Options{Compat: "apko"}, "contents.baseimage.")
}

func TestNoCompatOnABase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	f.fail(f.onBase("over", ""), Options{Compat: "apko"}, "contents.baseimage.image: not usable: apko's layers cannot be reproduced on a base image: expected no --compat")
}

// TestConflictWithTheBase: a package of the base keeps its files.
func TestConflictWithTheBase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	rude := spec("rude", "1-r0", 10, apktest.File{Path: "usr/lib/lib", Content: "mine\n"})
	f.packages(bothArches, base(), lib(), merged(), rude)
	f.fail(f.onBase("rude", ""), Options{}, "usr/lib/lib: conflict between lib-1-r0 of the base image and rude-1-r0: both have the file and neither replaces the other")
}

// TestManyLayersBelow: the base's layers count towards the budget; beyond it
// there is room up to the limit, and in the end for one layer only.
func TestManyLayersBelow(t *testing.T) {
	f := newFixture(t)
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("p%02d", i))
	}
	f.packages([]string{"x86_64"}, append(f.specs(names), base())...)
	for _, below := range []int{95, 124} {
		f.squareBase(below)
		r := f.build(f.onBase("base, "+strings.Join(names, ", "), "archs: [x86_64]\n"), Options{})
		n := len(r.Images[0].Layers)
		if want := max(100, below+1); n != want {
			t.Errorf("%d layers on %d, expected %d", n, below, want)
		}
		files := f.files(r.Index.Images()[0])
		for _, name := range names {
			if files["usr/share/"+name].Type != apk.TypeFile {
				t.Errorf("on %d layers: %s is missing", below, name)
			}
		}
		if files["etc/layer-0"].Type != apk.TypeFile || files["etc"].Mode != 0o755 {
			t.Errorf("on %d layers: the base is not below", below)
		}
	}
	f.squareBase(125)
	f.fail(f.onBase("base", "archs: [x86_64]\n"), Options{}, "125 layers: expected 1 to 124")
}

// TestCertificatesOnABase: the base's bundle is extended.
func TestCertificatesOnABase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	r := f.build(f.onBase("base", fmt.Sprintf("certificates: {additional: [{name: ours, content: %q}]}\n", certificate(t))), Options{})
	got, err := image.ReadFile(t.Context(), r.Index.Images()[0], "etc/ssl/certs/ca-certificates.crt")
	if err != nil || !strings.HasPrefix(string(got), "# no certificates\n") || !strings.Contains(string(got), "BEGIN CERTIFICATE") {
		t.Errorf("bundle %q, %v", got, err)
	}
}

// TestApkoLockWithoutAnArchitecture: an architecture that apko's lock has no
// packages for is not locked, unless the base has all that is asked for.
func TestApkoLockWithoutAnArchitecture(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	l := asApkoWrites(f.lock(f.onBase("over", "archs: [x86_64]\n"), LockOptions{}))
	f.fail(f.onBase("over", ""), Options{Lock: l}, "archs: aarch64 is not locked")
	f.build(f.onBase("'lib>=1', base", ""), Options{Lock: &lock.Lock{Version: lock.Version}})
}

// TestEnvironmentAndLabelsOfBase: what the base says stays, the annotations of the
// image itself come first.
func TestEnvironmentAndLabelsOfBase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig+"annotations: {org.example: base, org.opencontainers.image.base.name: older}\n")
	c, err := f.build(f.onBase("over", "vcs-url: https://example.org/x@abc\n"), Options{}).Index.Images()[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"org.example": "base", "org.opencontainers.image.source": "https://example.org/x", "org.opencontainers.image.revision": "abc",
		"org.opencontainers.image.created": c.Created.Format("2006-01-02T15:04:05Z07:00"),
	}
	want[image.AnnotationBaseDigest] = c.Config.Labels[image.AnnotationBaseDigest]
	if diff := cmp.Diff(want, c.Config.Labels); diff != "" || want[image.AnnotationBaseDigest] == "" {
		t.Error(diff)
	}
	if env := []string{"KEEP=me", "PATH=/base", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"}; !cmp.Equal(env, c.Config.Env) {
		t.Errorf("environment %v", c.Config.Env)
	}
}
