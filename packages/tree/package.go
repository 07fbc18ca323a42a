package tree

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// PackageOptions say how a package is opened.
type PackageOptions struct {
	// TempDir is where the package is unpacked to while it is open; "" is the
	// system's directory for temporary files.
	TempDir string
	// Key returns the public key of that file name, nil when it is not known. A
	// signature by a known key must be right. Nil: no key is known.
	Key func(name string) *rsa.PublicKey
	// NoDataHash accepts a package whose control section names no hash of its
	// data, as very old ones do.
	NoDataHash bool
	Limits     store.Limits
}

// Package is an open package file.
type Package struct {
	*Tree
	// Receipt is what the file says and what was measured on it: control section,
	// signature, digests, entries in the order of the archive.
	Receipt *store.Receipt
}

// OpenPackage reads a package file from its beginning to its end and checks it:
// its form, the hash of the data section against the control section, every
// file's own checksum, and, with keys, its signature. The errors are those of
// [store.Store.Ingest].
//
// The content is kept unpacked in temporary files until Close.
func OpenPackage(ctx context.Context, name string, o PackageOptions) (_ *Package, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", name, bare(err))
	}
	defer f.Close()
	dir, err := os.MkdirTemp(o.TempDir, "cairn-package-")
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", name, err)
	}
	remove := func() error { return os.RemoveAll(dir) }
	p, err := openIngested(ctx, f, name, dir, o)
	if err != nil {
		return nil, errors.Join(err, remove())
	}
	closeTree := p.close
	p.close = func() error { return errors.Join(closeTree(), remove()) }
	return p, nil
}

func openIngested(ctx context.Context, r io.Reader, name, dir string, o PackageOptions) (p *Package, err error) {
	st, err := store.Open(dir, store.Options{Limits: o.Limits})
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	receipt, err := st.Ingest(ctx, r, store.Expect{Key: o.Key, Unsafe: store.Unsafe{NoChecksum: true, NoDataHash: o.NoDataHash}})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	content, err := spool(ctx, st, receipt, dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	t := newTree(slices.Clone(receipt.Entries), func(e *apk.Entry) (File, error) {
		return section{io.NewSectionReader(content, e.DataOffset, e.Size)}, nil
	}, content.Close)
	t.hashed = true
	return &Package{Tree: t, Receipt: receipt}, nil
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// spool inflates the data section into a file of its own.
func spool(ctx context.Context, st *store.Store, r *store.Receipt, dir string) (_ *os.File, err error) {
	in, err := st.OpenTar(ctx, r)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := os.CreateTemp(dir, "tar-")
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(out, in); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	return out, nil
}
