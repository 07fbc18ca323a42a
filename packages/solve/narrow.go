package solve

import "slices"

// What follows from the decisions so far. A name is narrowed when something
// changed that may exclude providers of it or make it wanted: what all its
// remaining providers have in common is required right away, and packages that
// cannot provide what they all provide are excluded.

// enqueue has n narrowed, when that can make a difference.
func (g *greedy) enqueue(n *name) {
	s := &g.names[n.id]
	if s.isDirty || s.decided || s.wanted == 0 && !s.checkTriggers {
		return
	}
	s.isDirty = true
	g.dirty = append(g.dirty, n)
}

// reopen puts n on the list of names to decide, or takes it off.
func (g *greedy) reopen(n *name) {
	s := &g.names[n.id]
	if s.decided {
		return
	}
	open := s.wanted > 0 || s.triggered
	if open && !s.isOpen {
		g.open = append(g.open, n)
	} else if !open && s.isOpen {
		g.compactWithout(n)
	}
	s.isOpen = open
}

func (g *greedy) compactWithout(n *name) {
	g.names[n.id].isOpen = false
	g.compact()
}

func (g *greedy) want(n *name) {
	g.names[n.id].wanted++
	if g.names[n.id].wanted == 1 {
		g.reopen(n)
		g.recheckTriggers(n)
		g.enqueue(n)
	}
}

func (g *greedy) recheckUsers(n *name) {
	again := g.again[:0]
	for _, user := range n.users {
		s := &g.names[user.id]
		s.checkDepends = true
		if s.wanted > 0 || s.checkTriggers {
			again = append(again, user)
		}
	}
	slices.SortFunc(again, hashOrder)
	for _, user := range again {
		g.enqueue(user)
	}
	g.again = again
}

func (g *greedy) recheckTriggers(n *name) {
	for _, t := range n.triggers {
		if !g.names[t.id].untriggerable {
			g.names[t.id].checkTriggers = true
			g.enqueue(t)
		}
	}
}

func (g *greedy) recheckTriggersOf(c *candidate) {
	g.recheckTriggers(c.name)
	for _, v := range c.provides {
		g.recheckTriggers(v.name)
	}
}

// exclude makes c unusable.
func (g *greedy) exclude(c *candidate) {
	g.pkgs[c.id].usable = false
	g.recheckUsers(c.name)
	for _, v := range c.provides {
		g.recheckUsers(v.name)
	}
	g.recheckTriggersOf(c)
}

// constrain makes d, a dependency of by (nil: of the request), hold: the name is
// wanted, and providers that do not satisfy d are excluded.
func (g *greedy) constrain(by *candidate, d demand) {
	if !d.atom.Conflict {
		g.want(d.name)
	}
	for _, p := range d.name.providers {
		if d.providedBy(p) {
			g.inherit(p.pkg, by, d)
			continue
		}
		g.pkgs[p.pkg.id].conflicts++
		if g.pkgs[p.pkg.id].usable {
			g.exclude(p.pkg)
		}
	}
}

// inherit allows c the repositories that who asks for it may use. An entry of
// the request says by its pin which repositories it prefers.
func (g *greedy) inherit(c, by *candidate, d demand) {
	s := &g.pkgs[c.id]
	if by != nil {
		s.allowed |= g.pkgs[by.id].allowed
	} else {
		pin := g.u.tagBit(d.atom.Pin)
		s.allowed |= pin
		s.preferred = c.tags&pin != 0
	}
	s.pinOK = s.pinOK || c.tags&s.allowed != 0
}

// satisfiable reports whether d can still come to hold.
func (g *greedy) satisfiable(d demand) bool {
	s := &g.names[d.name.id]
	if s.decided {
		return d.providedBy(s.choice)
	}
	if s.wanted == 0 && d.atom.Conflict {
		return true
	}
	for _, p := range d.name.providers {
		if g.pkgs[p.pkg.id].usable && d.providedBy(p) {
			return true
		}
	}
	return false
}

// narrow works out anew what follows for n.
func (g *greedy) narrow(n *name) {
	s := &g.names[n.id]
	checkDepends, checkTriggers := s.checkDepends, s.checkTriggers
	s.checkDepends, s.checkTriggers = false, false
	s.selectable, s.triggered, s.untriggerable = false, false, true

	var options []*candidate
	pinned := 0
	for _, p := range n.providers {
		c := p.pkg
		state := &g.pkgs[c.id]
		state.merged = false
		if checkDepends && state.usable && !g.dependsSatisfiable(c) {
			g.exclude(c)
		}
		if !state.usable {
			continue
		}
		if checkTriggers {
			g.checkInstallIf(c)
		}
		s.triggered = s.triggered || state.triggered
		s.untriggerable = s.untriggerable && state.failed
		s.selectable = s.selectable || state.triggered
		if s.wanted == 0 {
			continue
		}
		state.merged = true
		g.merge(p, len(options))
		options = append(options, c)
		if !state.pinOK {
			pinned++
		}
		s.selectable = s.selectable || g.selectable(p)
	}
	s.options = len(options) > 1 || pinned > 0
	g.reopen(n)
	if len(options) > 0 {
		g.requireCommon(n, options)
	}
	s.usersDecided = g.allDecided(n.users)
}

func (g *greedy) allDecided(names []*name) bool {
	for _, n := range names {
		if !g.names[n.id].decided {
			return false
		}
	}
	return true
}

func (g *greedy) dependsSatisfiable(c *candidate) bool {
	for _, d := range c.depends {
		if !g.satisfiable(d) {
			return false
		}
	}
	return true
}

// checkInstallIf notes whether the install_if conditions of c hold, or cannot.
// They are looked at in order up to the first that does not hold (yet).
func (g *greedy) checkInstallIf(c *candidate) {
	state := &g.pkgs[c.id]
	if !state.triggered && !state.failed {
		state.triggered = true
		for _, d := range c.installIf {
			if !g.names[d.name.id].decided {
				state.triggered = false
				break
			}
			if !d.providedBy(g.names[d.name.id].choice) {
				state.triggered, state.failed = false, true
				break
			}
		}
	}
	if !state.triggered {
		return
	}
	for _, d := range c.installIf {
		if by := g.names[d.name.id].choice.pkg; by != nil {
			g.inherit(c, by, d)
		}
	}
}

// merge counts the names that p.pkg depends on and provides, as long as all the
// options before it, so many of them, have the name too.
func (g *greedy) merge(p provider, before int) {
	for _, d := range p.pkg.depends {
		if s := &g.names[d.name.id]; !d.atom.Conflict && s.depended == before {
			s.depended++
		}
	}
	g.mergeProvided(p.pkg.name, p.version == "", before)
	for _, v := range p.pkg.provides {
		g.mergeProvided(v.name, v.version == "", before)
	}
}

func (g *greedy) mergeProvided(n *name, virtual bool, before int) {
	if s := &g.names[n.id]; s.provides == before {
		s.provides++
		s.virtual = s.virtual || virtual
	}
}

// requireCommon requires what all options for n depend on, and what they all
// provide, and resets the counts of merge.
func (g *greedy) requireCommon(n *name, options []*candidate) {
	first := options[0]
	for _, p := range n.providers {
		g.pkgs[p.pkg.id].used = g.pkgs[p.pkg.id].merged
	}
	for _, d := range first.depends {
		if g.takeDepended(d.name) != len(options) {
			continue
		}
		if len(options) == 1 {
			g.constrain(first, d)
		} else if g.names[d.name.id].wanted == 0 {
			g.want(d.name)
			for _, p := range d.name.providers {
				g.inherit(p.pkg, first, d)
			}
		}
	}
	g.requireProvided(n, first.name, len(options))
	for _, v := range first.provides {
		g.requireProvided(n, v.name, len(options))
	}
	g.names[first.name.id].virtual = false
	for _, v := range first.provides {
		g.names[v.name.id].virtual = false
	}
}

func (g *greedy) takeDepended(n *name) int {
	count := g.names[n.id].depended
	g.names[n.id].depended = 0
	return count
}

// requireProvided: when all the options for n provide also the name shared, so
// many of them, then a provider of shared that is not one of n cannot be taken,
// for the two would exclude each other, unless the provides are virtual.
func (g *greedy) requireProvided(n, shared *name, options int) {
	s := &g.names[shared.id]
	count := s.provides
	s.provides = 0
	if count != options || shared == n {
		return
	}
	for _, p := range shared.providers {
		if g.pkgs[p.pkg.id].usable && !(s.virtual && p.version == "") && !p.pkg.has(n, s.virtual) {
			g.exclude(p.pkg)
		}
	}
}

// has reports whether c provides n, or, with orVirtual, anything without a
// version.
func (c *candidate) has(n *name, orVirtual bool) bool {
	if c.name == n {
		return true
	}
	for _, v := range c.provides {
		if v.name == n || orVirtual && v.version == "" {
			return true
		}
	}
	return false
}
