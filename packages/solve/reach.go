package solve

// reach is the set of packages that a chain of reasons leads to, from the
// request and through packages of the set: dependencies that justify a package
// (see provider.justified) and install_if conditions that are all met.
type reach struct {
	in *provision
	// via holds the packages that bring a package in; none when the request does.
	via map[*candidate][]*candidate
}

// reach computes the set with only the packages that may is true of.
func (u *universe) reach(may func(*candidate) bool) *reach {
	r := &reach{in: newProvision(nil), via: map[*candidate][]*candidate{}}
	var queue []*candidate
	add := func(c *candidate, via ...*candidate) {
		if !r.in.has[c] && may(c) {
			r.in.add(c)
			r.via[c] = via
			queue = append(queue, c)
		}
	}
	follow := func(d demand, via ...*candidate) {
		for _, p := range d.name.providers {
			if !r.in.has[p.pkg] && !d.atom.Conflict && d.matches(p) && p.justified(d.name) {
				add(p.pkg, via...)
			}
		}
	}
	for _, d := range u.world {
		follow(d)
	}
	for len(queue) > 0 {
		c := queue[0]
		queue = queue[1:]
		for _, d := range c.depends {
			follow(d, c)
		}
		for _, v := range c.everything() {
			for _, t := range v.name.triggers {
				for _, q := range t.providers {
					if !r.in.has[q.pkg] && r.in.completes(q.pkg) {
						add(q.pkg, r.in.conditions(q.pkg)...)
					}
				}
			}
		}
	}
	return r
}

// conditions returns a package for each install_if condition of c, which are
// all met.
func (p *provision) conditions(c *candidate) []*candidate {
	out := make([]*candidate, len(c.installIf))
	for i, d := range c.installIf {
		out[i] = p.pick(d).pkg
	}
	return out
}
