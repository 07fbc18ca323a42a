// Package target reads and writes an image and what refers to it: signatures,
// attestations and other artifacts. An image in a registry and one in an OCI
// layout directory look the same through it.
//
// It does not judge anything: that a manifest says it is a signature proves
// nothing, and what a signature is worth is for sign/verify to say. What it
// does promise is that every byte it hands out has the digest it was asked for
// by, and that no answer of a registry, however long, fills the memory.
//
//	ref, err := target.Parse("registry.example/team/app:1")
//	if err != nil {
//		return err
//	}
//	t, err := target.Open(ctx, ref, target.Options{Keychain: authn.DefaultKeychain})
//	if err != nil {
//		return err
//	}
//	image, err := t.Resolve(ctx)
//	if err != nil {
//		return err
//	}
//	referrers, err := t.Referrers(ctx, image.Digest)
//
// Formats: the OCI distribution and image specifications 1.1, with the
// referrers tag schema of section "Backwards compatibility" for registries
// without the referrers API.
package target

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Options say how a target is reached. The zero value is anonymous, with the
// default limits.
type Options struct {
	// Keychain gives the credentials of registries; nil for none.
	Keychain authn.Keychain
	// Transport makes the requests; nil for go-containerregistry's default.
	Transport http.RoundTripper
	// Insecure allows plain HTTP. Loopback and private addresses are always
	// allowed to speak it, as everywhere in the field.
	Insecure bool
	// Attempts is how often a request is made that fails in a way that may
	// pass (429, 5xx, a reset connection); 0 means 3.
	Attempts int
	// Wait is the time before the second attempt, which grows with each further
	// one; 0 means half a second.
	Wait   time.Duration
	Limits Limits
	// Create lets a layout be written that is not there yet.
	Create bool
}

// Limits bound what is accepted from a target. Zero fields have defaults.
type Limits struct {
	Manifest  int64 // bytes of a manifest or of one page of referrers; 8 MiB
	Referrers int   // how many manifests may refer to one; 1024
}

func (l Limits) withDefaults() Limits {
	if l.Manifest <= 0 {
		l.Manifest = 8 << 20
	}
	if l.Referrers <= 0 {
		l.Referrers = 1024
	}
	return l
}

// backend is what registries and layouts do differently.
type backend interface {
	// resolve finds what the reference names, once.
	resolve(ctx context.Context) (v1.Descriptor, error)
	// manifest reads the manifest with this digest.
	manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error)
	// blob opens a blob; its bytes are not checked yet.
	blob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	// referrers lists what refers to the manifest, without duplicates.
	referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error)
	// tagged finds the manifest with a tag.
	tagged(ctx context.Context, tag string) (v1.Descriptor, error)
	// store stores blobs, each digest once, and manifests in their order.
	store(ctx context.Context, blobs []Blob, manifests []*checked) (Transfer, error)
	// tag gives a stored manifest a tag, and returns what it named before.
	tag(ctx context.Context, tag string, m Manifest) (v1.Hash, error)
	// push stores checked artifacts in their order and returns how many of
	// them are stored and listed.
	push(ctx context.Context, list []*checked) (int, error)
}

// Target is an opened image with its surroundings. Its methods may be called
// at the same time.
type Target struct {
	ref     Ref
	backend backend

	once     sync.Mutex
	resolved *v1.Descriptor
}

// Open opens a target. For a registry it makes the first contact, so that
// wrong credentials and unreachable hosts are found here; for a layout it looks
// at the directory and never at the network.
func Open(ctx context.Context, ref Ref, o Options) (*Target, error) {
	o.Limits = o.Limits.withDefaults()
	b, err := open(ctx, ref, &o)
	if err != nil {
		return nil, err
	}
	return &Target{ref: ref, backend: b}, nil
}

func open(ctx context.Context, ref Ref, o *Options) (backend, error) {
	if ref.layout != "" {
		return openLayout(ref, o)
	}
	return openRegistry(ctx, ref, o)
}

// Ref returns the reference that was opened.
func (t *Target) Ref() Ref { return t.ref }

// Repository returns "host/repository", or "" for a layout.
func (t *Target) Repository() string { return t.ref.Repository() }

// Resolve returns the descriptor of the image or image index that the
// reference names. The first answer is kept: a tag that moves afterwards
// changes nothing. In a layout without a digest in the reference there must be
// exactly one image.
func (t *Target) Resolve(ctx context.Context) (v1.Descriptor, error) {
	t.once.Lock()
	defer t.once.Unlock()
	if t.resolved == nil {
		d, err := t.backend.resolve(ctx)
		if err != nil {
			return v1.Descriptor{}, fmt.Errorf("%s: %w", t.ref, err)
		}
		t.resolved = &d
	}
	return *t.resolved, nil
}

// Manifest reads a manifest, which has the digest, and its media type.
func (t *Target) Manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error) {
	raw, mt, err := t.manifest(ctx, digest)
	if err != nil {
		return nil, "", fmt.Errorf("%s: manifest %s: %w", t.ref.name(), digest, err)
	}
	return raw, mt, nil
}

func (t *Target) manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error) {
	if err := checkDigest(digest); err != nil {
		return nil, "", err
	}
	raw, mt, err := t.backend.manifest(ctx, digest)
	if err != nil {
		return nil, "", err
	}
	if got := hashOf(raw); got != digest {
		return nil, "", fmt.Errorf("found %s: %w", got, ErrMismatch)
	}
	return raw, mt, nil
}

// Blob reads a blob of at most limit bytes. It has the descriptor's size and
// digest.
func (t *Target) Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("%s: blob %s: %d bytes, expected at most %d: %w", t.ref.name(), d.Digest, d.Size, limit, ErrLimit)
	}
	rc, err := t.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

// OpenBlob opens a blob. The reader gives io.EOF only after exactly the
// descriptor's bytes; a blob that is longer, shorter or different ends with an
// error that wraps ErrMismatch.
func (t *Target) OpenBlob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, err := t.openBlob(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("%s: blob %s: %w", t.ref.name(), d.Digest, err)
	}
	return &verifier{ReadCloser: rc, where: t.ref.name(), left: d.Size, digest: d.Digest, hash: newHash()}, nil
}

func (t *Target) openBlob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	if err := checkDigest(d.Digest); err != nil {
		return nil, err
	}
	if d.Size < 0 {
		return nil, fmt.Errorf("a size of %d bytes: %w", d.Size, ErrMalformed)
	}
	return t.backend.blob(ctx, d)
}

// Children returns the manifests that an image index lists, with their
// platforms, each digest once; for an image there are none. BuildKit's
// attestation manifests, which are no images to run, are not among them.
func (t *Target) Children(ctx context.Context, subject v1.Descriptor) ([]v1.Descriptor, error) {
	if !subject.MediaType.IsIndex() {
		return nil, nil
	}
	raw, _, err := t.Manifest(ctx, subject.Digest)
	if err != nil {
		return nil, err
	}
	m, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: image index %s: %w", t.ref.name(), subject.Digest, err)
	}
	var out []v1.Descriptor
	seen := map[v1.Hash]bool{}
	for _, d := range m.Manifests {
		attestation := d.Annotations["vnd.docker.reference.type"] == "attestation-manifest"
		if seen[d.Digest] || attestation || !d.MediaType.IsIndex() && !d.MediaType.IsImage() {
			continue
		}
		seen[d.Digest] = true
		out = append(out, d)
	}
	return out, nil
}

// Referrers lists the manifests that say they refer to the one with this
// digest: by the referrers API, by the referrers tag where there is no API, or
// by what a layout's index.json lists. The list is the registry's word and
// nothing more. It fails with ErrLimit when there are more than the limit.
func (t *Target) Referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	err := checkDigest(digest)
	var list []v1.Descriptor
	if err == nil {
		list, err = t.backend.referrers(ctx, digest)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: referrers of %s: %w", t.ref.name(), digest, err)
	}
	return list, nil
}

// Tagged finds the manifest with a tag in the target's repository, such as
// cosign's "sha256-<hex>.sig"; ErrNotFound when there is none.
func (t *Target) Tagged(ctx context.Context, tag string) (v1.Descriptor, error) {
	d, err := t.backend.tagged(ctx, tag)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("%s: tag %s: %w", t.ref.name(), tag, err)
	}
	return d, nil
}

// Push stores an artifact: blobs first, the manifest last, then what is needed
// to find it. It returns the manifest's descriptor. Pushing what is there
// already changes nothing.
//
// A referrers tag is read, changed and written, and no registry offers a lock:
// a listing that another process overwrote meanwhile is made again, but one
// that is overwritten after that is lost, as with every other client.
func (t *Target) Push(ctx context.Context, a Artifact) (v1.Descriptor, error) {
	if _, err := t.PushAll(ctx, []Artifact{a}); err != nil {
		return v1.Descriptor{}, err
	}
	c, err := a.check()
	if err != nil {
		return v1.Descriptor{}, err
	}
	return c.desc, nil
}

// PushAll stores several artifacts: the blobs of all of them, then the
// manifests in their order. When it fails, the first n are stored and listed;
// in a layout that is none, as all of them appear at once.
func (t *Target) PushAll(ctx context.Context, list []Artifact) (n int, err error) {
	var all []*checked
	for _, a := range list {
		c, err := a.check()
		if err != nil {
			return 0, fmt.Errorf("%s: push: %w", t.ref.name(), err)
		}
		all = append(all, c)
	}
	if n, err = t.backend.push(ctx, all); err != nil {
		return n, fmt.Errorf("%s: push: %w", t.ref.name(), err)
	}
	return n, nil
}
