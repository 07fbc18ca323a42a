package target

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// root is what images and image indexes have in common.
type root interface {
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
}

// maxNested is how deep image indexes may be in others.
const maxNested = 8

// Content takes an image or image index apart for Store: blobs, and manifests
// with what is listed before what lists it.
func Content(r root) ([]Blob, []Manifest, error) {
	c := &contents{}
	if err := c.add(r, 0); err != nil {
		return nil, nil, err
	}
	return c.blobs, c.manifests, nil
}

type contents struct {
	blobs     []Blob
	manifests []Manifest
}

func (c *contents) add(r root, depth int) error {
	switch r := r.(type) {
	case v1.Image:
		if err := c.image(r); err != nil {
			return err
		}
	case v1.ImageIndex:
		if depth > maxNested {
			return fmt.Errorf("image indexes nested more than %d deep: %w", maxNested, ErrLimit)
		}
		if err := c.index(r, depth); err != nil {
			return err
		}
	default:
		return fmt.Errorf("neither an image nor an image index: %w", ErrMalformed)
	}
	raw, err := r.RawManifest()
	if err != nil {
		return err
	}
	mt, err := r.MediaType()
	c.manifests = append(c.manifests, Manifest{raw, mt})
	return err
}

func (c *contents) index(index v1.ImageIndex, depth int) error {
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, d := range m.Manifests {
		var child root
		if d.MediaType.IsIndex() {
			child, err = index.ImageIndex(d.Digest)
		} else {
			child, err = index.Image(d.Digest)
		}
		if err != nil {
			return err
		}
		if err := c.add(child, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (c *contents) image(img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	c.blobs = append(c.blobs, Blob{Descriptor: m.Config, Open: func(context.Context) (io.ReadCloser, error) {
		b, err := img.RawConfigFile()
		return nopCloser(b), err
	}})
	for _, d := range m.Layers {
		c.blobs = append(c.blobs, Blob{Descriptor: d, Open: func(context.Context) (io.ReadCloser, error) {
			l, err := img.LayerByDigest(d.Digest)
			if err != nil {
				return nil, err
			}
			return l.Compressed()
		}})
	}
	return nil
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
