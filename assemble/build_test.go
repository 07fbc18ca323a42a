package assemble

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestBuild(t *testing.T) {
	f := newFixture(t)
	out, sboms := filepath.Join(t.TempDir(), "out"), filepath.Join(t.TempDir(), "sboms")
	var stages []string
	r := f.build(f.config("accounts: {run-as: service}\n"), Options{
		Tags: []string{"hello:1"}, Outputs: []string{out + "/"}, SBOMDir: sboms, Version: "test",
		Progress: func(s string) { stages = append(stages, s) },
	})
	if len(r.Images) != 2 || r.Images[0].Arch != "linux/amd64" || r.Images[0].Packages != 3 {
		t.Errorf("images: %+v", r.Images)
	}
	for i, img := range r.Images {
		if d, _ := r.Index.Images()[i].Digest(); d != img.Digest {
			t.Errorf("%s: digest %s, the index has %s", img.Arch, img.Digest, d)
		}
		var size, inflated int64
		for _, l := range img.Layers {
			size, inflated = size+l.Size, inflated+l.Inflated
		}
		if img.Size != size || img.Inflated != inflated || img.Reused == 0 || img.Reused >= img.Size {
			t.Errorf("%s: %+v", img.Arch, img)
		}
	}
	cfg, err := r.Index.Images()[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Config.User != "77" {
		t.Errorf("user %q: expected the number", cfg.Config.User)
	}
	if want := time.Unix(300, 0).UTC(); !r.Created.Equal(want) || !cfg.Created.Time.Equal(want) {
		t.Errorf("created %s, %s: expected the newest package's %s", r.Created, cfg.Created, want)
	}
	if diff := cmp.Diff([]string{"resolve", "fetch", "plan", "layers", "image", "sbom", "output"}, stages); diff != "" {
		t.Error(diff)
	}
	opened, err := image.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if d, _ := opened.Roots[0].Digest(); d != r.Digest {
		t.Errorf("the layout holds %s, the result is %s", d, r.Digest)
	}
	for _, p := range r.SBOMs {
		if b, err := os.ReadFile(p); err != nil || !json.Valid(b) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if len(r.SBOMs) != 6 {
		t.Errorf("sboms: %q", r.SBOMs)
	}
}

func TestBuildGivesTheSameDigestHowever(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("files: [{path: /etc/motd, content: hi}]\n")
	want := f.build(cfg, Options{}).Digest
	l := f.lock(cfg, LockOptions{})
	for name, run := range map[string]func() *Result{
		"again":                 func() *Result { return f.build(cfg, Options{}) },
		"empty store":           func() *Result { return f.buildWith(f.open(t.TempDir()), cfg, Options{}) },
		"lock in memory":        func() *Result { return f.build(cfg, Options{Lock: l}) },
		"lock file":             func() *Result { return f.build(cfg, Options{Lock: f.throughFile(l)}) },
		"lock file, cold":       func() *Result { return f.buildWith(f.open(t.TempDir()), cfg, Options{Lock: f.throughFile(l)}) },
		"locked again":          func() *Result { return f.build(cfg, Options{Lock: f.lock(cfg, LockOptions{Previous: l})}) },
		"tags do not matter":    func() *Result { return f.build(cfg, Options{Tags: []string{"other:2"}}) },
		"outputs do not matter": func() *Result { return f.build(cfg, Options{Outputs: []string{filepath.Join(t.TempDir(), "x.tar")}}) },
	} {
		t.Run(name, func(t *testing.T) {
			if got := run().Digest; got != want {
				t.Errorf("%s, expected %s", got, want)
			}
		})
	}
}

func TestOneArchitectureOfALock(t *testing.T) {
	f := newFixture(t)
	l := f.throughFile(f.lock(f.config(""), LockOptions{}))
	both := f.build(f.config(""), Options{Lock: l})
	for i, arch := range bothArches {
		one := f.build(f.config("archs: ["+arch+"]\n"), Options{Lock: l})
		if len(one.Images) != 1 || one.Images[0].Digest != both.Images[i].Digest {
			t.Errorf("%s alone: %+v, with the other: %s", arch, one.Images, both.Images[i].Digest)
		}
	}
}

func TestLayeringStrategies(t *testing.T) {
	f := newFixture(t)
	for _, c := range []struct {
		yaml string
		want map[string]int
	}{
		{"", map[string]int{"verbatim": 3, "top": 1}},
		{"layering: {strategy: package, budget: 100}\n", map[string]int{"verbatim": 3, "top": 1}},
		{"layering: {strategy: origin, budget: 100}\n", map[string]int{"verbatim": 1, "packed": 1, "top": 1}},
		{"layering: {strategy: package, budget: 1}\n", map[string]int{"packed": 1}},
		{"layering: {strategy: single, budget: 1}\n", map[string]int{"packed": 1}},
	} {
		t.Run(c.yaml, func(t *testing.T) {
			for _, img := range f.build(f.config(c.yaml), Options{}).Images {
				if diff := cmp.Diff(c.want, img.Kinds); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

// Whatever the layers, the tree in them is the same; so is the SBOM's list.
func TestPlanAgreesWithBuild(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("files: [{path: /etc/motd, content: hi}]\n")
	planned, err := Plan(t.Context(), f.ws, cfg, Options{})
	if err != nil {
		t.Fatal(err)
	}
	built := f.build(cfg, Options{})
	for i, p := range planned {
		if p.Arch.String() != built.Images[i].Arch || len(p.Tree.Entries) != built.Images[i].Files {
			t.Errorf("%s: %d entries planned, built %+v", p.Arch, len(p.Tree.Entries), built.Images[i])
		}
		if e := p.Tree.Lookup("etc/motd"); e == nil || e.Owner.Name != "files[0]" || string(e.Content) != "hi" {
			t.Errorf("%s: etc/motd is %+v", p.Arch, e)
		}
	}
	if _, err := Plan(cancelled(), f.ws, cfg, Options{}); err == nil {
		t.Error("planned although the context is done")
	}
}

func TestCreated(t *testing.T) {
	f := newFixture(t)
	asked := time.Date(2030, 1, 2, 3, 4, 5, 6, time.FixedZone("x", 3600))
	r := f.build(f.config(""), Options{Created: asked})
	cfg, err := r.Index.Images()[0].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if want := "2030-01-02T02:04:05Z"; cfg.Created.Format(time.RFC3339Nano) != want {
		t.Errorf("created %s, expected %s", cfg.Created, want)
	}
	if r.Digest == f.build(f.config(""), Options{}).Digest {
		t.Error("the time asked for makes no difference")
	}
	empty := f.build(f.load("empty.yaml", "archs: [x86_64]\n"), Options{})
	if !empty.Created.Equal(time.Unix(0, 0)) {
		t.Errorf("without packages: %s", empty.Created)
	}
}

// Each architecture has the time of its own newest package; the index the
// newest of those.
func TestCreatedIsPerArchitecture(t *testing.T) {
	f := newFixture(t)
	late := lib()
	late.Package.BuildTime = 999
	f.packages([]string{"aarch64"}, base(), late, app())
	r := f.build(f.config(""), Options{})
	for i, want := range []int64{300, 999} {
		cfg, err := r.Index.Images()[i].ConfigFile()
		if err != nil || cfg.Created.Unix() != want {
			t.Errorf("%s: %v, %v: expected %d", r.Images[i].Arch, cfg.Created, err, want)
		}
	}
	if r.Created.Unix() != 999 {
		t.Errorf("index: %s", r.Created)
	}
}

func TestFilesOfTheConfiguration(t *testing.T) {
	f := newFixture(t)
	with := func(content string) string {
		return "files: [{path: /etc/motd, content: " + content + ", mode: 0600, uid: 5}]\n"
	}
	l := f.lock(f.config(with("one")), LockOptions{})
	if len(l.Cairn.Request.Files) != 1 || l.Cairn.Request.Files[0].Path != "/etc/motd" || l.Cairn.Request.Files[0].Size != 3 {
		t.Errorf("lock: %+v", l.Cairn.Request.Files)
	}
	f.build(f.config(with("one")), Options{Lock: l})
	var stale *StaleError
	if err := f.fail(f.config(with("two")), Options{Lock: l}, "content of /etc/motd changed"); !errors.As(err, &stale) {
		t.Errorf("error %T", err)
	}
	f.fail(f.config(""), Options{Lock: l}, "files: removed /etc/motd")
}

func TestUnsafeChoicesAreInTheImage(t *testing.T) {
	f := newFixture(t)
	f.key = nil
	f.packages(bothArches, base(), lib(), app())
	cfg := f.config("")
	f.fail(cfg, Options{}, "not signed")
	l := f.lock(cfg, LockOptions{Unsafe: Unsafe{UnsignedIndex: true}})
	for name, o := range map[string]Options{
		"unsigned-index":             {Unsafe: Unsafe{UnsignedIndex: true}},
		"unsigned-index,":            {Lock: l},
		"broken-sbom,unsigned-index": {Lock: l, Unsafe: Unsafe{BrokenSBOM: true}},
	} {
		want := strings.TrimSuffix(name, ",")
		r := f.build(cfg, o)
		if got := strings.Join(r.Unsafe, ","); got != want {
			t.Errorf("result: %q, expected %q", got, want)
		}
		m, err := r.Index.Images()[0].Manifest()
		if err != nil {
			t.Fatal(err)
		}
		index, err := r.Index.IndexManifest()
		if err != nil {
			t.Fatal(err)
		}
		if a, b := m.Annotations[image.AnnotationUnsafe], index.Annotations[image.AnnotationUnsafe]; a != want || b != want {
			t.Errorf("annotations: %q and %q, expected %q", a, b, want)
		}
	}
}

// That everything in the image has an owner is checked without --sbom-path too.
func TestSBOMsAreCheckedEvenWhenNoneIsWritten(t *testing.T) {
	f := newFixture(t)
	broken := app()
	broken.Files = append(broken.Files, apktest.File{Path: "var/lib/db/sbom/app-1-r0.spdx.json", Content: "{not json"})
	f.packages(bothArches, base(), lib(), broken)
	f.fail(f.config(""), Options{}, "linux/amd64: ", "app-1-r0.spdx.json")
	r := f.build(f.config(""), Options{Unsafe: Unsafe{BrokenSBOM: true}})
	if diff := cmp.Diff([]string{"broken-sbom"}, r.Unsafe); diff != "" {
		t.Error(diff)
	}
}

// Several damaged blobs are fetched again in one build, and the result is the
// same.
func TestDamagedBlobsAreHealed(t *testing.T) {
	for name, spoil := range map[string]func(string) error{
		"other bytes": func(p string) error { return os.WriteFile(p, []byte("rubbish"), 0o644) },
		"one bit": func(p string) error {
			b, err := os.ReadFile(p)
			b[len(b)/2] ^= 4
			return errors.Join(err, os.WriteFile(p, b, 0o644))
		},
		"cut":  func(p string) error { return os.Truncate(p, 20) },
		"gone": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			cfg := f.config("")
			want := f.build(cfg, Options{})
			n := 0
			for _, l := range want.Images[0].Layers {
				if l.Kind != layer.Verbatim {
					continue
				}
				n++
				if err := os.Chmod(l.Path, 0o644); err != nil {
					t.Fatal(err)
				}
				if err := spoil(l.Path); err != nil {
					t.Fatal(err)
				}
			}
			if n < 3 {
				t.Fatalf("%d blobs to damage", n)
			}
			// A process that has receipts in memory, and one that has none.
			if got := f.build(cfg, Options{}); got.Digest != want.Digest {
				t.Errorf("%s, expected %s", got.Digest, want.Digest)
			}
			if got := f.buildWith(f.open(f.cache), cfg, Options{}); got.Digest != want.Digest {
				t.Errorf("%s, expected %s", got.Digest, want.Digest)
			}
		})
	}
}

// What cannot be had again is an error that says so, not a loop.
func TestDamagedBlobsThatAreNowhereElse(t *testing.T) {
	f := newFixture(t)
	cfg := f.config("")
	l := f.lock(cfg, LockOptions{})
	r := f.build(cfg, Options{Lock: l})
	if err := os.RemoveAll(filepath.Join(f.dir, "repo")); err != nil {
		t.Fatal(err)
	}
	if got := f.build(cfg, Options{Lock: l}).Digest; got != r.Digest {
		t.Errorf("without the repository: %s, expected %s", got, r.Digest)
	}
	if err := os.Remove(r.Images[0].Layers[0].Path); err != nil {
		t.Fatal(err)
	}
	f.fail(cfg, Options{Lock: l}, "package", "-1-r0.apk", "no such file")
}

func TestNothingIsWrittenWhenABuildFails(t *testing.T) {
	f := newFixture(t)
	broken := app()
	broken.Files = append(broken.Files, apktest.File{Path: "etc/passwd", Content: "mine"})
	f.packages(bothArches, base(), lib(), broken)
	out := t.TempDir()
	f.fail(f.config(""), Options{Outputs: []string{filepath.Join(out, "x.tar")}, SBOMDir: filepath.Join(out, "sboms")}, "etc/passwd", "base", "app")
	if left, _ := os.ReadDir(out); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOptionsAreCheckedFirst(t *testing.T) {
	f := newFixture(t)
	missing := f.load("missing.yaml", "contents: {repositories: [/nowhere], packages: [a]}\narchs: [x86_64]\n")
	f.fail(missing, Options{Tags: []string{"UPPER:x y"}, Outputs: []string{"docker:nonsense"}, Compat: "buildah"},
		"UPPER:x y", "docker:nonsense", `compat "buildah": expected apko`)
	if _, err := os.Stat("docker:nonsense"); err == nil {
		t.Error("something was written")
	}
}

func TestBuildStopsWithTheContext(t *testing.T) {
	f := newFixture(t)
	if _, err := Build(cancelled(), f.ws, f.config(""), Options{}); err == nil || !strings.Contains(err.Error(), "context canceled") {
		t.Errorf("error %v", err)
	}
}

func TestWarningsAreInTheResult(t *testing.T) {
	f := newFixture(t)
	r := f.build(f.config("accounts:\n  users: [{username: other, uid: 77}]\n"), Options{})
	// Both architectures say it; it is told once.
	if len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], `id 77 is also that of "service"`) {
		t.Errorf("warnings: %q", r.Warnings)
	}
}

func TestResultAsJSON(t *testing.T) {
	f := newFixture(t)
	encode := func(r *Result) (text string, stages int) {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		for _, s := range m["stages"].([]any) {
			if s.(map[string]any)["elapsed_ns"].(float64) < 0 {
				t.Errorf("stage %v", s)
			}
			stages++
		}
		delete(m, "stages")
		b, err = json.MarshalIndent(m, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(b), stages
	}
	first, stages := encode(f.build(f.config(""), Options{}))
	if stages != 7 {
		t.Errorf("%d stages", stages)
	}
	for _, want := range []string{`"digest": "sha256:`, `"arch": "linux/arm64"`, `"outputs": []`, `"sboms": []`, `"created": "1970-01-01T00:05:00Z"`, `"verbatim": 3`} {
		if !strings.Contains(first, want) {
			t.Errorf("%s: not in\n%s", want, first)
		}
	}
	// But for the times, equal builds give equal JSON, warm or cold.
	again, _ := encode(f.buildWith(f.open(t.TempDir()), f.config(""), Options{}))
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
}
