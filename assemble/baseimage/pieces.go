package baseimage

import (
	"bytes"
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
)

// Pieces is all that a base image is but its layers: what a rebuild kit carries.
type Pieces struct {
	Name     string // the reference it is known by; may be empty
	Manifest []byte
	Config   []byte
	Packages []byte // the APKINDEX with its packages
	Files    []byte // [Base.Files]
}

// Pieces takes the base apart.
func (b *Base) Pieces() (Pieces, error) {
	p := Pieces{Name: b.Name, Packages: b.packages, Files: b.files}
	var err error
	if p.Manifest, err = b.Image.RawManifest(); err != nil {
		return p, err
	}
	p.Config, err = b.Image.RawConfigFile()
	return p, err
}

// FromPieces puts a base together again, for an architecture, without its layers:
// see [Base.WithLayers]. The manifest names the configuration and the layers; that
// the list of files is that of those layers is not known, only that it could be.
func FromPieces(p Pieces, arch config.Arch) (*Base, error) {
	digest, _, err := v1.SHA256(bytes.NewReader(p.Manifest))
	if err != nil {
		return nil, err
	}
	b := &Base{Digest: digest, Name: p.Name}
	if b.Image, err = image.FromPieces(p.Manifest, p.Config, nil); err != nil {
		return nil, err
	}
	c, err := b.Image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if c.OS != arch.OS || c.Architecture != arch.Architecture {
		return nil, fmt.Errorf("image for %s: expected one for %s", platformName(&v1.Platform{OS: c.OS, Architecture: c.Architecture}), arch)
	}
	if err := b.describe(); err != nil {
		return nil, err
	}
	if err := b.take(p.Files); err != nil {
		return nil, err
	}
	if err := b.takePackages("the list of its packages", p.Packages); err != nil {
		return nil, err
	}
	return b, nil
}

// WithLayers is the base with layers that open opens, as the registry can that
// has an image on top of it: the base's are its first. Their bytes are checked
// against their digests.
func (b *Base) WithLayers(open func(layer v1.Descriptor) (io.ReadCloser, error)) (*Base, error) {
	p, err := b.Pieces()
	if err != nil {
		return nil, err
	}
	own := *b
	own.Image, err = image.FromPieces(p.Manifest, p.Config, open)
	return &own, err
}

// Unpack reads all layers and returns the list of files that they give, to compare
// with [Base.Files].
func (b *Base) Unpack(ctx context.Context) ([]byte, error) {
	own := &Base{Image: b.Image, Digest: b.Digest}
	if err := own.flatten(ctx); err != nil {
		return nil, err
	}
	return own.files, nil
}
