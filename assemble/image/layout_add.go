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
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	w := &layoutWriter{dir: dir}
	if err := w.add(ctx, blobs, edit); err != nil {
		w.placer.takeBack()
		w.created.takeBack()
		return err
	}
	return nil
}

func (w *layoutWriter) add(ctx context.Context, blobs [][]byte, edit func([]v1.Descriptor) ([]v1.Descriptor, error)) error {
	old, err := readLimited(filepath.Join(w.dir, "index.json"), maxManifest)
	if err != nil {
		return err
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(old))
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
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
	for _, content := range blobs {
		if err := w.blob(ctx, memoryBlob(content)); err != nil {
			return err
		}
	}
	return writeFile(filepath.Join(w.dir, "index.json"), index, 0o644)
}

func memoryBlob(content []byte) *blob {
	sum := sha256.Sum256(content)
	return &blob{
		digest: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
		size:   int64(len(content)),
		open:   func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
	}
}
