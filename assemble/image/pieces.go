package image

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// FromPieces is the image of a manifest and a configuration at hand, whose layers
// open opens, one for each time that their bytes are wanted. The bytes of all of
// them are checked against their digests.
func FromPieces(manifest, config []byte, open func(layer v1.Descriptor) (io.ReadCloser, error)) (v1.Image, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(manifest))
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(manifest))
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", digest, err)
	}
	p := &pieces{files: map[string][]byte{blobName(digest): manifest, blobName(m.Config.Digest): config}, layers: map[string]v1.Descriptor{}, from: open}
	for _, d := range m.Layers {
		p.layers[blobName(d.Digest)] = d
	}
	img, err := newOpenedImage(p, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Size: size})
	if err != nil {
		return nil, fmt.Errorf("manifest %s: %w", digest, err)
	}
	if _, err := img.ConfigFile(); err != nil {
		return nil, fmt.Errorf("manifest %s: configuration: %w", digest, err)
	}
	return img, nil
}

// pieces is a blobStore of one image.
type pieces struct {
	files  map[string][]byte
	layers map[string]v1.Descriptor
	from   func(v1.Descriptor) (io.ReadCloser, error)
}

func (p *pieces) open(name string) (io.ReadCloser, error) {
	if b, ok := p.files[name]; ok {
		return io.NopCloser(bytes.NewReader(b)), nil
	}
	d, ok := p.layers[name]
	if !ok || p.from == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return p.from(d)
}

func (p *pieces) Close() error { return nil }
