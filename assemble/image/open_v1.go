package image

import (
	"bytes"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// openedImage is the core of an image in a blob store; ggcr's partial package
// makes a [v1.Image] of it.
type openedImage struct {
	store    blobStore
	manifest v1.Manifest
	raw      []byte
	desc     v1.Descriptor
}

func newOpenedImage(s blobStore, d v1.Descriptor) (v1.Image, error) {
	raw, err := readBlob(s, &d, maxManifest)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return partial.CompressedToImage(&openedImage{store: s, manifest: *m, raw: raw, desc: d})
}

func (i *openedImage) RawManifest() ([]byte, error) { return i.raw, nil }

func (i *openedImage) MediaType() (types.MediaType, error) {
	return mediaTypeOf(i.manifest.MediaType, i.desc.MediaType), nil
}

func (i *openedImage) RawConfigFile() ([]byte, error) {
	return readBlob(i.store, &i.manifest.Config, maxConfig)
}

func (i *openedImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for n := range i.manifest.Layers {
		if i.manifest.Layers[n].Digest == h {
			return &openedLayer{image: i, desc: i.manifest.Layers[n], index: n}, nil
		}
	}
	if h == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	return nil, fmt.Errorf("image %s: no layer %s", i.desc.Digest, h)
}

type openedLayer struct {
	image *openedImage
	desc  v1.Descriptor
	index int
}

func (l *openedLayer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *openedLayer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *openedLayer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }

func (l *openedLayer) Compressed() (io.ReadCloser, error) {
	return openBlob(l.image.store, &l.desc)
}

// DiffID takes the diff ID from the configuration, so that nothing has to be
// inflated for it.
func (l *openedLayer) DiffID() (v1.Hash, error) {
	raw, err := l.image.RawConfigFile()
	if err != nil {
		return v1.Hash{}, err
	}
	c, err := v1.ParseConfigFile(bytes.NewReader(raw))
	if err != nil {
		return v1.Hash{}, err
	}
	if len(c.RootFS.DiffIDs) != len(l.image.manifest.Layers) {
		return v1.Hash{}, fmt.Errorf("image %s: %d diff IDs for %d layers", l.image.desc.Digest, len(c.RootFS.DiffIDs), len(l.image.manifest.Layers))
	}
	return c.RootFS.DiffIDs[l.index], nil
}

// openedIndex is an image index in a blob store.
type openedIndex struct {
	store blobStore
	raw   []byte
	desc  v1.Descriptor
}

func newOpenedIndex(s blobStore, d v1.Descriptor) (v1.ImageIndex, error) {
	raw, err := readBlob(s, &d, maxManifest)
	if err != nil {
		return nil, err
	}
	x := &openedIndex{store: s, raw: raw, desc: d}
	_, err = x.IndexManifest()
	return x, err
}

func (x *openedIndex) MediaType() (types.MediaType, error) { return x.desc.MediaType, nil }
func (x *openedIndex) Digest() (v1.Hash, error)            { return x.desc.Digest, nil }
func (x *openedIndex) Size() (int64, error)                { return int64(len(x.raw)), nil }
func (x *openedIndex) RawManifest() ([]byte, error)        { return x.raw, nil }

func (x *openedIndex) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}

func (x *openedIndex) Image(h v1.Hash) (v1.Image, error) {
	d, err := x.find(h)
	if err != nil {
		return nil, err
	}
	return newOpenedImage(x.store, d)
}

func (x *openedIndex) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	d, err := x.find(h)
	if err != nil {
		return nil, err
	}
	return newOpenedIndex(x.store, d)
}

func (x *openedIndex) find(h v1.Hash) (v1.Descriptor, error) {
	m, err := x.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range m.Manifests {
		if d.Digest == h {
			return d, nil
		}
	}
	return v1.Descriptor{}, fmt.Errorf("image index %s: no manifest %s", x.desc.Digest, h)
}
