package graph

import (
	"cmp"
	"slices"
)

// seeds chooses packages of a cycle whose presence gives its builds an order.
// What a
// seed needs at run time must be built or seeded itself. The fewest such packages
// would take exponential time to find; what is chosen is small, and no package of
// it can be left out.
func (g *Graph) seeds(component []int) []int {
	s := newSeeding(g, component)
	var chosen []int
	for _, c := range s.cycles() {
		chosen = append(chosen, s.cut(c)...)
	}
	return s.minimal(chosen)
}

// seeding is a cycle on its own: nodes are numbered from 0, edges out of it are
// gone.
type seeding struct {
	have   func(string) bool
	nodes  []node
	outer  []int // number in the graph
	seeded []bool
}

func newSeeding(g *Graph, component []int) *seeding {
	s := &seeding{have: g.have, outer: component, seeded: make([]bool, len(component)), nodes: make([]node, len(component))}
	number := make(map[int]int, len(component))
	for i, v := range component {
		number[v] = i
	}
	for i, v := range component {
		s.nodes[i] = node{name: g.nodes[v].name, isPkg: g.nodes[v].isPkg, build: g.nodes[v].build}
		for _, w := range g.nodes[v].to {
			if j, ok := number[w]; ok {
				s.nodes[i].to = append(s.nodes[i].to, j)
			}
		}
	}
	return s
}

// cycles returns what is still cyclic, as lists of nodes.
func (s *seeding) cycles() [][]int {
	var out [][]int
	for _, c := range components(s.nodes, s.seeded) {
		if len(c) > 1 && slices.ContainsFunc(c, func(v int) bool { return !s.nodes[v].isPkg }) {
			out = append(out, c)
		}
	}
	return out
}

// cut seeds packages until a component has no cycle, those first that the most
// ways go through; what can be had comes before what cannot.
func (s *seeding) cut(component []int) []int {
	v := s.busiest(component)
	s.seeded[v] = true
	out := []int{v}
	inside := make(map[int]bool, len(component))
	for _, w := range component {
		inside[w] = true
	}
	for _, c := range s.cycles() {
		if inside[c[0]] {
			out = append(out, s.cut(c)...)
		}
	}
	return out
}

// busiest returns the package with the largest product of those that need it in
// the component and of what its build needs.
func (s *seeding) busiest(component []int) int {
	in := make(map[int]int, len(component))
	for _, v := range component {
		in[v] = 0
	}
	for _, v := range component {
		for _, w := range s.nodes[v].to {
			if _, ok := in[w]; ok {
				in[w]++
			}
		}
	}
	number := make(map[int]int, len(component)) // of a build's node in the graph
	for _, v := range component {
		if !s.nodes[v].isPkg {
			number[s.nodes[v].build] = v
		}
	}
	score := func(v int) int { return in[v] * len(s.nodes[number[s.nodes[v].build]].to) }
	packages := slices.DeleteFunc(slices.Clone(component), func(v int) bool {
		_, ok := number[s.nodes[v].build]
		return !s.nodes[v].isPkg || s.seeded[v] || !ok
	})
	if s.have != nil {
		there := slices.DeleteFunc(slices.Clone(packages), func(v int) bool { return !s.have(s.nodes[v].name) })
		if len(there) > 0 {
			packages = there
		}
	}
	return slices.MinFunc(packages, func(a, b int) int {
		return cmp.Or(cmp.Compare(score(b), score(a)), cmp.Compare(s.nodes[a].name, s.nodes[b].name))
	})
}

// minimal puts packages back that are not needed, the last chosen first.
func (s *seeding) minimal(chosen []int) []int {
	var out []int
	for _, v := range slices.Backward(chosen) {
		s.seeded[v] = false
		if len(s.cycles()) > 0 {
			s.seeded[v] = true
			out = append(out, s.outer[v])
		}
	}
	slices.Sort(out)
	return out
}
