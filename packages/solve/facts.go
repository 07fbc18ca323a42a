package solve

import "slices"

// A fact is something about the request or the repositories that narrows the
// choice, in the form of a clause over the candidates.
type fact struct {
	kind factKind
	// by depends on need (kinds needs and excludes; nil: the request does), or is
	// the package that the fact is about (barred, unpinned, untaken).
	by   *candidate
	need demand
	// others are the packages that could satisfy need (needs); the one that is
	// excluded (excludes); the two that exclude each other (rivals); those that
	// would have to be there too (unpinned, untaken).
	others []*candidate
	shared *name // what the rivals both provide
}

type factKind int

const (
	needs    factKind = iota // by needs one of others
	excludes                 // by and others cannot be together
	rivals                   // only one of others can provide shared
	barred                   // by may not be used
	unpinned                 // by is in repositories that only others could allow
	untaken                  // by is taken only if one of others asks for it
)

// clause returns the fact's clause.
func (f *fact) clause() *clause {
	c := &clause{fact: f}
	if f.by != nil {
		c.add(negative(f.by.id))
	}
	for _, o := range f.others {
		if f.kind == excludes || f.kind == rivals {
			c.add(negative(o.id))
		} else {
			c.add(positive(o.id))
		}
	}
	return c
}

// add adds l unless it was added just before: a package may provide a name
// twice.
func (c *clause) add(l lit) {
	if n := len(c.lits); n == 0 || c.lits[n-1] != l {
		c.lits = append(c.lits, l)
	}
}

// demandFacts says what a dependency of by (nil: of the request) means.
func (u *universe) demandFacts(by *candidate, d demand) []*fact {
	if !d.atom.Conflict {
		f := &fact{kind: needs, by: by, need: d}
		for _, p := range d.name.everyProvider() {
			if !d.providedBy(p) {
				continue
			}
			if p.pkg == by {
				return nil // it satisfies itself
			}
			f.others = append(f.others, p.pkg)
		}
		return []*fact{f}
	}
	var out []*fact
	for _, p := range d.name.providers {
		if !d.providedBy(p) && !by.conflictsWithItself(d, p) {
			out = append(out, &fact{kind: excludes, by: by, need: d, others: []*candidate{p.pkg}})
		}
	}
	return out
}

func (n *name) everyProvider() []provider {
	if len(n.barred) == 0 {
		return n.providers
	}
	return slices.Concat(n.providers, n.barred)
}

// packageFacts says what it means that c is in a solution.
func (u *universe) packageFacts(c *candidate) []*fact {
	if c.bar != "" {
		return []*fact{{kind: barred, by: c}}
	}
	var out []*fact
	for _, d := range c.depends {
		out = append(out, u.demandFacts(c, d)...)
	}
	return append(out, c.rivalFacts()...)
}

// rivalFacts lists the packages that cannot be beside c because both provide a
// name, not both without a version.
func (c *candidate) rivalFacts() []*fact {
	var out []*fact
	rival := func(n *name, version string) {
		for _, q := range n.providers {
			if q.pkg == c || version == "" && q.version == "" {
				continue
			}
			if n == c.name || q.pkg.name != c.name { // else told once, by the own name
				out = append(out, &fact{kind: rivals, others: []*candidate{c, q.pkg}, shared: n})
			}
		}
	}
	rival(c.name, c.pkg.Version)
	for _, v := range c.provides {
		rival(v.name, v.version)
	}
	return out
}
