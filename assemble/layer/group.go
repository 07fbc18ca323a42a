package layer

import (
	"cmp"
	"slices"
)

// unit is what is assigned to a layer as a whole: a package or the packages of
// an origin.
type unit struct {
	name     string
	packages []int   // in installation order
	size     float64 // compressed bytes
	rate     float64 // updates in some unit of time
}

// cost of a segment is the expected number of bytes pulled for it: each update
// of a unit in it transfers the whole.
type cost struct{ size, rate float64 }

func (c cost) add(u *unit) cost     { return cost{c.size + u.size, c.rate + u.rate} }
func (c cost) without(u *unit) cost { return cost{c.size - u.size, c.rate - u.rate} }
func (c cost) plus(d cost) cost     { return cost{c.size + d.size, c.rate + d.rate} }
func (c cost) bytes() float64       { return c.size * c.rate }

// units divides the packages that have content into what is kept together.
func (t *target) units(o Options) []unit {
	var out []unit
	at := map[string]int{}
	rate := rates(o.Weights)
	for p := range t.tree.Packages {
		r := t.tree.Packages[p].Receipt
		if len(r.Entries) == 0 {
			continue
		}
		name := r.Package.Name
		if o.Strategy == PerOrigin {
			name = r.Package.SourceName()
		}
		i, ok := at[name]
		if !ok {
			i = len(out)
			at[name] = i
			out = append(out, unit{name: name, rate: rate(r.Package.SourceName())})
		}
		out[i].packages = append(out[i].packages, p)
		out[i].size += float64(r.DataSize)
	}
	return out
}

// rates returns the function that gives an origin's update rate.
func rates(weights map[string]float64) func(origin string) float64 {
	if len(weights) == 0 {
		return func(string) float64 { return 1 }
	}
	// Summed in order: floating point addition is not associative and the plan
	// must not depend on map order.
	all := make([]float64, 0, len(weights))
	for _, w := range weights {
		all = append(all, w)
	}
	slices.Sort(all)
	mean := 0.0
	for _, w := range all {
		mean += w
	}
	mean /= float64(len(all))
	return func(origin string) float64 {
		if w, ok := weights[origin]; ok {
			return w
		}
		return mean
	}
}

// divide puts units into at most k segments (positions in units), such that
// the expected number of bytes pulled per update is small. With room for all,
// every unit is alone.
//
// Two candidates are computed, both optimal among divisions into contiguous
// runs: of the installation order, and of the order by expected transfer. The
// second usually wins, because one run takes all the small units; ties go to
// the first, whose segments hold what belongs together.
func divide(units []unit, k int) [][]int {
	n := len(units)
	install := make([]int, n)
	for i := range install {
		install[i] = i
	}
	if n <= k {
		return runs(install, upTo(n))
	}
	heavy := slices.Clone(install)
	slices.SortFunc(heavy, func(a, b int) int {
		x, y := &units[a], &units[b]
		return cmp.Or(cmp.Compare(y.size*y.rate, x.size*x.rate), cmp.Compare(y.size, x.size), cmp.Compare(x.name, y.name))
	})
	cutsA, costA := contiguous(units, install, k)
	cutsB, costB := contiguous(units, heavy, k)
	segments := runs(install, cutsA)
	if costB < costA {
		segments = runs(heavy, cutsB)
	}
	for _, s := range segments {
		slices.Sort(s)
	}
	slices.SortFunc(segments, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return segments
}

// upTo returns 1…n.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

// runs cuts an order at the given ends.
func runs(order, ends []int) [][]int {
	out := make([][]int, 0, len(ends))
	start := 0
	for _, end := range ends {
		out = append(out, slices.Clone(order[start:end]))
		start = end
	}
	return out
}

// contiguous divides an order into at most k runs with the least total cost
// and returns where each ends, and that cost.
//
// The cost of a run is a product of two sums over it, which satisfies the
// quadrangle inequality; so the best last cut does not move left as the prefix
// grows and each round needs n log n instead of n² evaluations.
func contiguous(units []unit, order []int, k int) (ends []int, total float64) {
	n := len(order)
	prefix := make([]cost, n+1)
	for i, u := range order {
		prefix[i+1] = prefix[i].add(&units[u])
	}
	run := func(i, j int) float64 {
		return cost{prefix[j].size - prefix[i].size, prefix[j].rate - prefix[i].rate}.bytes()
	}
	best := make([]float64, n+1) // of the prefix of this length in the current number of runs
	for j := range best {
		best[j] = run(0, j)
	}
	cuts := [][]int{make([]int, n+1)}
	for range k - 1 {
		next, cut := make([]float64, n+1), make([]int, n+1)
		improve(best, next, cut, run, 1, n, 0, n-1)
		best, cuts = next, append(cuts, cut)
	}
	ends = make([]int, 0, k)
	for r, j := len(cuts)-1, n; j > 0; r-- {
		ends = append(ends, j)
		j = cuts[r][j]
	}
	slices.Reverse(ends)
	return ends, best[n]
}

// improve fills next[lo:hi+1] with the cost of one run more, the last of which
// starts between optLo and optHi.
func improve(best, next []float64, cut []int, run func(i, j int) float64, lo, hi, optLo, optHi int) {
	if lo > hi {
		return
	}
	mid := (lo + hi) / 2
	opt := optLo
	value := best[opt] + run(opt, mid)
	for i := optLo + 1; i <= min(mid-1, optHi); i++ {
		if v := best[i] + run(i, mid); v < value {
			opt, value = i, v
		}
	}
	next[mid], cut[mid] = value, opt
	improve(best, next, cut, run, lo, mid-1, optLo, opt)
	improve(best, next, cut, run, mid+1, hi, opt, optHi)
}
