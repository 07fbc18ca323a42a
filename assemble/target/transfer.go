package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Blob is a blob to be stored.
type Blob struct {
	Descriptor v1.Descriptor
	// Open reads it from its beginning, more than once where something fails. The
	// bytes are checked on the way. Nil: nobody here has it, so the target must, or
	// be able to mount it.
	Open func(ctx context.Context) (io.ReadCloser, error)
	// From are repositories ("host/name") that have it. A registry is asked to
	// mount it from those that it has itself.
	From []string
}

// Manifest is a manifest to be stored, under its digest.
type Manifest struct {
	Raw       []byte
	MediaType types.MediaType
}

// Digest is the manifest's.
func (m Manifest) Digest() v1.Hash { return hashOf(m.Raw) }

// Amount counts blobs and their bytes.
type Amount struct {
	Blobs int   `json:"blobs"`
	Bytes int64 `json:"bytes"`
}

func (a *Amount) add(n int64) {
	a.Blobs++
	a.Bytes += n
}

// Transfer says what storing came to.
type Transfer struct {
	Uploaded Amount `json:"uploaded"`
	Mounted  Amount `json:"mounted"` // within the registry, from another repository
	Present  Amount `json:"present"` // were there
	// Manifests is how many were written; those that were there are not.
	Manifests int `json:"manifests"`
}

// Add adds what another call came to.
func (t *Transfer) Add(o Transfer) {
	for _, p := range []struct{ to, from *Amount }{{&t.Uploaded, &o.Uploaded}, {&t.Mounted, &o.Mounted}, {&t.Present, &o.Present}} {
		p.to.Blobs += p.from.Blobs
		p.to.Bytes += p.from.Bytes
	}
	t.Manifests += o.Manifests
}

// ErrMissing: a blob is not in the target, and nobody here has it.
var ErrMissing = errors.New("nobody has it")

// Store stores content: blobs first, some at a time, then the manifests in their
// order, so that one that lists others must come after them. Nothing is sent
// that the target has. Tags do not move; see Tag. A layout is made where there is
// none; there the last manifest is listed in index.json, and whatever has a
// subject.
//
// When it fails nothing refers to what was stored, and the same call goes on
// where this one stopped.
func (t *Target) Store(ctx context.Context, blobs []Blob, manifests []Manifest) (Transfer, error) {
	for i := range blobs {
		if err := checkDescriptor(&blobs[i].Descriptor); err != nil {
			return Transfer{}, fmt.Errorf("%s: store: %w", t.ref.name(), err)
		}
	}
	var list []*checked
	for _, m := range manifests {
		c, err := Artifact{Manifest: m.Raw, MediaType: m.MediaType}.check()
		if err != nil {
			return Transfer{}, fmt.Errorf("%s: store: %w", t.ref.name(), err)
		}
		list = append(list, c)
	}
	unique := distinct(blobs)
	// The largest first, so that none is left over for one connection at the end.
	slices.SortStableFunc(unique, func(a, b Blob) int { return int(min(1, max(-1, b.Descriptor.Size-a.Descriptor.Size))) })
	n, err := t.backend.store(ctx, unique, list)
	if err != nil {
		return n, fmt.Errorf("%s: store: %w", t.ref.name(), err)
	}
	return n, nil
}

// distinct leaves out blobs that stand there already.
func distinct(blobs []Blob) []Blob {
	var out []Blob
	seen := map[v1.Hash]bool{}
	for _, b := range blobs {
		if !seen[b.Descriptor.Digest] {
			seen[b.Descriptor.Digest] = true
			out = append(out, b)
		}
	}
	return out
}

// Tag gives a stored manifest a tag, and says what the tag named before: the
// zero hash for nothing. A tag that names the manifest already is left alone.
func (t *Target) Tag(ctx context.Context, tag string, m Manifest) (before v1.Hash, err error) {
	if !tagForm().MatchString(tag) {
		return v1.Hash{}, fmt.Errorf("%s: tag %.140q: %w", t.ref.name(), tag, ErrMalformed)
	}
	if before, err = t.backend.tag(ctx, tag, m); err != nil {
		return before, fmt.Errorf("%s: tag %s: %w", t.ref.name(), tag, err)
	}
	return before, nil
}

// open opens a blob of a caller's and checks it on the way.
func (b *Blob) open(ctx context.Context) (io.ReadCloser, error) {
	if b.Open == nil {
		return nil, ErrMissing
	}
	rc, err := b.Open(ctx)
	if err != nil {
		return nil, err
	}
	d := b.Descriptor
	return &verifier{ReadCloser: rc, where: "source", left: d.Size, digest: d.Digest, hash: newHash()}, nil
}
