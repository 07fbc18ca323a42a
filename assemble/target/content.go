package target

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
)

// maxNested is how deep image indexes may be in others.
const maxNested = 8

// Content takes an image or image index apart for Store: blobs, and manifests
// with what is listed before what lists it.
func Content(r image.Root) ([]Blob, []Manifest, error) {
	parts, listed, err := image.Parts(r)
	if err != nil {
		return nil, nil, err
	}
	var blobs []Blob
	for _, p := range parts {
		blobs = append(blobs, Blob{Descriptor: v1.Descriptor{Digest: p.Digest, Size: p.Size}, Open: func(context.Context) (io.ReadCloser, error) { return p.Open() }})
	}
	var manifests []Manifest
	for _, m := range listed {
		manifests = append(manifests, Manifest(m))
	}
	return blobs, manifests, nil
}

type contents struct {
	blobs     []Blob
	manifests []Manifest
}

// Contents takes the manifest with a digest in another target, and all below it,
// apart for Store. Blobs are read when they are asked for. What a manifest of an
// image lists that is no blob to fetch (a layer with URLs of its own) is left out.
func (t *Target) Contents(ctx context.Context, digest v1.Hash) ([]Blob, []Manifest, error) {
	c := &contents{}
	if err := c.from(ctx, t, digest, 0); err != nil {
		return nil, nil, err
	}
	return c.blobs, c.manifests, nil
}

func (c *contents) from(ctx context.Context, t *Target, digest v1.Hash, depth int) error {
	if depth > maxNested {
		return fmt.Errorf("%s: image indexes nested more than %d deep: %w", t.ref.name(), maxNested, ErrLimit)
	}
	raw, mt, err := t.Manifest(ctx, digest)
	if err != nil {
		return err
	}
	h, err := parseHeader(raw)
	if err != nil {
		return fmt.Errorf("%s: manifest %s: %w", t.ref.name(), digest, err)
	}
	if mt.IsIndex() {
		for i := range h.Manifests {
			if err := checkDescriptor(&h.Manifests[i]); err != nil {
				return fmt.Errorf("%s: manifest %s: manifests[%d]: %w", t.ref.name(), digest, i, err)
			}
			if err := c.from(ctx, t, h.Manifests[i].Digest, depth+1); err != nil {
				return err
			}
		}
	} else {
		blobs := h.Layers
		if h.Config != nil {
			blobs = append([]v1.Descriptor{*h.Config}, blobs...)
		}
		for _, d := range blobs {
			if len(d.URLs) > 0 {
				continue
			}
			b := Blob{Descriptor: d, Open: func(ctx context.Context) (io.ReadCloser, error) { return t.OpenBlob(ctx, d) }}
			if !t.ref.IsLayout() {
				b.From = []string{t.Repository()}
			}
			c.blobs = append(c.blobs, b)
		}
	}
	c.manifests = append(c.manifests, Manifest{raw, mt})
	return nil
}
