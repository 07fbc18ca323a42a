package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// receipt derives a package's receipt again from the layer that is its data
// section, and compares the two. The package passes through a store of its own
// in the directory for temporary files.
func (p *prover) receipt(ctx context.Context, l *LayerReport, d v1.Descriptor, r *store.Receipt) (err error) {
	dir, err := os.MkdirTemp("", "cairn-prove-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	rc, err := p.img.OpenBlob(ctx, d)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	blob := &rebuild.Tee{R: rc}
	file := io.MultiReader(bytes.NewReader(r.Signature), bytes.NewReader(r.Control), blob)
	again, err := st.Ingest(ctx, file, store.Expect{
		Name: r.Package.Name, Version: r.Package.Version, Checksum: r.Package.Checksum, Size: r.FileSize,
	})
	switch {
	case blob.Err != nil:
		return blob.Err
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, store.ErrNoSpace):
		return err
	case err != nil:
		l.Problem, l.Proof = err.Error(), ""
	case again.Digest() != r.Digest():
		l.Problem = fmt.Sprintf("package %s: receipt %s in the kit, %s from the data section", r.ID(), r.Digest(), again.Digest())
		l.Proof = ""
	default:
		l.Proof += "; receipt derived again: equal"
	}
	return nil
}

// readAll reads the packages that are no layer as they are, of all architectures.
// Nothing is asked of repositories that the kit names once the image has failed.
func (p *prover) readAll(ctx context.Context) error {
	for i := range p.derived.Planned {
		if !p.options.Full || len(p.report.Problems) > 0 {
			return nil
		}
		if err := p.readOthers(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// readOthers derives the receipts of the packages of an architecture that are no
// layer as they are, once: those in packed, rewritten and apko's layers, and those
// without content. They are read from their repositories.
func (p *prover) readOthers(ctx context.Context, i int) error {
	arch := p.derived.Planned[i].Arch.APK
	others := p.others(i)
	if len(others) == 0 || p.fetched[i] {
		return nil
	}
	if p.fetched == nil {
		p.fetched = map[int]bool{}
	}
	p.fetched[i] = true
	if p.options.Fetch == nil {
		p.unread += len(others)
		return nil
	}
	l := *p.kit.Lock
	l.Contents.Packages = nil
	for _, locked := range p.kit.Lock.For(arch) {
		if others[locked.Checksum] != nil {
			l.Contents.Packages = append(l.Contents.Packages, locked)
		}
	}
	again, err := p.options.Fetch(ctx, &l, arch)
	if errors.Is(err, store.ErrMismatch) || errors.Is(err, store.ErrHostile) || errors.Is(err, store.ErrMalformed) {
		p.fail("%s: %v", arch, err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, r := range again {
		if want := others[r.Package.Checksum]; want == nil || want.Digest() != r.Digest() {
			p.fail("%s: package %s: the receipt in the kit is not that of the package in its repository", arch, r.ID())
		}
		delete(others, r.Package.Checksum)
	}
	p.unread += len(others)
	return nil
}

// others are the receipts of packages that are no layer as they are.
func (p *prover) others(i int) map[apk.SHA1]*store.Receipt {
	out := map[apk.SHA1]*store.Receipt{}
	receipts := p.derived.Receipts(i)
	for _, r := range receipts {
		out[r.Package.Checksum] = r
	}
	for _, l := range p.derived.Planned[i].Layers.Outline() {
		if l.Kind == layer.Verbatim {
			delete(out, receipts[l.Packages[0]].Package.Checksum)
		}
	}
	return out
}
