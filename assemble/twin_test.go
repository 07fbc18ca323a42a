package assemble

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func tool(needs ...apk.Dependency) apktest.Spec {
	s := spec("tool", "3-r0", 900, apktest.File{Path: "usr/bin/tool", Mode: 0o755, Content: "tool\n"})
	s.Package.Depends = needs
	return s
}

// Every layer of the image is in the twin, at its place, and the twin says whose it is.
func TestTwin(t *testing.T) {
	f := newFixture(t)
	f.packages([]string{"x86_64", "aarch64"}, base(), lib(), app(), tool())
	cfg := f.config("accounts: {run-as: 65532}\nannotations: {a: b}\nfiles:\n  - {path: /etc/own, content: own}\n")
	ws := f.open(t.TempDir())
	before := f.buildWith(ws, cfg, Options{})
	out, temp := filepath.Join(t.TempDir(), "twin"), t.TempDir()
	t.Setenv("TMPDIR", temp)
	of, twin, err := Twin(t.Context(), ws, cfg, TwinOptions{Options: Options{Outputs: []string{out + "/"}, Lock: before.Lock}, Packages: []string{"tool"}})
	if err != nil {
		t.Fatal(err)
	}
	if of.Digest != before.Digest {
		t.Errorf("twin of %s, built %s", of.Digest, before.Digest)
	}
	for i, img := range twin.Images {
		below := before.Images[i].Layers
		if len(img.Layers) <= len(below) {
			t.Fatalf("%s: %d layers on top of %d", img.Arch, len(img.Layers), len(below))
		}
		for j := range below {
			if img.Layers[j].Digest != below[j].Digest {
				t.Errorf("%s: layer %d is %s, expected %s", img.Arch, j, img.Layers[j].Digest, below[j].Digest)
			}
		}
		raw, err := os.ReadFile(filepath.Join(out, "blobs", "sha256", img.Digest.Hex))
		if err != nil {
			t.Fatal(err)
		}
		var manifest struct{ Annotations map[string]string }
		if err := json.Unmarshal(raw, &manifest); err != nil {
			t.Fatal(err)
		}
		if a := manifest.Annotations; a[AnnotationTwinOf] != before.Digest.String() || a[image.AnnotationBaseDigest] != before.Images[i].Digest.String() {
			t.Errorf("%s: annotations %v", img.Arch, a)
		}
	}
	_, again, err := Twin(t.Context(), f.open(t.TempDir()), cfg, TwinOptions{Options: Options{Lock: before.Lock}, Packages: []string{"tool"}})
	if err != nil || again.Digest != twin.Digest {
		t.Errorf("again: %v, %v", again, err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// The image's packages stay: what needs others is refused.
func TestTwinFails(t *testing.T) {
	f := newFixture(t)
	f.packages([]string{"x86_64", "aarch64"}, base(), lib(), app(), tool(apk.Dependency{Name: "lib", Op: apk.OpGreater, Version: "99"}))
	cfg, ws := f.config(""), f.open(t.TempDir())
	if _, _, err := Twin(t.Context(), ws, cfg, TwinOptions{Packages: []string{"tool"}}); err == nil {
		t.Error("a tool that does not fit: accepted")
	}
	if _, _, err := Twin(t.Context(), ws, cfg, TwinOptions{}); !errors.Is(err, ErrNoPackages) {
		t.Errorf("nothing: %v", err)
	}
	if _, _, err := Twin(cancelled(), ws, cfg, TwinOptions{Packages: []string{"tool"}}); err == nil {
		t.Error("cancelled: went on")
	}
}
