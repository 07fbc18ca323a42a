package solve

// founded returns the packages that are in and that a chain of reasons connects
// to the request.
func (s *search) founded() map[*candidate]bool {
	in := newProvision(nil)
	var queue []*candidate
	reach := func(d demand) {
		for _, p := range d.name.providers {
			if s.sat.isTrue(p.pkg.id) && !in.has[p.pkg] && !d.atom.Conflict && d.matches(p) && p.justified(d.name) {
				in.add(p.pkg)
				queue = append(queue, p.pkg)
			}
		}
	}
	for _, d := range s.u.world {
		reach(d)
	}
	for {
		for len(queue) > 0 {
			c := queue[0]
			queue = queue[1:]
			for _, d := range c.depends {
				reach(d)
			}
		}
		for _, l := range s.sat.trail {
			c := s.u.candidates[l.variable()]
			if !l.isNegated() && !in.has[c] && in.completes(c) {
				in.add(c)
				queue = append(queue, c)
			}
		}
		if len(queue) == 0 {
			return in.has
		}
	}
}

// accept checks what no clause says yet.
func (s *search) accept() *clause {
	founded := s.founded()
	f := s.unfoundedFact(founded)
	if f == nil && len(s.u.tags) > 1 {
		f = s.unpinnedFact(founded)
	}
	if f == nil {
		return nil
	}
	s.brought = append(s.brought, f)
	return f.clause()
}

// unfoundedFact looks for a demand that only packages satisfy that nothing
// brings in. The fact says of one of them what could.
func (s *search) unfoundedFact(founded map[*candidate]bool) *fact {
	var found *fact
	check := func(d demand) {
		if found == nil {
			if c := s.looseProvider(d, founded); c != nil {
				found = &fact{kind: untaken, by: c, need: d, others: s.bringers(founded)}
			}
		}
	}
	for _, d := range s.u.world {
		check(d)
	}
	for _, l := range s.sat.trail {
		if c := s.u.candidates[l.variable()]; founded[c] && !l.isNegated() {
			for _, d := range c.depends {
				check(d)
			}
		}
	}
	return found
}

// looseProvider returns a package that satisfies d when no founded one does.
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

// bringers lists the packages, not in now, that would bring in one of those
// that are in without being founded.
func (s *search) bringers(founded map[*candidate]bool) []*candidate {
	found := newProvision(nil)
	var loose []*candidate
	for _, l := range s.sat.trail {
		switch c := s.u.candidates[l.variable()]; {
		case l.isNegated():
		case founded[c]:
			found.add(c)
		default:
			loose = append(loose, c)
		}
	}
	out := candidateSet{}
	for _, c := range loose {
		for _, v := range c.everything() {
			p := provider{c, v.version}
			if p.justified(v.name) {
				s.askers(&out, v.name, p)
			}
		}
		s.completers(&out, c, found)
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

// askers adds the packages, not in now, that depend on n so that p satisfies it.
func (s *search) askers(to *candidateSet, n *name, p provider) {
	for _, user := range n.sortedUsers() {
		for _, q := range user.providers {
			if s.sat.isTrue(q.pkg.id) {
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

// completers adds the packages, not in now, that meet a condition of c that
// found does not meet.
func (s *search) completers(to *candidateSet, c *candidate, found *provision) {
	for _, d := range c.installIf {
		if d.atom.Conflict {
			return
		}
	}
	for _, d := range c.installIf {
		if found.satisfies(d) {
			continue
		}
		for _, p := range d.name.providers {
			if p.pkg.found && !s.sat.isTrue(p.pkg.id) && d.matches(p) {
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
				if p.pkg.found && !s.sat.isTrue(p.pkg.id) && d.matches(p) {
					out.add(p.pkg)
				}
			}
		}
	}
	return &fact{kind: unpinned, by: bad, others: out.list}
}
