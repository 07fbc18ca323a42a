package packages

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
	"github.com/cairn-dev/cairn/packages/store"
)

// Request is what to resolve.
type Request struct {
	// Packages are the wanted atoms: "openssl>=3", "so:libz.so.1", "!busybox",
	// "nginx@edge".
	Packages []string
	// Repositories in order, each "URL" or "@tag URL".
	Repositories []string
	// BuildRepositories are resolved from as well, before Repositories, but
	// are recorded apart: the image is not told of them.
	BuildRepositories []string
	// Keyring are the keys trusted for every repository: files, URLs or PEM.
	Keyring []string
	// Keyrings are the keys trusted for one repository only, by its URL as in
	// Repositories. A repository that has an entry here trusts nothing else.
	Keyrings map[string][]string
	// Architectures in apk's spelling, in the order of the lock.
	Architectures []string

	// Held are the packages that a base image has already, by architecture. They
	// satisfy dependencies as they are, are not fetched, and are not part of the
	// lock's packages. An architecture without an entry has no base image.
	Held map[string][]*apk.Package

	// Previous is the lock to stay close to: its versions are kept where that
	// is possible, but for the packages named in Update. UpdateAll ignores its
	// versions. Its index dates guard against rollback in either case.
	Previous  *lock.Lock
	Update    []string
	UpdateAll bool
	// AllowRollback accepts an index that is older than the one locked.
	AllowRollback bool
	Unsafe        Unsafe

	// Name, Checksum and Record go into the lock as they are.
	Name     string
	Checksum string
	Record   lock.Request
}

// resolved is one architecture while a lock is made.
type resolved struct {
	arch     string
	build    int // how many of the sources are for building only
	sources  []repository.Source
	indexes  []*repository.Index
	solution *solve.Solution
}

// Resolve loads the indexes, solves the request for all architectures, fetches
// and verifies every chosen package, and returns the lock.
//
// Errors: [repository.UnknownKeyError] and the like for indexes that are not
// trusted, [solve.UnsatisfiableError] and [solve.MissingError] when there is no
// solution, the store's errors for packages that are not what the index says.
func (w *Workspace) Resolve(ctx context.Context, r Request) (*lock.Lock, error) {
	if err := r.checkUpdate(); err != nil {
		return nil, err
	}
	arches, err := w.loadAll(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := w.solveAll(ctx, r, arches); err != nil {
		return nil, err
	}
	l := &lock.Lock{
		Version: lock.Version,
		Config:  lock.Config{Name: r.Name, Checksum: r.Checksum},
		Cairn:   &lock.Cairn{Format: lock.Format, Request: r.Record},
	}
	if slices.ContainsFunc(arches, usedUnsigned) {
		l.Cairn.Unsafe = append(l.Cairn.Unsafe, UnsafeUnsignedIndex)
	}
	if len(r.Record.Base) > 0 {
		l.Cairn.Format = lock.FormatBase
	}
	if len(r.Record.Slices) > 0 {
		l.Cairn.Format = lock.FormatSlices
	}
	for _, a := range arches {
		a.describe(l, r)
		pkgs, waived, err := w.lockPackages(ctx, a, r.Unsafe)
		if err != nil {
			return nil, err
		}
		l.Cairn.Unsafe = append(l.Cairn.Unsafe, waived...)
		l.Contents.Packages = append(l.Contents.Packages, pkgs...)
	}
	slices.Sort(l.Cairn.Unsafe)
	l.Cairn.Unsafe = slices.Compact(l.Cairn.Unsafe)
	return l, nil
}

// checkUpdate refuses names to renew that the lock does not have: they would be
// passed over in silence.
func (r *Request) checkUpdate() error {
	if r.Previous == nil || r.UpdateAll {
		return nil
	}
	locked := map[string]bool{}
	for i := range r.Previous.Contents.Packages {
		locked[r.Previous.Contents.Packages[i].Name] = true
	}
	for _, name := range r.Update {
		if !locked[name] {
			return fmt.Errorf("update: package %q: not in the lock", name)
		}
	}
	return nil
}

// Unsafe switches checks off. What was skipped because of a switch is recorded
// in the lock and in the image.
type Unsafe struct {
	// UnsignedIndex accepts indexes without a verified signature.
	UnsignedIndex bool
	// MissingDataHash accepts packages whose control section names no hash of
	// the data section: nothing that is signed covers their content.
	MissingDataHash bool
	// PackageSignature does not check the packages' own signatures.
	PackageSignature bool
}

// How a lock and an image record what was skipped.
const (
	UnsafeUnsignedIndex    = "unsigned-index"
	UnsafeMissingDataHash  = "missing-datahash"
	UnsafePackageSignature = "package-signature"
)

// Waived spells, for lock and image, the checks that the store says it skipped
// for these packages.
func Waived(receipts []*store.Receipt) []string {
	var out []string
	for _, r := range receipts {
		for _, check := range r.Waived {
			switch check {
			case store.WaivedDataHash:
				out = append(out, UnsafeMissingDataHash)
			case store.WaivedSignature:
				out = append(out, UnsafePackageSignature)
			default:
				out = append(out, check)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (u Unsafe) store() store.Unsafe {
	return store.Unsafe{NoDataHash: u.MissingDataHash, NoSignature: u.PackageSignature}
}

func usedUnsigned(a *resolved) bool {
	return slices.ContainsFunc(a.indexes, func(ix *repository.Index) bool { return ix.UnsafeUnsigned })
}

// loadAll loads every index of every architecture, concurrently.
func (w *Workspace) loadAll(ctx context.Context, r Request) ([]*resolved, error) {
	var out []*resolved
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.options.Jobs)
	lines := slices.Concat(r.BuildRepositories, r.Repositories)
	for _, arch := range r.Architectures {
		a := &resolved{arch: arch, build: len(r.BuildRepositories),
			sources: make([]repository.Source, len(lines)), indexes: make([]*repository.Index, len(lines))}
		out = append(out, a)
		for i, line := range lines {
			src, err := repository.ParseSource(line, arch)
			if err != nil {
				return nil, errors.Join(err, g.Wait())
			}
			src.UnsafeUnsigned = r.Unsafe.UnsignedIndex
			g.Go(func() error {
				var err error
				a.sources[i], a.indexes[i], err = w.load(ctx, r, src)
				return err
			})
		}
	}
	return out, g.Wait()
}

// load reads one index with the keys that count for its repository. Where none
// of them made the signature, the keys that the repository itself publishes are
// asked for; they count for this repository alone.
func (w *Workspace) load(ctx context.Context, r Request, src repository.Source) (repository.Source, *repository.Index, error) {
	keys, own := r.Keyrings[src.URL]
	if !own {
		keys = r.Keyring
	}
	ring, err := w.client.Keys(ctx, keys)
	if err != nil {
		return src, nil, err
	}
	src.Keyring = ring
	ix, err := w.client.Load(ctx, src)
	var unknown *repository.UnknownKeyError
	if errors.As(err, &unknown) && !own && src.Remote() {
		found, discoverErr := w.client.Discover(ctx, src)
		if discoverErr != nil || len(found) == 0 {
			return src, nil, errors.Join(err, discoverErr)
		}
		src.Keyring = repository.NewKeyring(append(ring.Keys(), found...)...)
		ix, err = w.client.Load(ctx, src)
	}
	if err != nil {
		return src, nil, err
	}
	if err := checkRollback(r, src, ix); err != nil {
		return src, nil, err
	}
	w.tell(Event{Kind: IndexLoaded, Arch: src.Arch, Subject: src.Redacted(), Bytes: ix.Size})
	return src, ix, nil
}

func checkRollback(r Request, src repository.Source, ix *repository.Index) error {
	if r.AllowRollback || r.Previous == nil || r.Previous.Cairn == nil {
		return nil
	}
	for _, old := range r.Previous.Cairn.Indexes {
		if old.URL == repository.Redact(src.IndexURL()) && old.Architecture == src.Arch {
			return ix.CheckRollback(old.Newest)
		}
	}
	return nil
}

func (w *Workspace) solveAll(ctx context.Context, r Request, arches []*resolved) error {
	var world []apk.Dependency
	for _, atom := range r.Packages {
		d, err := apk.ParseDependency(atom)
		if err != nil {
			return fmt.Errorf("packages: %w", err)
		}
		world = append(world, d)
	}
	requests := make([]solve.Request, len(arches))
	for i, a := range arches {
		requests[i] = solve.Request{World: world, Arch: a.arch, Prefer: prefer(r, a.arch)}
		for j, ix := range a.indexes {
			requests[i].Repositories = append(requests[i].Repositories,
				solve.Repository{Index: ix, URL: a.sources[j].Redacted(), Tag: a.sources[j].Tag})
		}
		if held, ok := r.Held[a.arch]; ok {
			ix, err := repository.NewIndex(held...)
			if err != nil {
				return fmt.Errorf("packages of the base image: %w", err)
			}
			requests[i].Base = ix
		}
	}
	solutions, err := solve.SolveAll(ctx, requests)
	if err != nil {
		return withNearest(err, arches)
	}
	for i, s := range solutions {
		s.Choices = slices.DeleteFunc(s.Choices, func(c solve.Choice) bool { return c.Reason.Kind == solve.InBase })
		arches[i].solution = s
		w.tell(Event{Kind: PackagesChosen, Arch: s.Arch, Bytes: int64(len(s.Choices))})
	}
	return nil
}

// prefer is what the previous lock has, without what is to be renewed.
func prefer(r Request, arch string) map[string]string {
	if r.Previous == nil || r.UpdateAll {
		return nil
	}
	out := map[string]string{}
	for _, p := range r.Previous.For(arch) {
		if !slices.Contains(r.Update, p.Name) {
			out[p.Name] = p.Version
		}
	}
	return out
}

// withNearest names what exists and looks alike, in errors about names that do
// not exist.
func withNearest(err error, arches []*resolved) error {
	var indexes []*repository.Index
	for _, a := range arches {
		indexes = append(indexes, a.indexes...)
	}
	for _, m := range solve.Missing(err) {
		m.Nearest = repository.Nearest(m.Name, 3, indexes...)
	}
	return err
}

// describe adds what was asked, and which indexes answered, to the lock.
func (a *resolved) describe(l *lock.Lock, r Request) {
	for i, src := range a.sources {
		ix := a.indexes[i]
		at := repository.Redact(src.IndexURL())
		list := &l.Contents.Repositories
		if i < a.build {
			list = &l.Contents.BuildRepositories
		}
		*list = append(*list, lock.Repository{Name: lockName(src), URL: at, Architecture: a.arch})
		l.Cairn.Indexes = append(l.Cairn.Indexes, lock.Index{
			URL: at, Architecture: a.arch, SHA256: ix.SHA256, Newest: ix.Newest(),
			Key: ix.SignedBy.Fingerprint, KeyName: ix.SignedBy.Name,
		})
		for _, k := range src.Keyring.Keys() {
			key := lock.Key{Name: k.Name, URL: keyURL(r, k.Name), Content: string(k.PEM())}
			if !slices.Contains(l.Contents.Keyring, key) {
				l.Contents.Keyring = append(l.Contents.Keyring, key)
			}
		}
	}
}

// lockName is how apko names a repository in a lock: the URL without its scheme
// and with the architecture.
func lockName(src repository.Source) string {
	name := strings.TrimPrefix(strings.TrimPrefix(src.Redacted(), "https://"), "http://")
	return name + "/" + src.Arch
}

// keyURL is where the configuration has a key of that name from, empty for a
// key that a repository published or that stands inline.
func keyURL(r Request, name string) string {
	for _, ref := range r.Keyring {
		if !strings.Contains(ref, "-----BEGIN") && repository.KeyName(ref) == name {
			return repository.Redact(ref)
		}
	}
	return ""
}
