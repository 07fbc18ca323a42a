package assemble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/receipts"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/store"
)

// PublishOptions say where an image is published.
type PublishOptions struct {
	// References name repositories, each with the tag that the image gets there:
	// "registry.example/team/app:1". Layouts ("dir/") can be among them.
	References []string
	Registry   target.Options
	// MountFrom are further repositories ("host/name") that may have the layers: a
	// registry is asked to mount them from there.
	MountFrom []string
	// Receipts stores the packages' receipts beside the image, and what its layers
	// are made of, so that FromReceipts finds them. An image of a layout has none.
	Receipts bool
	// FromReceipts makes do without the packages' data where it can: receipts of
	// packages that the store does not have are looked for in References and
	// MountFrom, and so are data sections and layers that were made of several. The
	// build needs a lock, which pins the receipts. It implies Receipts. Only Publish
	// heeds it.
	FromReceipts bool
	// Built is called with an image that Publish built, before anything is stored.
	// Optional.
	Built func(r *Result) error
	// Attach is called for each repository when all of the image is there under
	// its digest, and before a tag moves: to sign it, for example. Optional.
	Attach func(ctx context.Context, image string) error
	// Progress is told what is being done. Optional.
	Progress func(what string)
}

// Published says what became of one reference.
type Published struct {
	// Reference is the image by its digest; Tag what names it there.
	Reference string  `json:"reference"`
	Tag       string  `json:"tag,omitempty"`
	Digest    v1.Hash `json:"digest"`
	// Before is what the tag named until then, if anything.
	Before   string          `json:"before,omitempty"`
	Transfer target.Transfer `json:"transfer"`
	// Receipts is how many receipts and descriptions of layers were stored.
	Receipts int `json:"receipts,omitempty"`
}

// Check refuses references that cannot be published to, before anything is done.
func (o *PublishOptions) Check() error {
	if len(o.References) == 0 {
		return errors.New("publish: no reference")
	}
	var problems []error
	seen := map[string]bool{}
	for _, name := range o.References {
		ref, err := target.Parse(name)
		switch _, pinned := ref.Digest(); {
		case err != nil:
			problems = append(problems, err)
		case pinned:
			problems = append(problems, fmt.Errorf("reference %s: %w: it has a digest, expected a tag: the digest follows from the image", name, target.ErrReference))
		case seen[ref.String()]:
			problems = append(problems, fmt.Errorf("reference %s: %w: it stands twice", name, target.ErrReference))
		default:
			seen[ref.String()] = true
			if !ref.IsLayout() {
				problems = append(problems, image.ValidateTag(name))
			}
		}
	}
	return errors.Join(problems...)
}

// Publish builds an image and stores it under every reference: blobs, manifests,
// what belongs to it (the rebuild kit, where o asks for one), and the tags when
// all of that is everywhere. Nothing is sent that a repository has. When it
// fails, no tag has moved, and the same call goes on where this one stopped.
func Publish(ctx context.Context, ws *packages.Workspace, cfg *config.Config, o Options, p PublishOptions) (*Result, []Published, error) {
	if err := p.Check(); err != nil {
		return nil, nil, err
	}
	r, err := p.build(ctx, ws, cfg, o)
	if err != nil {
		return nil, nil, err
	}
	if p.Built != nil {
		if err := p.Built(r); err != nil {
			return r, nil, err
		}
	}
	list, err := r.Publish(ctx, p)
	return r, list, err
}

// build builds from packages, or from receipts.
func (o *PublishOptions) build(ctx context.Context, ws *packages.Workspace, cfg *config.Config, b Options) (*Result, error) {
	if !o.FromReceipts {
		return Build(ctx, ws, cfg, b)
	}
	if err := pinned(b.Lock); err != nil {
		return nil, err
	}
	places, err := o.places(ctx)
	if err != nil {
		return nil, err
	}
	e := &elsewhere{fromWorkspace: fromWorkspace{ws}, places: places}
	return build(ctx, ws, e, e, cfg, b)
}

// places are the repositories in which receipts and layers are looked for.
func (o *PublishOptions) places(ctx context.Context) ([]*target.Target, error) {
	var out []*target.Target
	for _, name := range slices.Concat(o.References, o.MountFrom) {
		ref, err := target.Parse(name)
		if err != nil {
			return nil, err
		}
		options := o.Registry
		options.Create = true
		t, err := target.Open(ctx, ref, options)
		if err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

// Publish stores a built image; see the function of that name.
func (r *Result) Publish(ctx context.Context, p PublishOptions) ([]Published, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	blobs, manifests, err := target.Content(r.Index)
	if err != nil {
		return nil, err
	}
	var more []target.Artifact
	if r.Kit != nil {
		a, err := r.Kit.Artifact()
		if err != nil {
			return nil, err
		}
		kit := target.Artifact{Manifest: a.Manifest, MediaType: a.Descriptor.MediaType}
		for i := range a.Blobs {
			kit.Blobs = append(kit.Blobs, a.Blobs[i].Bytes)
		}
		more = append(more, kit)
	}
	return p.publish(ctx, r.Digest, blobs, manifests, func(ctx context.Context, t *target.Target, to *Published) error {
		if _, err := t.PushAll(ctx, more); err != nil {
			return err
		}
		if p.Receipts || p.FromReceipts {
			return r.pushReceipts(ctx, t, to)
		}
		return nil
	})
}

// pushReceipts stores receipts and what layers were made of.
func (r *Result) pushReceipts(ctx context.Context, t *target.Target, to *Published) error {
	var list []*store.Receipt
	for _, j := range r.jobs {
		list = append(list, j.receipts...)
	}
	n, err := receipts.Push(ctx, t, list)
	to.Receipts += n
	for _, j := range r.jobs {
		if err != nil {
			return err
		}
		n, err = receipts.PushLayers(ctx, t, j.layers, j.written)
		to.Receipts += n
	}
	return err
}

// place is a reference that is being published to.
type place struct {
	target *target.Target
	result Published
}

// publish stores content everywhere and then moves the tags. beside stores what
// belongs to the image.
func (o *PublishOptions) publish(ctx context.Context, digest v1.Hash, blobs []target.Blob, manifests []target.Manifest,
	beside func(context.Context, *target.Target, *Published) error) ([]Published, error) {
	say := func(format string, args ...any) {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf(format, args...))
		}
	}
	var places []*place
	had := slices.Clone(o.MountFrom) // and repositories that have it all by now
	for _, name := range o.References {
		ref, err := target.Parse(name)
		if err != nil {
			return nil, err
		}
		options := o.Registry
		options.Create = true
		t, err := target.Open(ctx, ref, options)
		if err != nil {
			return nil, err
		}
		p := &place{target: t, result: Published{Reference: ref.WithDigest(digest).String(), Tag: ref.Tag(), Digest: digest}}
		say("storing %s", ref)
		list := make([]target.Blob, len(blobs))
		for i, b := range blobs {
			b.From = append(b.From[:len(b.From):len(b.From)], had...)
			list[i] = b
		}
		if p.result.Transfer, err = t.Store(ctx, list, manifests); err != nil {
			return nil, err
		}
		if err := beside(ctx, t, &p.result); err != nil {
			return nil, err
		}
		if !ref.IsLayout() {
			had = append(had, t.Repository())
		}
		if o.Attach != nil {
			if err := o.Attach(ctx, p.result.Reference); err != nil {
				return nil, err
			}
		}
		places = append(places, p)
	}
	var out []Published
	for _, p := range places {
		if p.result.Tag != "" {
			say("tagging %s", p.target.Ref())
			before, err := p.target.Tag(ctx, p.result.Tag, manifests[len(manifests)-1])
			if err != nil {
				return out, err
			}
			if before != (v1.Hash{}) && before != digest {
				p.result.Before = before.String()
			}
		}
		out = append(out, p.result)
	}
	return out, nil
}

// PublishLayout stores an image of an OCI layout, or of another registry, under
// every reference, with everything that refers to it, and with what refers to
// that: signatures and attestations in both formats, kits, SBOMs. Nothing is sent
// that is there. The tags move last.
func PublishLayout(ctx context.Context, from string, o PublishOptions) ([]Copied, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	ref, err := target.Parse(from)
	if err != nil {
		return nil, err
	}
	src, err := target.Open(ctx, ref, o.Registry)
	if err != nil {
		return nil, err
	}
	root, err := src.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	blobs, manifests, err := src.Contents(ctx, root.Digest)
	if err != nil {
		return nil, err
	}
	around, err := attachments(ctx, src, manifests)
	if err != nil {
		return nil, err
	}
	list, err := o.publish(ctx, root.Digest, blobs, manifests, around.store)
	var out []Copied
	for _, p := range list {
		out = append(out, Copied{p, len(around.list)})
	}
	return out, err
}

// Copied says what was copied.
type Copied struct {
	Published
	// Attached is how many signatures, attestations and other referrers came along.
	Attached int `json:"attached"`
}

// Copy copies an image with everything that refers to it from a registry or
// layout to another; see [PublishLayout]. Without a tag in the destination none
// moves.
func Copy(ctx context.Context, from, to string, o PublishOptions) (*Copied, error) {
	o.References = []string{to}
	list, err := PublishLayout(ctx, from, o)
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// attached is everything that refers to an image.
type attached struct {
	blobs []target.Blob
	list  []attachment
}

// attachment is a manifest that belongs to another one.
type attachment struct {
	manifests []target.Manifest // itself last
	tag       string            // of cosign's old form; empty for a referrer
}

// maxAttached bounds how much of an image is copied along with it.
const maxAttached = 4096

// suffixes are those of cosign's tags.
var suffixes = []string{".sig", ".att", ".sbom"}

// attachments finds what refers to the manifests, and to what does.
func attachments(ctx context.Context, t *target.Target, manifests []target.Manifest) (*attached, error) {
	a := &attached{}
	seen := map[v1.Hash]bool{}
	var queue []v1.Hash
	for i := len(manifests) - 1; i >= 0; i-- { // the image first
		seen[manifests[i].Digest()] = true
		queue = append(queue, manifests[i].Digest())
	}
	for len(queue) > 0 {
		subject := queue[0]
		queue = queue[1:]
		add := func(digest v1.Hash, tag string) error {
			if seen[digest] && tag == "" {
				return nil
			}
			if len(a.list) >= maxAttached {
				return fmt.Errorf("%s: more than %d signatures and other referrers: %w", t.Ref(), maxAttached, target.ErrLimit)
			}
			blobs, list, err := t.Contents(ctx, digest)
			if err != nil {
				return err
			}
			a.blobs = append(a.blobs, blobs...)
			a.list = append(a.list, attachment{list, tag})
			for _, m := range list {
				if !seen[m.Digest()] {
					seen[m.Digest()] = true
					queue = append(queue, m.Digest())
				}
			}
			return nil
		}
		for _, suffix := range suffixes {
			tag := subject.Algorithm + "-" + subject.Hex + suffix
			d, err := t.Tagged(ctx, tag)
			if errors.Is(err, target.ErrNotFound) {
				continue
			}
			if err == nil {
				err = add(d.Digest, tag)
			}
			if err != nil {
				return nil, err
			}
		}
		list, err := t.Referrers(ctx, subject)
		if err != nil && !errors.Is(err, target.ErrNotFound) {
			return nil, err
		}
		for _, d := range list {
			if err := add(d.Digest, ""); err != nil {
				return nil, err
			}
		}
	}
	return a, nil
}

// store stores what is attached: all blobs, then manifests and tags in the order
// in which they were found, what is referred to first. A tag with signatures that
// the source does not have is an error: they would be lost.
func (a *attached) store(ctx context.Context, t *target.Target, to *Published) error {
	var manifests []target.Manifest
	for i := range a.list {
		manifests = append(manifests, a.list[i].manifests...)
	}
	if len(manifests) == 0 {
		return nil
	}
	for i := range a.list {
		if err := a.list[i].free(ctx, t); err != nil {
			return err
		}
	}
	n, err := t.Store(ctx, a.blobs, manifests)
	if err != nil {
		return err
	}
	to.Transfer.Add(n)
	for i := range a.list {
		if at := &a.list[i]; at.tag != "" {
			if _, err := t.Tag(ctx, at.tag, at.manifests[len(at.manifests)-1]); err != nil {
				return err
			}
		}
	}
	return nil
}

// free makes sure that moving a tag of signatures loses none.
func (a *attachment) free(ctx context.Context, t *target.Target) error {
	if a.tag == "" {
		return nil
	}
	d, err := t.Tagged(ctx, a.tag)
	if errors.Is(err, target.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	want := a.manifests[len(a.manifests)-1]
	if d.Digest == want.Digest() {
		return nil
	}
	raw, _, err := t.Manifest(ctx, d.Digest)
	if err != nil {
		return err
	}
	if n := lost(raw, want.Raw); n != 0 {
		return fmt.Errorf("%s: tag %s: names %s with %d signatures that the source does not have: %w\nhint: copy that image the other way first, or delete the tag",
			t.Ref(), a.tag, d.Digest, n, target.ErrChanged)
	}
	return nil
}

// lost counts the layers of a manifest of signatures that another one does not
// have with the same annotations. What cannot be read counts as one.
func lost(raw, other []byte) int {
	var have, want v1.Manifest
	if json.Unmarshal(raw, &have) != nil || json.Unmarshal(other, &want) != nil {
		return 1
	}
	n := 0
	for _, l := range have.Layers {
		if !slices.ContainsFunc(want.Layers, func(o v1.Descriptor) bool { return o.Digest == l.Digest && maps.Equal(o.Annotations, l.Annotations) }) {
			n++
		}
	}
	return n
}
