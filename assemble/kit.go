package assemble

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/repository"
)

func holdsKit(output string) bool {
	out, err := image.ParseOutput(output)
	return err == nil && out.Kind.HoldsArtifacts()
}

// kit makes the rebuild kit.
func (b *builder) kit(ctx context.Context) error {
	in := kit.Input{
		Config: b.cfg, Lock: b.lock, RawIndex: b.ws.RawIndex,
		Version: b.options.Version, Created: b.options.Created, Author: b.options.Author, Compat: b.options.Compat,
		Weights: b.options.Weights, Unsafe: kit.Unsafe(b.options.Unsafe),
	}
	var err error
	if in.Keys, err = b.moreKeys(ctx); err != nil {
		return err
	}
	size, err := b.result.Index.Size()
	if err != nil {
		return err
	}
	in.Subject = v1.Descriptor{MediaType: types.OCIImageIndex, Digest: b.result.Digest, Size: size}
	for _, j := range b.jobs {
		if j.base != nil {
			in.Bases = append(in.Bases, kit.Base{Arch: j.arch.APK, Image: j.base})
		}
		for _, r := range j.receipts {
			in.Packages = append(in.Packages, kit.Package{Arch: j.arch.APK, Receipt: r})
		}
	}
	if b.result.Kit, err = kit.New(ctx, in); err != nil {
		return err
	}
	a, err := b.result.Kit.Artifact()
	if err != nil {
		return err
	}
	b.result.KitDigest = a.Descriptor.Digest.String()
	written := image.Artifact{Descriptor: a.Descriptor, Blobs: [][]byte{a.Manifest}}
	for i := range a.Blobs {
		written.Blobs = append(written.Blobs, a.Blobs[i].Bytes)
	}
	b.artifacts = append(b.artifacts, written)
	return nil
}

// moreKeys are the keys of the configuration where a lock that apko wrote names
// them only.
func (b *builder) moreKeys(ctx context.Context) ([]repository.Key, error) {
	for _, k := range b.lock.Contents.Keyring {
		if k.Content == "" {
			return b.source.Keys(ctx, b.cfg.Keyring())
		}
	}
	if b.lock.Cairn == nil {
		return b.source.Keys(ctx, b.cfg.Keyring())
	}
	return nil, nil
}

// OptionsOf are the options that a kit's image was built with, for [Derive]. To
// build the image again, its base images, which are without layers in a kit, need
// some: see [baseimage.Base.WithLayers].
func OptionsOf(k *kit.Kit) Options {
	s := &k.Settings
	o := Options{Lock: k.Lock, Created: s.Created, Author: s.Author, Compat: s.Compat, Weights: s.Weights,
		Unsafe: Unsafe(s.Unsafe), Version: s.Cairn}
	for _, b := range k.Bases {
		if o.Bases == nil {
			o.Bases = map[string]*baseimage.Base{}
		}
		o.Bases[b.Arch] = b.Image
	}
	return o
}
