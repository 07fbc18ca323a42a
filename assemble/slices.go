package assemble

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/assemble/slice"
	"github.com/cairn-dev/cairn/packages/lock"
)

// SliceError says that slices do not fit the packages of the image. It begins with
// the place of the definition or of what asks for it, and wraps [rootfs.ErrConfig].
type SliceError struct{ Err error }

// Error is that of Err.
func (e *SliceError) Error() string { return e.Err.Error() }

// Unwrap returns Err and [rootfs.ErrConfig].
func (e *SliceError) Unwrap() []error { return []error{e.Err, rootfs.ErrConfig} }

// slicesOf returns the slices that a configuration asks for and those they need, by
// package; nil for none.
func slicesOf(cfg *config.Config) (map[string][]*slice.Slice, error) {
	var refs []slice.Ref
	for _, s := range cfg.Sliced() {
		refs = append(refs, s.Refs()...)
	}
	if len(refs) == 0 {
		return nil, nil
	}
	return cfg.SliceDefinitions().Closure(refs)
}

// slicesAsked is the part of a request that slices are.
func slicesAsked(cfg *config.Config) ([]lock.Slice, error) {
	all, err := slicesOf(cfg)
	if err != nil {
		return nil, err
	}
	var out []lock.Slice
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		if cfg.SlicedAt(pkg) != "" {
			out = append(out, lock.Slice{Package: pkg, Slices: sliceNames(all[pkg]), Definition: slice.Digest(all[pkg])})
		}
	}
	return out, nil
}

func sliceNames(list []*slice.Slice) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = s.Name
	}
	return out
}

// slice decides what is in the tree of each package of which slices are asked for,
// and holds it against the lock.
func (j *job) slice(ctx context.Context, in *rootfs.Input) error {
	all, err := slicesOf(j.cfg)
	if err != nil {
		return err
	}
	at := map[string]int{}
	for i := range in.Packages {
		at[in.Packages[i].Receipt.Package.Name] = i
	}
	if err := j.sliceNeeds(all, at); err != nil {
		return err
	}
	j.sliced = nil
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		place := j.cfg.SlicedAt(pkg)
		if place == "" {
			continue // it is there as a whole, because something depends on it
		}
		i, ok := at[pkg]
		if !ok {
			return &SliceError{fmt.Errorf("%s: package %s: no slices of it: %s", place, pkg, j.notSliceable(pkg))}
		}
		entries := in.Packages[i].Receipt.Entries
		keep, err := slice.Keep(ctx, entries, all[pkg])
		var empty *slice.EmptyError
		if errors.As(err, &empty) {
			return &SliceError{fmt.Errorf("%w for %s", err, j.arch)}
		} else if err != nil {
			return err
		}
		s := lock.SliceFiles{Architecture: j.arch.APK, Package: pkg, Slices: sliceNames(all[pkg]),
			Files: slice.FilesDigest(entries, keep), Total: len(entries)}
		for _, k := range keep {
			if k {
				s.Kept++
			}
		}
		in.Packages[i].Slice = &rootfs.Slice{Names: s.Slices, Keep: keep}
		j.sliced = append(j.sliced, s)
	}
	return j.checkSliced()
}

// sliceNeeds refuses a needed slice of a package that is not in the image.
func (j *job) sliceNeeds(all map[string][]*slice.Slice, at map[string]int) error {
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		for _, s := range all[pkg] {
			for _, n := range s.Needs {
				if _, ok := at[n.Package]; !ok && !j.onBase(n.Package) {
					return &SliceError{fmt.Errorf("%s: slice %s: needs %s: the package is not in the image for %s\n  hint: add %s to contents.packages", n.Place, s.Ref, n.Ref, j.arch, n.Package)}
				}
			}
		}
	}
	return nil
}

func (j *job) onBase(pkg string) bool {
	b := j.lock.Base(j.arch.APK)
	return b != nil && b.Version(pkg) != ""
}

func (j *job) notSliceable(pkg string) string {
	if j.onBase(pkg) {
		return "it is in the base image, whose layers stay as they are"
	}
	return "it is not in the image for " + j.arch.String() + " under this name"
}

// checkSliced compares what slices came to with what the lock says of it.
func (j *job) checkSliced() error {
	if j.lock.Cairn == nil {
		return nil
	}
	for _, now := range j.sliced {
		for _, was := range j.lock.Cairn.Slices {
			if was.Architecture == now.Architecture && was.Package == now.Package && was.Files != now.Files {
				return &StaleError{j.lock.Config.Name, []string{fmt.Sprintf("slices of %s (%s): locked %d entries with sha256 %s, now %d with %s",
					now.Package, now.Architecture, was.Kept, was.Files.Hex(), now.Kept, now.Files.Hex())}}
			}
		}
	}
	return nil
}
