package solve

// arrangement puts chosen packages into apk-tools' installation order: depth
// first from the request, dependencies in the order the package lists them
// before the package, and the packages whose install_if it completes right
// after it. A cycle is cut where the walk meets it. What the walk does not
// reach is not installed.
type arrangement struct {
	choice map[*name]provider
	passed map[*name]bool
	placed map[*candidate]bool
	order  []*candidate
	// broken is a dependency that the choices do not satisfy, and whose it is
	// (nil: the request's).
	broken   *demand
	brokenBy *candidate
}

// arrange walks the choices from the world.
func (u *universe) arrange(choice map[*name]provider) *arrangement {
	a := &arrangement{choice: choice, passed: map[*name]bool{}, placed: map[*candidate]bool{}}
	for _, d := range u.world {
		a.depend(nil, d)
	}
	return a
}

func (a *arrangement) depend(by *candidate, d demand) {
	p := a.choice[d.name]
	if !d.providedBy(p) && !by.conflictsWithItself(d, p) && a.broken == nil {
		a.broken, a.brokenBy = &d, by
	}
	a.place(d.name)
}

func (a *arrangement) place(n *name) {
	if a.passed[n] {
		return
	}
	a.passed[n] = true
	c := a.choice[n].pkg
	if c == nil || a.placed[c] {
		return
	}
	a.placed[c] = true
	a.passed[c.name] = true
	for _, v := range c.provides {
		a.passed[v.name] = true
	}
	for _, d := range c.depends {
		a.depend(c, d)
	}
	a.order = append(a.order, c)
	a.placeTriggered(c.name)
	for _, v := range c.provides {
		a.placeTriggered(v.name)
	}
}

func (a *arrangement) placeTriggered(n *name) {
	for _, t := range n.triggers {
		if c := a.choice[t].pkg; c != nil && !a.passed[t] && a.conditionsMet(c) {
			a.place(t)
		}
	}
}

func (a *arrangement) conditionsMet(c *candidate) bool {
	for _, d := range c.installIf {
		if !a.passed[d.name] || !d.providedBy(a.choice[d.name]) {
			return false
		}
	}
	return true
}
