package packages

import (
	"context"
	"crypto/rsa"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
	"github.com/cairn-dev/cairn/packages/store"
)

// lockPackages brings the chosen packages of one architecture into the store
// and pins them.
func (w *Workspace) lockPackages(ctx context.Context, a *resolved, unsafe Unsafe) (_ []lock.Package, waived []string, err error) {
	out := make([]lock.Package, len(a.solution.Choices))
	receipts := make([]*store.Receipt, len(out))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.options.Jobs)
	for i, c := range a.solution.Choices {
		g.Go(func() error {
			src, ix := a.sources[c.Repository], a.indexes[c.Repository]
			receipt, err := w.obtain(ctx, a.arch, c.Package.ID(), expectation(c.Package, src.Keyring, unsafe), func(ctx context.Context) (io.ReadCloser, error) {
				body, _, err := w.client.OpenPackage(ctx, ix, c.Package)
				return body, err
			})
			if err != nil {
				return err
			}
			out[i], receipts[i] = pin(receipt, src, c, a.arch), receipt
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	return out, Waived(receipts), nil
}

// expectation is what the index says of a package.
func expectation(p *apk.Package, ring *repository.Keyring, unsafe Unsafe) store.Expect {
	return store.Expect{Name: p.Name, Version: p.Version, Checksum: p.Checksum, Size: p.Size, Key: keyOf(ring), Unsafe: unsafe.store()}
}

// obtain returns the receipt of a package, from this process, from the store,
// or by reading it from where open says.
func (w *Workspace) obtain(ctx context.Context, arch, id string, want store.Expect, open func(context.Context) (io.ReadCloser, error)) (*store.Receipt, error) {
	w.mu.Lock()
	receipt := w.receipts[want.Checksum]
	w.mu.Unlock()
	if receipt != nil && is(receipt, want) {
		return receipt, nil
	}
	receipt, err := w.store.Find(want)
	reused := err == nil
	if errors.Is(err, store.ErrNotFound) {
		receipt, err = w.ingest(ctx, want, open)
	}
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.receipts[want.Checksum] = receipt
	w.mu.Unlock()
	w.tell(Event{Kind: PackageReady, Arch: arch, Subject: id, Bytes: receipt.FileSize, Reused: reused})
	return receipt, nil
}

// is tells whether a receipt, which was verified when it was made or read, is
// of the package that is wanted now.
func is(r *store.Receipt, want store.Expect) bool {
	return r.Package.Name == want.Name && r.Package.Version == want.Version &&
		(want.Size == 0 || r.FileSize == want.Size) &&
		(want.FileSHA256.IsZero() || r.FileSHA256 == want.FileSHA256) &&
		(want.ReceiptSHA256.IsZero() || r.Digest() == want.ReceiptSHA256)
}

func (w *Workspace) ingest(ctx context.Context, want store.Expect, open func(context.Context) (io.ReadCloser, error)) (*store.Receipt, error) {
	body, err := open(ctx)
	if err != nil {
		return nil, err
	}
	receipt, err := w.store.Ingest(ctx, body, want)
	return receipt, errors.Join(err, body.Close())
}

// pin makes the lock's entry of a package.
func pin(r *store.Receipt, src repository.Source, c solve.Choice, arch string) lock.Package {
	signature, control := int64(len(r.Signature)), int64(len(r.Control))
	p := lock.Package{
		Name: c.Package.Name, Version: c.Package.Version, Architecture: arch,
		URL:      repository.Redact(src.PackageURL(c.Package.Filename())),
		Control:  lock.Range{Range: lock.Bytes(signature, control), Checksum: lock.ControlChecksum(r.Package.Checksum)},
		Data:     lock.Range{Range: lock.Bytes(r.DataOffset, r.DataSize), Checksum: lock.Checksum(r.DataHash)},
		Checksum: r.Package.Checksum,
		Cairn: &lock.PackageExtra{
			SHA256: r.FileSHA256, Size: r.FileSize, DiffID: r.DiffID, Receipt: r.Digest(), Inflated: r.InflatedSize,
			Origin: r.Package.Origin, BuildTime: r.Package.BuildTime, Tag: src.Tag,
			Reason: lock.Reason{Kind: string(c.Reason.Kind), By: c.Reason.By, Dependency: c.Reason.Dependency},
		},
	}
	if signature > 0 {
		p.Signature = lock.Range{Range: lock.Bytes(0, signature), Checksum: lock.ControlChecksum(sha1Of(r.Signature))}
	}
	return p
}

// FetchOptions says how the packages of a lock are read.
type FetchOptions struct {
	// Repositories are those of the configuration: where one of them is the
	// lock's but for the credentials in it, it is used, because a lock holds
	// none.
	Repositories []string
	Unsafe       Unsafe
	// Receipt, where it is set, is asked for the receipts of packages that the
	// store does not have, before they are read. What it gives is held against the
	// lock, which must pin it; [store.ErrNotFound] is for those that it has not, and
	// so is whatever does not fit the lock.
	Receipt func(ctx context.Context, p *lock.Package) (*store.Receipt, error)
	// Open, where it is set, gives package files before their repositories are asked;
	// [store.ErrNotFound] is for those that it has not.
	Open func(ctx context.Context, p *lock.Package) (io.ReadCloser, error)
}

// Fetch brings the packages of one architecture of a lock into the store, and
// returns their receipts in installation order. Every hash in the lock is
// checked against every receipt, also of packages that were there already;
// blobs are checked when they are used.
//
// Errors are the store's for packages that differ from the lock, and the
// repository's for those that cannot be read.
func (w *Workspace) Fetch(ctx context.Context, l *lock.Lock, arch string, o FetchOptions) ([]*store.Receipt, error) {
	locked := l.For(arch)
	ring, err := lockedKeys(l)
	if err != nil {
		return nil, err
	}
	out := make([]*store.Receipt, len(locked))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.options.Jobs)
	for i := range locked {
		p := &locked[i]
		want := wanted(p, ring, o.Unsafe)
		g.Go(func() error {
			receipt, err := w.elsewhere(ctx, arch, p, want, o)
			if receipt != nil || err != nil {
				out[i] = receipt
				return err
			}
			receipt, err = w.obtain(ctx, arch, p.Name+"-"+p.Version, want, func(ctx context.Context) (io.ReadCloser, error) {
				if o.Open != nil {
					if body, err := o.Open(ctx, p); !errors.Is(err, store.ErrNotFound) {
						return body, err
					}
				}
				return w.openLocked(ctx, p, want.Size, o.Repositories)
			})
			if err == nil {
				err = agrees(p, receipt)
			}
			out[i] = receipt
			return err
		})
	}
	return out, g.Wait()
}

// elsewhere asks for the receipt of a package that the store does not have; nil
// when it is not to be had.
func (w *Workspace) elsewhere(ctx context.Context, arch string, p *lock.Package, want store.Expect, o FetchOptions) (*store.Receipt, error) {
	if o.Receipt == nil || want.ReceiptSHA256.IsZero() {
		return nil, nil
	}
	if _, err := w.store.Find(want); !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	r, err := o.Receipt(ctx, p)
	if err == nil {
		if err = r.Check(want); err == nil {
			err = agrees(p, r)
		}
	}
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrMismatch) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.tell(Event{Kind: PackageReady, Arch: arch, Subject: p.Name + "-" + p.Version, Reused: true})
	return r, nil
}

// Has tells whether the store has the package of a receipt.
func (w *Workspace) Has(r *store.Receipt) bool {
	_, err := w.store.Find(store.Expect{Checksum: r.Package.Checksum, ReceiptSHA256: r.Digest(), Unsafe: store.Unsafe{NoDataHash: true, NoSignature: true}})
	return err == nil
}

// OpenData opens the data section of a package of a lock where its repository has
// it, without the sections before, and reads no further. The bytes are not checked.
func (w *Workspace) OpenData(ctx context.Context, p *lock.Package, r *store.Receipt, repositories []string) (io.ReadCloser, error) {
	body, err := w.openLocked(ctx, p, r.FileSize, repositories)
	if err != nil {
		return nil, err
	}
	if _, err := io.CopyN(io.Discard, body, r.DataOffset); err != nil {
		return nil, errors.Join(fmt.Errorf("package %s: %w", r.ID(), err), body.Close())
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(body, r.DataSize), body}, nil
}

// agrees checks the parts of a lock entry that the store does not know of.
func agrees(p *lock.Package, r *store.Receipt) error {
	id := p.Name + "-" + p.Version
	if p.Data.Checksum != "" {
		if d, err := lock.ParseChecksum(p.Data.Checksum); err != nil || d != r.DataHash {
			return fmt.Errorf("package %s: data section: found %s, lock has %s: %w", id, lock.Checksum(r.DataHash), p.Data.Checksum, store.ErrMismatch)
		}
	}
	if p.Cairn != nil && p.Cairn.DiffID != r.DiffID {
		return fmt.Errorf("package %s: inflated data section: found %s, lock has %s: %w", id, r.DiffID, p.Cairn.DiffID, store.ErrMismatch)
	}
	return nil
}

// openLocked opens the file of a locked package.
func (w *Workspace) openLocked(ctx context.Context, p *lock.Package, size int64, repositories []string) (io.ReadCloser, error) {
	url, ok := RepositoryOf(p)
	if !ok {
		return nil, fmt.Errorf("package %s-%s: url %q: expected REPOSITORY/%s/%s-%s.apk", p.Name, p.Version, p.URL, p.Architecture, p.Name, p.Version)
	}
	for _, r := range repositories {
		if src, err := repository.ParseSource(r, p.Architecture); err == nil && src.Redacted() == url {
			url = src.URL
			break
		}
	}
	src, err := repository.ParseSource(url, p.Architecture)
	if err != nil {
		return nil, err
	}
	body, _, err := w.client.OpenFile(ctx, src, &apk.Package{Name: p.Name, Version: p.Version, Size: size})
	return body, err
}

// RepositoryOf is the URL of the repository that a locked package is from; ok is
// false when its URL does not have the form of a package in a repository. Like
// the lock it holds no secrets: of a query only "?…" is left.
func RepositoryOf(p *lock.Package) (url string, ok bool) {
	file, query, found := strings.Cut(p.URL, "?")
	if found {
		query = "?" + query
	}
	url, ok = strings.CutSuffix(file, "/"+p.Architecture+"/"+p.Name+"-"+p.Version+".apk")
	return url + query, ok
}

// Keys reads keys as [Request.Keyring] names them, sorted by name.
func (w *Workspace) Keys(ctx context.Context, refs []string) ([]repository.Key, error) {
	ring, err := w.client.Keys(ctx, refs)
	return ring.Keys(), err
}

// lockedKeys is the keyring that a lock carries.
func lockedKeys(l *lock.Lock) (*repository.Keyring, error) {
	ring := repository.NewKeyring()
	for _, k := range l.Contents.Keyring {
		if k.Content == "" {
			continue
		}
		key, err := repository.ParseKey(k.Name, []byte(k.Content))
		if err != nil {
			return nil, fmt.Errorf("keyring: %w: %w", lock.ErrInvalid, err)
		}
		ring.Add(key)
	}
	return ring, nil
}

// keyOf adapts a keyring to the store, which knows one key for a name.
func keyOf(ring *repository.Keyring) func(string) *rsa.PublicKey {
	return func(name string) *rsa.PublicKey {
		if keys := ring.Lookup(name); len(keys) > 0 {
			return keys[0].Public
		}
		return nil
	}
}

func sha1Of(b []byte) apk.SHA1 { return sha1.Sum(b) }
