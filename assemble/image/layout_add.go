package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// CheckLayout says whether dir is an OCI layout: fs.ErrNotExist is wrapped when
// there is none, ErrNotALayout when something else is in its place.
func CheckLayout(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
		if _, dirErr := os.Stat(dir); dirErr == nil && errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%w: no file oci-layout in it", ErrNotALayout)
		}
		return err
	}
	return checkLayoutDir(dir)
}

// AddToLayout stores blobs in an existing layout and replaces the list of
// manifests in its index.json by what edit makes of it, which sees the list as
// no other writer of cairn can change it any more. Blobs that are there
// already are left alone, or repaired; none is removed. Readers see the old
// index.json or the new one, and other writers of cairn wait. When anything
// goes wrong the layout is as before.
func AddToLayout(ctx context.Context, dir string, blobs [][]byte, edit func([]v1.Descriptor) ([]v1.Descriptor, error)) error {
	if err := CheckLayout(dir); err != nil {
		return err
	}
	var list []*blob
	for _, content := range blobs {
		list = append(list, memoryBlob(content))
	}
	return addToLayout(ctx, dir, list, edit)
}

// LayoutBlob is a blob to be put into a layout.
type LayoutBlob struct {
	Digest v1.Hash
	Size   int64
	// Open reads it; its bytes are checked.
	Open func() (io.ReadCloser, error)
}

// ExtendLayout is AddToLayout for blobs of any size, and makes the layout where
// there is none.
func ExtendLayout(ctx context.Context, dir string, blobs []LayoutBlob, edit func([]v1.Descriptor) ([]v1.Descriptor, error)) error {
	if err := CheckLayoutDir(dir); err != nil {
		return err
	}
	var list []*blob
	for _, b := range blobs {
		list = append(list, &blob{digest: b.Digest, size: b.Size, open: b.Open})
	}
	return addToLayout(ctx, dir, list, edit)
}

func addToLayout(ctx context.Context, dir string, blobs []*blob, edit func([]v1.Descriptor) ([]v1.Descriptor, error)) (err error) {
	w := &layoutWriter{dir: dir}
	if err := w.created.mkdir(dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.placer.takeBack()
			w.created.takeBack()
		}
	}()
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	return w.add(ctx, blobs, edit)
}

func (w *layoutWriter) add(ctx context.Context, blobs []*blob, edit func([]v1.Descriptor) ([]v1.Descriptor, error)) error {
	m := &v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	old, err := readLimited(filepath.Join(w.dir, "index.json"), maxManifest)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !exists(filepath.Join(w.dir, "oci-layout")):
	case err != nil:
		return err
	default:
		if m, err = v1.ParseIndexManifest(bytes.NewReader(old)); err != nil {
			return fmt.Errorf("index.json: %w", err)
		}
	}
	if m.Manifests, err = edit(m.Manifests); err != nil {
		return err
	}
	index, _, err := encode(m)
	if err != nil {
		return err
	}
	if len(index) > maxManifest {
		return fmt.Errorf("index.json: would have %d bytes, expected at most %d", len(index), maxManifest)
	}
	for _, dir := range []string{"blobs", blobsDir} {
		if err := w.created.mkdir(filepath.Join(w.dir, dir)); err != nil {
			return err
		}
	}
	for _, b := range blobs {
		if err := w.blob(ctx, b); err != nil {
			return err
		}
	}
	return w.finish(index)
}

func memoryBlob(content []byte) *blob {
	sum := sha256.Sum256(content)
	return &blob{
		digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
		size:   int64(len(content)),
		open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}
