package pack

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ErrIndex is wrapped when packages cannot stand in one index.
var ErrIndex = errors.New("cannot be in one index")

// noArch are the architectures that fit all others.
var noArch = []string{"", "noarch", "all"}

// Entries reads package files for an index ([ReadEntry]), several at a time. All
// must be of the architecture arch, or, when it is empty, of one; packages for no
// particular architecture fit any.
func Entries(ctx context.Context, files []string, arch string) ([]*apk.Package, error) {
	out := make([]*apk.Package, len(files))
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range files {
		g.Go(func() (err error) {
			out[i], _, err = ReadEntry(each, name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	first := ""
	for i, p := range out {
		switch {
		case slices.Contains(noArch, p.Arch):
		case arch == "":
			arch, first = p.Arch, files[i]
		case p.Arch != arch && first != "":
			return nil, fmt.Errorf("%s: is for %s, but %s is for %s: %w\nhint: an index lists the packages of one architecture, in a directory of that name", files[i], p.Arch, first, arch, ErrIndex)
		case p.Arch != arch:
			return nil, fmt.Errorf("%s: is for %s: expected %s: %w\nhint: an index lists the packages of one architecture, in a directory of that name", files[i], p.Arch, arch, ErrIndex)
		}
	}
	return out, nil
}

// Replace returns the packages of an index after some were added: each takes the
// place of one with the same file name.
func Replace(have, added []*apk.Package) []*apk.Package {
	names := map[string]int{}
	var out []*apk.Package
	for _, p := range slices.Concat(have, added) {
		if i, ok := names[p.Filename()]; ok {
			out[i] = p
			continue
		}
		names[p.Filename()] = len(out)
		out = append(out, p)
	}
	return out
}

// Join returns the packages of several indexes. One file name with two contents
// is an error: a repository can hold only one of them.
func Join(lists ...[]*apk.Package) ([]*apk.Package, error) {
	have := map[string]*apk.Package{}
	var out []*apk.Package
	for _, p := range slices.Concat(lists...) {
		name := p.Arch + "/" + p.Filename()
		switch other := have[name]; {
		case other == nil:
			have[name] = p
			out = append(out, p)
		case other.Checksum != p.Checksum:
			return nil, fmt.Errorf("%s: %s in one index and %s in another: %w", name, other.Checksum, p.Checksum, ErrIndex)
		}
	}
	return out, nil
}
