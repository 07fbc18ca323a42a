package solve

import (
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// line is what one line of an explanation says: a fact, without the versions of
// the package that it is about, and without those that are rivals.
type line struct {
	kind   factKind
	name   *name           // of the package; nil for the request and for rivals
	atom   *apk.Dependency // of the request
	text   string          // the dependency, or why the package may not be used
	shared *name           // what rivals provide, or what is wanted of an untaken package
	tags   uint64          // of the repositories of an unpinned package
}

func (f *fact) line() line {
	l := line{kind: f.kind}
	if f.by != nil {
		l.name = f.by.name
	}
	switch {
	case f.kind == rivals:
		l.shared = f.shared
	case f.by == nil:
		l.atom = f.need.atom
	case f.kind == needs || f.kind == excludes:
		l.text = f.need.atom.String()
	case f.kind == barred:
		l.text = f.by.bar
	case f.kind == unpinned:
		l.tags = f.by.tags
	case f.kind == untaken:
		l.shared = f.need.name
	}
	return l
}

// countLines returns the number of lines that tell the facts.
func countLines(facts []*fact) int {
	seen := map[line]bool{}
	for _, f := range facts {
		seen[f.line()] = true
	}
	return len(seen)
}

// versions returns the packages of the name that a solution could have.
func (n *name) versions() []*candidate {
	var out []*candidate
	for _, p := range n.everyProvider() {
		if c := p.pkg; c.name == n && (c.found || c.bar != "") && !slices.Contains(out, c) {
			out = append(out, c)
		}
	}
	return out
}

// factsOf returns what the line says of each package, for all kinds but rivals
// and unpinned.
func (s *shortener) factsOf(l line) []*fact {
	var out []*fact
	if l.name == nil {
		for _, d := range s.u.world {
			if d.atom == l.atom {
				out = append(out, s.u.demandFacts(nil, d)...)
			}
		}
		return out
	}
	for _, c := range l.name.versions() {
		switch {
		case l.kind == barred && c.bar == l.text:
			out = append(out, &fact{kind: barred, by: c})
		case c.bar != "":
		case l.kind == untaken && !s.possible.in.has[c] && c.has(l.shared, false):
			out = append(out, &fact{kind: untaken, by: c, need: s.wanted[l]})
		case l.kind == needs || l.kind == excludes:
			for _, d := range c.depends {
				if d.atom.Conflict == (l.kind == excludes) && d.atom.String() == l.text {
					out = append(out, s.u.demandFacts(c, d)...)
				}
			}
		}
	}
	return out
}

// rivalsAmong returns the pairs of packages that exclude each other because both
// provide n.
func rivalsAmong(n *name, among map[*candidate]bool) []*fact {
	var out []*fact
	var list []provider
	for _, p := range n.providers {
		if !among[p.pkg] {
			continue
		}
		for _, q := range list {
			if areRivals(n, p, q) {
				out = append(out, &fact{kind: rivals, others: []*candidate{q.pkg, p.pkg}, shared: n})
			}
		}
		list = append(list, p)
	}
	return out
}

// areRivals reports whether p and q exclude each other as providers of n. Two
// versions of one package do so by their own name only.
func areRivals(n *name, p, q provider) bool {
	return p.pkg != q.pkg && (p.version != "" || q.version != "") && (n == p.pkg.name || p.pkg.name != q.pkg.name)
}
