package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Limits on what is read, in bytes.
const (
	maxConfig   = 16 << 20
	maxLayer    = 16 << 30 // inflated
	maxInflated = 64 << 30 // of all layers, whatever the number of kits
)

// maxImages is the number of images that an index may have.
const maxImages = 64

// prover is one try at a proof, with one kit.
type prover struct {
	img     *counter
	options Options
	report  *Report

	kit      *kit.Kit
	config   *config.Config
	vouched  map[packageKey]voucher
	children []child // of the image index, in its order
	derived  *assemble.Derivation
	fetched  map[int]bool // by position in derived.Planned: readOthers was there
	unread   int          // packages whose receipts Full could not derive again
	// lost is the error of reading a blob for something that does not pass it on.
	lost error
}

// packageKey is the control section of a package of an architecture.
type packageKey struct {
	arch    string
	control apk.SHA1
}

// child is one image of the index, as it is.
type child struct {
	desc        v1.Descriptor
	rawManifest []byte
	rawConfig   []byte
	manifest    *v1.Manifest
	config      *v1.ConfigFile
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
	raw, err := p.readChildren(ctx, subject)
	if err != nil {
		return err
	}
	if p.derived, err = p.derive(ctx); err != nil {
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
		if err := p.compare(ctx, written, raw); err != nil {
			return err
		}
	}
	p.report.Unsafe = p.derived.Unsafe()
	p.restsOn()
	return nil
}

// readChildren reads the manifests and configurations of the image index, for the
// architectures that the kit is for; others are not explained.
func (p *prover) readChildren(ctx context.Context, subject v1.Descriptor) ([]byte, error) {
	raw, _, err := p.img.Manifest(ctx, subject.Digest)
	if err != nil {
		return nil, err
	}
	if !subject.MediaType.IsIndex() {
		return nil, finding{fmt.Errorf("%s: media type %q, expected an image index", subject.Digest, subject.MediaType)}
	}
	index, err := decode[v1.IndexManifest]("image index", raw)
	if err != nil {
		return nil, err
	}
	if n := len(index.Manifests); n > maxImages {
		return nil, finding{fmt.Errorf("image index: %d images, expected at most %d", n, maxImages)}
	}
	wanted := p.platforms()
	for _, d := range index.Manifests {
		at := slices.IndexFunc(wanted, func(w v1.Platform) bool { return d.Platform != nil && d.Platform.Equals(w) })
		if at < 0 {
			p.fail("image %s: not explained: the kit is for %v", d.Digest, p.kit.Settings.Architectures)
			continue
		}
		wanted = slices.Delete(wanted, at, at+1)
		c := child{desc: d}
		if c.rawManifest, _, err = p.img.Manifest(ctx, d.Digest); err != nil {
			return nil, err
		}
		if c.manifest, err = decode[v1.Manifest]("manifest "+d.Digest.String(), c.rawManifest); err != nil {
			return nil, err
		}
		if c.rawConfig, err = p.img.Blob(ctx, c.manifest.Config, maxConfig); err != nil {
			return nil, err
		}
		if c.config, err = decode[v1.ConfigFile]("configuration "+c.manifest.Config.Digest.String(), c.rawConfig); err != nil {
			return nil, err
		}
		p.children = append(p.children, c)
	}
	return raw, nil
}

// platforms are those that the kit says it is for.
func (p *prover) platforms() []v1.Platform {
	var out []v1.Platform
	for _, name := range p.kit.Settings.Architectures {
		if arch, ok := config.ParseArch(name); ok {
			out = append(out, *arch.OCI().ToOCIPlatform())
		}
	}
	return out
}

// derive plans the image again from the kit.
func (p *prover) derive(ctx context.Context) (*assemble.Derivation, error) {
	var err error
	if p.config, err = p.kit.Load(); err != nil {
		return nil, finding{fmt.Errorf("kit: %w", err)}
	}
	src := &source{Held: packages.NewHeld(p.kit.Keys), p: p}
	for i := range p.kit.Packages {
		src.Add(p.kit.Packages[i].Arch, p.kit.Packages[i].Receipt)
	}
	o := assemble.OptionsOf(p.kit)
	if err := p.giveLayers(ctx, o.Bases); err != nil {
		return nil, finding{fmt.Errorf("kit: %w", err)}
	}
	d, err := assemble.Derive(ctx, src, p.config, o)
	if p.lost != nil {
		return nil, p.lost
	}
	if err != nil {
		return nil, finding{fmt.Errorf("derive: %w", err)}
	}
	return d, nil
}

// images proves the layers of every architecture. What it returns are the layers
// to make the manifests from; complete is false where that makes no sense.
func (p *prover) images(ctx context.Context) (written [][]layer.Layer, complete bool, err error) {
	complete = len(p.report.Problems) == 0 // an image that is not explained
	used := make([]bool, len(p.children))
	for i := range p.derived.Planned {
		planned := &p.derived.Planned[i]
		n := p.childFor(planned)
		if n < 0 {
			p.fail("%s: no image for this architecture", planned.Arch)
			complete = false
			continue
		}
		used[n] = true
		layers, ok, err := p.layers(ctx, i, &p.children[n])
		if err != nil {
			return nil, false, err
		}
		complete = complete && ok
		written = append(written, layers)
	}
	for n, c := range p.children {
		if !used[n] {
			p.fail("image %s: not explained: the kit is for %v", c.desc.Digest, p.kit.Settings.Architectures)
			complete = false
		}
	}
	return written, complete, nil
}

// childFor finds the image of a planned architecture.
func (p *prover) childFor(planned *assemble.Planned) int {
	want := planned.Arch.OCI().ToOCIPlatform()
	return slices.IndexFunc(p.children, func(c child) bool {
		return c.desc.Platform != nil && c.desc.Platform.Equals(*want)
	})
}

// compare makes manifests, configurations and image index again and compares
// them byte for byte.
func (p *prover) compare(ctx context.Context, written [][]layer.Layer, raw []byte) error {
	index, err := p.derived.Index(ctx, written)
	if err != nil {
		return finding{fmt.Errorf("derive: %w", err)}
	}
	for i, planned := range p.derived.Planned {
		c := &p.children[p.childFor(&p.derived.Planned[i])]
		img, err := imageFor(index, c)
		if err != nil {
			return finding{fmt.Errorf("%s: %w", planned.Arch, err)}
		}
		config, err := img.RawConfigFile()
		if err != nil {
			return err
		}
		manifest, err := img.RawManifest()
		if err != nil {
			return err
		}
		p.same(planned.Arch.String()+": configuration", c.rawConfig, config)
		p.same(planned.Arch.String()+": manifest", c.rawManifest, manifest)
	}
	want, err := index.RawManifest()
	p.same("image index", raw, want)
	return err
}

// imageFor finds the derived image of the same platform.
func imageFor(index *image.Index, c *child) (*image.Image, error) {
	for _, img := range index.Images() {
		if platform := img.Platform(); platform.Equals(*c.desc.Platform) {
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
	p.fail("%s: %s", what, difference(found, expected))
}
