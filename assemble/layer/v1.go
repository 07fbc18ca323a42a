package layer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
)

// Open opens the layer's blob. The bytes are not hashed: Write did that, but for
// those of a Source.
func (l *Layer) Open() (io.ReadCloser, error) {
	if l.Source != nil {
		return l.Source()
	}
	if l.Path == "" {
		return io.NopCloser(bytes.NewReader(l.Blob)), nil
	}
	f, err := os.Open(l.Path)
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.Digest, err)
	}
	return f, nil
}

// AsV1 returns the layer as go-containerregistry knows layers, of the media
// type "application/vnd.oci.image.layer.v1.tar+gzip". Nothing is opened until
// its content is asked for.
func (l Layer) AsV1() v1.Layer { return &v1Layer{l} }

type v1Layer struct{ l Layer }

func (v *v1Layer) Digest() (v1.Hash, error)             { return v.l.Digest, nil }
func (v *v1Layer) DiffID() (v1.Hash, error)             { return v.l.DiffID, nil }
func (v *v1Layer) Size() (int64, error)                 { return v.l.Size, nil }
func (v *v1Layer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (v *v1Layer) Compressed() (io.ReadCloser, error)   { return v.l.Open() }
func (v *v1Layer) Uncompressed() (io.ReadCloser, error) { return v.l.inflated() }

func (l *Layer) inflated() (io.ReadCloser, error) {
	f, err := l.Open()
	if err != nil {
		return nil, err
	}
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("layer %s: %w", l.Digest, err), f.Close())
	}
	return &inflatedLayer{z, f}, nil
}

type inflatedLayer struct {
	*gzip.Reader
	blob io.Closer
}

func (i *inflatedLayer) Close() error { return errors.Join(i.Reader.Close(), i.blob.Close()) }
