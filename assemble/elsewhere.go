package assemble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/receipts"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
)

// elsewhere are repositories of registries that have receipts of packages, and
// layers: data sections, and what was made of several. It is a Source that reads a
// package only when nothing else will do.
type elsewhere struct {
	fromWorkspace
	places []*target.Target
	lock   *lock.Lock
	// options are those that packages are fetched with when they have to be.
	options packages.FetchOptions
}

// Fetch returns the receipts of an architecture: of packages in the store, else as a
// repository has them and the lock pins them, else by reading the package.
func (e *elsewhere) Fetch(ctx context.Context, l *lock.Lock, arch string, o packages.FetchOptions) ([]*store.Receipt, error) {
	e.lock, e.options = l, o
	o.Receipt = e.receipt
	return e.Workspace.Fetch(ctx, l, arch, o)
}

// receipt looks for the receipt of a package that the lock pins.
func (e *elsewhere) receipt(ctx context.Context, p *lock.Package) (*store.Receipt, error) {
	data, err := lock.ParseChecksum(p.Data.Checksum)
	if err != nil || p.Cairn == nil {
		return nil, store.ErrNotFound
	}
	for _, t := range e.places {
		r, err := receipts.Find(ctx, t, data, p.Cairn.Receipt)
		if err == nil || !errors.Is(err, store.ErrNotFound) {
			return r, err
		}
	}
	return nil, store.ErrNotFound
}

// ReadFiles brings the package into the store first.
func (e *elsewhere) ReadFiles(ctx context.Context, r *store.Receipt, members []int) ([][]byte, error) {
	if err := e.bring(ctx, []*store.Receipt{r}); err != nil {
		return nil, err
	}
	return e.fromWorkspace.ReadFiles(ctx, r, members)
}

// bring brings packages into the store that are not there: their data sections from
// the repositories that have them as layers, else the packages from where the lock
// says.
func (e *elsewhere) bring(ctx context.Context, list []*store.Receipt) error {
	missing := map[string]*store.Receipt{} // by receipt digest
	for _, r := range list {
		if !e.Has(r) {
			missing[r.Digest().String()] = r
		}
	}
	if len(missing) == 0 {
		return nil
	}
	o := e.options
	o.Open = func(ctx context.Context, p *lock.Package) (io.ReadCloser, error) {
		rc, err := e.open(ctx, missing[p.Cairn.Receipt.String()])
		if errors.Is(err, store.ErrNotFound) && e.options.Open != nil {
			return e.options.Open(ctx, p)
		}
		return rc, err
	}
	for _, arch := range e.lock.Architectures() {
		l := *e.lock
		l.Contents.Packages = nil
		for _, p := range e.lock.For(arch) {
			if p.Cairn != nil && missing[p.Cairn.Receipt.String()] != nil {
				l.Contents.Packages = append(l.Contents.Packages, p)
			}
		}
		if _, err := e.Workspace.Fetch(ctx, &l, arch, o); err != nil {
			return err
		}
	}
	return nil
}

// open opens a package whose data section is a layer somewhere.
func (e *elsewhere) open(ctx context.Context, r *store.Receipt) (io.ReadCloser, error) {
	d := v1.Descriptor{MediaType: types.OCILayer, Digest: ociDigest(r), Size: r.DataSize}
	for _, t := range e.places {
		rc, err := t.OpenBlob(ctx, d)
		if errors.Is(err, target.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(r.Signature), bytes.NewReader(r.Control), rc), rc}, nil
	}
	return nil, store.ErrNotFound
}

func ociDigest(r *store.Receipt) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: r.DataHash.Hex()} }

// layers finds the layers of a plan that need not be made here, and brings the
// packages into the store that the others are made of.
func (e *elsewhere) layers(ctx context.Context, j *job) (map[int]layer.Layer, error) {
	have := map[int]layer.Layer{}
	var need []*store.Receipt
	for i, l := range j.layers.Outline() {
		if l.Kind == layer.Verbatim {
			if n := l.Packages[0]; !e.Has(j.receipts[n]) {
				l.Source = func() (io.ReadCloser, error) { return e.data(ctx, j, n) }
				have[i] = l
			}
			continue
		}
		made, err := e.made(ctx, j.layers, i)
		if err != nil {
			return nil, err
		}
		if made != nil {
			have[i] = *made
			continue
		}
		for _, n := range j.layers.Needs(i) {
			need = append(need, j.receipts[n])
		}
	}
	return have, e.bring(ctx, need)
}

// data opens a data section for those who do not have it: from a repository that
// does, else in the package where the lock says it is.
func (e *elsewhere) data(ctx context.Context, j *job, n int) (io.ReadCloser, error) {
	r := j.receipts[n]
	for _, t := range e.places {
		rc, err := t.OpenBlob(ctx, v1.Descriptor{MediaType: types.OCILayer, Digest: ociDigest(r), Size: r.DataSize})
		if !errors.Is(err, target.ErrNotFound) {
			return rc, err
		}
	}
	return e.OpenData(ctx, &j.lock.For(j.arch.APK)[n], r, e.options.Repositories)
}

// maxMade bounds what a made layer inflates to, in bytes.
const maxMade = 16 << 30

// made looks for a layer that was made of the same things. Nothing vouches for what a
// repository says of that, so the layer is read, compared with the plan and compressed
// again; it counts when it is the one that would be made here.
func (e *elsewhere) made(ctx context.Context, plan *layer.Plan, i int) (*layer.Layer, error) {
	if len(plan.Needs(i)) == 0 {
		return nil, nil // it needs nothing that is not here
	}
	key, err := plan.Key(i)
	if err != nil || key == "" {
		return nil, err
	}
	for _, t := range e.places {
		d, err := receipts.FindLayer(ctx, t, key)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		l, err := remade(ctx, t, plan, i, d)
		if err != nil || l != nil {
			return l, err
		}
	}
	return nil, nil
}

// remade reads a layer and gives it back when it is what the plan makes; nil when it
// is not.
func remade(ctx context.Context, t *target.Target, plan *layer.Plan, i int, d v1.Descriptor) (_ *layer.Layer, err error) {
	open := func() (io.ReadCloser, error) { return t.OpenBlob(ctx, d) }
	rc, err := open()
	if errors.Is(err, target.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	z, err := gzip.NewReader(rc)
	if err == nil {
		var l layer.Layer
		if l, err = plan.Remake(i, io.LimitReader(z, maxMade), nil); err == nil && l.Digest == d.Digest && l.Size == d.Size {
			l.Source = open
			return &l, nil
		}
	}
	if errors.Is(err, target.ErrUnreachable) || ctx.Err() != nil {
		return nil, err
	}
	return nil, nil
}

// pinned says which packages of a lock no receipt can be looked for.
func pinned(l *lock.Lock) error {
	if l == nil {
		return fmt.Errorf("receipts: %w", ErrNoLock)
	}
	if i := slices.IndexFunc(l.Contents.Packages, func(p lock.Package) bool { return p.Cairn == nil || p.Cairn.Receipt.IsZero() }); i >= 0 {
		return fmt.Errorf("receipts: the lock does not pin that of %s: %w", l.Contents.Packages[i].Name, ErrNoLock)
	}
	return nil
}

// ErrNoLock: receipts were asked for that no lock pins.
var ErrNoLock = errors.New("receipts in a registry count only when a lock pins them\nhint: cairn lock writes one")
