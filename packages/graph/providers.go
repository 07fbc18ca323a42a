package graph

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
)

// entry is a package that a build makes.
type entry struct {
	name, version string
	deps          definition.Dependencies
	build         int
}

// offer is an entry under one of its names.
type offer struct {
	entry    int
	version  string // empty for a name that is provided without one
	own      bool   // the package's own name
	priority int
}

// providers finds the package that answers a need.
type providers struct {
	entries []entry
	byName  map[string]int
	offers  map[string][]offer
	first   []int // of each build, its first entry
	answers map[string]answer
}

type answer struct {
	entry int
	ok    bool
}

func newProviders() *providers {
	return &providers{byName: map[string]int{}, offers: map[string][]offer{}, answers: map[string]answer{}}
}

func (p *providers) add(e entry) error {
	i := len(p.entries)
	if e.build == len(p.first) {
		p.first = append(p.first, i)
	}
	p.entries = append(p.entries, e)
	p.byName[e.name] = i
	priority, _ := strconv.Atoi(e.deps.ProviderPriority) // checked when it was read; empty is 0
	p.offers[e.name] = append(p.offers[e.name], offer{i, e.version, true, priority})
	for _, text := range e.deps.Provides {
		d, err := apk.ParseDependency(text)
		if err != nil {
			return fmt.Errorf("%s: provides: %w", e.name, err)
		}
		p.offers[d.Name] = append(p.offers[d.Name], offer{i, d.Version, false, priority})
	}
	return nil
}

// of returns the entries of a build.
func (p *providers) of(build int) []int {
	var out []int
	for i := p.first[build]; i < len(p.entries) && p.entries[i].build == build; i++ {
		out = append(out, i)
	}
	return out
}

// sort puts the best offer of each name first: the package of that name, then
// by priority and by version, as apk prefers them; the name decides in the end.
func (p *providers) sort() {
	for _, list := range p.offers {
		slices.SortStableFunc(list, func(a, b offer) int {
			return cmp.Or(compareBool(b.own, a.own), cmp.Compare(b.priority, a.priority),
				apk.Compare(b.version, a.version), cmp.Compare(p.entries[a.entry].name, p.entries[b.entry].name))
		})
	}
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// find returns the entry that answers a need; -1 for what asks for nothing, as
// "!name" does. What is malformed has no answer.
func (p *providers) find(need string) (int, bool) {
	if a, ok := p.answers[need]; ok {
		return a.entry, a.ok
	}
	entry, ok := p.resolve(need)
	p.answers[need] = answer{entry, ok}
	return entry, ok
}

func (p *providers) resolve(need string) (int, bool) {
	d, err := apk.ParseDependency(need)
	switch {
	case err != nil:
		return 0, false
	case d.Conflict:
		return -1, true
	}
	for _, o := range p.offers[d.Name] {
		if d.Op == apk.OpAny || o.version != "" && d.Matches(o.version) {
			return o.entry, true
		}
	}
	return 0, false
}
