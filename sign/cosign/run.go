package cosign

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/empty"
	"github.com/sigstore/cosign/v2/pkg/oci/mutate"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/assemble/target"
)

// writeAttempts is how often signatures are added to a tag that others write
// to at the same time.
const writeAttempts = 4

// Run signs the jobs and writes what is missing. Nothing is written before
// everything is signed and verified; then the blobs go first, for each image
// the legacy form before the bundles, and a layout gets all at once. An
// IncompleteError says what is where when writing fails half-way.
//
// The outcomes are in the order of the jobs, the legacy form first.
func (s *Signer) Run(ctx context.Context, t *target.Target, jobs []Job, f Format) ([]Outcome, error) {
	r := &run{signer: s, target: t, format: f, jobs: jobs, found: map[v1.Hash]*existing{}}
	if err := r.read(ctx); err != nil {
		return nil, err
	}
	if err := r.sign(ctx); err != nil {
		return nil, err
	}
	if err := r.write(ctx); err != nil {
		return nil, err
	}
	return r.outcomes(), nil
}

// run is one call of Run.
type run struct {
	signer   *Signer
	target   *target.Target
	format   Format
	jobs     []Job
	subjects []v1.Descriptor // in the order of their first job
	found    map[v1.Hash]*existing
	products []*product        // as jobs
	stored   map[string]string // parts that are written: the manifest
}

func (r *run) read(ctx context.Context) error {
	for i := range r.jobs {
		subject := r.jobs[i].Subject
		if r.found[subject.Digest] != nil {
			continue
		}
		e, err := r.signer.read(ctx, r.target, subject.Digest, r.format)
		if err != nil {
			return err
		}
		r.found[subject.Digest] = e
		r.subjects = append(r.subjects, subject)
	}
	return nil
}

// sign makes all products, some at a time: most of the time goes into waiting
// for logs.
func (r *run) sign(ctx context.Context) error {
	r.products = make([]*product, len(r.jobs))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for i := range r.jobs {
		g.Go(func() error {
			p, err := r.product(ctx, &r.jobs[i])
			if err != nil {
				return fmt.Errorf("%s of %s: %w", r.jobs[i].kind(), r.jobs[i].Subject.Digest, err)
			}
			r.products[i] = p
			return nil
		})
	}
	return g.Wait()
}

func (r *run) product(ctx context.Context, j *Job) (*product, error) {
	e := r.found[j.Subject.Digest]
	legacy, bundle := r.format.legacy(), r.format.bundle()
	if legacy {
		x := &e.att
		if j.Image {
			x = &e.sig
		}
		has, err := r.signer.hasLegacy(ctx, r.target, x, j)
		if err != nil {
			return nil, err
		}
		legacy = !has
	}
	return r.signer.make(ctx, j, legacy, bundle && !r.signer.hasBundle(e, j))
}

// part is what one manifest will hold.
type part struct {
	artifact target.Artifact
	keys     []string // of the outcomes
}

// write stores all parts. Tags that others wrote to meanwhile are read again
// and the signatures added to what is there now.
func (r *run) write(ctx context.Context) error {
	r.stored = map[string]string{}
	for attempt := 1; ; attempt++ {
		parts, err := r.parts()
		if err != nil || len(parts) == 0 {
			return err
		}
		err = r.push(ctx, parts)
		if err == nil {
			return nil
		}
		if !errors.Is(err, target.ErrChanged) || attempt == writeAttempts {
			return r.failure(err)
		}
		if err := r.readTags(ctx); err != nil {
			return r.failure(err)
		}
	}
}

func (r *run) push(ctx context.Context, parts []part) error {
	var list []target.Artifact
	for _, p := range parts {
		list = append(list, p.artifact)
	}
	n, err := r.target.PushAll(ctx, list)
	for _, p := range parts[:n] {
		digest := digestOf(p.artifact.Manifest)
		for _, k := range p.keys {
			r.stored[k] = digest
		}
	}
	return err
}

func (r *run) failure(err error) error {
	if len(r.stored) == 0 {
		return fmt.Errorf("nothing was written: %w", err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		// Whoever stopped this knows that; what is where is news, and must not
		// be passed over as no more than a cancelled call.
		err = errors.New(err.Error())
	}
	return &IncompleteError{Outcomes: r.outcomes(), Err: err}
}

// readTags reads the tags again.
func (r *run) readTags(ctx context.Context) error {
	for _, subject := range r.subjects {
		e := r.found[subject.Digest]
		for _, x := range []*tagged{&e.sig, &e.att} {
			if x.tag == "" {
				continue
			}
			again, err := readTagged(ctx, r.target, x.tag)
			if err != nil {
				return err
			}
			*x = again
		}
	}
	return nil
}

// parts lists what is still to be written.
func (r *run) parts() ([]part, error) {
	var out []part
	for _, subject := range r.subjects {
		e := r.found[subject.Digest]
		for _, x := range []*tagged{&e.sig, &e.att} {
			p, err := r.legacyPart(subject, x, x == &e.sig)
			if err != nil {
				return nil, err
			}
			if len(p.keys) > 0 {
				out = append(out, p)
			}
		}
		for i, p := range r.products {
			key := outcomeKey(i, Bundle)
			if p.bundle == nil || p.job.Subject.Digest != subject.Digest || r.stored[key] != "" {
				continue
			}
			a, err := bundleArtifact(subject, p.job, p.bundle)
			if err != nil {
				return nil, err
			}
			out = append(out, part{a, []string{key}})
		}
	}
	return out, nil
}

// legacyPart is the manifest of a tag with the new signatures after those that
// are there.
func (r *run) legacyPart(subject v1.Descriptor, x *tagged, image bool) (part, error) {
	var p part
	var sigs []oci.Signature
	for i, product := range r.products {
		key := outcomeKey(i, Legacy)
		if product.legacy == nil || product.job.Image != image || product.job.Subject.Digest != subject.Digest || r.stored[key] != "" {
			continue
		}
		sigs = append(sigs, product.legacy)
		p.keys = append(p.keys, key)
	}
	if len(sigs) == 0 {
		return p, nil
	}
	var err error
	p.artifact, err = x.with(sigs)
	return p, err
}

// with is the manifest with more signatures.
func (x *tagged) with(sigs []oci.Signature) (target.Artifact, error) {
	base := empty.Signatures()
	if x.digest.Hex != "" {
		img, err := partial.CompressedToImage(x)
		if err != nil {
			return target.Artifact{}, err
		}
		base = signatures{img}
	}
	out, err := mutate.AppendSignatures(base, false, sigs...)
	if err != nil {
		return target.Artifact{}, fmt.Errorf("tag %s: %w", x.tag, err)
	}
	return artifactOf(out, sigs, x)
}

func artifactOf(out oci.Signatures, sigs []oci.Signature, x *tagged) (a target.Artifact, err error) {
	a.Tag, a.Previous = x.tag, &x.digest
	if a.Manifest, err = out.RawManifest(); err != nil {
		return a, err
	}
	if a.MediaType, err = out.MediaType(); err != nil {
		return a, err
	}
	config, err := out.RawConfigFile()
	if err != nil {
		return a, err
	}
	a.Blobs = append(a.Blobs, config)
	for _, sig := range sigs {
		raw, err := sig.Payload()
		if err != nil {
			return a, err
		}
		a.Blobs = append(a.Blobs, raw)
	}
	return a, nil
}

// signatures is an image that cosign may append to; what is in it is not asked
// for.
type signatures struct{ v1.Image }

func (signatures) Get() ([]oci.Signature, error) { return nil, nil }

// RawManifest, RawConfigFile, MediaType and LayerByDigest make a v1.Image of
// what was read.
func (x *tagged) RawManifest() ([]byte, error)   { return x.manifest, nil }
func (x *tagged) RawConfigFile() ([]byte, error) { return x.config, nil }

// MediaType is that of the manifest.
func (x *tagged) MediaType() (types.MediaType, error) { return x.media, nil }

// LayerByDigest is never needed: appending reads no layer that is there.
func (x *tagged) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	return nil, fmt.Errorf("layer %s: not read", h)
}

func outcomeKey(job int, f Format) string { return fmt.Sprint(job, " ", f) }

func (r *run) outcomes() []Outcome {
	var out []Outcome
	for i, p := range r.products {
		for _, f := range []Format{Legacy, Bundle} {
			if f == Legacy && !r.format.legacy() || f == Bundle && !r.format.bundle() {
				continue
			}
			o := Outcome{Subject: p.job.Subject.Digest, Kind: p.job.kind(), PredicateType: p.job.PredicateType, Format: f, State: Present}
			if f == Legacy && p.legacy != nil || f == Bundle && p.bundle != nil {
				o.State = Missing
				if o.Manifest = r.stored[outcomeKey(i, f)]; o.Manifest != "" {
					o.State = Written
				}
			}
			out = append(out, o)
		}
	}
	return out
}

func digestOf(manifest []byte) string {
	h, _, err := v1.SHA256(bytes.NewReader(manifest))
	if err != nil {
		panic(err) // reading memory does not fail
	}
	return h.String()
}
