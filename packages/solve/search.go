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
	// possible holds what a chain of reasons can lead to at all.
	possible *reach
	// told holds the packages of which a fact says that nothing leads to them.
	told map[*candidate]bool
	// checks and checked save decide from looking at satisfied demands again.
	checks  []check
	checked int
	// pinned holds the unpinned facts that were added.
	pinned []*fact
}

func (u *universe) newSearch() *search {
	s := &search{
		u:    u,
		sat:  newSat(len(u.candidates), cmp.Or(u.request.Steps, defaultSteps)),
		told: map[*candidate]bool{},
	}
	s.possible = u.reach(func(*candidate) bool { return true })
	s.sat.expand = func(v int) []*clause {
		return s.clauses(u.packageFacts(u.candidates[v]))
	}
	s.sat.decide = s.decide
	s.sat.accept = s.accept
	return s
}

// clauses returns the clauses of facts, with a fact more for each package that
// they mention first and that nothing can lead to.
func (s *search) clauses(facts []*fact) (out []*clause) {
	for _, f := range facts {
		out = append(out, f.clause())
		if f.kind != needs {
			continue
		}
		for _, c := range f.others {
			if c.bar == "" && !s.told[c] && !s.possible.in.has[c] {
				s.told[c] = true
				out = append(out, (&fact{kind: untaken, by: c, need: f.need}).clause())
			}
		}
	}
	return out
}

// run returns the packages of a solution in the order they were chosen; or the
// facts that exclude one.
func (s *search) run(ctx context.Context) ([]*candidate, []*fact, error) {
	for _, d := range s.u.world {
		for _, c := range s.clauses(s.u.demandFacts(nil, d)) {
			if s.sat.attach(c) != nil {
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
	chosen, err := s.complete(ctx)
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
	later := provider{}
	for at := s.firstUnchecked(); ; at++ {
		demands, ok := s.demandsAt(at)
		if !ok {
			break
		}
		for _, d := range demands {
			if d.atom.Conflict || s.isSatisfied(d) {
				continue
			}
			p, free := s.bestProvider(d)
			if free {
				s.checks = append(s.checks, check{s.checked, len(s.sat.trail)})
				return positive(p.pkg.id), true
			}
			if later.pkg == nil {
				later = p
			}
		}
		if later.pkg == nil {
			s.checked = at + 1
		}
	}
	s.checks = append(s.checks, check{s.checked, len(s.sat.trail)})
	if later.pkg != nil {
		return positive(later.pkg.id), true
	}
	if c := s.bringIn(); c != nil {
		return positive(c.id), true
	}
	return 0, false
}

// demandsAt returns the demands of the request (at 0) and of the packages on the
// trail (from 1).
func (s *search) demandsAt(at int) ([]demand, bool) {
	if at == 0 {
		return s.u.world, true
	}
	if at > len(s.sat.trail) {
		return nil, false
	}
	l := s.sat.trail[at-1]
	if l.isNegated() {
		return nil, true
	}
	return s.u.candidates[l.variable()].depends, true
}

// check says that the demands before that position are satisfied by a trail of
// that length.
type check struct{ checked, trail int }

// firstUnchecked returns the position before which the demands are known to be
// satisfied still.
func (s *search) firstUnchecked() int {
	for n := len(s.checks); n > 0 && s.checks[n-1].trail > s.sat.lowest; n-- {
		s.checks = s.checks[:n-1]
	}
	s.checked = 0
	if n := len(s.checks); n > 0 {
		s.checked = s.checks[n-1].checked
	}
	s.sat.lowest = len(s.sat.trail)
	return s.checked
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
