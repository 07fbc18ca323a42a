package solve

import "github.com/cairn-dev/cairn/packages/apk"

// arrangement puts chosen packages into apk-tools' installation order: depth
// first from the request, dependencies in the order the package lists them
// before the package, and the packages whose install_if it completes right
// after it. A cycle is cut where the walk meets it. What the walk does not
// reach is not installed.
type arrangement struct {
	choice *provision
	passed map[*name]bool
	placed map[*candidate]bool
	order  []*candidate
	broken *demand // a dependency that the choices do not satisfy
}

// arrange walks the choices from the world.
func (u *universe) arrange(choice *provision) *arrangement {
	a := &arrangement{choice: choice, passed: map[*name]bool{}, placed: map[*candidate]bool{}}
	for _, d := range u.world {
		a.depend(nil, d)
	}
	return a
}

// pick returns the chosen provider that d means; the zero provider when nothing
// provides its name.
func (p *provision) pick(d demand) provider {
	list := p.of[d.name]
	for _, q := range list {
		if d.providedBy(q) {
			return q
		}
	}
	return p.first(d.name)
}

func (p *provision) first(n *name) provider {
	if list := p.of[n]; len(list) > 0 {
		return list[0]
	}
	return provider{}
}

func (a *arrangement) depend(by *candidate, d demand) {
	p := a.choice.pick(d)
	if !d.providedBy(p) && !by.conflictsWithItself(d, p) && a.broken == nil {
		a.broken = &d
	}
	// A name that something placed provides needs nobody else, unless a checksum
	// says who it has to be.
	if !a.passed[d.name] || d.atom.Op == apk.OpChecksum {
		a.place(d.name, p.pkg)
	}
}

// place puts c, which provides n, after all it depends on.
func (a *arrangement) place(n *name, c *candidate) {
	a.passed[n] = true
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
		if c := a.choice.first(t).pkg; c != nil && !a.passed[t] && a.conditionsMet(c) {
			a.place(t, c)
		}
	}
}

func (a *arrangement) conditionsMet(c *candidate) bool {
	for _, d := range c.installIf {
		if !a.passed[d.name] || !d.providedBy(a.choice.pick(d)) {
			return false
		}
	}
	return true
}
