package proof

import (
	"context"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/packages/store"
)

// layers proves the layers of one image. The layers it returns are the derived
// ones, with the digests of those that had to be read; ok is false when they are
// not the image's. A base image's come first, and are in none of the lists.
func (p *prover) layers(ctx context.Context, i int, c *rebuild.Child) (_ []layer.Layer, ok bool, err error) {
	planned := &p.derived.Planned[i]
	below, err := p.base(ctx, planned)
	if err != nil {
		return nil, false, err
	}
	outline := planned.Layers.Outline()
	r := ImageReport{Arch: planned.Arch.String(), Digest: c.Descriptor.Digest, Layers: []LayerReport{}}
	ok = true
	for n := range max(len(below.layers)+len(outline), len(c.Manifest.Layers)) {
		at := &position{i: i, n: n - len(below.layers), below: len(below.layers), planned: planned, child: c, receipts: p.derived.Receipts(i)}
		if n < len(c.Manifest.Layers) {
			at.desc = &c.Manifest.Layers[n]
		}
		var l *LayerReport
		if n < len(below.layers) {
			l = below.layer(n, at.desc)
		} else if l, err = p.layer(ctx, at, outline); err != nil {
			return nil, false, err
		}
		if l.Problem != "" {
			ok = false
			p.fail("%s: layer %d (%s): %s", r.Arch, n, l.name(), l.Problem)
		}
		if l.Unproved != "" {
			p.report.Unproved = append(p.report.Unproved, fmt.Sprintf("%s: layer %d (%s): %s", r.Arch, n, l.name(), l.Unproved))
		}
		r.Layers = append(r.Layers, *l)
	}
	p.unseen(planned.Arch.APK, p.derived.Receipts(i), outline)
	p.report.Images = append(p.report.Images, r)
	return outline, ok, nil
}

// position is where a layer stands.
type position struct {
	i        int            // in Derivation.Planned
	n, below int            // among the derived layers, and how many of a base image are below
	desc     *v1.Descriptor // in the image; nil: it has none there
	planned  *assemble.Planned
	child    *rebuild.Child
	receipts []*store.Receipt
}

// layer proves one layer: that it is the derived one.
func (p *prover) layer(ctx context.Context, at *position, outline []layer.Layer) (*LayerReport, error) {
	l := &LayerReport{}
	if at.desc != nil {
		l.Digest = at.desc.Digest
	}
	if at.n >= len(outline) {
		l.Problem = fmt.Sprintf("not explained: %d layers were derived", at.below+len(outline))
		return l, nil
	}
	want := &outline[at.n]
	l.Kind, l.Packages = string(want.Kind), names(at.receipts, want.Packages)
	if at.desc == nil {
		l.Problem = "missing"
		return l, nil
	}
	before := p.img.n
	err := p.compareLayer(ctx, l, at, want)
	l.Read = p.img.n - before
	return l, err
}

// name is how a problem names a layer: by kind and digest, as far as it has them.
func (l *LayerReport) name() string {
	if l.Digest == (v1.Hash{}) {
		return l.Kind
	}
	return strings.TrimSpace(l.Kind + " " + l.Digest.String())
}

func names(receipts []*store.Receipt, list []int) []string {
	var out []string
	for _, i := range list {
		out = append(out, receipts[i].ID())
	}
	return out
}

// unseen asks for vouchers of the packages that have no content and so no layer:
// they are in the installed database all the same.
func (p *prover) unseen(arch string, receipts []*store.Receipt, outline []layer.Layer) {
	seen := map[int]bool{}
	for _, l := range outline {
		for _, i := range l.Packages {
			seen[i] = true
		}
	}
	for i, r := range receipts {
		if v := p.voucher(arch, r); !seen[i] && v.problem != "" {
			p.fail("package %s: %s", r.ID(), v.problem)
		}
	}
}

// compareLayer compares one layer with the derived one.
func (p *prover) compareLayer(ctx context.Context, l *LayerReport, at *position, want *layer.Layer) error {
	var vouchers []string
	for _, i := range want.Packages {
		v := p.voucher(at.planned.Arch.APK, at.receipts[i])
		if v.problem != "" {
			l.Problem = "package " + at.receipts[i].ID() + ": " + v.problem
			return nil
		}
		vouchers = append(vouchers, v.text)
	}
	d := *at.desc
	switch {
	case d.MediaType != types.OCILayer:
		l.Problem = fmt.Sprintf("media type %.100q, expected %q", d.MediaType, types.OCILayer)
		return nil
	case at.planned.Layers.NeedsPackages():
		return p.apkoLayer(ctx, l, at, want)
	case want.Kind != layer.Verbatim:
		return p.derivedLayer(ctx, l, at, want, len(vouchers))
	}
	r := at.receipts[want.Packages[0]]
	if d.Digest != want.Digest || d.Size != want.Size {
		l.Problem = fmt.Sprintf("found %s of %d bytes, expected the data section of %s: %s of %d bytes", d.Digest, d.Size, r.ID(), want.Digest, want.Size)
		return nil
	}
	l.Proof = "is the data section of " + r.ID() + ", " + vouchers[0]
	if p.options.Full {
		return p.receipt(ctx, l, d, r)
	}
	return nil
}

// derivedLayer reads a layer that is no package as it is, and compares it with
// what the plan makes of it.
func (p *prover) derivedLayer(ctx context.Context, l *LayerReport, at *position, want *layer.Layer, packages int) error {
	tar, err := p.inflated(ctx, l, *at.desc, func(tar io.Reader) error { return at.planned.Layers.Check(at.n, tar) })
	if err != nil || l.Problem != "" {
		return err
	}
	want.Digest, want.Size = at.desc.Digest, at.desc.Size
	want.DiffID, want.Inflated = tar.DiffID, tar.Size
	switch want.Kind {
	case layer.Top, layer.App:
		l.Proof = "derived again from configuration, lock and receipts: equal, byte for byte"
	default:
		l.Proof = fmt.Sprintf("derived again from the receipts of %d packages, each vouched for: equal", packages)
		if parts := at.planned.Tree.Parts(want.Packages); parts != "" {
			l.Proof += "; " + parts
		}
	}
	return nil
}

// inflated reads a layer and lets check read what it inflates to; what check finds
// is a problem of the layer.
func (p *prover) inflated(ctx context.Context, l *LayerReport, d v1.Descriptor, check func(tar io.Reader) error) (rebuild.Tar, error) {
	tar, err := p.carried.Inflate(ctx, d, check)
	if rebuild.IsFinding(err) {
		l.Problem = err.Error()
		return tar, nil
	}
	return tar, err
}
