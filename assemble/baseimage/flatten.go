package baseimage

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/store"
)

// Limits on an image that somebody else made.
const (
	maxLayers   = layer.MaxLayers - 1 // one is needed on top
	maxMembers  = 4 << 20             // of all layers
	maxInflated = 64 << 30            // bytes of one layer
	maxPath     = 4096                // bytes, as in Linux
	maxContents = 512 << 20           // bytes of all contents that are kept
	maxContent  = 256 << 20           // bytes of a file that is read later
)

// readable are the media types of layers that are read, and what an image on top
// calls them. What they are compressed with is told from their bytes.
var readable = map[types.MediaType]types.MediaType{
	types.OCILayer:                types.OCILayer,
	types.OCIUncompressedLayer:    types.OCIUncompressedLayer,
	types.OCILayerZStd:            types.OCILayerZStd,
	types.DockerLayer:             types.OCILayer,
	types.DockerUncompressedLayer: types.OCIUncompressedLayer,
}

// flatten unpacks the layers on paper.
func (b *Base) flatten(ctx context.Context) error {
	if err := b.describe(); err != nil {
		return err
	}
	layers, err := b.Image.Layers()
	if err != nil {
		return err
	}
	f := newFlattener()
	for i := range b.Layers {
		if err := f.layer(ctx, i, layers[i], &b.Layers[i]); err != nil {
			return &LayerError{Layer: i + 1, Digest: b.Layers[i].Digest, Err: err}
		}
	}
	f.finish(b)
	b.files = b.encode()
	return nil
}

// describe lists the layers as the manifest and the configuration have them. How
// large they are when inflated is not known from that.
func (b *Base) describe() error {
	layers, err := b.Image.Layers()
	if err != nil {
		return err
	}
	if len(layers) == 0 || len(layers) > maxLayers {
		return fmt.Errorf("%d layers: expected 1 to %d", len(layers), maxLayers)
	}
	b.Layers = nil
	for i, l := range layers {
		d, err := describe(l)
		if err != nil {
			return &LayerError{Layer: i + 1, Digest: d.Digest, Err: err}
		}
		b.Layers = append(b.Layers, d)
	}
	return nil
}

func describe(l v1.Layer) (layer.Layer, error) {
	d := layer.Layer{Kind: layer.Base}
	var err error
	if d.Digest, err = l.Digest(); err != nil {
		return d, err
	}
	mt, err := l.MediaType()
	if err != nil {
		return d, err
	}
	if d.MediaType = readable[mt]; d.MediaType == "" {
		return d, fmt.Errorf("media type %q: expected a tar, plain or compressed with gzip or zstd", mt)
	}
	if d.Size, err = l.Size(); err != nil {
		return d, err
	}
	d.DiffID, err = l.DiffID()
	return d, err
}

// LayerError says why a layer cannot be unpacked: it is not what its digest or
// its diff ID says, or unpackers would not agree on it.
type LayerError struct {
	Layer  int // from 1, bottom to top
	Digest v1.Hash
	Err    error
}

// Error names the layer.
func (e *LayerError) Error() string {
	return fmt.Sprintf("layer %d (%s): %v", e.Layer, e.Digest, e.Err)
}

// Unwrap returns the cause.
func (e *LayerError) Unwrap() error { return e.Err }

// flattener is the unpacked image in the making.
type flattener struct {
	root    *node
	at      int // layer
	member  int // in it
	members int // of all layers
	kept    int64
	elf     store.ELFReader
}

func newFlattener() *flattener {
	return &flattener{root: &node{ino: newDir(), layer: -1}}
}

// layer applies one layer, makes sure that all of it is what the manifest and the
// configuration say, and notes its inflated size.
func (f *flattener) layer(ctx context.Context, at int, l v1.Layer, d *layer.Layer) (err error) {
	rc, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	sum := &counter{hash: sha256.New(), in: rc}
	f.at, f.member = at, 0
	if err := f.read(ctx, tar.NewReader(sum)); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, sum); err != nil {
		return err
	}
	d.Inflated = sum.n
	if got := hex.EncodeToString(sum.hash.Sum(nil)); got != d.DiffID.Hex {
		return fmt.Errorf("inflated to sha256:%s: expected %s, its diff ID", got, d.DiffID)
	}
	return nil
}

// counter hashes and limits what is read through it.
type counter struct {
	in   io.Reader
	hash hash.Hash
	n    int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.hash.Write(p[:n])
	if c.n += int64(n); c.n > maxInflated {
		return 0, fmt.Errorf("more than %d bytes when inflated", int64(maxInflated))
	}
	return n, err
}

func (f *flattener) read(ctx context.Context, tr *tar.Reader) error {
	for ; ; f.member++ {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if f.members++; f.members > maxMembers {
			return fmt.Errorf("more than %d members", maxMembers)
		}
		if err := f.apply(h, tr); err != nil {
			return fmt.Errorf("member %.200q: %w", h.Name, err)
		}
	}
}
