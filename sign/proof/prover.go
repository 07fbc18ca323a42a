package proof

import (
	"bytes"
	"context"
	"errors"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/packages/apk"
)

// prover is one try at a proof, with one kit.
type prover struct {
	img     *counter
	options Options
	report  *Report

	kit     *kit.Kit
	config  *config.Config
	vouched map[packageKey]voucher
	carried *rebuild.Carried // the image, as it is
	derived *assemble.Derivation
	fetched map[int]bool // by position in derived.Planned: readOthers was there
	unread  int          // packages whose receipts Full could not derive again
}

// packageKey is the control section of a package of an architecture.
type packageKey struct {
	arch    string
	control apk.SHA1
}

// prove goes from the kit to the image. Problems of single layers are noted and
// the proof goes on; an error ends it.
func (p *prover) prove(ctx context.Context, subject v1.Descriptor) error {
	var err error
	if p.kit, err = kit.ReadLocked(ctx, p.img, p.report.Kit, subject.Digest, p.options.Lock); err != nil {
		return err
	}
	p.report.Config, p.report.Settings = p.kit.ConfigDigest(), &p.kit.Settings
	if p.kit.Lock.Cairn != nil {
		p.report.Lock = p.kit.Lock.Cairn.Digest
	}
	if err := p.checkConfig(); err != nil {
		return err
	}
	p.vouch()
	if p.carried, err = rebuild.Open(ctx, p.img, subject, p.kit, &p.img.inflated); err != nil {
		return err
	}
	for _, d := range p.carried.Unexplained {
		p.fail("image %s: not explained: the kit is for %v", d.Digest, p.kit.Settings.Architectures)
	}
	if p.config, p.derived, err = p.carried.Derive(ctx); err != nil {
		return err
	}
	written, complete, err := p.images(ctx)
	if err != nil {
		return err
	}
	if err := p.readAll(ctx); err != nil {
		return err
	}
	if complete {
		if err := p.compare(ctx, written); err != nil {
			return err
		}
	}
	p.report.Unsafe = p.derived.Unsafe()
	p.restsOn()
	return nil
}

// images proves the layers of every architecture. What it returns are the layers
// to make the manifests from; complete is false where that makes no sense.
func (p *prover) images(ctx context.Context) (written [][]layer.Layer, complete bool, err error) {
	complete = len(p.report.Problems) == 0 // an image that is not explained
	used := make([]bool, len(p.carried.Children))
	for i := range p.derived.Planned {
		planned := &p.derived.Planned[i]
		n := p.carried.ChildFor(planned)
		if n < 0 {
			p.fail("%s: no image for this architecture", planned.Arch)
			complete = false
			continue
		}
		used[n] = true
		layers, ok, err := p.layers(ctx, i, &p.carried.Children[n])
		if err != nil {
			return nil, false, err
		}
		complete = complete && ok
		written = append(written, layers)
	}
	for n, c := range p.carried.Children {
		if !used[n] {
			p.fail("image %s: not explained: the kit is for %v", c.Descriptor.Digest, p.kit.Settings.Architectures)
			complete = false
		}
	}
	return written, complete, nil
}

// compare makes manifests, configurations and image index again and compares
// them byte for byte.
func (p *prover) compare(ctx context.Context, written [][]layer.Layer) error {
	index, err := p.derived.Index(ctx, written)
	if err != nil {
		return rebuild.Findingf("derive: %w", err)
	}
	for i, planned := range p.derived.Planned {
		c := &p.carried.Children[p.carried.ChildFor(&p.derived.Planned[i])]
		img, err := imageFor(index, c)
		if err != nil {
			return rebuild.Findingf("%s: %w", planned.Arch, err)
		}
		config, err := img.RawConfigFile()
		if err != nil {
			return err
		}
		manifest, err := img.RawManifest()
		if err != nil {
			return err
		}
		p.same(planned.Arch.String()+": configuration", c.RawConfig, config)
		p.same(planned.Arch.String()+": manifest", c.RawManifest, manifest)
	}
	want, err := index.RawManifest()
	p.same("image index", p.carried.Index, want)
	return err
}

// imageFor finds the derived image of the same platform.
func imageFor(index *image.Index, c *rebuild.Child) (*image.Image, error) {
	for _, img := range index.Images() {
		if platform := img.Platform(); platform.Equals(*c.Descriptor.Platform) {
			return img, nil
		}
	}
	return nil, errors.New("no image derived")
}

// same notes the first difference of two JSON documents. Where another one is
// the cause, as a configuration is for its manifest, that is noted already.
func (p *prover) same(what string, found, expected []byte) {
	if bytes.Equal(found, expected) {
		return
	}
	p.fail("%s: %s", what, rebuild.Difference(found, expected))
}
