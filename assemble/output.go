package assemble

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
)

// images makes the image of each architecture and the index over them.
func (b *builder) images(context.Context) error {
	settings, err := image.SettingsOf(b.cfg)
	if err != nil {
		return err
	}
	var all []*image.Image
	for _, j := range b.jobs {
		if err := b.image(j, settings); err != nil {
			return err
		}
		all = append(all, j.image)
		if j.created.After(b.result.Created) {
			b.result.Created = j.created
		}
	}
	b.result.Index, err = image.NewIndex(all, image.IndexInput{
		Settings: settings, Created: b.result.Created, Unsafe: b.result.Unsafe, ArtifactTypes: b.options.Compat == compatApko,
	})
	if err != nil {
		return err
	}
	b.result.Digest, err = b.result.Index.Digest()
	return err
}

func (b *builder) image(j *job, settings image.Settings) error {
	comments := make([]string, len(j.written))
	for i := range j.written {
		comments[i] = j.layers.Comment(i)
	}
	settings.User = j.tree.User
	in := image.Input{
		Layers: j.written, Comments: comments, Arch: j.arch.OCI(), Settings: settings,
		Created: j.created, Author: b.options.Author, Unsafe: b.result.Unsafe,
	}
	all := j.written
	if j.base != nil {
		in.Base, in.Settings.BaseName, in.Settings.BaseDigest = j.base.Image, j.base.Name, j.base.Digest.String()
		all = slices.Concat(j.base.Layers, j.written)
	}
	if j.compat == compatApko {
		asApko(&in)
	}
	var err error
	if j.image, err = image.New(in); err != nil {
		return err
	}
	r := ImageResult{Arch: j.arch.String(), Packages: len(j.receipts), Files: len(j.tree.Entries), Layers: all, Kinds: map[string]int{}}
	if r.Digest, err = j.image.Digest(); err != nil {
		return err
	}
	for _, l := range all {
		r.Kinds[string(l.Kind)]++
		r.Size += l.Size
		r.Inflated += l.Inflated
		if l.Kind == layer.Verbatim || l.Kind == layer.Base {
			r.Reused += l.Size
		}
	}
	b.result.Images = append(b.result.Images, r)
	for _, w := range j.tree.Warnings {
		if !slices.Contains(b.result.Warnings, w) {
			b.result.Warnings = append(b.result.Warnings, w)
		}
	}
	return nil
}

// outputs writes what was asked for; every output is complete or not there.
func (b *builder) outputs(ctx context.Context) error {
	tags, err := b.refs()
	if err != nil {
		return err
	}
	for _, s := range b.options.Outputs {
		out, err := image.ParseOutputIn(b.options.Dir, s)
		if err != nil {
			return err
		}
		o := image.WriteOptions{Tags: tags, Trusted: true, Engine: image.EngineFromEnvironment(os.Getenv)}
		if out.Kind.HoldsArtifacts() {
			o.Artifacts = b.artifacts
		}
		written, err := image.Write(ctx, out, b.result.Index, o)
		if err != nil {
			return err
		}
		if n := written.Dropped; n > 0 {
			b.result.Warnings = append(b.result.Warnings,
				fmt.Sprintf("%s: what was attached to the image before is there no more: %d, such as signatures", out, n))
		}
		b.result.Outputs = append(b.result.Outputs, out.String())
	}
	return nil
}

// refs are the tags, parsed.
func (b *builder) refs() ([]image.Ref, error) {
	var out []image.Ref
	for _, t := range b.options.Tags {
		ref, err := image.ParseTag(t)
		if err != nil {
			return nil, err
		}
		out = append(out, ref)
	}
	return out, nil
}
