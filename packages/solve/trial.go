package solve

// broken returns the lines with facts that do not hold for a set of packages: of
// those for which the given facts hold, completed as far as that is easy.
func (s *shortener) broken(facts []*fact, m *minimizer, sat *sat) []int {
	t := trial{assembly: newAssembly(), s: s, seen: map[int]bool{}}
	t.exclude(nil, s.u.world)
	for v, id := range m.variables {
		if sat.isTrue(v) {
			t.add(s.u.candidates[id])
		}
	}
	t.complete()
	t.noteRequest()
	for _, c := range t.chosen {
		t.notePackage(c)
	}
	for _, f := range facts {
		for _, c := range f.others {
			if f.kind == needs && t.in.has[c] && c.bar == "" && !s.possible.in.has[c] {
				l := line{kind: untaken, name: c.name, shared: f.need.name}
				s.wanted[l] = f.need
				t.note(l)
			}
		}
	}
	return t.out
}

// trial is a set of packages that is tried, and the lines that it breaks.
type trial struct {
	assembly
	s    *shortener
	out  []int
	seen map[int]bool
}

func (t *trial) note(l line) {
	if id := t.s.id(l); !t.seen[id] {
		t.seen[id] = true
		t.out = append(t.out, id)
	}
}

// complete satisfies what it can of the demands of the request and of the
// packages that are there, without going back on anything.
func (t *trial) complete() {
	lists := [][]demand{t.s.u.world}
	for _, c := range t.chosen {
		lists = append(lists, c.depends)
	}
	for _, list := range lists {
		for _, d := range list {
			if d.atom.Conflict || t.in.satisfies(d) {
				continue
			}
			more := newAssembly()
			if c := t.pick(d, &more); c != nil && t.closure(c, &more) {
				for _, c := range more.chosen {
					t.add(c)
				}
			}
		}
	}
}

// pick returns the best package for d that goes with what is there and with
// more.
func (t *trial) pick(d demand, more *assembly) *candidate {
	var best provider
	t.s.work -= len(d.name.providers)
	for _, p := range d.name.providers {
		if !d.matches(p) || best.pkg != nil && t.s.u.compareProviders(p, best) <= 0 {
			continue
		}
		if t.s.possible.in.has[p.pkg] && t.allows(p.pkg) && more.allows(p.pkg) {
			best = p
		}
	}
	return best.pkg
}

// closure adds c, and what it needs, to more.
func (t *trial) closure(c *candidate, more *assembly) bool {
	more.add(c)
	t.s.work -= len(c.depends)
	for _, d := range c.depends {
		if d.atom.Conflict || t.in.satisfies(d) || more.in.satisfies(d) {
			continue
		}
		if q := t.pick(d, more); q == nil || !t.closure(q, more) {
			return false
		}
	}
	return true
}

// noteRequest notes the entries of the request that do not hold.
func (t *trial) noteRequest() {
	for _, d := range t.s.u.world {
		if !t.holds(nil, d) {
			t.note(line{kind: kindOf(d), atom: d.atom})
		}
	}
}

// notePackage notes what does not hold of c.
func (t *trial) notePackage(c *candidate) {
	if c.bar != "" {
		t.note(line{kind: barred, name: c.name, text: c.bar})
		return
	}
	for _, d := range c.depends {
		if !t.holds(c, d) {
			t.note(line{kind: kindOf(d), name: c.name, text: d.atom.String()})
		}
	}
	for _, v := range c.everything() {
		for _, r := range t.in.of[v.name] {
			if areRivals(v.name, provider{c, v.version}, r) {
				t.note(line{kind: rivals, shared: v.name})
			}
		}
	}
}

func kindOf(d demand) factKind {
	if d.atom.Conflict {
		return excludes
	}
	return needs
}

// holds reports whether a demand of by (nil: of the request) holds.
func (t *trial) holds(by *candidate, d demand) bool {
	if !d.atom.Conflict {
		return t.in.satisfies(d)
	}
	for _, p := range t.in.of[d.name] {
		if !d.providedBy(p) && !by.conflictsWithItself(d, p) {
			return false
		}
	}
	return true
}
