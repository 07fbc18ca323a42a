package packages

import (
	"context"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Held stands in for a [Workspace] where receipts and keys are at hand and
// neither a store nor a repository is: planning then needs no package data.
type Held struct {
	receipts map[heldKey]*store.Receipt
	keys     []repository.Key
}

// heldKey tells packages apart; those without an architecture are in several.
type heldKey struct {
	arch     string
	checksum apk.SHA1
}

// NewHeld returns a Held with these keys and no receipts.
func NewHeld(keys []repository.Key) *Held {
	return &Held{receipts: map[heldKey]*store.Receipt{}, keys: keys}
}

// Add adds the receipt of a package of an architecture of the lock.
func (h *Held) Add(arch string, r *store.Receipt) { h.receipts[heldKey{arch, r.Package.Checksum}] = r }

// Fetch returns the receipts of one architecture of a lock, in installation
// order, with the checks of [Workspace.Fetch]. One that is not there gives
// [store.ErrNotFound].
func (h *Held) Fetch(_ context.Context, l *lock.Lock, arch string, o FetchOptions) ([]*store.Receipt, error) {
	ring, err := lockedKeys(l)
	if err != nil {
		return nil, err
	}
	locked := l.For(arch)
	out := make([]*store.Receipt, len(locked))
	for i := range locked {
		p := &locked[i]
		r := h.receipts[heldKey{arch, p.Checksum}]
		if r == nil {
			return nil, fmt.Errorf("package %s-%s (%s): receipt: %w", p.Name, p.Version, arch, store.ErrNotFound)
		}
		if err := r.Check(wanted(p, ring, o.Unsafe)); err != nil {
			return nil, err
		}
		if err := agrees(p, r); err != nil {
			return nil, err
		}
		out[i] = r
	}
	return out, nil
}

// Keys returns the keys that are held, whatever is asked for.
func (h *Held) Keys(context.Context, []string) ([]repository.Key, error) { return h.keys, nil }

// Forget does nothing: what is held does not heal.
func (h *Held) Forget() {}

// wanted is what a lock says of a package.
func wanted(p *lock.Package, ring *repository.Keyring, unsafe Unsafe) store.Expect {
	want := store.Expect{Name: p.Name, Version: p.Version, Checksum: p.Checksum, Key: keyOf(ring), Unsafe: unsafe.store()}
	if p.Cairn != nil {
		want.FileSHA256, want.ReceiptSHA256, want.Size = p.Cairn.SHA256, p.Cairn.Receipt, p.Cairn.Size
	}
	return want
}

// RawIndex returns the signed index file that a lock names, as it was read when
// the lock was made: from the index cache, or, of a local repository, from where
// it lies. It is [repository.ErrNotFound] when it is not there any more.
func (w *Workspace) RawIndex(ctx context.Context, ix lock.Index) ([]byte, error) {
	return w.client.RawIndex(ctx, ix.URL, ix.Architecture, ix.SHA256)
}
