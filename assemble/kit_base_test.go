package assemble

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk"
)

// TestAKitOnABaseGivesTheSameImage derives an image on a base image from its kit,
// and builds it again with the base's layers taken from the image itself: the base
// image is not there any more.
func TestAKitOnABaseGivesTheSameImage(t *testing.T) {
	for _, c := range []struct{ name, base, pkgs, more string }{
		{"default", baseConfig, "over, app", ""},
		{"nothing to add", baseConfig, "base, lib", ""},
		{"one architecture", baseConfig, "over", "archs: [aarch64]\n"},
		{"certificates", baseConfig, "base", "certificates: {additional: [{name: ours, content: CERTIFICATE}]}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newBaseFixture(t)
			f.base("base", c.base)
			cfg := f.onBase(c.pkgs, strings.Replace(c.more, "CERTIFICATE", quoted(certificate(t)), 1))
			out := filepath.Join(t.TempDir(), "out")
			o := Options{Kit: true, Outputs: []string{out + "/"}}
			r := f.build(cfg, o)
			digest, err := v1.NewHash(r.KitDigest)
			if err != nil {
				t.Fatal(err)
			}
			k, err := kit.Read(t.Context(), blobs(out), digest, r.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(f.dir, "base")); err != nil {
				t.Fatal(err)
			}
			o = f.withLayers(k, out)
			if got, err := f.deriveWith(k, o, aboveBase(r.Images)).Digest(); err != nil || got != r.Digest {
				t.Errorf("derived %s, built %s (%v)", got, r.Digest, err)
			}
			f.buildAgain(k, o, r)
		})
	}
}

// withLayers are a kit's options with base images whose layers are in a layout.
func (f *fixture) withLayers(k *kit.Kit, out string) Options {
	f.t.Helper()
	o := OptionsOf(k)
	for arch, b := range o.Bases {
		var err error
		if o.Bases[arch], err = b.WithLayers(func(d v1.Descriptor) (io.ReadCloser, error) {
			return os.Open(filepath.Join(out, "blobs/sha256", d.Digest.Hex))
		}); err != nil {
			f.t.Fatal(err)
		}
	}
	return o
}

// buildAgain builds a kit's image with an empty store, from the packages and the
// image's own layers.
func (f *fixture) buildAgain(k *kit.Kit, o Options, want *Result) {
	f.t.Helper()
	cfg, err := k.Load()
	if err != nil {
		f.t.Fatal(err)
	}
	o.Kit, o.Outputs = true, []string{filepath.Join(f.t.TempDir(), "again") + "/"}
	again := f.buildWith(f.open(f.t.TempDir()), cfg, o)
	if again.Digest != want.Digest || again.KitDigest != want.KitDigest {
		f.t.Errorf("built again %s with the kit %s, expected %s with %s", again.Digest, again.KitDigest, want.Digest, want.KitDigest)
	}
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, "\n", `\n`) + `"` }

// aboveBase leaves out the layers of the base images.
func aboveBase(images []ImageResult) []ImageResult {
	var out []ImageResult
	for _, img := range images {
		own := img
		own.Layers = nil
		for _, l := range img.Layers {
			if l.Kind != layer.Base {
				own.Layers = append(own.Layers, l)
			}
		}
		out = append(out, own)
	}
	return out
}

// TestBasesAreNotLookedForOnDisk where they are to come with a kit: the paths in a
// kit are somebody else's.
func TestBasesAreNotLookedForOnDisk(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	r := f.build(f.onBase("over", ""), Options{Kit: true})
	cfg, err := r.Kit.Load()
	if err != nil {
		t.Fatal(err)
	}
	o := OptionsOf(r.Kit)
	o.Bases = nil
	if _, err := Derive(t.Context(), &held{}, cfg, o); err == nil || err.Error() != "base image (x86_64): not at hand" {
		t.Errorf("error %v", err)
	}
	f.fail(cfg, Options{Bases: map[string]*baseimage.Base{"x86_64": r.Kit.Base("x86_64")}}, "base image (aarch64): not at hand")
	if r.Kit.Base("armv7") != nil {
		t.Error("a base image for an architecture without one")
	}
}

// TestALockNamesTheFilesOfTheBase, so that a proof need not read its layers.
func TestALockNamesTheFilesOfTheBase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	cfg := f.onBase("over", "")
	l := f.throughFile(f.lock(cfg, LockOptions{}))
	r := f.build(cfg, Options{Kit: true, Lock: l})
	for _, arch := range []string{"x86_64", "aarch64"} {
		if b := l.Base(arch); b.Files.IsZero() || b.Files != r.Kit.Base(arch).FilesDigest() {
			t.Errorf("%s: %s, expected %s", arch, b.Files, r.Kit.Base(arch).FilesDigest())
		}
	}
	// A lock without, as older ones are, still fits.
	for i := range l.Cairn.Request.Base {
		l.Cairn.Request.Base[i].Files = apk.SHA256{}
	}
	if again := f.build(cfg, Options{Lock: f.throughFile(l)}); again.Digest != r.Digest {
		t.Errorf("%s, expected %s", again.Digest, r.Digest)
	}
}

// TestAWarmBuildDoesNotReadTheBase before it writes its layers.
func TestAWarmBuildDoesNotReadTheBase(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	cfg := f.onBase("over", "archs: [x86_64]\n")
	want := f.build(cfg, Options{})
	layers := want.Images[0].Layers
	if err := os.Remove(filepath.Join(f.dir, "base/blobs/sha256", layers[0].Digest.Hex)); err != nil {
		t.Fatal(err)
	}
	got, err := Build(t.Context(), f.ws, cfg, Options{})
	if err != nil || got.Digest != want.Digest {
		t.Errorf("%+v, %v, expected %s", got, err, want.Digest)
	}
	// An output takes the layers as they are, and misses one.
	f.fail(cfg, Options{Outputs: []string{filepath.Join(t.TempDir(), "out") + "/"}}, layers[0].Digest.Hex)
}
