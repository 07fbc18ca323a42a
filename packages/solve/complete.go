package solve

import (
	"context"
	"slices"
)

// completion adds to what a search found the packages whose install_if
// conditions hold, as far as they fit beside it.
type completion struct {
	assembly
	s     *search
	tried map[*candidate]bool
}

// assembly is a set of packages that others may or may not be added to.
type assembly struct {
	chosen   []*candidate
	in       *provision
	excludes map[*name][]exclusion // by the name that is excluded
}

// exclusion is a conflict, and whose it is (nil: the request's).
type exclusion struct {
	by *candidate
	d  demand
}

func newAssembly() assembly {
	return assembly{in: newProvision(nil), excludes: map[*name][]exclusion{}}
}

func (a *assembly) add(q *candidate) {
	a.chosen = append(a.chosen, q)
	a.in.add(q)
	a.exclude(q, q.depends)
}

func (a *assembly) exclude(by *candidate, list []demand) {
	for _, d := range list {
		if d.atom.Conflict {
			a.excludes[d.name] = append(a.excludes[d.name], exclusion{by, d})
		}
	}
}

// allows reports whether q and the packages of the set do not exclude each
// other.
func (a *assembly) allows(q *candidate) bool {
	for _, d := range q.depends {
		if d.atom.Conflict && slices.ContainsFunc(a.in.of[d.name], func(p provider) bool { return !d.providedBy(p) }) {
			return false
		}
	}
	for _, v := range q.everything() {
		p := provider{q, v.version}
		for _, e := range a.excludes[v.name] {
			if !e.d.providedBy(p) {
				return false
			}
		}
		for _, r := range a.in.of[v.name] {
			if r.version != "" || v.version != "" {
				return false
			}
		}
	}
	return true
}

// complete returns what is chosen with the packages that it completes, looking
// again as long as there are more.
func (s *search) complete(ctx context.Context) ([]*candidate, error) {
	c := &completion{s: s, tried: map[*candidate]bool{}}
	c.reset(s.chosen())
	for {
		found := c.triggered()
		if len(found) == 0 {
			return c.chosen, nil
		}
		for _, q := range found {
			if c.in.has[q] || !c.in.completes(q) {
				continue
			}
			c.tried[q] = true
			if c.fits(q) {
				c.add(q)
			} else if err := c.searchWith(ctx, q); err != nil {
				return nil, err
			}
		}
	}
}

func (c *completion) reset(chosen []*candidate) {
	c.assembly = newAssembly()
	c.exclude(nil, c.s.u.world)
	for _, q := range chosen {
		c.add(q)
	}
}

// triggered returns the packages that were not tried and whose install_if
// conditions hold, the better version of a name first.
func (c *completion) triggered() (out []*candidate) {
	seen := map[*candidate]bool{}
	for _, in := range c.chosen {
		for _, v := range in.everything() {
			for _, t := range v.name.triggers {
				for _, p := range t.providers {
					q := p.pkg
					if !seen[q] && !c.tried[q] && !c.in.has[q] && q.found && c.in.completes(q) {
						out = append(out, q)
					}
					seen[q] = true
				}
			}
		}
	}
	slices.SortStableFunc(out, func(a, b *candidate) int {
		if a.name != b.name {
			return a.name.rank - b.name.rank
		}
		return -c.s.u.compareProviders(a.self(), b.self())
	})
	return out
}

// fits reports whether q can be added as it is, without anything else.
func (c *completion) fits(q *candidate) bool {
	if q.tags&untagged == 0 {
		return false // whether a pin allows it is for the search to find out
	}
	for _, d := range q.depends {
		if !d.atom.Conflict && !c.in.satisfies(d) && !q.satisfies(d) {
			return false
		}
	}
	return c.allows(q)
}

func (c *candidate) satisfies(d demand) bool {
	return slices.ContainsFunc(c.everything(), func(v provided) bool {
		return v.name == d.name && d.matches(provider{c, v.version})
	})
}

// searchWith looks for a solution that has q besides all that is chosen.
func (c *completion) searchWith(ctx context.Context, q *candidate) error {
	assumptions := make([]lit, 0, len(c.chosen)+1)
	for _, in := range c.chosen {
		assumptions = append(assumptions, positive(in.id))
	}
	switch v, err := c.s.sat.run(ctx, append(assumptions, positive(q.id))); {
	case err != nil:
		return err
	case v == satisfied:
		c.reset(c.s.chosen())
	case v == exhausted:
		return &LimitError{Arch: c.s.u.request.Arch, Steps: c.s.sat.limit}
	}
	return nil
}
