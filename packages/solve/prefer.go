package solve

import (
	"cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// better reports whether p is to be taken rather than q for the name that both
// provide. Equals keep the order of the repositories and indexes.
func (g *greedy) better(p, q provider) bool {
	a, b := &g.pkgs[p.pkg.id], &g.pkgs[q.pkg.id]
	c := cmp.Or(
		prefer(a.usable, b.usable),
		prefer(a.used, b.used),
		cmp.Compare(b.conflicts, a.conflicts),
		prefer(a.pinOK, b.pinOK),
		prefer(a.preferred, b.preferred),
	)
	if c == 0 {
		c = g.u.compareProviders(p, q)
	}
	return c > 0
}

func prefer(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// compareProviders is the part of the preference that does not depend on
// earlier decisions: a version that the request wants to keep; the newest by
// the name asked for, then by the package's own name; the higher provider
// priority; the earlier repository.
func (u *universe) compareProviders(p, q provider) int {
	a, b := p.pkg, q.pkg
	if c := prefer(u.kept(a), u.kept(b)); c != 0 {
		return c
	}
	if p.version != "" && q.version != "" {
		if c := apk.Compare(p.version, q.version); c != 0 {
			return c
		}
	}
	if a.name == b.name {
		if c := apk.Compare(a.pkg.Version, b.pkg.Version); c != 0 {
			return c
		}
	}
	return cmp.Or(
		cmp.Compare(a.pkg.ProviderPriority, b.pkg.ProviderPriority),
		cmp.Compare(b.repo, a.repo),
	)
}

// kept reports whether the request prefers to keep c.
func (u *universe) kept(c *candidate) bool {
	v, ok := u.request.Prefer[c.pkg.Name]
	return ok && v == c.pkg.Version
}
