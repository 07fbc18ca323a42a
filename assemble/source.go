package assemble

import (
	"context"
	"errors"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Source gives what planning needs of the packages of a lock: a workspace, or
// receipts at hand ([packages.Held] and a ReadFiles beside it).
type Source interface {
	// Fetch returns the receipts of an architecture, checked against the lock.
	Fetch(ctx context.Context, l *lock.Lock, arch string, o packages.FetchOptions) ([]*store.Receipt, error)
	// Keys reads keys as a configuration names them.
	Keys(ctx context.Context, refs []string) ([]repository.Key, error)
	// ReadFiles returns the contents of regular files of a package, checked
	// against the receipt.
	ReadFiles(ctx context.Context, r *store.Receipt, members []int) ([][]byte, error)
	// Forget drops what is remembered of a damaged store.
	Forget()
}

// fromWorkspace is a workspace as a Source.
type fromWorkspace struct{ *packages.Workspace }

func (f fromWorkspace) ReadFiles(ctx context.Context, r *store.Receipt, members []int) ([][]byte, error) {
	return f.Store().ReadFiles(ctx, r, members)
}

// Derivation is an image worked out again from configuration, lock and
// receipts, before its layers are known.
type Derivation struct {
	Planned []Planned
	b       *builder
}

// Derive plans an image again, as [Build] planned it, from what Source has. The
// lock is required. Outputs, tags and the SBOM directory do not matter.
func Derive(ctx context.Context, src Source, cfg *config.Config, o Options) (*Derivation, error) {
	if o.Lock == nil {
		return nil, errors.New("derive: no lock")
	}
	b := &builder{source: src, cfg: cfg, options: o, result: &Result{}}
	d := &Derivation{b: b}
	for _, stage := range []func(context.Context) error{b.resolve, b.fetch, b.plan} {
		if err := stage(ctx); err != nil {
			return nil, err
		}
	}
	for _, j := range b.jobs {
		d.Planned = append(d.Planned, Planned{j.arch, j.tree, j.layers, j.base})
	}
	return d, nil
}

// Index makes the images and the image index over the given layers, those of
// Planned[i] in written[i]: kind, digest, diff ID and size of each count. Layers
// that say where their bytes are can be read.
func (d *Derivation) Index(ctx context.Context, written [][]layer.Layer) (*image.Index, error) {
	for i, j := range d.b.jobs {
		j.written = nil
		for _, l := range written[i] {
			if l.Path == "" && l.Blob == nil && l.Source == nil {
				l.Path = "not here: " + l.Digest.String() // nothing opens it
			}
			j.written = append(j.written, l)
		}
	}
	d.b.result.Images, d.b.result.Index = nil, nil
	if err := d.b.images(ctx); err != nil {
		return nil, err
	}
	return d.b.result.Index, nil
}

// Receipts returns the receipts of Planned[i] in installation order.
func (d *Derivation) Receipts(i int) []*store.Receipt { return d.b.jobs[i].receipts }

// Unsafe lists the unsafe choices that were made for the image.
func (d *Derivation) Unsafe() []string { return d.b.result.Unsafe }
