package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Root is what a writer writes: a [v1.Image] or a [v1.ImageIndex], with
// everything below it.
type Root interface {
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
	Size() (int64, error)
	RawManifest() ([]byte, error)
}

// blob is one content-addressed thing that an output holds.
type blob struct {
	digest v1.Hash
	size   int64
	path   string // local file with exactly these bytes, or empty
	open   func() (io.ReadCloser, error)

	manifest bool
}

// member is one image below a root.
type member struct {
	image    v1.Image
	platform *v1.Platform // nil for a single image
}

// content is a root taken apart.
type content struct {
	root    v1.Descriptor
	members []member
	blobs   []blob // each digest once, sorted
	// manifests are among the blobs too; what lists others comes before them.
	manifests []Manifest
}

// Manifest is a manifest as it is stored.
type Manifest struct {
	Raw       []byte
	MediaType types.MediaType
}

// Parts takes root apart: configurations and layers, each digest once, and the
// manifests, with those that are listed before what lists them.
func Parts(root Root) ([]LayoutBlob, []Manifest, error) {
	c, err := gather(root)
	if err != nil {
		return nil, nil, err
	}
	var blobs []LayoutBlob
	for i := range c.blobs {
		if b := &c.blobs[i]; !b.manifest {
			blobs = append(blobs, LayoutBlob{Digest: b.digest, Size: b.size, Open: b.open})
		}
	}
	slices.Reverse(c.manifests)
	return blobs, c.manifests, nil
}

// gather lists everything below root. Manifests and configurations are held in
// memory, layers are opened when they are written.
func gather(root Root) (*content, error) {
	if root == nil {
		return nil, errors.New("no image")
	}
	c := &content{}
	var err error
	if c.root, err = descriptor(root); err != nil {
		return nil, err
	}
	switch r := root.(type) {
	case v1.ImageIndex:
		err = c.addIndex(r, 0)
	case v1.Image:
		err = c.addImage(r, nil)
	default:
		err = fmt.Errorf("%T: expected an image or an image index", root)
	}
	if err != nil {
		return nil, err
	}
	c.sort()
	return c, nil
}

// sort orders the blobs and drops those that stand twice.
func (c *content) sort() {
	slices.SortFunc(c.blobs, func(a, b blob) int { return strings.Compare(a.digest.Hex, b.digest.Hex) })
	c.blobs = slices.CompactFunc(c.blobs, func(a, b blob) bool { return a.digest == b.digest })
}

// addArtifacts adds what refers to the root.
func (c *content) addArtifacts(artifacts []Artifact) {
	for _, a := range artifacts {
		for _, b := range a.Blobs {
			h := sha256.Sum256(b)
			c.addBytes(v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(h[:])}, b)
		}
	}
	c.sort()
}

func descriptor(root Root) (d v1.Descriptor, err error) {
	if d.MediaType, err = root.MediaType(); err != nil {
		return d, err
	}
	if d.Digest, err = root.Digest(); err != nil {
		return d, err
	}
	d.Size, err = root.Size()
	return d, err
}

const maxIndexDepth = 8

func (c *content) addIndex(x v1.ImageIndex, depth int) error {
	if depth > maxIndexDepth {
		return fmt.Errorf("image indexes nested more than %d deep", maxIndexDepth)
	}
	if err := c.addManifest(x); err != nil {
		return err
	}
	m, err := x.IndexManifest()
	if err != nil {
		return err
	}
	for i := range m.Manifests {
		d := &m.Manifests[i]
		switch {
		case d.MediaType.IsIndex():
			child, err := x.ImageIndex(d.Digest)
			if err == nil {
				err = c.addIndex(child, depth+1)
			}
			if err != nil {
				return err
			}
		case d.MediaType.IsImage():
			child, err := x.Image(d.Digest)
			if err == nil {
				err = c.addImage(child, d.Platform)
			}
			if err != nil {
				return err
			}
		default:
			return fmt.Errorf("manifest %s: media type %q: expected an image or an image index", d.Digest, d.MediaType)
		}
	}
	return nil
}

func (c *content) addImage(img v1.Image, p *v1.Platform) error {
	if err := c.addManifest(img); err != nil {
		return err
	}
	c.members = append(c.members, member{img, p})
	raw, err := img.RawConfigFile()
	if err != nil {
		return err
	}
	name, err := img.ConfigName()
	if err != nil {
		return err
	}
	c.addBytes(name, raw)
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		if err := c.addLayer(l); err != nil {
			return err
		}
	}
	return nil
}

func (c *content) addManifest(r Root) error {
	raw, err := r.RawManifest()
	if err != nil {
		return err
	}
	digest, err := r.Digest()
	if err != nil {
		return err
	}
	c.addBytes(digest, raw)
	c.blobs[len(c.blobs)-1].manifest = true
	mt, err := r.MediaType()
	c.manifests = append(c.manifests, Manifest{raw, mt})
	return err
}

func (c *content) addBytes(digest v1.Hash, b []byte) {
	c.blobs = append(c.blobs, blob{digest: digest, size: int64(len(b)), open: func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(b)), nil
	}})
}

// hasLocalPath is implemented by layers whose blob is a local file of ours.
// Layers of opened images have none: their blobs are checked by being read.
type hasLocalPath interface{ localPath() string }

func (c *content) addLayer(l v1.Layer) error {
	d, err := describe(l)
	if err != nil {
		return err
	}
	b := blob{digest: d.Digest, size: d.Size, open: l.Compressed}
	if local, ok := l.(hasLocalPath); ok {
		b.path = local.localPath()
	}
	c.blobs = append(c.blobs, b)
	return nil
}

// copyTo writes the blob to w. Unless trusted, it is hashed on the way; a blob
// that is not what its digest says is an error after the last byte, so the
// caller must not have promised w to anybody yet.
func (b *blob) copyTo(ctx context.Context, w io.Writer, trusted bool) (err error) {
	rc, err := b.open()
	if err != nil {
		return err
	}
	defer func() {
		if cerr := rc.Close(); err == nil {
			err = cerr
		}
	}()
	if err := copyBlob(ctx, w, rc, b, trusted); err != nil {
		return fmt.Errorf("blob %s: %w", b.digest, err)
	}
	return nil
}
