package image

import (
	"bytes"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

var _ v1.Image = (*Image)(nil)

// Platform returns what the image runs on.
func (i *Image) Platform() v1.Platform { return i.platform }

// Layers implements [v1.Image].
func (i *Image) Layers() ([]v1.Layer, error) { return append([]v1.Layer(nil), i.layers...), nil }

// MediaType implements [v1.Image].
func (i *Image) MediaType() (types.MediaType, error) { return types.OCIManifestSchema1, nil }

// Size implements [v1.Image]: the size of the manifest in bytes.
func (i *Image) Size() (int64, error) { return int64(len(i.manifest)), nil }

// ConfigName implements [v1.Image]: the digest of the configuration.
func (i *Image) ConfigName() (v1.Hash, error) { return i.configHash, nil }

// ConfigFile implements [v1.Image]; each call returns a value of its own.
func (i *Image) ConfigFile() (*v1.ConfigFile, error) {
	return v1.ParseConfigFile(bytes.NewReader(i.config))
}

// RawConfigFile implements [v1.Image].
func (i *Image) RawConfigFile() ([]byte, error) { return bytes.Clone(i.config), nil }

// Digest implements [v1.Image]: the digest of the manifest.
func (i *Image) Digest() (v1.Hash, error) { return i.hash, nil }

// Manifest implements [v1.Image]; each call returns a value of its own.
func (i *Image) Manifest() (*v1.Manifest, error) {
	return v1.ParseManifest(bytes.NewReader(i.manifest))
}

// RawManifest implements [v1.Image].
func (i *Image) RawManifest() ([]byte, error) { return bytes.Clone(i.manifest), nil }

// LayerByDigest implements [v1.Image].
func (i *Image) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	return i.find(h, v1.Layer.Digest)
}

// LayerByDiffID implements [v1.Image].
func (i *Image) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	return i.find(h, v1.Layer.DiffID)
}

func (i *Image) find(h v1.Hash, key func(v1.Layer) (v1.Hash, error)) (v1.Layer, error) {
	for _, l := range i.layers {
		switch got, err := key(l); {
		case err != nil:
			return nil, err
		case got == h:
			return l, nil
		}
	}
	return nil, fmt.Errorf("image %s: no layer %s", i.hash, h)
}
