package admission

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Decider says what an image is and whether it may run. Its methods are called
// at the same time.
type Decider interface {
	// Resolve returns the digest that the reference names.
	Resolve(ctx context.Context, image string, k authn.Keychain) (v1.Hash, error)
	// Decide verifies an image with a digest; tagged says that the object named
	// it by a tag. An error means that it could not be found out.
	Decide(ctx context.Context, image string, tagged bool, k authn.Keychain) (*verify.Verdict, error)
	// Version names the policy. Decisions under another one do not count.
	Version() string
}

// outcome of one image, for metrics and messages.
type outcome string

const (
	outcomePassed outcome = "passed"
	outcomeFailed outcome = "failed"
	outcomeError  outcome = "error"
)

// judged is an image that was decided about.
type judged struct {
	image   string
	outcome outcome
	reason  string
}

// judge decides about one image. Whatever goes wrong is an outcome.
func (s *Server) judge(ctx context.Context, image, credentials string, k authn.Keychain) judged {
	d, err := s.decide(ctx, image, credentials, k)
	j := judged{image: image, outcome: outcomePassed}
	switch {
	case err != nil:
		j.outcome, j.reason = outcomeError, shorten(errorText(err))
	case !d.passed:
		j.outcome, j.reason = outcomeFailed, d.reason
	}
	s.metrics.images.WithLabelValues(string(j.outcome)).Inc()
	return j
}

func errorText(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "not verified in time"
	case errors.Is(err, target.ErrNotFound):
		return "not there: " + err.Error()
	}
	return "cannot be verified: " + err.Error()
}

func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxReason {
		return strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	return s
}

func (s *Server) decide(ctx context.Context, image, credentials string, k authn.Keychain) (decision, error) {
	ref, err := target.Parse(image)
	if err != nil {
		return decision{}, err
	}
	if ref.IsLayout() {
		return decision{}, fmt.Errorf("image %q: %w: expected one in a registry", image, target.ErrReference)
	}
	digest, tagged, err := s.digest(ctx, image, k)
	if err != nil {
		return decision{}, err
	}
	pinned := ref.Repository() + "@" + digest.String()
	key := fmt.Sprintf("%s %v %s", pinned, tagged, s.decider.Version())
	if d, ok := s.cache.get(key); ok {
		s.metrics.cache.WithLabelValues("hit").Inc()
		return d, nil
	}
	s.metrics.cache.WithLabelValues("miss").Inc()
	return s.once(ctx, key, credentials, func(ctx context.Context) (*verify.Verdict, error) {
		return s.decider.Decide(ctx, pinned, tagged, k)
	})
}

// digest is the one in the reference, or what the tag names now.
func (s *Server) digest(ctx context.Context, image string, k authn.Keychain) (h v1.Hash, tagged bool, err error) {
	if _, text, ok := strings.Cut(image, "@"); ok {
		h, err = target.ParseDigest(text)
		return h, false, err
	}
	defer recovered(&err)
	h, err = s.decider.Resolve(ctx, image, k)
	return h, true, err
}

// recovered turns a panic into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("the verifier gave up: %v", r)
	}
}

// once makes one verification for everybody who waits for the same, and keeps
// what it found. The verification does not end with the request that began it,
// and has the same deadline.
func (s *Server) once(ctx context.Context, key, credentials string, f func(context.Context) (*verify.Verdict, error)) (decision, error) {
	result := s.flights.DoChan(key+" "+credentials, func() (_ any, err error) {
		defer recovered(&err)
		own, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.options.Timeout)
		defer cancel()
		v, err := f(own)
		if err != nil {
			return decision{}, err
		}
		d := decision{passed: v.Outcome == verify.Passed}
		ttl := s.options.TTL
		if !d.passed {
			d.reason, ttl = shorten(strings.ReplaceAll(v.Reason(), "\n", "; ")), s.options.RefusalTTL
		}
		if d.passed && !v.Until.IsZero() {
			ttl = min(ttl, v.Until.Sub(s.options.Now()))
		}
		s.cache.put(key, d, ttl)
		return d, nil
	})
	select {
	case r := <-result:
		d, _ := r.Val.(decision)
		return d, r.Err
	case <-ctx.Done():
		return decision{}, ctx.Err()
	}
}

// deadline is that of the request, which must be answered before the API server
// stops waiting: it says for how long that is.
func (s *Server) deadline(timeout string) time.Duration {
	d, err := time.ParseDuration(timeout)
	if err != nil || d <= 0 {
		return s.options.Timeout
	}
	return min(s.options.Timeout, d-min(d/5, 500*time.Millisecond))
}
