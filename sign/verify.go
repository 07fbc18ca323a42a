package sign

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// VerifyOptions say what is required of an image and how it is reached.
type VerifyOptions struct {
	// Policy is looked through for the image's entry, unless Entry is set.
	Policy *policy.Policy
	// Entry is what is required, whatever the image's name.
	Entry *policy.Entry
	// As is the repository to look for in the policy; needed for a layout, which
	// has no name.
	As     string
	Target target.Options
	Limits evidence.Limits
	// Tagged says that the image was named by a tag, although the reference has
	// a digest by now.
	Tagged bool
	// Now is what ages are compared with; nil is the clock.
	Now func() time.Time
}

// Verify resolves an image once and says whether it is what the policy asks
// for. The error says that this could not be found out: it wraps
// target.ErrNotFound when the image is not there and target.ErrUnreachable when
// the registry cannot be read. Everything else is in the verdict, whose Digest
// is what must be used from then on.
func Verify(ctx context.Context, image string, o VerifyOptions) (*verify.Verdict, error) {
	ref, err := target.Parse(image)
	if err != nil {
		return nil, err
	}
	t, err := target.Open(ctx, ref, o.Target)
	if err != nil {
		return nil, err
	}
	return verifyTarget(ctx, image, t, o)
}

func verifyTarget(ctx context.Context, image string, t *target.Target, o VerifyOptions) (*verify.Verdict, error) {
	repository := t.Repository()
	if o.As != "" {
		repository = policy.Repository(o.As)
	}
	entry := o.Entry
	if entry == nil && o.Policy != nil {
		entry = o.Policy.For(repository)
	}
	d, err := t.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	if entry == nil {
		return unmatched(image, repository, d.Digest), nil
	}
	in := policy.Input{Reference: image, Repository: repository, ByDigest: strings.Contains(image, "@sha256:") && !o.Tagged,
		Contents: contents{t}, Prover: prover{t}, Now: time.Now()}
	if o.Now != nil {
		in.Now = o.Now()
	}
	if in.Subjects, err = subjects(ctx, t, d, entry, o.Limits); err != nil {
		return nil, err
	}
	return entry.Evaluate(ctx, in)
}

// unmatched is the verdict about an image that no entry speaks of.
func unmatched(image, repository string, digest v1.Hash) *verify.Verdict {
	v := &verify.Verdict{Image: image, Digest: digest.String()}
	why := fmt.Sprintf("no entry matches %q", repository)
	if repository == "" {
		why = "a layout has no name to look for in the policy; say which image it is"
	}
	v.Add("match", "", "an entry of the policy", "none", why)
	v.Close()
	return v
}

// maxChildren bounds the manifests of an index that are looked at.
const maxChildren = 64

// subjects reads what is attached to the image and, where the entry looks at
// them, to the manifests of an index.
func subjects(ctx context.Context, t *target.Target, d v1.Descriptor, entry *policy.Entry, limits evidence.Limits) ([]policy.Subject, error) {
	list := []v1.Descriptor{d}
	if entry.NeedsChildren() {
		var err error
		if list, err = below(ctx, t, d); err != nil {
			return nil, err
		}
	}
	var out []policy.Subject
	for _, c := range list {
		s := policy.Subject{Digest: c.Digest, Image: c.MediaType.IsImage()}
		if c.Platform != nil {
			s.Platform = c.Platform.String()
		}
		var err error
		if s.Evidence, err = collect(ctx, t, c.Digest, entry, limits); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// below lists a manifest and all in it, each once: an index may hold indexes.
func below(ctx context.Context, t *target.Target, d v1.Descriptor) ([]v1.Descriptor, error) {
	list := []v1.Descriptor{d}
	seen := map[v1.Hash]bool{d.Digest: true}
	for i := 0; i < len(list); i++ {
		children, err := t.Children(ctx, list[i])
		if err != nil {
			return nil, err
		}
		for _, c := range children {
			if !seen[c.Digest] {
				seen[c.Digest] = true
				list = append(list, c)
			}
		}
		if len(list) > maxChildren {
			return nil, fmt.Errorf("image index: found %d manifests, expected at most %d: %w", len(list), maxChildren, target.ErrLimit)
		}
	}
	return list, nil
}

func collect(ctx context.Context, t *target.Target, digest v1.Hash, entry *policy.Entry, limits evidence.Limits) (*evidence.Set, error) {
	if entry.Allow() {
		return &evidence.Set{Subject: digest}, nil
	}
	return evidence.Collect(ctx, t, digest, limits)
}

// ErrNotVerified is wrapped by [Refused].
var ErrNotVerified = errors.New("not verified")

// Refused is a verdict that is not "passed", as an error.
type Refused struct{ Verdict *verify.Verdict }

func (r *Refused) Error() string {
	return r.Verdict.Image + ": not verified: " + r.Verdict.Reason()
}

// Unwrap returns ErrNotVerified.
func (r *Refused) Unwrap() error { return ErrNotVerified }
