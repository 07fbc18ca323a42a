// Package graph orders the builds of many package definitions: what builds
// before what, in which levels, along which critical path, and which packages
// must come from elsewhere because builds need each other.
//
// A build makes its package and all subpackages at once, and needs the packages
// of its environment with everything those need at run time. Builds and
// packages are both nodes, so that a build waits for the subpackage it uses and
// not for what other subpackages of the same origin would need.
//
// Only what definitions say is known: dependencies that are found in a built
// package's files (so:, cmd:, pc:) are not, unless declared. The package
// resolves no versions of repositories, builds nothing, and keeps no state.
//
//	builds, err := definition.LoadAll(ctx, files, definition.Options{}, options)
//	g, err := graph.New(builds, graph.Options{})
//	for _, name := range g.Order { … }
package graph

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/definition"
)

// Graph is the plan. All lists are in a fixed order.
type Graph struct {
	// Arch is the architecture that the builds were compiled for.
	Arch string `json:"arch"`
	// Builds are all builds by name.
	Builds []Build `json:"builds"`
	// Order is an order of all builds in which each comes after what it needs,
	// when the seed packages of every cycle are there already.
	Order []string `json:"order"`
	// Levels are the builds that can go at the same time. Those of one cycle
	// are in one level.
	Levels [][]string `json:"levels"`
	// Cycles are the builds that need each other, largest first.
	Cycles []Cycle `json:"cycles"`
	// CriticalPath is the longest chain of builds by weight, the first to build
	// first; a cycle is in it as a whole. CriticalWeight is its weight.
	CriticalPath   []string `json:"critical-path"`
	CriticalWeight float64  `json:"critical-weight"`
	// Missing are the needs that no definition answers.
	Missing []Missing `json:"missing"`

	nodes  []node
	index  map[string]int // build name to node
	seeded []bool         // nodes that are the seeds of their cycle
	cycle  []int          // of a node: the cycle that it is in, from 1; 0 is none
	have   func(string) bool
}

// Build is one definition.
type Build struct {
	Name string `json:"name"`
	File string `json:"file"`
	// Packages are what it makes, the main one first.
	Packages []string `json:"packages"`
	// Needs are the builds whose packages its environment names, itself left
	// out. What those packages need at run time is not listed; see
	// [Graph.Prerequisites].
	Needs []string `json:"needs"`
	// Level counts from 0.
	Level int `json:"level"`
	// Weight is what the build takes, in the caller's unit.
	Weight float64 `json:"weight"`
}

// Cycle are builds that need each other.
type Cycle struct {
	Builds []string `json:"builds"`
	// Seeds are packages of these builds: once they are there from another
	// repository, the builds have an order.
	Seeds []string `json:"seeds"`
}

// Missing is a need without an answer.
type Missing struct {
	// Need is the dependency as it is written.
	Need string `json:"need"`
	// By are the builds whose environment asks for it and the packages that
	// need it at run time.
	Builds   []string `json:"builds,omitempty"`
	Packages []string `json:"packages,omitempty"`
}

// Options change how a graph is made.
type Options struct {
	// Weights are what builds take, by name; those that are not there take 1.
	Weights map[string]float64
	// Tests counts what tests need as needs of the build too.
	Tests bool
	// Available says of a package whether it can be had from elsewhere. Cycles
	// are broken with such packages where that is possible; nil is all.
	Available func(pkg string) bool
}

// ErrDuplicate is for a package that two definitions make.
var ErrDuplicate = errors.New("package made twice")

// New makes the graph of builds that were compiled for one architecture.
func New(builds []*definition.Build, o Options) (*Graph, error) {
	g := &Graph{have: o.Available, index: map[string]int{}, Cycles: []Cycle{}, Missing: []Missing{}, Levels: [][]string{}, Order: []string{}, CriticalPath: []string{}, Builds: []Build{}}
	builds = slices.Clone(builds)
	slices.SortFunc(builds, func(a, b *definition.Build) int { return cmp.Compare(a.Package.Name, b.Package.Name) })
	p := newProviders()
	for _, b := range builds {
		if err := g.add(b, p, o); err != nil {
			return nil, err
		}
	}
	p.sort()
	m := missing{}
	for i, b := range builds {
		g.connect(b, i, p, m, o)
	}
	g.Missing = m.list()
	g.plan()
	return g, nil
}

// node is a build or a package.
type node struct {
	name  string
	build int   // the build that makes the package; its own index for a build
	isPkg bool  // otherwise a build
	to    []int // what is needed first
}

// add makes the nodes of one build. Builds come first, then packages, so that a
// build's node has the build's index.
func (g *Graph) add(b *definition.Build, p *providers, o Options) error {
	i := len(g.Builds)
	g.Arch = b.Arch
	build := Build{Name: b.Package.Name, File: b.File, Weight: 1, Needs: []string{}}
	if w, ok := o.Weights[build.Name]; ok {
		build.Weight = w
	}
	version := b.Package.FullVersion()
	entries := []entry{{b.Package.Name, version, b.Package.Dependencies, i}}
	for _, s := range b.Subpackages {
		entries = append(entries, entry{s.Name, version, s.Dependencies, i})
	}
	for _, e := range entries {
		if other, ok := p.byName[e.name]; ok {
			return fmt.Errorf("%s: %w: %s is made by %s too", b.File, ErrDuplicate, e.name, g.Builds[p.entries[other].build].File)
		}
		build.Packages = append(build.Packages, e.name)
		if err := p.add(e); err != nil {
			return fmt.Errorf("%s: %w: %w", b.File, definition.ErrDefinition, err)
		}
	}
	g.index[build.Name] = i
	g.Builds = append(g.Builds, build)
	return nil
}

// connect adds a build's edges and those of its packages.
func (g *Graph) connect(b *definition.Build, i int, p *providers, m missing, o Options) {
	if g.nodes == nil {
		g.makeNodes(p)
	}
	needs := slices.Clone(b.Environment.Contents.Packages)
	if o.Tests {
		needs = append(needs, testPackages(b)...)
	}
	own := g.Builds[i].Packages
	for _, need := range needs {
		if o.Tests && slices.Contains(own, need) {
			continue // a test has the package itself
		}
		g.need(i, need, p, m)
	}
	for _, e := range p.of(i) {
		for _, need := range p.entries[e].deps.Runtime {
			g.need(len(g.Builds)+e, need, p, m)
		}
	}
	for _, to := range g.nodes[i].to {
		if name := g.Builds[g.nodes[to].build].Name; name != g.Builds[i].Name {
			g.Builds[i].Needs = append(g.Builds[i].Needs, name)
		}
	}
	slices.Sort(g.Builds[i].Needs)
	g.Builds[i].Needs = slices.Compact(g.Builds[i].Needs)
}

func testPackages(b *definition.Build) []string {
	var out []string
	if b.Test != nil {
		out = append(out, b.Test.Environment.Contents.Packages...)
	}
	for _, s := range b.Subpackages {
		if s.Test != nil {
			out = append(out, s.Test.Environment.Contents.Packages...)
		}
	}
	return out
}

func (g *Graph) makeNodes(p *providers) {
	for i, b := range g.Builds {
		g.nodes = append(g.nodes, node{name: b.Name, build: i})
	}
	for _, e := range p.entries {
		g.nodes = append(g.nodes, node{name: e.name, build: e.build, isPkg: true, to: []int{e.build}})
	}
}

// need adds an edge from a node to the package that answers a need.
func (g *Graph) need(from int, need string, p *providers, m missing) {
	e, ok := p.find(need)
	switch {
	case !ok:
		m.add(need, g.nodes[from])
	case e >= 0:
		g.nodes[from].to = append(g.nodes[from].to, len(g.Builds)+e)
	}
}

// Prerequisites returns the builds that must be finished before a build begins,
// by name: those of everything that its environment installs. It is nil for a
// build that is not in the graph.
func (g *Graph) Prerequisites(name string) []string {
	return g.before(name, func(int) bool { return false })
}

// Waits returns the builds that a build waits for when the seeds of every cycle
// are there from elsewhere: a build of a cycle takes the seeds of that cycle as
// they are there; one that is in no cycle, or in another, waits until they are
// built. Following Waits never leads back to the build.
func (g *Graph) Waits(name string) []string {
	start, ok := g.index[name]
	return g.before(name, func(pkg int) bool {
		return ok && g.seeded[pkg] && g.cycle[start] != 0 && g.cycle[pkg] == g.cycle[start]
	})
}

// before walks from a build through what its environment installs; the builds of
// packages that are there are left out.
func (g *Graph) before(name string, there func(pkg int) bool) []string {
	start, ok := g.index[name]
	if !ok {
		return nil
	}
	seen := make([]bool, len(g.nodes))
	out := []string{}
	stack := slices.Clone(g.nodes[start].to)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		if !g.nodes[n].isPkg {
			out = append(out, g.nodes[n].name)
			continue // what building it needs is its own matter
		}
		cut := there(n)
		for _, to := range g.nodes[n].to {
			if !cut || g.nodes[to].isPkg {
				stack = append(stack, to)
			}
		}
	}
	slices.Sort(out)
	return out
}

// missing collects needs without an answer.
type missing map[string]*Missing

func (m missing) add(need string, by node) {
	entry := m[need]
	if entry == nil {
		entry = &Missing{Need: need}
		m[need] = entry
	}
	if by.isPkg {
		entry.Packages = append(entry.Packages, by.name)
	} else {
		entry.Builds = append(entry.Builds, by.name)
	}
}

func (m missing) list() []Missing {
	out := make([]Missing, 0, len(m))
	for _, entry := range m {
		slices.Sort(entry.Builds)
		slices.Sort(entry.Packages)
		entry.Builds, entry.Packages = slices.Compact(entry.Builds), slices.Compact(entry.Packages)
		out = append(out, *entry)
	}
	slices.SortFunc(out, func(a, b Missing) int { return strings.Compare(a.Need, b.Need) })
	return out
}
