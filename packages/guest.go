package packages

import (
	"context"
	"io"
	"os"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Indexes loads and verifies the indexes of repositories for one architecture, in their
// order: those of [Request.BuildRepositories] and [Request.Repositories], with the keys
// of the request.
func (w *Workspace) Indexes(ctx context.Context, r Request, arch string) ([]*repository.Index, error) {
	var out []*repository.Index
	for _, text := range append(append([]string(nil), r.BuildRepositories...), r.Repositories...) {
		src, err := repository.ParseSource(text, arch)
		if err != nil {
			return nil, err
		}
		_, ix, err := w.load(ctx, r, src)
		if err != nil {
			return nil, err
		}
		out = append(out, ix)
	}
	return out, nil
}

// Package brings a package of an index into the store and returns its receipt.
func (w *Workspace) Package(ctx context.Context, ix *repository.Index, p *apk.Package, unsafe Unsafe) (*store.Receipt, error) {
	return w.obtain(ctx, ix.Source().Arch, p.ID(), expectation(p, ix.Keyring(), unsafe), func(ctx context.Context) (io.ReadCloser, error) {
		body, _, err := w.client.OpenPackage(ctx, ix, p)
		return body, err
	})
}

// File brings a package file into the store, which must have this SHA-256 and the
// checksum of p, and returns its receipt. Nobody's signature is asked for: the caller
// knows where the file is from.
func (w *Workspace) File(ctx context.Context, name string, p *apk.Package, sum apk.SHA256) (*store.Receipt, error) {
	want := store.Expect{Name: p.Name, Version: p.Version, Checksum: p.Checksum, FileSHA256: sum, Unsafe: store.Unsafe{NoSignature: true}}
	return w.obtain(ctx, p.Arch, p.ID(), want, func(context.Context) (io.ReadCloser, error) { return os.Open(name) })
}
