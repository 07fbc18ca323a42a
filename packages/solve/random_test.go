package solve

import (
	"fmt"
	"math/rand"
	"strings"
)

// randomUniverse makes up to two repositories (the second perhaps tagged) of
// few packages that depend on, provide, exclude and complete one another in
// every way there is, and a request for them.
func randomUniverse(rng *rand.Rand) (tables []string, world string) {
	g := &generator{Rand: rng, names: 2 + rng.Intn(4)}
	tables = []string{g.repository(3+rng.Intn(8), "")}
	tag := ""
	if rng.Intn(3) == 0 {
		if rng.Intn(3) > 0 {
			tag = "edge"
		}
		tables = append(tables, g.repository(1+rng.Intn(4), tag))
	}
	var w []string
	for range 1 + rng.Intn(3) {
		w = append(w, g.worldAtom(tag))
	}
	return tables, strings.Join(w, " ")
}

type generator struct {
	*rand.Rand
	names int
	seen  []string
}

func (g *generator) name() string    { return string(rune('a' + g.Intn(g.names))) }
func (g *generator) virtual() string { return []string{"v", "w"}[g.Intn(2)] }
func (g *generator) version() string { return fmt.Sprint(1 + g.Intn(3)) }

func (g *generator) anyName() string {
	if g.Intn(4) == 0 {
		return g.virtual()
	}
	return g.name()
}

func (g *generator) atom() string {
	a := g.anyName()
	if g.Intn(3) == 0 {
		a += []string{"=", "<", ">", "<=", ">=", "~"}[g.Intn(6)] + g.version()
	}
	return a
}

func (g *generator) dependency() string {
	if g.Intn(6) == 0 {
		return "!" + g.atom()
	}
	return g.atom()
}

func (g *generator) worldAtom(tag string) string {
	d := g.dependency()
	if tag == "" || g.Intn(2) == 0 || d[0] == '!' {
		return d
	}
	n := strings.IndexAny(d+"=", "<>=~")
	return d[:n] + "@" + tag + d[n:]
}

func (g *generator) list(max int, atom func() string) string {
	var l []string
	for range g.Intn(max + 1) {
		l = append(l, atom())
	}
	return strings.Join(l, ",")
}

func (g *generator) provide() string {
	p := g.virtual()
	if g.Intn(4) == 0 {
		p = g.name()
	}
	if g.Intn(2) == 0 {
		p += "=" + g.version()
	}
	return p
}

func (g *generator) repository(n int, tag string) string {
	var rows []string
	if tag != "" {
		rows = append(rows, "@"+tag)
	}
	for range n {
		if len(g.seen) > 0 && g.Intn(8) == 0 {
			rows = append(rows, g.seen[g.Intn(len(g.seen))]) // in several repositories
			continue
		}
		row := g.row()
		g.seen = append(g.seen, row)
		rows = append(rows, row)
	}
	return strings.Join(rows, "\n")
}

func (g *generator) row() string {
	row := g.name() + " " + g.version()
	if l := g.list(g.Intn(3), g.dependency); l != "" {
		row += " D:" + l
	}
	if g.Intn(3) == 0 {
		if l := g.list(2, g.provide); l != "" {
			row += " p:" + l
		}
		if g.Intn(2) == 0 {
			row += fmt.Sprint(" k:", 1+g.Intn(2))
		}
	}
	if g.Intn(4) == 0 {
		if l := g.list(2, g.atom); l != "" {
			row += " i:" + l
		}
	}
	return row
}
