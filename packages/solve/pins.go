package solve

// allowed returns the tags that each package of a set may be taken from: none,
// and those of the entries of the request that lead to it through dependencies
// and install_if.
func (u *universe) allowed(set map[*candidate]bool) map[*candidate]uint64 {
	a := allowance{set: set, tags: make(map[*candidate]uint64, len(set))}
	for c := range set {
		a.tags[c] = untagged
	}
	for _, d := range u.world {
		a.grant(d, u.tagBit(d.atom.Pin))
	}
	for a.changed {
		a.changed = false
		for c := range set {
			for _, d := range c.depends {
				a.grant(d, a.tags[c])
			}
			a.inherit(c)
		}
	}
	return a.tags
}

type allowance struct {
	set     map[*candidate]bool
	tags    map[*candidate]uint64
	changed bool
}

func (a *allowance) add(c *candidate, tags uint64) {
	if a.tags[c]|tags != a.tags[c] {
		a.tags[c] |= tags
		a.changed = true
	}
}

// grant gives tags to the packages of the set that satisfy d.
func (a *allowance) grant(d demand, tags uint64) {
	for _, p := range d.name.providers {
		if a.set[p.pkg] && !d.atom.Conflict && d.matches(p) {
			a.add(p.pkg, tags)
		}
	}
}

// inherit gives c the tags of the packages that meet its install_if conditions,
// if all are met.
func (a *allowance) inherit(c *candidate) {
	var tags uint64
	for _, d := range c.installIf {
		met := false
		for _, p := range d.name.providers {
			if a.set[p.pkg] && !d.atom.Conflict && d.matches(p) {
				met = true
				tags |= a.tags[p.pkg]
			}
		}
		if !met {
			return
		}
	}
	a.add(c, tags)
}

// pinsHold reports whether every arranged package is in a repository that what
// asks for it may use. apk-tools lets also conflicts, and dependencies of
// packages that it does not take in the end, hand a pin on.
func (u *universe) pinsHold(a *arrangement) bool {
	if len(u.tags) == 1 {
		return true
	}
	for c, tags := range u.allowed(a.placed) {
		if c.tags&tags == 0 {
			return false
		}
	}
	return true
}
