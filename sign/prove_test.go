package sign

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/cairn-dev/cairn/assemble/config"
)

// TestTrustedBaseImages are named by a digest, or resolved: of an index all images
// count.
func TestTrustedBaseImages(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "base")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	var index v1.ImageIndex = empty.Index
	want := map[v1.Hash]bool{}
	for range 2 {
		img, err := random.Image(10, 1)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := img.Digest()
		if err != nil {
			t.Fatal(err)
		}
		want[digest] = true
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img})
	}
	if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	digest, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	want[digest] = true
	given := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	want[given] = true
	o := ProveOptions{BaseImages: []string{dir + "/", given.String()}}
	if err := o.resolve(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(o.Bases) != len(want) {
		t.Errorf("%v, expected %v", o.Bases, want)
	}
	for _, h := range o.Bases {
		if !want[h] {
			t.Errorf("%s is none of them", h)
		}
	}
	for _, name := range []string{"NOT A REFERENCE", filepath.Join(t.TempDir(), "nothing") + "/", "sha256:0"} {
		o := ProveOptions{BaseImages: []string{name}}
		if _, err := Prove(t.Context(), dir+"/", o); err == nil || !strings.HasPrefix(err.Error(), "base image "+name+": ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

// TestConfigurationOfAProof is one that was read from a file.
func TestConfigurationOfAProof(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.yaml")
	if err := os.WriteFile(path, []byte("contents: {packages: [a]}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	o := ProveOptions{Configuration: cfg}
	if err := o.resolve(t.Context()); err != nil || len(o.Config) != 1 || o.Config[0].IsZero() {
		t.Errorf("%v, %v", o.Config, err)
	}
	o = ProveOptions{Configuration: &config.Config{}}
	if err := o.resolve(t.Context()); err == nil || err.Error() != "kit: the configuration is from no file" {
		t.Errorf("error %v", err)
	}
}
