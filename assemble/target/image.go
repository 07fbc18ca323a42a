package target

import (
	"bytes"
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// maxConfig bounds an image's configuration, in bytes.
const maxConfig = 8 << 20

// Image returns the image with this manifest. Only the manifest is read here;
// configuration and layers are read, and checked against their digests, when
// they are asked for, with the context that is given here.
func (t *Target) Image(ctx context.Context, digest v1.Hash) (v1.Image, error) {
	raw, mt, err := t.Manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: manifest %s: %w: %w", t.ref.name(), digest, ErrMalformed, err)
	}
	for i := range m.Layers {
		if err := checkDescriptor(&m.Layers[i]); err != nil {
			return nil, fmt.Errorf("%s: manifest %s: layers[%d]: %w", t.ref.name(), digest, i, err)
		}
	}
	return partial.CompressedToImage(&targetImage{ctx: ctx, t: t, raw: raw, mt: mt, manifest: m})
}

// targetImage is an image in ggcr's smallest form.
type targetImage struct {
	ctx      context.Context // of the call that the image lives for
	t        *Target
	raw      []byte
	mt       types.MediaType
	manifest *v1.Manifest
}

func (i *targetImage) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *targetImage) MediaType() (types.MediaType, error) { return i.mt, nil }
func (i *targetImage) RawConfigFile() ([]byte, error) {
	return i.t.Blob(i.ctx, i.manifest.Config, maxConfig)
}

func (i *targetImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range i.manifest.Layers {
		if d.Digest == h {
			return targetLayer{i, d}, nil
		}
	}
	if h == i.manifest.Config.Digest {
		return partial.ConfigLayer(i)
	}
	return nil, fmt.Errorf("layer %s: %w", h, ErrNotFound)
}

type targetLayer struct {
	image *targetImage
	d     v1.Descriptor
}

func (l targetLayer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l targetLayer) Size() (int64, error)                { return l.d.Size, nil }
func (l targetLayer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }
func (l targetLayer) Compressed() (io.ReadCloser, error)  { return l.image.t.OpenBlob(l.image.ctx, l.d) }
