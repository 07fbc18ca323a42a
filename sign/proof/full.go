package proof

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

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
	blob := &tee{r: rc}
	file := io.MultiReader(bytes.NewReader(r.Signature), bytes.NewReader(r.Control), blob)
	again, err := st.Ingest(ctx, file, store.Expect{
		Name: r.Package.Name, Version: r.Package.Version, Checksum: r.Package.Checksum, Size: r.FileSize,
	})
	switch {
	case blob.err != nil:
		return blob.err
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
