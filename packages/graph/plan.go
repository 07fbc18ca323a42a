package graph

import (
	"cmp"
	"slices"
)

// components finds the strongly connected components of the nodes, each after
// those it needs (Tarjan's algorithm, without recursion). A package that is
// seeded does not need its build; seeded may be nil.
func components(nodes []node, seeded []bool) [][]int {
	t := tarjan{nodes: nodes, seeded: seeded, order: make([]int, len(nodes)), low: make([]int, len(nodes)), onStack: make([]bool, len(nodes))}
	for v := range nodes {
		if t.order[v] == 0 {
			t.visit(v)
		}
	}
	return t.out
}

type tarjan struct {
	nodes      []node
	seeded     []bool
	order, low []int // order counts from 1; 0 is not visited
	onStack    []bool
	stack      []int
	next       int
	out        [][]int
}

// cut reports whether v does not need w.
func (t *tarjan) cut(v, w int) bool { return t.seeded != nil && t.seeded[v] && !t.nodes[w].isPkg }

type frame struct{ v, edge int }

func (t *tarjan) enter(v int) {
	t.next++
	t.order[v], t.low[v] = t.next, t.next
	t.stack, t.onStack[v] = append(t.stack, v), true
}

func (t *tarjan) visit(root int) {
	t.enter(root)
	for frames := []frame{{root, 0}}; len(frames) > 0; {
		f := &frames[len(frames)-1]
		if f.edge == len(t.nodes[f.v].to) {
			v := f.v
			frames = frames[:len(frames)-1]
			t.leave(v)
			if len(frames) > 0 {
				up := frames[len(frames)-1].v
				t.low[up] = min(t.low[up], t.low[v])
			}
			continue
		}
		w := t.nodes[f.v].to[f.edge]
		f.edge++
		switch {
		case t.cut(f.v, w):
		case t.order[w] == 0:
			t.enter(w)
			frames = append(frames, frame{w, 0})
		case t.onStack[w]:
			t.low[f.v] = min(t.low[f.v], t.order[w])
		}
	}
}

// leave takes a component off the stack when v is its root.
func (t *tarjan) leave(v int) {
	if t.low[v] != t.order[v] {
		return
	}
	i := slices.Index(t.stack, v)
	component := slices.Clone(t.stack[i:])
	t.stack = t.stack[:i]
	for _, w := range component {
		t.onStack[w] = false
	}
	slices.Sort(component)
	t.out = append(t.out, component)
}

// builds returns the builds among nodes.
func (g *Graph) builds(component []int) []int {
	var out []int
	for _, v := range component {
		if !g.nodes[v].isPkg {
			out = append(out, v)
		}
	}
	return out
}

// isCycle reports whether builds of a component wait for each other or for
// themselves. Packages alone may need each other: they are installed together.
func (g *Graph) isCycle(component []int) bool {
	return len(component) > 1 && len(g.builds(component)) > 0
}

// plan fills in everything that follows from the nodes.
func (g *Graph) plan() {
	list := components(g.nodes, nil)
	g.levels(list)
	g.seeded, g.cycle = make([]bool, len(g.nodes)), make([]int, len(g.nodes))
	for _, component := range list {
		if !g.isCycle(component) {
			continue
		}
		c := Cycle{Builds: g.names(g.builds(component))}
		seeds := g.seeds(component)
		for _, v := range seeds {
			g.seeded[v] = true
		}
		for _, v := range component {
			g.cycle[v] = len(g.Cycles) + 1
		}
		c.Seeds = g.names(seeds)
		g.Cycles = append(g.Cycles, c)
	}
	slices.SortFunc(g.Cycles, func(a, b Cycle) int {
		return cmp.Or(cmp.Compare(len(b.Builds), len(a.Builds)), slices.Compare(a.Builds, b.Builds))
	})
	g.order()
}

func (g *Graph) names(nodes []int) []string {
	out := make([]string, len(nodes))
	for i, v := range nodes {
		out[i] = g.nodes[v].name
	}
	slices.Sort(out)
	return out
}

// levels computes levels and the critical path over the components, which come
// after what they need.
func (g *Graph) levels(list [][]int) {
	of := make([]int, len(g.nodes)) // component of a node
	level := make([]int, len(list)) // of the builds in it, or the highest below
	cost := make([]float64, len(list))
	before := make([]int, len(list)) // on the costliest way down
	best := -1
	for i, component := range list {
		for _, v := range component {
			of[v] = i
		}
		level[i], before[i] = -1, -1
		for _, v := range component {
			for _, w := range g.nodes[v].to {
				j := of[w]
				if j == i {
					continue
				}
				level[i] = max(level[i], level[j])
				if before[i] < 0 || cost[j] > cost[before[i]] {
					before[i] = j
				}
			}
		}
		if before[i] >= 0 {
			cost[i] = cost[before[i]]
		}
		builds := g.builds(component)
		if len(builds) > 0 {
			level[i]++
		}
		for _, v := range builds {
			cost[i] += g.Builds[v].Weight
			g.Builds[v].Level = level[i]
		}
		if best < 0 || cost[i] > cost[best] {
			best = i
		}
	}
	g.path(list, before, best, cost)
	for _, b := range g.Builds {
		for len(g.Levels) <= b.Level {
			g.Levels = append(g.Levels, []string{})
		}
		g.Levels[b.Level] = append(g.Levels[b.Level], b.Name)
	}
}

// path reads the critical path off.
func (g *Graph) path(list [][]int, before []int, last int, cost []float64) {
	if last < 0 {
		return
	}
	g.CriticalWeight = cost[last]
	for i := last; i >= 0; i = before[i] {
		names := g.names(g.builds(list[i]))
		slices.Reverse(names)
		g.CriticalPath = append(g.CriticalPath, names...)
	}
	slices.Reverse(g.CriticalPath)
}

// order lists the builds after what they need, the seeds taken as there.
func (g *Graph) order() {
	for _, component := range components(g.nodes, g.seeded) {
		g.Order = append(g.Order, g.names(g.builds(component))...)
	}
}
