package image

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
)

func TestFromPieces(t *testing.T) {
	whole, err := random.Image(100, 3)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := whole.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	config, err := whole.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	open := func(d v1.Descriptor) (io.ReadCloser, error) {
		l, err := whole.LayerByDigest(d.Digest)
		if err != nil {
			return nil, err
		}
		return l.Compressed()
	}
	img, err := FromPieces(manifest, config, open)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := whole.Digest()
	if got, err := img.Digest(); err != nil || got != want {
		t.Errorf("digest %s, expected %s (%v)", got, want, err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 3 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	rc, err := layers[2].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, rc); err != nil {
		t.Error(err)
	}

	for _, c := range []struct {
		name             string
		manifest, config []byte
		want             string
	}{
		{"no manifest", []byte("hello"), config, "invalid character 'h'"},
		{"another configuration", manifest, bytes.ToUpper(config), "configuration: "},
		{"longer configuration", manifest, append(bytes.Clone(config), ' '), "larger than its descriptor says"},
	} {
		if img, err := FromPieces(c.manifest, c.config, open); err == nil || img != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
	}

	nowhere, err := FromPieces(manifest, config, nil)
	if err != nil {
		t.Fatal(err)
	}
	layers, err = nowhere.Layers()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := layers[0].Compressed(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("layers that are nowhere: %v", err)
	}
	other, err := FromPieces(manifest, config, func(v1.Descriptor) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("hello")), nil })
	if err != nil {
		t.Fatal(err)
	}
	if layers, err = other.Layers(); err != nil {
		t.Fatal(err)
	}
	if rc, err = layers[0].Compressed(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, rc); !errors.Is(err, ErrBlobChanged) {
		t.Errorf("other bytes: %v", err)
	}
}
