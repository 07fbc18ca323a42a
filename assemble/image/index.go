package image

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// IndexInput is what an image index says besides its images.
type IndexInput struct {
	Settings Settings // annotations and VCS URL are used
	Created  time.Time
	Unsafe   []string
	// ArtifactTypes gives each descriptor the media type of the image's
	// configuration as artifactType. OCI has no use for it in images; apko's
	// indexes have it.
	ArtifactTypes bool
}

// Index is an image index over the architectures of one image. It implements
// [v1.ImageIndex] and is safe for concurrent use.
type Index struct {
	images []*Image
	raw    []byte
	hash   v1.Hash
}

var _ v1.ImageIndex = (*Index)(nil)

// NewIndex makes an index over images of different platforms, ordered by
// platform ("linux/amd64" before "linux/arm/v6" before "linux/arm/v7"),
// whatever order they are given in.
func NewIndex(images []*Image, in IndexInput) (*Index, error) {
	switch {
	case len(images) == 0:
		return nil, errors.New("image index: no images")
	case in.Created.IsZero():
		return nil, errors.New("image index: no creation time")
	}
	x := &Index{images: slices.Clone(images)}
	slices.SortStableFunc(x.images, func(a, b *Image) int {
		return strings.Compare(platformName(&a.platform), platformName(&b.platform))
	})
	m := v1.IndexManifest{
		SchemaVersion: 2,
		MediaType:     types.OCIImageIndex,
		Annotations:   annotations(&in.Settings, in.Created.UTC().Truncate(time.Second), in.Unsafe),
	}
	for i, img := range x.images {
		if i > 0 && platformName(&img.platform) == platformName(&x.images[i-1].platform) {
			return nil, fmt.Errorf("image index: two images for %s", platformName(&img.platform))
		}
		p := img.platform
		d := v1.Descriptor{
			MediaType: types.OCIManifestSchema1,
			Size:      int64(len(img.manifest)),
			Digest:    img.hash,
			Platform:  &p,
		}
		if in.ArtifactTypes {
			d.ArtifactType = string(types.OCIConfigJSON)
		}
		m.Manifests = append(m.Manifests, d)
	}
	var err error
	x.raw, x.hash, err = encode(&m)
	return x, err
}

// platformName spells a platform as os/architecture[/variant].
func platformName(p *v1.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Images returns the images in the order of the index.
func (x *Index) Images() []*Image { return slices.Clone(x.images) }

// MediaType implements [v1.ImageIndex].
func (x *Index) MediaType() (types.MediaType, error) { return types.OCIImageIndex, nil }

// Digest implements [v1.ImageIndex].
func (x *Index) Digest() (v1.Hash, error) { return x.hash, nil }

// Size implements [v1.ImageIndex]: the size of the index manifest in bytes.
func (x *Index) Size() (int64, error) { return int64(len(x.raw)), nil }

// IndexManifest implements [v1.ImageIndex].
func (x *Index) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}

// RawManifest implements [v1.ImageIndex].
func (x *Index) RawManifest() ([]byte, error) { return bytes.Clone(x.raw), nil }

// Image implements [v1.ImageIndex].
func (x *Index) Image(h v1.Hash) (v1.Image, error) {
	for _, img := range x.images {
		if img.hash == h {
			return img, nil
		}
	}
	return nil, fmt.Errorf("image index %s: no image %s", x.hash, h)
}

// ImageIndex implements [v1.ImageIndex]; an index made here holds none.
func (x *Index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return nil, fmt.Errorf("image index %s: no image index %s", x.hash, h)
}
