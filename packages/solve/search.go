package solve

import (
	"cmp"
	"context"
	"slices"
)

// defaultSteps bounds a search; it is some seconds' work.
const defaultSteps = 1 << 16

// search finds a solution where the greedy choice found none, if there is one.
// It satisfies demand after demand, those of the request first, each time with
// the provider that the greedy choice would prefer, and goes back on
// contradictions (sat.go).
//
// Two rules are about chains from the request and are no plain clauses: a
// package that provides a name without version or priority is taken only when
// something asks for it otherwise, and a package of a tagged repository only
// when what asks for it may use that repository. They are checked on complete
// choices, and clauses added for what broke them.
type search struct {
	u   *universe
	sat *sat
	// brought holds the facts that accept added: who must be there with whom.
	brought []*fact
}

func (u *universe) newSearch() *search {
	s := &search{u: u, sat: newSat(len(u.candidates), cmp.Or(u.request.Steps, defaultSteps))}
	s.sat.expand = func(v int) []*clause {
		var out []*clause
		for _, f := range u.packageFacts(u.candidates[v]) {
			out = append(out, f.clause())
		}
		return out
	}
	s.sat.decide = s.decide
	s.sat.accept = s.accept
	return s
}

// run returns the packages of a solution in the order they were chosen; or the
// facts that exclude one.
func (s *search) run(ctx context.Context) ([]*candidate, []*fact, error) {
	for _, d := range s.u.world {
		for _, f := range s.u.demandFacts(nil, d) {
			if c := f.clause(); s.sat.attach(c) != nil {
				s.sat.refuted = c
				return nil, s.sat.core(), nil
			}
		}
	}
	switch v, err := s.sat.run(ctx, nil); {
	case err != nil:
		return nil, nil, err
	case v == refuted:
		return nil, s.sat.core(), nil
	case v == exhausted:
		return nil, nil, &LimitError{Arch: s.u.request.Arch, Steps: s.sat.limit}
	}
	chosen, err := s.complete(ctx, s.chosen())
	return chosen, nil, err
}

// chosen returns the packages that are in, in the order they came in, without
// those that nothing needs.
func (s *search) chosen() []*candidate {
	founded := s.founded()
	var out []*candidate
	for _, l := range s.sat.trail {
		if c := s.u.candidates[l.variable()]; !l.isNegated() && founded[c] {
			out = append(out, c)
		}
	}
	return out
}

// complete adds the packages whose install_if conditions hold, as far as they
// fit beside what is chosen.
func (s *search) complete(ctx context.Context, chosen []*candidate) ([]*candidate, error) {
	tried := map[*candidate]bool{}
	for {
		c := s.triggered(chosen, tried)
		if c == nil {
			return chosen, nil
		}
		tried[c] = true
		assumptions := make([]lit, 0, len(chosen)+1)
		for _, in := range chosen {
			assumptions = append(assumptions, positive(in.id))
		}
		switch v, err := s.sat.run(ctx, append(assumptions, positive(c.id))); {
		case err != nil:
			return nil, err
		case v == satisfied:
			chosen = s.chosen()
		case v == exhausted:
			return nil, &LimitError{Arch: s.u.request.Arch, Steps: s.sat.limit}
		}
	}
}

// triggered returns the best package that is not chosen, was not tried and
// whose install_if conditions hold.
func (s *search) triggered(chosen []*candidate, tried map[*candidate]bool) *candidate {
	in := newProvision(chosen)
	var best *candidate
	for _, c := range chosen {
		for _, p := range c.everything() {
			for _, t := range p.name.triggers {
				for _, q := range t.providers {
					c := q.pkg
					if tried[c] || in.has[c] || !c.found || !in.completes(c) {
						continue
					}
					if best == nil || s.addBefore(c, best) {
						best = c
					}
				}
			}
		}
	}
	return best
}

func (s *search) addBefore(a, b *candidate) bool {
	if a.name != b.name {
		return a.name.text < b.name.text
	}
	return s.better(a.self(), b.self(), 0)
}

// everything returns the names that c provides, its own first.
func (c *candidate) everything() []provided {
	return append([]provided{{c.name, c.pkg.Version}}, c.provides...)
}

// provision is what a set of packages provides.
type provision struct {
	has map[*candidate]bool
	of  map[*name][]provider
}

func newProvision(set []*candidate) *provision {
	p := &provision{map[*candidate]bool{}, map[*name][]provider{}}
	for _, c := range set {
		p.add(c)
	}
	return p
}

func (p *provision) add(c *candidate) {
	p.has[c] = true
	for _, v := range c.everything() {
		p.of[v.name] = append(p.of[v.name], provider{c, v.version})
	}
}

// satisfies reports whether d, which is not a conflict, holds.
func (p *provision) satisfies(d demand) bool {
	return slices.ContainsFunc(p.of[d.name], d.matches)
}

// completes reports whether the install_if conditions of c hold. Conditions
// that something is absent never do: apk-tools decides a name that nothing asks
// for never.
func (p *provision) completes(c *candidate) bool {
	for _, d := range c.installIf {
		if d.atom.Conflict || !p.satisfies(d) {
			return false
		}
	}
	return len(c.installIf) > 0
}

// decide returns the best provider of the first demand that is not satisfied.
// Demands for which nothing may be taken by itself come last, since others may
// bring a provider in.
func (s *search) decide() (lit, bool) {
	var later provider
	try := func(d demand) *candidate {
		if d.atom.Conflict || s.isSatisfied(d) {
			return nil
		}
		p, free := s.bestProvider(d)
		if free {
			return p.pkg
		}
		if later.pkg == nil {
			later = p
		}
		return nil
	}
	for _, d := range s.u.world {
		if c := try(d); c != nil {
			return positive(c.id), true
		}
	}
	for _, l := range s.sat.trail {
		if l.isNegated() {
			continue
		}
		for _, d := range s.u.candidates[l.variable()].depends {
			if c := try(d); c != nil {
				return positive(c.id), true
			}
		}
	}
	if later.pkg != nil {
		return positive(later.pkg.id), true
	}
	return s.decideBrought()
}

// decideBrought returns a package that would bring in one that is there without
// reason.
func (s *search) decideBrought() (lit, bool) {
	for _, f := range s.brought {
		if !s.sat.isTrue(f.by.id) {
			continue
		}
		var open *candidate
		for _, c := range f.others {
			if s.sat.isTrue(c.id) {
				open = nil
				break
			}
			if open == nil && s.sat.value[c.id] == 0 {
				open = c
			}
		}
		if open != nil {
			return positive(open.id), true
		}
	}
	return 0, false
}

func (s *search) isSatisfied(d demand) bool {
	for _, p := range d.name.providers {
		if s.sat.isTrue(p.pkg.id) && d.matches(p) {
			return true
		}
	}
	return false
}

// bestProvider returns the best open provider for d, and whether it may be
// taken for d by itself; such providers come first.
func (s *search) bestProvider(d demand) (best provider, free bool) {
	pin := s.u.tagBit(d.atom.Pin)
	for _, p := range d.name.providers {
		if s.sat.value[p.pkg.id] != 0 || !d.matches(p) {
			continue
		}
		f := p.justified(d.name)
		if best.pkg == nil || f && !free || f == free && s.better(p, best, pin) {
			best, free = p, f
		}
	}
	return best, free
}

// justified reports whether a dependency on n alone is reason enough to take p.
func (p provider) justified(n *name) bool {
	return p.version != "" || p.pkg.pkg.ProviderPriority != 0 || p.pkg.name == n
}

// better prefers the repositories that pin stands for.
func (s *search) better(p, q provider, pin uint64) bool {
	pin = cmp.Or(pin, untagged)
	return cmp.Or(prefer(p.pkg.tags&pin != 0, q.pkg.tags&pin != 0), s.u.compareProviders(p, q)) > 0
}
