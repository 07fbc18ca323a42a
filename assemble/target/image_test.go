package target

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// An image read through a target is whole, and one whose bytes changed is not
// read to the end.
func TestImage(t *testing.T) {
	want, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(want)
	}
	if err != nil {
		t.Fatal(err)
	}
	ref, err := Parse(dir + "/")
	if err != nil {
		t.Fatal(err)
	}
	target, err := Open(t.Context(), ref, Options{})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := want.Digest()
	if err != nil {
		t.Fatal(err)
	}
	img, err := target.Image(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	l, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.LayerByDigest(v1.Hash{Algorithm: "sha256", Hex: l.Hex[1:] + "0"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a layer that is not there: %v", err)
	}
	if err := p.RemoveBlob(l); err != nil {
		t.Fatal(err)
	}
	if _, err := layers[0].Compressed(); !errors.Is(err, ErrNotFound) {
		t.Errorf("a blob that is gone: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", l.Hex), []byte("other"), 0o644); err != nil {
		t.Fatal(err)
	}
	rc, err := layers[0].Compressed()
	if err == nil {
		_, err = io.ReadAll(rc)
	}
	if !errors.Is(err, ErrMismatch) {
		t.Errorf("other bytes: %v", err)
	}
	if _, err := target.Image(t.Context(), l); !errors.Is(err, ErrMalformed) {
		t.Errorf("no manifest: %v", err)
	}
}
