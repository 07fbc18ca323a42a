package buildkit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Layer is a layer of an environment: a tar, compressed with gzip, such as a
// package's data section.
type Layer struct {
	// Digest is of the compressed bytes, DiffID of what they inflate to:
	// "sha256:…".
	Digest, DiffID string
	// Size is the number of compressed bytes.
	Size int64
	// Open gives the compressed bytes.
	Open func() (io.ReadCloser, error)
}

// ErrLayer is for a layer that is not what its digest says.
var ErrLayer = errors.New("layer is not the one it should be")

// WriteImage writes an image of layers, the lowest first, into an OCI layout, and
// returns the digest of its manifest for [Job].Image. arch is Go's name. The layout
// is made when it is not there; many images may be written to it, also at the same
// time, and share their layers. A layer that is there already is not opened.
func WriteImage(ctx context.Context, dir, arch string, layers []Layer) (string, error) {
	blobs := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		return "", err
	}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: arch}, RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{}}}
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	manifest.SchemaVersion = 2
	for _, l := range layers {
		if err := writeLayer(ctx, blobs, l); err != nil {
			return "", err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.Digest(l.DiffID))
		manifest.Layers = append(manifest.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.Digest(l.Digest), Size: l.Size})
	}
	var err error
	if manifest.Config, err = writeJSON(blobs, ocispec.MediaTypeImageConfig, config); err != nil {
		return "", err
	}
	top, err := writeJSON(blobs, ocispec.MediaTypeImageManifest, manifest)
	if err != nil {
		return "", err
	}
	return top.Digest.String(), writeFile(filepath.Join(dir, ocispec.ImageLayoutFile), func(w io.Writer) error {
		_, err := io.WriteString(w, `{"imageLayoutVersion":"`+ocispec.ImageLayoutVersion+`"}`)
		return err
	})
}

func writeLayer(ctx context.Context, blobs string, l Layer) (err error) {
	sum, ok := strings.CutPrefix(l.Digest, "sha256:")
	if _, err := hex.DecodeString(sum); !ok || err != nil || len(sum) != 2*sha256.Size {
		return fmt.Errorf("layer %q: %w: expected sha256: and 64 digits", l.Digest, ErrLayer)
	}
	name := filepath.Join(blobs, sum)
	if fi, err := os.Lstat(name); err == nil && fi.Size() == l.Size {
		return nil // the daemon hashes it
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r, err := l.Open()
	if err != nil {
		return fmt.Errorf("layer %s: %w", l.Digest, err)
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return writeFile(name, func(w io.Writer) error {
		h := sha256.New()
		n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, l.Size+1))
		if err != nil {
			return fmt.Errorf("layer %s: %w", l.Digest, err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); n != l.Size || got != sum {
			return fmt.Errorf("layer %s: %w: found %d bytes with sha256 %s, expected %d", l.Digest, ErrLayer, n, got, l.Size)
		}
		return nil
	})
}

func writeJSON(blobs, mediaType string, v any) (ocispec.Descriptor, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
	return d, writeFile(filepath.Join(blobs, d.Digest.Encoded()), func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

// writeFile writes a file whole or not at all.
func writeFile(name string, fill func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".new-*")
	if err != nil {
		return err
	}
	err = fill(f)
	err = errors.Join(err, f.Chmod(0o644), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
