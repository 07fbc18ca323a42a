package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/layer"
)

// below is the base image that an image stands on; without layers: on none.
type below struct {
	layers []layer.Layer
	proof  string
}

// layer compares one of the image's first layers with the base's.
func (b *below) layer(n int, found *v1.Descriptor) *LayerReport {
	l := &LayerReport{Kind: string(layer.Base)}
	if found == nil {
		l.Problem = "missing"
		return l
	}
	l.Digest = found.Digest
	want := &b.layers[n]
	switch {
	case found.Digest != want.Digest || found.Size != want.Size:
		l.Problem = fmt.Sprintf("found %s of %d bytes, expected layer %d of the base image: %s of %d bytes", found.Digest, found.Size, n, want.Digest, want.Size)
	case found.MediaType != want.MediaType:
		l.Problem = fmt.Sprintf("media type %.100q, expected %q", found.MediaType, want.MediaType)
	default:
		l.Proof = b.proof
	}
	return l
}

// base says who vouches for the base image of an architecture: for which it is,
// and for what is in it.
func (p *prover) base(ctx context.Context, planned *assemble.Planned) (*below, error) {
	if planned.Tree.Base == nil {
		return &below{}, nil
	}
	b := p.kit.Base(planned.Arch.APK)
	out := &below{layers: b.Layers}
	name := fmt.Sprintf("base image (%s)", planned.Arch)
	how, known := "", true
	switch {
	case !p.options.Lock.IsZero():
		how = "pinned in the lock"
	case slices.Contains(p.options.Bases, b.Digest):
		how = "which was given"
	default:
		how, known = "which came with the kit: not pinned", false
		p.notPinned("%s: %s is what the image's own kit says\nhint: give --lockfile with the lock that the image is to be from, or --base-image with the base image that you trust", name, b.Digest)
	}
	out.proof = fmt.Sprintf("base image %s, %s", b.Digest, how)
	if b.Name != "" {
		how += fmt.Sprintf("; that its name is %.200q is the kit's word", b.Name)
	}
	p.rests("%s %s, %s", name, b.Digest, how)
	return out, p.baseFiles(ctx, name, planned, b, known)
}

// baseFiles asks who vouches for the list of the base's files, which says what is
// in its layers, and for the list of its packages. Layers of a base image that
// nobody knows are not read: they are what somebody made up.
func (p *prover) baseFiles(ctx context.Context, name string, planned *assemble.Planned, b *baseimage.Base, known bool) error {
	locked := p.kit.Lock.Base(planned.Arch.APK)
	pinned := !p.options.Lock.IsZero() && locked != nil
	if !pinned && b.Database == "" {
		p.notPinned("%s: the list of its packages is the kit's, as the image has no installed database\nhint: give --lockfile", name)
	}
	if !p.options.Full || !known {
		if !pinned || locked.Files.IsZero() {
			p.notPinned("%s: what is in its layers is as the image's own kit says\nhint: give --lockfile with a lock that has the digest of its files, or --full to read them", name)
		}
		return nil
	}
	again, err := b.Unpack(ctx)
	switch {
	case p.carried.Lost() != nil:
		return p.carried.Lost()
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		p.fail("%s: %v", name, err)
	case !bytes.Equal(again, b.Files()):
		p.fail("%s: %v", name, errFiles)
	}
	return nil
}

var errFiles = errors.New("its layers give other files than the kit lists")
