package sign

import (
	"context"
	"errors"
	"os"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
	"github.com/cairn-dev/cairn/sign/proof"
)

// ProveOptions say where an image is proved and what the proof may rest on.
type ProveOptions struct {
	proof.Options
	Target target.Options
}

// Prove proves what an image is made of; see [proof.Prove]. The image is a
// reference to an image index in a registry, or an OCI layout ("DIR/").
func Prove(ctx context.Context, image string, o ProveOptions) (*proof.Report, error) {
	ref, err := target.Parse(image)
	if err != nil {
		return nil, err
	}
	t, err := target.Open(ctx, ref, o.Target)
	if err != nil {
		return nil, err
	}
	if !o.Full || o.Fetch != nil {
		return proof.Prove(ctx, t, o.Options)
	}
	return proveFull(ctx, t, o.Options)
}

// proveFull reads packages that are no layer as they are from their
// repositories, through a store in the directory for temporary files.
func proveFull(ctx context.Context, t *target.Target, o proof.Options) (_ *proof.Report, err error) {
	dir, err := os.MkdirTemp("", "cairn-prove-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	ws, err := packages.Open(packages.Options{CacheDir: dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ws.Close()) }()
	o.Fetch = func(ctx context.Context, l *lock.Lock, arch string) ([]*store.Receipt, error) {
		return ws.Fetch(ctx, l, arch, packages.FetchOptions{})
	}
	return proof.Prove(ctx, t, o)
}
