package proof

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/store"
)

// layers proves the layers of one image. The layers it returns are the derived
// ones, with the digests of those that had to be read; ok is false when they are
// not the image's.
func (p *prover) layers(ctx context.Context, i int, c *child) (_ []layer.Layer, ok bool, err error) {
	planned := &p.derived.Planned[i]
	receipts := p.derived.Receipts(i)
	outline := planned.Layers.Outline()
	r := ImageReport{Arch: planned.Arch.String(), Digest: c.desc.Digest, Layers: []LayerReport{}}
	ok = true
	for n := range max(len(outline), len(c.manifest.Layers)) {
		l := &LayerReport{}
		switch {
		case n >= len(c.manifest.Layers):
			l.Kind, l.Packages = string(outline[n].Kind), names(receipts, outline[n].Packages)
			l.Problem = "missing"
		case n >= len(outline):
			l.Digest = c.manifest.Layers[n].Digest
			l.Problem = fmt.Sprintf("not explained: %d layers were derived", len(outline))
		default:
			l.Digest = c.manifest.Layers[n].Digest
			l.Kind, l.Packages = string(outline[n].Kind), names(receipts, outline[n].Packages)
			before := p.img.n
			if err := p.layer(ctx, l, planned, n, &outline[n], c, receipts); err != nil {
				return nil, false, err
			}
			l.Read = p.img.n - before
		}
		if l.Problem != "" {
			ok = false
			p.fail("%s: layer %d (%s): %s", r.Arch, n, l.name(), l.Problem)
		}
		r.Layers = append(r.Layers, *l)
	}
	p.unseen(planned.Arch.APK, receipts, outline)
	p.report.Images = append(p.report.Images, r)
	return outline, ok, nil
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
		if v := p.vouched[packageKey{arch, r.Package.Checksum}]; !seen[i] && v.problem != "" {
			p.fail("package %s: %s", r.ID(), v.problem)
		}
	}
}

// layer proves one layer.
func (p *prover) layer(ctx context.Context, l *LayerReport, planned *assemble.Planned, n int, want *layer.Layer, c *child, receipts []*store.Receipt) error {
	var vouchers []string
	for _, i := range want.Packages {
		v := p.vouched[packageKey{planned.Arch.APK, receipts[i].Package.Checksum}]
		if v.problem != "" {
			l.Problem = "package " + receipts[i].ID() + ": " + v.problem
			return nil
		}
		vouchers = append(vouchers, v.text)
	}
	d := c.manifest.Layers[n]
	if d.MediaType != types.OCILayer {
		l.Problem = fmt.Sprintf("media type %.100q, expected %q", d.MediaType, types.OCILayer)
		return nil
	}
	if want.Kind == layer.Verbatim {
		r := receipts[want.Packages[0]]
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
	return p.derivedLayer(ctx, l, planned.Layers, n, want, d, len(vouchers))
}

// derivedLayer reads a layer that is no package as it is, and compares it with
// what the plan makes of it.
func (p *prover) derivedLayer(ctx context.Context, l *LayerReport, plan *layer.Plan, n int, want *layer.Layer, d v1.Descriptor, packages int) (err error) {
	rc, err := p.img.OpenBlob(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	blob := &tee{r: rc}
	z, err := gzip.NewReader(blob)
	if err != nil {
		return p.unreadable(l, blob, err)
	}
	tar := &hashed{r: io.LimitReader(z, maxLayer), sum: sha256.New()}
	if err := plan.Check(n, tar); err != nil {
		if blob.err != nil {
			return blob.err
		}
		l.Problem = err.Error()
		return nil
	}
	if _, err := io.Copy(io.Discard, blob); err != nil { // its digest is checked at the end
		return err
	}
	want.Digest, want.Size = d.Digest, d.Size
	want.DiffID, want.Inflated = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(tar.sum.Sum(nil))}, tar.n
	switch want.Kind {
	case layer.Top:
		l.Proof = "derived again from configuration, lock and receipts: equal, byte for byte"
	default:
		l.Proof = fmt.Sprintf("derived again from the receipts of %d packages, each vouched for: equal", packages)
	}
	return nil
}

// unreadable tells a bad layer from one that could not be read.
func (p *prover) unreadable(l *LayerReport, blob *tee, err error) error {
	if blob.err != nil {
		return blob.err
	}
	l.Problem = "not gzip: " + err.Error()
	return nil
}

// tee remembers the error of reading, as opposed to those of what is read.
type tee struct {
	r   io.Reader
	err error
}

func (t *tee) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err != nil && err != io.EOF {
		t.err = err
	}
	return n, err
}

// hashed hashes and counts what is read.
type hashed struct {
	r   io.Reader
	sum hash.Hash
	n   int64
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}
