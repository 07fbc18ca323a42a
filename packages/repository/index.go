package repository

import (
	"sync/atomic"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Index is a repository's index for one architecture: verified, unless
// UnsafeUnsigned says otherwise. It is a solve.Index, immutable and safe for concurrent use.
// Packages are decoded when asked for, and once.
type Index struct {
	// URL is where the index was, as Redact leaves it: a URL, or for a local
	// repository the path. Empty when it came from a reader.
	URL string
	// Arch is the architecture that was asked for. Packages may be noarch.
	Arch string
	// SHA256 and Size (in bytes) are of the index file as it came.
	SHA256 apk.SHA256
	Size   int64
	// SignedBy is the key whose signature was verified; zero when
	// UnsafeUnsigned is set.
	SignedBy Signer
	// Description is the DESCRIPTION file of the index, without white space
	// around it: "v3.19.1-643-gec825d20535".
	Description string
	// UnsafeUnsigned is set when no signature was verified because the caller
	// said that this may be.
	UnsafeUnsigned bool

	source    Source
	keys      *Keyring
	table     *table
	packages  []atomic.Pointer[apk.Package]
	providers []atomic.Pointer[[]int]
	installs  []atomic.Pointer[[]int]
}

// Signer names the key that signed an index.
type Signer struct {
	Name        string     // file name, as the signature gives it
	Fingerprint apk.SHA256 // of the PKIX DER form
	Algorithm   string     // RSA (SHA-1), RSA256 or RSA512
}

// newIndex wraps a checked table.
func newIndex(t *table) *Index {
	ix := &Index{
		Size:        t.size(),
		Description: t.describe(),
		table:       t,
		packages:    make([]atomic.Pointer[apk.Package], t.counts.packages),
		providers:   make([]atomic.Pointer[[]int], t.counts.names),
		installs:    make([]atomic.Pointer[[]int], t.counts.conditions),
	}
	copy(ix.SHA256[:], t.sha())
	return ix
}

// NewIndex makes an index of packages in the given order, for programs and tests
// that have no file. It is marked UnsafeUnsigned, and its SHA256 is zero.
func NewIndex(packages ...*apk.Package) (*Index, error) {
	b := newBuilder()
	for _, p := range packages {
		b.add(p)
	}
	raw, err := b.finish([32]byte{}, 0, "", nil)
	if err != nil {
		return nil, err
	}
	t, err := newTable(raw, raw[:len(raw)-sealSize])
	if err != nil {
		return nil, err
	}
	ix := newIndex(t)
	ix.UnsafeUnsigned = true
	return ix, nil
}

// Len returns the number of packages.
func (ix *Index) Len() int { return len(ix.packages) }

// Package returns the package at 0 ≤ i < Len(), in the index file's order. The
// same pointer is returned each time; callers must not modify what it points to.
// The fields that an index carries are set: not DataHash and not Triggers.
func (ix *Index) Package(i int) *apk.Package {
	if p := ix.packages[i].Load(); p != nil {
		return p
	}
	p := ix.table.pkg(i)
	if ix.packages[i].CompareAndSwap(nil, p) {
		return p
	}
	return ix.packages[i].Load()
}

// Providers returns, in ascending order, the positions of the packages that are
// named name or provide it in any version. Callers must not modify the slice.
func (ix *Index) Providers(name string) []int {
	return lookup(ix.table, &ix.table.names, ix.providers, name)
}

// InstallIf returns, in ascending order, the positions of the packages whose
// install_if mentions name, conflicts ("!name") included. Callers must not
// modify the slice.
func (ix *Index) InstallIf(name string) []int {
	return lookup(ix.table, &ix.table.conds, ix.installs, name)
}

func lookup(t *table, n *nameTable, memo []atomic.Pointer[[]int], name string) []int {
	k, ok := t.find(n, name)
	if !ok {
		return nil
	}
	if p := memo[k].Load(); p != nil {
		return *p
	}
	list := n.positions(k)
	memo[k].Store(&list)
	return list
}

// Source returns where the index came from; its URL may hold credentials. It is
// zero when the index came from a reader.
func (ix *Index) Source() Source { return ix.source }

// Keyring returns the keys that counted for the index, discovered ones included:
// those that may sign the repository's packages too. It may be nil.
func (ix *Index) Keyring() *Keyring { return ix.keys }

// Newest returns the newest build time of all packages, in seconds since the
// Unix epoch; 0 when no package has one. It is what stands in for the date of an
// index, which has none of its own.
func (ix *Index) Newest() int64 { return ix.table.newest() }

// CheckRollback compares the index with the newest build time recorded for the
// same index before, in seconds since the Unix epoch (0: none recorded). An older
// index gives a *RollbackError: someone may be offering yesterday's packages to
// keep a hole open.
func (ix *Index) CheckRollback(recorded int64) error {
	if n := ix.Newest(); n < recorded {
		return &RollbackError{URL: ix.URL, Arch: ix.Arch, Newest: n, Recorded: recorded}
	}
	return nil
}
