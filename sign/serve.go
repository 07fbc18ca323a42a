package sign

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Decider is admission.Decider over Verify, with a policy that is read again
// when its file changes.
type Decider struct {
	path    string
	options VerifyOptions
	log     *slog.Logger
	policy  atomic.Pointer[policy.Policy]

	mu      sync.Mutex
	stamp   time.Time
	checked time.Time
}

// NewDecider reads the policy for the first time. Of the options, Policy and
// Entry are not used, and the keychain of Target is that of each request.
func NewDecider(path string, o VerifyOptions, log *slog.Logger) (*Decider, error) {
	d := &Decider{path: path, options: o, log: log}
	p, err := policy.Load(path)
	if err != nil {
		return nil, err
	}
	d.policy.Store(p)
	if fi, err := os.Stat(path); err == nil {
		d.stamp = fi.ModTime()
	}
	return d, nil
}

// checkPolicyEvery is how often the policy's file is looked at.
const checkPolicyEvery = 2 * time.Second

// current is the policy in force: the last one that could be read. The files
// that a policy names are read with it, so renew the policy after them.
func (d *Decider) current() *policy.Policy {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Sub(d.checked) < checkPolicyEvery {
		return d.policy.Load()
	}
	d.checked = now
	fi, err := os.Stat(d.path)
	if err == nil && fi.ModTime().Equal(d.stamp) {
		return d.policy.Load()
	}
	if err == nil {
		d.stamp = fi.ModTime()
		var p *policy.Policy
		if p, err = policy.Load(d.path); err == nil {
			d.policy.Store(p)
			d.log.Info("policy renewed", "hash", p.Hash)
		}
	}
	if err != nil {
		d.log.Warn("policy not renewed", "error", err)
	}
	return d.policy.Load()
}

// Version implements admission.Decider: the policy's hash.
func (d *Decider) Version() string { return d.current().Hash }

// Resolve implements admission.Decider.
func (d *Decider) Resolve(ctx context.Context, image string, k authn.Keychain) (v1.Hash, error) {
	ref, err := target.Parse(image)
	if err != nil {
		return v1.Hash{}, err
	}
	o := d.options.Target
	o.Keychain = k
	t, err := target.Open(ctx, ref, o)
	if err != nil {
		return v1.Hash{}, err
	}
	desc, err := t.Resolve(ctx)
	return desc.Digest, err
}

// Decide implements admission.Decider.
func (d *Decider) Decide(ctx context.Context, image string, tagged bool, k authn.Keychain) (*verify.Verdict, error) {
	o := d.options
	o.Policy, o.Entry, o.Tagged, o.Target.Keychain = d.current(), nil, tagged, k
	return Verify(ctx, image, o)
}
