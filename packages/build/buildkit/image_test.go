package buildkit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func layerOf(text string, opened *int) Layer {
	sum := sha256.Sum256([]byte(text))
	d := "sha256:" + hex.EncodeToString(sum[:])
	return Layer{Digest: d, DiffID: d, Size: int64(len(text)), Open: func() (io.ReadCloser, error) {
		*opened++
		return io.NopCloser(strings.NewReader(text)), nil
	}}
}

func TestWriteImage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	opened := 0
	layers := []Layer{layerOf("one", &opened), layerOf("two", &opened)}
	image, err := WriteImage(t.Context(), dir, "amd64", layers)
	if err != nil {
		t.Fatal(err)
	}
	again, err := WriteImage(t.Context(), dir, "amd64", layers)
	if err != nil || again != image || opened != 2 {
		t.Errorf("again: %s and not %s, %d layers opened, %v", again, image, opened, err)
	}
	other, err := WriteImage(t.Context(), dir, "arm64", append(layers, layerOf("three", &opened)))
	if err != nil || other == image || opened != 3 {
		t.Errorf("another image: %s, %d layers opened, %v", other, opened, err)
	}
	// What daemons read it with.
	store, err := local.NewStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := content.ReadBlob(t.Context(), store, ocispec.Descriptor{Digest: digest.Digest(image)})
	if err != nil || !bytes.Contains(b, []byte(layers[1].Digest)) {
		t.Errorf("manifest %s, %v", b, err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", ".new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWriteImageRefuses(t *testing.T) {
	n := 0
	good := layerOf("one", &n)
	for name, change := range map[string]func(*Layer){
		"other bytes": func(l *Layer) { l.Open = layerOf("two", &n).Open },
		"too long":    func(l *Layer) { l.Open = layerOf("one and more", &n).Open },
		"too short":   func(l *Layer) { l.Open = layerOf("on", &n).Open },
		"no digest":   func(l *Layer) { l.Digest = "sha256:../../x" },
		"other hash":  func(l *Layer) { l.Digest = "md5:00" },
	} {
		t.Run(name, func(t *testing.T) {
			l := good
			change(&l)
			dir := t.TempDir()
			if _, err := WriteImage(t.Context(), dir, "amd64", []Layer{l}); !errors.Is(err, ErrLayer) {
				t.Errorf("found %v, expected ErrLayer", err)
			}
			if left, err := os.ReadDir(filepath.Join(dir, "blobs", "sha256")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
