package diff

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
)

// The kinds of changes of packages, beside added and removed.
const (
	Upgraded   = "upgraded"
	Downgraded = "downgraded"
	Rebuilt    = "rebuilt" // the same version, other bytes
	Moved      = "moved"   // the same bytes, from another repository or signed by another key
)

// Package is a package on one side. What a side does not say is empty.
type Package struct {
	Name     string `json:"name"`
	Version  string `json:"version"`
	Arch     string `json:"arch,omitempty"`
	Origin   string `json:"origin,omitempty"`
	License  string `json:"license,omitempty"`
	Checksum string `json:"checksum,omitempty"` // SHA-1 of the control section, "Q1…"
	Size     int64  `json:"size,omitempty"`     // of the package file, bytes
	// Repository and Key are what a lock says: the lock that is compared, or
	// the one in the image's rebuild kit.
	Repository string `json:"repository,omitempty"`
	Key        string `json:"key,omitempty"` // SHA-256 of the key that signed the index
}

// PackageChange is a package that differs.
type PackageChange struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // added, removed, upgraded, downgraded, rebuilt, moved
	// Moved: it comes from another repository or key as well.
	Moved bool     `json:"moved,omitempty"`
	A     *Package `json:"a,omitempty"`
	B     *Package `json:"b,omitempty"`
}

func (c *comparison) packages(context.Context) error {
	a, b := c.a.packages(), c.b.packages()
	for _, side := range []*side{c.a, c.b} {
		if side.image != nil && !side.hasDB {
			c.leaveOut("packages: " + side.source.s.Name + " has no installed database")
			return nil
		}
	}
	for name, p := range a {
		q := b[name]
		if q == nil {
			c.out.Packages = append(c.out.Packages, PackageChange{Name: name, Kind: Removed, A: p})
			continue
		}
		change := PackageChange{Name: name, Kind: kindOf(p, q), Moved: moved(p, q), A: p, B: q}
		if change.Kind == "" {
			c.out.Unchanged.Packages++
			continue
		}
		c.out.Packages = append(c.out.Packages, change)
	}
	for name, q := range b {
		if a[name] == nil {
			c.out.Packages = append(c.out.Packages, PackageChange{Name: name, Kind: Added, B: q})
		}
	}
	slices.SortFunc(c.out.Packages, func(x, y PackageChange) int {
		return cmp.Or(slices.Index(kinds, x.Kind)-slices.Index(kinds, y.Kind), apk.CompareNames(x.Name, y.Name), strings.Compare(x.Name, y.Name))
	})
	return nil
}

// kinds is the order in which changes are shown.
var kinds = []string{Upgraded, Downgraded, Rebuilt, Moved, Added, Changed, Removed}

func kindOf(p, q *Package) string {
	switch order := apk.Compare(p.Version, q.Version); {
	case order < 0:
		return Upgraded
	case order > 0:
		return Downgraded
	case p.Version != q.Version || p.Checksum != q.Checksum:
		return Rebuilt
	case moved(p, q):
		return Moved
	}
	return ""
}

func moved(p, q *Package) bool {
	differ := func(x, y string) bool { return x != "" && y != "" && x != y }
	return differ(p.Repository, q.Repository) || differ(p.Key, q.Key)
}

// packages are the packages of a side by name.
func (s *side) packages() map[string]*Package {
	out := map[string]*Package{}
	for i := range s.locked {
		l := &s.locked[i]
		p := &Package{Name: l.Name, Version: l.Version, Arch: l.Architecture, Checksum: l.Checksum.String()}
		if l.Cairn != nil {
			p.Origin, p.Size = l.Cairn.Origin, l.Cairn.Size
		}
		out[l.Name] = p
	}
	for i := range s.installed {
		d := &s.installed[i]
		out[d.Name] = &Package{Name: d.Name, Version: d.Version, Arch: d.Arch, Origin: d.Origin, License: d.License,
			Checksum: d.Checksum.String(), Size: d.Size}
	}
	for i := range s.known {
		l := &s.known[i]
		if p := out[l.Name]; p != nil && p.Checksum == l.Checksum.String() {
			p.Repository = repositoryOf(l.URL)
			p.Key = s.source.keyOf(l)
		}
	}
	return out
}

// repositoryOf is a package's URL without architecture and file.
func repositoryOf(url string) string {
	dir := path.Dir(strings.Replace(url, "://", ":/\x00", 1))
	return strings.Replace(path.Dir(dir), ":/\x00", "://", 1)
}

// keyOf is the key that signed the index which lists a package.
func (s *source) keyOf(p *lock.Package) string {
	if s.claimed.Cairn == nil {
		return ""
	}
	for _, x := range s.claimed.Cairn.Indexes {
		if x.Architecture == p.Architecture && !x.Key.IsZero() && repositoryOf(x.URL) == repositoryOf(p.URL) {
			return x.Key.String()
		}
	}
	return ""
}
