package assemble

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
)

// apkoTestdata copies apko's own test data to a directory and makes that the
// working directory, as apko's tests have it.
func apkoTestdata(t *testing.T) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "chainguard.dev/apko").Output()
	if err != nil {
		t.Skipf("apko's module is not there: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "cli", "testdata")
	if _, err := os.Stat(filepath.Join(dir, "golden", "index.json")); err != nil {
		t.Skipf("apko's test data is not there: %v", err)
	}
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "testdata"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	t.Chdir(to)
}

// TestCompatApkoGolden: the image index that apko's own golden test expects,
// byte for byte, with and without the lock that apko wrote.
func TestCompatApkoGolden(t *testing.T) {
	f := newFixture(t)
	apkoTestdata(t)
	gold, err := layout.ImageIndexFromPath("testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	want, err := gold.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load("testdata/apko.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	err = cfg.Apply(config.Overrides{Annotations: map[string]string{
		"org.opencontainers.image.vendor": "Vendor", "org.opencontainers.image.title": "Title",
	}})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := lock.ReadFile("testdata/apko.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	locked := f.build(cfg, Options{Compat: "apko", Lock: theirs})
	r := f.build(cfg, Options{Compat: "apko", Tags: []string{"golden:latest"}})
	if locked.Digest != r.Digest {
		t.Errorf("from apko's lock: %s, resolved: %s", locked.Digest, r.Digest)
	}
	got, err := r.Index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("index\n%s\nexpected\n%s", got, want)
	}
	manifest, err := gold.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for i, img := range r.Index.Images() {
		theirs, err := gold.Image(manifest.Manifests[i].Digest)
		if err != nil {
			t.Fatal(err)
		}
		a, _ := img.RawConfigFile()
		b, _ := theirs.RawConfigFile()
		if string(a) != string(b) {
			t.Errorf("configuration\n%s\nexpected\n%s", a, b)
		}
	}
}

// With layering the layers are cairn's; the rest is apko's.
func TestCompatApkoWithLayering(t *testing.T) {
	f := newFixture(t)
	r := f.build(f.config("layering: {strategy: origin, budget: 10}\n"), Options{Compat: "apko"})
	if r.Images[0].Kinds["top"] != 1 || len(r.Images[0].Layers) < 2 {
		t.Errorf("layers: %v", r.Images[0].Kinds)
	}
	cfg, err := r.Index.Images()[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range cfg.History {
		if h.Author != "apko" || h.CreatedBy != "apko" || h.Comment != "" {
			t.Errorf("history: %+v", h)
		}
	}
	single := f.build(f.config(""), Options{Compat: "apko"})
	if len(single.Images[0].Layers) != 1 {
		t.Errorf("layers: %v", single.Images[0].Kinds)
	}
	rc, err := single.Images[0].open()
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(rc); err != nil || len(b) < 2 || b[0] != 0x1f || b[1] != 0x8b {
		t.Errorf("no gzip: %v", err)
	}
}

func (r ImageResult) open() (io.ReadCloser, error) {
	l := r.Layers[0]
	if l.Path == "" {
		return io.NopCloser(strings.NewReader(string(l.Blob))), nil
	}
	return os.Open(l.Path)
}

// TestCompatApkoAlpine: real packages, and every kind of thing that apko adds to
// them. The digests are those of the image indexes that apko 1.2.36 makes from
// this configuration in the directory of the real data, without and with
// SOURCE_DATE_EPOCH.
func TestCompatApkoAlpine(t *testing.T) {
	data := apktest.Data(t, "alpine-3.19-boot")
	f := newFixture(t)
	cfg := f.load("alpine.yaml", `
contents:
  repositories: [./alpine-3.19-boot]
  keyring: [./alpine-3.19/keys/alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub]
  packages: [alpine-baselayout, alpine-keys, busybox, ca-certificates-bundle, tzdata]
entrypoint: {command: /bin/sh}
accounts:
  groups: [{groupname: app, gid: 1000}]
  users: [{username: app, uid: 1000, gid: 1000}]
  run-as: app
paths:
  - {path: /usr/share/empty, type: empty-file, permissions: 0o600, uid: 7, gid: 8}
  - {path: /etc/hosts, type: permissions, permissions: 0o600, uid: 3, gid: 4}
  - {path: /data, type: directory, permissions: 0o750, uid: 1000, gid: 1000}
environment: {A: b}
volumes: [/v]
stop-signal: SIGINT
annotations: {org.opencontainers.image.title: T, org.opencontainers.image.vendor: V}
archs: [x86_64]
`)
	t.Chdir(filepath.Dir(data))
	for created, want := range map[time.Time]string{
		{}:                             "sha256:aef1e4ba10d7bca3d460986e21e1c47c250225bc1e9fef44abee186699425f92",
		time.Unix(1700000000, 0).UTC(): "sha256:192852ade6ade8b3dde876c4b48ba34c7e640e4f9de7240ddfa911cb631631f9",
	} {
		if got := f.build(cfg, Options{Compat: "apko", Created: created}).Digest.String(); got != want {
			t.Errorf("created %v: %s, apko gives %s", created, got, want)
		}
	}
}

// What apko does to the place of the database, to triggers and to scripts.
func TestCompatApkoDatabase(t *testing.T) {
	f := newFixture(t)
	tools := spec("apk-tools", "1-r0", 400,
		apktest.File{Path: "lib/apk/db", Type: apk.TypeDir, Mode: 0o755, MTime: 77},
		apktest.File{Path: "lib/apk/exec", Type: apk.TypeDir, Mode: 0o755, MTime: 77})
	tools.Package.Triggers = []string{"/bin", "/usr/bin/*"}
	tools.Scripts = map[string]string{"trigger": "#!/bin/sh\n", "post-install": "#!/bin/sh\ntrue\n"}
	f.packages([]string{"x86_64"}, base(), lib(), app(), tools)
	cfg := f.config("  packages: [base, apk-tools]\narchs: [x86_64]\n")
	planned, err := Plan(t.Context(), f.ws, cfg, Options{Compat: "apko"})
	if err != nil {
		t.Fatal(err)
	}
	tree := planned[0].Tree
	if e := tree.Lookup("lib/apk"); e == nil || e.Type != apk.TypeSymlink || e.Link != "../usr/lib/apk" {
		t.Errorf("lib/apk: %+v", e)
	}
	e := tree.Lookup("usr/lib/apk/db/triggers")
	if e == nil || strings.Count(string(e.Content), "\n") != 1 || !strings.HasSuffix(string(e.Content), " /bin /usr/bin/*\n") {
		t.Errorf("triggers: %+v", e)
	}
	e = tree.Lookup("usr/lib/apk/db/scripts.tar")
	if e == nil || e.Size != 1024 { // apko leaves out scripts that are not executable, as these
		t.Errorf("scripts: %+v", e)
	}
	// A package with files there keeps its directory.
	tools.Files = append(tools.Files, apktest.File{Path: "lib/apk/exec/x", Content: "x"})
	f.packages([]string{"x86_64"}, base(), lib(), app(), tools)
	if planned, err = Plan(t.Context(), f.ws, cfg, Options{Compat: "apko"}); err != nil {
		t.Fatal(err)
	}
	if e := planned[0].Tree.Lookup("lib/apk"); e == nil || e.Type != apk.TypeDir {
		t.Errorf("lib/apk with a file: %+v", e)
	}
}
