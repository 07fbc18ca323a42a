package baseimage

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/config"
)

var armv7 = config.Arch{APK: "armv7", OS: "linux", Architecture: "arm", Variant: "v7"}

// platformed is an image of one file, named after its platform.
func platformed(t *testing.T, os, arch, variant string) v1.Image {
	t.Helper()
	p := v1.Platform{OS: os, Architecture: arch, Variant: variant}
	return newImage(t, p, newBlob(t, archive(t, "f "+os+"-"+arch+"-"+variant+" x"), types.OCILayer))
}

func TestPick(t *testing.T) {
	amd, arm6, arm7, arm := platformed(t, "linux", "amd64", ""), platformed(t, "linux", "arm", "v6"), platformed(t, "linux", "arm", "v7"), platformed(t, "linux", "arm", "")
	unknown := platformed(t, "unknown", "unknown", "") // what buildkit calls attestations
	for _, test := range []struct {
		name   string
		images []v1.Image
		arch   config.Arch
		want   string // the file, or the error
	}{
		{"only one", []v1.Image{amd}, amd64, "linux-amd64-"},
		{"among others", []v1.Image{unknown, arm6, amd, arm7}, amd64, "linux-amd64-"},
		{"by variant", []v1.Image{arm6, arm7, amd}, armv7, "linux-arm-v7"},
		{"variant left out", []v1.Image{amd, arm}, armv7, "linux-arm-"},
		{"variant rather than none", []v1.Image{arm, arm7}, armv7, "linux-arm-v7"},
		{"arm64 is v8", []v1.Image{platformed(t, "linux", "arm64", "v8")}, config.Arch{APK: "aarch64", OS: "linux", Architecture: "arm64"}, "linux-arm64-v8"},
		{"missing", []v1.Image{arm6, amd}, armv7, "no image for linux/arm/v7: found linux/arm/v6, linux/amd64"},
		{"of another system", []v1.Image{platformed(t, "windows", "amd64", "")}, amd64, "no image for linux/amd64: found windows/amd64"},
		{"none at all", nil, amd64, "no image for linux/amd64: found none at all"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := write(t, test.images...)
			b, err := pickFrom(t, src, test.arch)
			switch {
			case err != nil:
				if err.Error() != test.want {
					t.Errorf("found    %v\nexpected %s", err, test.want)
				}
			case b != test.want:
				t.Errorf("picked %s, expected %s", b, test.want)
			}
		})
	}
}

func pickFrom(t *testing.T, src Source, arch config.Arch) (string, error) {
	t.Helper()
	b, err := open(t.Context(), src, arch)
	if err != nil {
		return "", err
	}
	return b.Entries[0].Path, nil
}

func TestPickRefusesToChoose(t *testing.T) {
	one, two := gzipped(t, archive(t, "f one x")), gzipped(t, archive(t, "f two x"))
	first, _ := one.Digest()
	second, _ := two.Digest()
	src := write(t, one, two)
	_, err := Open(t.Context(), src, amd64)
	if want := "base image DIR: 2 images for linux/amd64, among them " + first.String() + " and " + second.String() + ": expected one"; message(err, src.Image) != want {
		t.Errorf("found    %s\nexpected %s", message(err, src.Image), want)
	}
	// The same image twice, under two names, is one.
	if _, err := Open(t.Context(), write(t, one, one), amd64); err != nil {
		t.Error(err)
	}
}

// TestNestedIndex: a layout whose index.json lists an image index, as buildx and
// cairn write it; with a name.
func TestNestedIndex(t *testing.T) {
	img := gzipped(t, archive(t, "f a x"))
	var x v1.ImageIndex = empty.Index
	x = mutate.AppendManifests(x, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &linuxAMD64}})
	src := write(t)
	p, err := layout.FromPath(src.Image)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(x, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "example.org/base:1"})); err != nil {
		t.Fatal(err)
	}
	b, err := Open(t.Context(), src, amd64)
	if err != nil {
		t.Fatal(err)
	}
	if digest, _ := img.Digest(); b.Digest != digest || b.Name != "example.org/base:1" {
		t.Errorf("digest %s, name %q", b.Digest, b.Name)
	}
	if diff := cmp.Diff([]string{"f a 1"}, dump(b)); diff != "" {
		t.Error(diff)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "image.tar")
	if err := os.WriteFile(file, archive(t, "f manifest.json []"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ image, want string }{
		{filepath.Join(dir, "none"), "base image DIR/none: stat DIR/none: no such file or directory"},
		{dir, "base image DIR: open DIR/index.json: no such file or directory"},
		{file, "base image DIR/image.tar: found a file (docker-archive): expected the directory of an OCI layout"},
	} {
		_, err := Open(t.Context(), Source{Image: test.image, Packages: dir}, amd64)
		var wrong *Error
		if got := message(err, dir); got != test.want || !errors.As(err, &wrong) || wrong.Part != PartImage {
			t.Errorf("found    %s\nexpected %s", got, test.want)
		}
	}
}

func TestWholeName(t *testing.T) {
	for names, want := range map[string]string{"": "", "latest": "", "latest example.org/a:1 b/c": "example.org/a:1"} {
		if got := wholeName(strings.Fields(names)); got != want {
			t.Errorf("%q: %q, expected %q", names, got, want)
		}
	}
}
