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
type cost struct {
	size, rate float64
	units      int
}

func (c cost) add(u *unit) cost     { return cost{c.size + u.size, c.rate + u.rate, c.units + 1} }
func (c cost) without(u *unit) cost { return cost{c.size - u.size, c.rate - u.rate, c.units - 1} }
func (c cost) plus(d cost) cost     { return cost{c.size + d.size, c.rate + d.rate, c.units + d.units} }
func (c cost) minus(d cost) cost    { return cost{c.size - d.size, c.rate - d.rate, c.units - d.units} }
func (c cost) bytes() float64       { return c.size * c.rate }

// packed is bytes with what packing costs: extra for each byte of a segment
// that holds more than one unit.
func (c cost) packed(extra float64) float64 {
	if c.units > 1 {
		return c.bytes() + extra*c.size
	}
	return c.bytes()
}

// packingRate is the extra of [cost.packed] for these units in at most k segments.
// Where there are segments for less than half of the units, most are packed anyhow,
// and a small image with few layers is better divided for its own updates: the cost
// of packing falls with the square of what is missing.
func packingRate(units []unit, k int) float64 {
	rate := 0.0
	for i := range units {
		rate += units[i].rate / float64(len(units))
	}
	room := min(1, 2*float64(k+1)/float64(len(units)))
	return packCost * room * room * rate
}

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

// packCost is what it costs to pack a byte, in updates: a packed package shares
// its layer with no other image and is compressed anew once. At 8, the image of
// 200 packages that the benchmark builds packs 16 of 441 MB (170 MB without),
// and an update pulls 0.593 % of it on average (0.561 % without).
const packCost = 8

// divide puts units into at most k segments (positions in units), such that
// the expected number of bytes pulled per update is small. With room for all,
// every unit is alone.
//
// Two candidates are computed, both optimal among divisions into contiguous
// runs: of the installation order, and of the order by expected transfer, there
// with the cost of packing. The second usually wins, because its runs take all
// the small units; ties go to the first, whose segments hold what belongs
// together.
func divide(units []unit, k int) [][]int {
	n := len(units)
	install := make([]int, n)
	for i := range install {
		install[i] = i
	}
	if n <= k {
		return runs(install, upTo(n))
	}
	light := slices.Clone(install)
	slices.SortFunc(light, func(a, b int) int {
		x, y := &units[a], &units[b]
		return cmp.Or(cmp.Compare(x.size*x.rate, y.size*y.rate), cmp.Compare(x.size, y.size), cmp.Compare(y.name, x.name))
	})
	byInstall, byTransfer := newDivision(units, install, k), newDivision(units, light, k)
	segments := runs(install, byInstall.ends(k, n))
	extra := packingRate(units, k)
	cost := byInstall.best[k][n] + extra*packedSize(units, segments)
	if other, otherCost := byTransfer.withSingles(extra); otherCost < cost {
		segments = other
	}
	for _, s := range segments {
		slices.Sort(s)
	}
	slices.SortFunc(segments, func(a, b []int) int { return cmp.Compare(a[0], b[0]) })
	return segments
}

// packedSize is the size of the units that share a segment, in bytes.
func packedSize(units []unit, segments [][]int) (size float64) {
	for _, s := range segments {
		if len(s) > 1 {
			for _, u := range s {
				size += units[u].size
			}
		}
	}
	return size
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

// division holds the best divisions of every prefix of an order into any number
// of runs up to k.
//
// The cost of a run is a product of two sums over it, which satisfies the
// quadrangle inequality; so the best last cut does not move left as the prefix
// grows and each round needs n log n instead of n² evaluations.
type division struct {
	units  []unit
	order  []int
	prefix []cost
	best   [][]float64 // by number of runs at most, then by length of the prefix
	cuts   [][]int     // where the last run starts
}

func newDivision(units []unit, order []int, k int) *division {
	n := len(order)
	d := &division{units: units, order: order, prefix: make([]cost, n+1)}
	for i, u := range order {
		d.prefix[i+1] = d.prefix[i].add(&units[u])
	}
	first := make([]float64, n+1)
	for j := range first {
		first[j] = d.run(0, j)
	}
	d.best, d.cuts = [][]float64{nil, first}, [][]int{nil, make([]int, n+1)}
	for r := 2; r <= k; r++ {
		next, cut := make([]float64, n+1), make([]int, n+1)
		improve(d.best[r-1], next, cut, d.run, 1, n, 0, n-1)
		d.best, d.cuts = append(d.best, next), append(d.cuts, cut)
	}
	return d
}

func (d *division) run(i, j int) float64 {
	return d.prefix[j].minus(d.prefix[i]).bytes()
}

// ends returns where each of at most r runs over the first n of the order ends.
func (d *division) ends(r, n int) []int {
	var out []int
	for j := n; j > 0; r-- {
		out = append(out, j)
		j = d.cuts[r][j]
	}
	slices.Reverse(out)
	return out
}

// withSingles divides the order, lightest first, where the heaviest units are
// alone and only the rest is in runs and costs extra by its size. It returns the
// segments and their cost.
func (d *division) withSingles(extra float64) ([][]int, float64) {
	n, k := len(d.order), len(d.best)-1
	singles, least, alone := 0, d.best[k][n]+extra*d.prefix[n].size, 0.0
	for m := 1; m < k; m++ {
		alone += d.run(n-m, n-m+1)
		if c := alone + d.best[k-m][n-m] + extra*d.prefix[n-m].size; c < least {
			singles, least = m, c
		}
	}
	segments := runs(d.order, d.ends(k-singles, n-singles))
	for _, u := range d.order[n-singles:] {
		segments = append(segments, []int{u})
	}
	return segments, least
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
