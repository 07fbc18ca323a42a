package sign

import (
	"context"
	"errors"
	"fmt"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/kit"
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
	// BaseImages are base images that are trusted, beside Options.Bases: the digest
	// of a manifest, or a reference, or an OCI layout ("DIR/"), which are resolved;
	// of an image index all images count.
	BaseImages []string
	// Configuration is what the image must be built from, in place of
	// Options.Config; nil: any.
	Configuration *config.Config
}

// Prove proves what an image is made of; see [proof.Prove]. The image is a
// reference to an image index in a registry, or an OCI layout ("DIR/").
func Prove(ctx context.Context, image string, o ProveOptions) (*proof.Report, error) {
	ref, err := target.Parse(image)
	if err != nil {
		return nil, err
	}
	if err := o.resolve(ctx); err != nil {
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

// resolve fills in digests for what was given by name.
func (o *ProveOptions) resolve(ctx context.Context) error {
	if o.Configuration != nil {
		var err error
		if o.Config, err = kit.Digests(o.Configuration); err != nil {
			return err
		}
	}
	for _, name := range o.BaseImages {
		found, err := baseImage(ctx, name, o.Target)
		if err != nil {
			return fmt.Errorf("base image %s: %w", name, err)
		}
		o.Bases = append(o.Bases, found...)
	}
	return nil
}

// baseImage gives the manifests that a name stands for.
func baseImage(ctx context.Context, name string, o target.Options) ([]v1.Hash, error) {
	if h, err := v1.NewHash(name); err == nil {
		return []v1.Hash{h}, nil
	}
	ref, err := target.Parse(name)
	if err != nil {
		return nil, err
	}
	t, err := target.Open(ctx, ref, o)
	if err != nil {
		return nil, err
	}
	subject, err := t.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	children, err := t.Children(ctx, subject)
	if err != nil {
		return nil, err
	}
	out := []v1.Hash{subject.Digest}
	for _, c := range children {
		out = append(out, c.Digest)
	}
	return out, nil
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
	o.Store = ws.Store()
	return proof.Prove(ctx, t, o)
}
