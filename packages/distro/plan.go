package distro

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/graph"
)

// Plan is the order of builds, with cycles broken by what repositories have.
type Plan struct {
	*graph.Graph
	jobs   []*job
	byName map[string]*job
}

// job is a definition with its place in the plan.
type job struct {
	index  int
	build  *definition.Build
	names  []string // of its packages
	waits  []int
	wakes  []int
	before set // all that is built before, directly or not

	// While the plan runs; the coordinator's alone.
	missing int     // of waits
	weight  float64 // seconds; what the last build took
	tail    float64 // weight with that of the longest way that waits for it
	last    *record
	out     string // digest of what it made
}

// NewPlan makes the plan of definitions that were compiled for one architecture.
// The error is [ErrSeed] for a cycle that the repositories cannot break; it names
// the builds and what is missing.
func NewPlan(builds []*definition.Build, repositories []Repository) (*Plan, error) {
	have := func(name string) bool {
		return slices.ContainsFunc(repositories, func(r Repository) bool {
			return r.For == "" && slices.ContainsFunc(r.Index.Providers(name), func(i int) bool { return r.Index.Package(i).Name == name })
		})
	}
	g, err := graph.New(builds, graph.Options{Available: have})
	if err != nil {
		return nil, err
	}
	for _, c := range g.Cycles {
		missing := slices.DeleteFunc(slices.Clone(c.Seeds), have)
		if len(missing) > 0 {
			return nil, fmt.Errorf("%s: %w: no repository has %s\nhint: give a repository of earlier builds that has them with --repository-append",
				some(c.Builds), ErrSeed, strings.Join(missing, ", "))
		}
	}
	p := &Plan{Graph: g, byName: map[string]*job{}}
	compiled := make(map[string]*definition.Build, len(builds))
	for _, b := range builds {
		compiled[b.Package.Name] = b
	}
	for i, b := range g.Builds {
		j := &job{index: i, build: compiled[b.Name], names: b.Packages}
		p.jobs, p.byName[b.Name] = append(p.jobs, j), j
	}
	p.connect()
	return p, nil
}

// some names a few of many.
func some(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// connect fills in who waits for whom, and what is built before.
func (p *Plan) connect() {
	for i, j := range p.jobs {
		for _, name := range p.Waits(j.build.Package.Name) {
			to := p.byName[name]
			j.waits = append(j.waits, to.index)
			to.wakes = append(to.wakes, i)
		}
		j.missing = len(j.waits)
	}
	for _, j := range p.sorted() {
		j.before = newSet(len(p.jobs))
		for _, i := range j.waits {
			j.before.add(i)
			j.before.join(p.jobs[i].before)
		}
	}
}

// sorted lists the jobs after those that they wait for.
func (p *Plan) sorted() []*job {
	missing := make([]int, len(p.jobs))
	var out []*job
	for i, j := range p.jobs {
		if missing[i] = len(j.waits); missing[i] == 0 {
			out = append(out, j)
		}
	}
	for k := 0; k < len(out); k++ {
		for _, i := range out[k].wakes {
			if missing[i]--; missing[i] == 0 {
				out = append(out, p.jobs[i])
			}
		}
	}
	return out
}

// weigh sets weights from the last durations, and the ways from them. A build
// without one takes the median of the others.
func (p *Plan) weigh() (known bool) {
	var all []float64
	for _, j := range p.jobs {
		if j.last != nil {
			all = append(all, j.last.Seconds)
		}
	}
	median := 1.0
	if len(all) > 0 {
		slices.Sort(all)
		median = all[len(all)/2]
	}
	for _, j := range p.jobs {
		j.weight = median
		if j.last != nil {
			j.weight = j.last.Seconds
		}
	}
	for _, j := range slices.Backward(p.sorted()) {
		j.tail = 0
		for _, i := range j.wakes {
			j.tail = max(j.tail, p.jobs[i].tail)
		}
		j.tail += j.weight
	}
	return len(all) > 0
}

// first orders jobs: the longest way first, then by name.
func first(a, b *job) int {
	return cmp.Or(cmp.Compare(b.tail, a.tail), cmp.Compare(a.index, b.index))
}
