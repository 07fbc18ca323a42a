package solve

import "slices"

// founded returns the packages that are in and that a chain of reasons connects
// to the request.
func (s *search) founded() map[*candidate]bool {
	return s.u.reach(func(c *candidate) bool { return s.sat.isTrue(c.id) }).in.has
}

// loose returns a package that satisfies a demand that no founded package
// satisfies, and that demand.
func (s *search) loose(founded map[*candidate]bool) (*candidate, demand) {
	for at := 0; ; at++ {
		demands, ok := s.demandsAt(at)
		if !ok {
			return nil, demand{}
		}
		if at > 0 && !founded[s.u.candidates[s.sat.trail[at-1].variable()]] {
			continue
		}
		for _, d := range demands {
			if c := s.looseProvider(d, founded); c != nil {
				return c, d
			}
		}
	}
}

func (s *search) looseProvider(d demand, founded map[*candidate]bool) (loose *candidate) {
	if d.atom.Conflict {
		return nil
	}
	for _, p := range d.name.providers {
		if !s.sat.isTrue(p.pkg.id) || !d.matches(p) {
			continue
		}
		if founded[p.pkg] {
			return nil
		}
		loose = p.pkg
	}
	return loose
}

// open returns what reaching through packages that are not out gives.
func (s *search) open() *reach {
	return s.u.reach(func(c *candidate) bool { return s.sat.value[c.id] >= 0 })
}

// bringIn returns an open package on a chain of reasons to one that is in
// without reason, or to one whose repository nothing allows.
func (s *search) bringIn() *candidate {
	founded := s.founded()
	if c, _ := s.loose(founded); c != nil {
		if r := s.open(); r.in.has[c] {
			return s.nextOn(r, c, founded)
		}
		return nil
	}
	return s.decidePinned()
}

// nextOn returns the first package that is not founded on the chain to c.
func (s *search) nextOn(r *reach, c *candidate, founded map[*candidate]bool) *candidate {
	for _, by := range r.via[c] {
		if !founded[by] {
			return s.nextOn(r, by, founded)
		}
	}
	return c
}

// accept checks what no clause says yet.
func (s *search) accept() *clause {
	founded := s.founded()
	if c, d := s.loose(founded); c != nil {
		return (&fact{kind: untaken, by: c, need: d, others: s.excludedBringers(c)}).clause()
	}
	if len(s.u.tags) > 1 {
		if f := s.unpinnedFact(founded); f != nil {
			s.pinned = append(s.pinned, f)
			return f.clause()
		}
	}
	return nil
}

// excludedBringers lists the packages, all of them out, one of which would be
// needed for a chain of reasons to c: those that could bring in c, or one of
// the packages that are not out that could bring in c, and so on.
func (s *search) excludedBringers(c *candidate) []*candidate {
	r := s.open()
	without, out := candidateSet{}, candidateSet{}
	without.add(c)
	for i := 0; i < len(without.list); i++ {
		c := without.list[i]
		bringers := candidateSet{}
		for _, v := range c.everything() {
			p := provider{c, v.version}
			if p.justified(v.name) {
				s.askers(&bringers, v.name, p)
			}
		}
		s.completers(&bringers, c, r.in)
		for _, b := range bringers.list {
			if s.sat.value[b.id] < 0 {
				out.add(b)
			} else {
				without.add(b)
			}
		}
	}
	return out.list
}

type candidateSet struct {
	list []*candidate
	has  map[*candidate]bool
}

func (s *candidateSet) add(c *candidate) {
	if s.has == nil {
		s.has = map[*candidate]bool{}
	}
	if !s.has[c] {
		s.has[c] = true
		s.list = append(s.list, c)
	}
}

// askers adds the packages that depend on n so that p satisfies it, if anything
// can lead to them.
func (s *search) askers(to *candidateSet, n *name, p provider) {
	for _, user := range n.users {
		for _, q := range user.providers {
			if !s.possible.in.has[q.pkg] || to.has[q.pkg] {
				continue
			}
			for _, d := range q.pkg.depends {
				if d.name == n && !d.atom.Conflict && d.matches(p) {
					to.add(q.pkg)
				}
			}
		}
	}
}

// completers adds the packages that meet a condition of c that met does not
// meet.
func (s *search) completers(to *candidateSet, c *candidate, met *provision) {
	for _, d := range c.installIf {
		if d.atom.Conflict {
			return
		}
	}
	for _, d := range c.installIf {
		if met.satisfies(d) {
			continue
		}
		for _, p := range d.name.providers {
			if s.possible.in.has[p.pkg] && d.matches(p) {
				to.add(p.pkg)
			}
		}
		return
	}
}

// unpinnedFact looks for a founded package that is in no repository that what
// asks for it may use. The fact says which packages could hand the permission
// on.
func (s *search) unpinnedFact(founded map[*candidate]bool) *fact {
	allowed := s.u.allowed(founded)
	var bad *candidate
	for _, l := range s.sat.trail {
		c := s.u.candidates[l.variable()]
		if founded[c] && bad == nil && c.tags&allowed[c] == 0 {
			bad = c
		}
	}
	if bad == nil {
		return nil
	}
	out := candidateSet{}
	for _, l := range s.sat.trail {
		c := s.u.candidates[l.variable()]
		if l.isNegated() || allowed[c]&bad.tags != 0 {
			continue
		}
		for _, v := range c.everything() {
			s.askers(&out, v.name, provider{c, v.version})
		}
		for _, d := range c.installIf {
			for _, p := range d.name.providers {
				if s.possible.in.has[p.pkg] && d.matches(p) {
					out.add(p.pkg)
				}
			}
		}
	}
	others := slices.DeleteFunc(out.list, func(c *candidate) bool { return s.sat.isTrue(c.id) })
	return &fact{kind: unpinned, by: bad, others: others}
}

// decidePinned returns a package that might hand on the permission that an
// unpinned fact is about.
func (s *search) decidePinned() *candidate {
	for _, f := range s.pinned {
		if !s.sat.isTrue(f.by.id) || slices.ContainsFunc(f.others, func(c *candidate) bool { return s.sat.isTrue(c.id) }) {
			continue
		}
		for _, c := range f.others {
			if s.sat.value[c.id] == 0 {
				return c
			}
		}
	}
	return nil
}
