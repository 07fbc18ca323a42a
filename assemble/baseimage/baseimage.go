// Package baseimage reads the image that another one is built upon: an OCI
// layout and, beside it, the index of the packages in it. It picks the image of
// one architecture, unpacks its layers on paper, and says which package of the
// installed database has which file.
//
// It does not decide what goes on top, and it changes nothing: the layers of the
// base are passed on as they are. All that is read is hashed, and limited in size.
// What unpacking gave can be kept in a store, under the digest of the image's
// manifest; the layers are then not read before somebody wants their bytes.
//
//	base, err := baseimage.Open(ctx, baseimage.Source{Image: "base/", Packages: "base/metadata"}, arch)
//	if err != nil {
//		return err
//	}
//	fmt.Println(base.Digest, len(base.Installed), len(base.Entries))
package baseimage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Source says where a base image is.
type Source struct {
	Image    string // directory of the OCI layout
	Packages string // directory with ARCH/APKINDEX
	// Store keeps what unpacking the image gave, so that its layers are inflated
	// once. Nil: they are inflated every time.
	Store *store.Store
}

// Base is the base image of one architecture. It is immutable and safe for
// concurrent use.
type Base struct {
	// Image is the image itself. Its blobs are checked when they are read.
	Image v1.Image
	// Digest is that of the image's manifest.
	Digest v1.Hash
	// Name is the reference that the layout lists the image under; empty when
	// it lists none, or no whole one.
	Name string
	// Layers describe the image's layers, bottom to top, with their sizes.
	Layers []layer.Layer

	// Installed are the packages in the image: what its own installed database
	// says, or else the index.
	Installed []apk.InstalledPackage
	// Index is the SHA-256 of the index file.
	Index apk.SHA256
	// Database is the real directory of the image's installed database
	// ("usr/lib/apk/db"); empty when it has none.
	Database string

	// Entries are the paths of the unpacked image, sorted as a
	// [github.com/cairn-dev/cairn/assemble/rootfs.Tree] is. Of several names of
	// one file the first holds the content, the others are hard links to it.
	// Owners have no names: the numbers count.
	Entries []apk.Entry
	// Root is what the image says of the root directory; nil: nothing.
	Root *apk.Entry
	// Owners tells for each entry which package has it.
	Owners []Owner
	// Contents are the bytes of small files that planning needs, by path.
	Contents map[string][]byte

	places   []place
	files    []byte // the list of files, encoded
	packages []byte // the index
}

// Owner is the line of the installed database that an entry stands in. The zero
// value is no line. A file whose content is not what its package recorded has
// none: it is the image's own.
type Owner struct {
	Known              bool
	Package, Dir, File int // positions; File is -1 for a directory
}

// place is where an entry's content is.
type place struct{ layer, member int }

// Open reads the base image for an architecture.
func Open(ctx context.Context, src Source, arch config.Arch) (*Base, error) {
	b, err := open(ctx, src, arch)
	if err != nil {
		return nil, &Error{PartImage, src.Image, err}
	}
	if err := b.readPackages(src.Packages, arch); err != nil {
		return nil, &Error{PartIndex, src.Image, err}
	}
	return b, nil
}

// The parts of a base image, as the configuration calls them.
const (
	PartImage = "image"
	PartIndex = "apkindex"
)

// Error says what is wrong with a base image.
type Error struct {
	Part  string // PartImage or PartIndex
	Image string // directory
	Err   error
}

// Error names the image.
func (e *Error) Error() string { return fmt.Sprintf("base image %s: %v", e.Image, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

func open(ctx context.Context, src Source, arch config.Arch) (*Base, error) {
	o, err := image.Open(src.Image)
	if err != nil {
		return nil, cmp.Or(errors.Unwrap(err), err) // the path is named already
	}
	if o.Kind != image.Layout {
		return nil, errors.Join(fmt.Errorf("found a file (%s): expected the directory of an OCI layout", o.Kind), o.Close())
	}
	b, err := pick(o, arch)
	if err != nil {
		return nil, err
	}
	if src.Store != nil {
		if ok, err := b.cached(ctx, src.Store); ok || err != nil {
			return b, err
		}
	}
	if err := b.flatten(ctx); err != nil || src.Store == nil {
		return b, err
	}
	return b, b.keep(ctx, src.Store)
}

// pick finds the one image for the architecture. A layout of one image may leave
// the variant out.
func pick(o *image.Opened, arch config.Arch) (*Base, error) {
	images, err := o.Images()
	if err != nil {
		return nil, err
	}
	var exact, near []image.OpenedImage
	var names []string
	for _, img := range images {
		p := &img.Platform
		names = append(names, platformName(p))
		switch {
		case p.OS != arch.OS || p.Architecture != arch.Architecture:
		case variant(p.Architecture, p.Variant) == variant(arch.Architecture, arch.Variant):
			exact = append(exact, img)
		case p.Variant == "":
			near = append(near, img)
		}
	}
	if len(exact) == 0 {
		exact = near
	}
	switch len(exact) {
	case 0:
		return nil, fmt.Errorf("no image for %s: found %s", arch, list(names))
	case 1:
		return &Base{Image: exact[0].Image, Digest: exact[0].Digest, Name: wholeName(exact[0].Names)}, nil
	}
	return nil, fmt.Errorf("%d images for %s, among them %s and %s: expected one", len(exact), arch, exact[0].Digest, exact[1].Digest)
}

// variant drops the variant that an architecture has anyway.
func variant(arch, v string) string {
	if arch == "arm64" && v == "v8" {
		return ""
	}
	return v
}

func platformName(p *v1.Platform) string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

func list(names []string) string {
	if len(names) == 0 {
		return "none at all"
	}
	return strings.Join(names, ", ")
}

// wholeName returns the first name that says more than a tag.
func wholeName(names []string) string {
	for _, n := range names {
		if strings.Contains(n, "/") {
			return n
		}
	}
	return ""
}
