package solve

import (
	"context"
)

// greedy makes apk-tools' choice. Names are decided one at a time; before each
// decision all that follows from the earlier ones is worked out (narrow.go).
// It never goes back: a contradiction only raises faults, and then search.go
// takes over.
type greedy struct {
	u      *universe
	names  []nameState // by name.id
	pkgs   []pkgState  // by candidate.id
	dirty  []*name     // to be narrowed, first in first out
	open   []*name     // wanted and undecided; the last is looked at first
	faults int
	again  []*name // scratch of recheckUsers
}

// nameState is what is known so far about who will provide a name.
type nameState struct {
	decided bool
	choice  provider // when decided; zero for nobody
	// wanted counts how often something was found to need the name. Only
	// whether it is 0 or 1 matters.
	wanted  int
	isDirty bool
	isOpen  bool
	// What narrow has to look at again: whether the dependencies of the
	// providers still can be satisfied, whether their install_if hold.
	checkDepends, checkTriggers bool
	triggered                   bool // a provider's install_if holds
	untriggerable               bool // no provider's install_if can hold any more
	options                     bool // more than one provider, or one that no pin allows
	selectable                  bool // a provider may be taken without being asked for by name
	usersDecided                bool
	// Scratch of narrow: in how many of the candidates looked at so far the name
	// is depended on, or provided.
	depended, provides int
	virtual            bool // provided without a version by one of them
}

// pkgState is what is known so far about a package.
type pkgState struct {
	usable    bool // nothing decided excludes it
	conflicts int  // how many constraints exclude it
	allowed   uint64
	pinOK     bool // a repository that has it may be used
	preferred bool // it is in the repositories its request prefers
	merged    bool // was an option when its name was last narrowed
	used      bool // was one when a name of its was last narrowed with effect
	triggered bool
	failed    bool // its install_if cannot hold
	faulty    bool
}

// newGreedy sets the start: every package usable, nothing wanted.
func newGreedy(u *universe) *greedy {
	g := &greedy{u: u, names: make([]nameState, len(u.all)), pkgs: make([]pkgState, len(u.candidates))}
	for _, c := range u.candidates {
		if !c.found {
			continue
		}
		ok := c.tags&untagged != 0
		g.pkgs[c.id] = pkgState{
			usable: true, allowed: untagged, pinOK: ok, preferred: ok,
			failed: len(c.installIf) == 0,
		}
	}
	for _, n := range u.found {
		s := &g.names[n.id]
		s.untriggerable = true
		for _, p := range n.providers {
			s.untriggerable = s.untriggerable && g.pkgs[p.pkg.id].failed
		}
	}
	return g
}

// run decides names until none is open. The result is in names; it is a
// solution when faults is 0 and arrange finds nothing missing.
func (g *greedy) run(ctx context.Context) error {
	for _, d := range g.u.world {
		g.constrain(nil, d)
	}
	for {
		for len(g.dirty) > 0 {
			n := g.dirty[0]
			g.dirty = g.dirty[1:]
			if s := &g.names[n.id]; s.isDirty {
				s.isDirty = false
				g.narrow(n)
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		n := g.next()
		if n == nil {
			return nil
		}
		g.decide(n)
	}
}

// next returns the open name to decide: the latest that leaves no choice and
// that nothing undecided depends on; else the best by decideBefore.
func (g *greedy) next() *name {
	g.compact()
	var best *name
	for i := len(g.open) - 1; i >= 0; i-- {
		n := g.open[i]
		s := &g.names[n.id]
		if s.usersDecided && s.wanted > 0 && s.selectable && !s.options {
			return n
		}
		if best == nil || g.decideBefore(n, best) {
			best = n
		}
	}
	return best
}

// compact drops the names that were closed since.
func (g *greedy) compact() {
	kept := g.open[:0]
	for _, n := range g.open {
		if g.names[n.id].isOpen {
			kept = append(kept, n)
		}
	}
	g.open = kept
}

func (g *greedy) decideBefore(a, b *name) bool {
	if x, y := g.names[a.id].selectable, g.names[b.id].selectable; x != y {
		return x
	}
	if x, y := g.u.asked[a], g.u.asked[b]; x != y {
		return x
	}
	return a.rank > b.rank
}

// decide takes the best provider of n, or nobody when none may be taken.
func (g *greedy) decide(n *name) {
	s := &g.names[n.id]
	var best provider
	if s.wanted > 0 || s.triggered {
		for _, p := range n.providers {
			state := &g.pkgs[p.pkg.id]
			if s.wanted == 0 && !(state.triggered && state.pinOK && state.usable) {
				continue
			}
			if g.selectable(p) && (best.pkg == nil || g.better(p, best)) {
				best = p
			}
		}
	}
	c := best.pkg
	if c == nil {
		g.settle(n, provider{})
		if s.wanted > 0 {
			g.faults++
		}
		return
	}
	if state := &g.pkgs[c.id]; !state.usable || !state.pinOK {
		g.fault(c)
	}
	g.settle(c.name, c.self())
	for _, v := range c.provides {
		g.settle(v.name, provider{c, v.version})
	}
	for _, d := range c.depends {
		g.constrain(c, d)
	}
}

// selectable reports whether p may be taken for the name it provides: a virtual
// provide does not count unless its package has a priority or is wanted by its
// own name.
func (g *greedy) selectable(p provider) bool {
	return p.version != "" || p.pkg.pkg.ProviderPriority != 0 || g.names[p.pkg.name.id].wanted > 0
}

// settle records who provides n and excludes those that cannot do so beside it.
func (g *greedy) settle(n *name, p provider) {
	s := &g.names[n.id]
	again := s.decided && s.choice.pkg == p.pkg // it provides the name twice
	switch {
	case p.version == "" && s.decided && s.choice.version == "", again && s.choice.version != "":
		return
	case s.decided && !again:
		g.fault(p.pkg)
		g.fault(s.choice.pkg)
		return
	}
	s.decided, s.choice = true, p
	s.isOpen, s.isDirty = false, false
	for _, q := range n.providers {
		if q.pkg != p.pkg && (p.version != "" || q.version != "") {
			g.exclude(q.pkg)
		}
	}
	g.recheckUsers(n)
	if p.pkg == nil {
		g.recheckTriggers(n)
	} else {
		g.recheckTriggersOf(p.pkg)
	}
}

func (g *greedy) fault(c *candidate) {
	if c != nil && !g.pkgs[c.id].faulty {
		g.pkgs[c.id].faulty = true
		g.faults++
	}
}

// choices returns who provides each decided name.
func (g *greedy) choices() *provision {
	out := newProvision(nil)
	for _, n := range g.u.all {
		if s := &g.names[n.id]; s.decided && s.choice.pkg != nil {
			out.of[n] = []provider{s.choice}
		}
	}
	return out
}
