package layer

import (
	"cmp"
	"math"
	"slices"
)

// moveThreshold is the share of the expected transfer per update that moving a
// package to another layer must save before it is done: the move itself
// changes one or two layers that would otherwise have stayed.
const moveThreshold = 0.2

// segmentation is an assignment of units to segments while it is being
// changed. Positions in units; a segment's order is that of its content.
type segmentation struct {
	units    []unit
	segments [][]int
	costs    []cost
	extra    float64 // see cost.packed
}

func (s *segmentation) append(members ...int) {
	c := cost{}
	for _, u := range members {
		c = c.add(&s.units[u])
	}
	s.segments = append(s.segments, members)
	s.costs = append(s.costs, c)
}

func (s *segmentation) remove(i int) {
	s.segments = slices.Delete(s.segments, i, i+1)
	s.costs = slices.Delete(s.costs, i, i+1)
}

// join adds a unit at the end of a segment.
func (s *segmentation) join(segment, u int) {
	s.segments[segment] = append(s.segments[segment], u)
	s.costs[segment] = s.costs[segment].add(&s.units[u])
}

// stick starts from the previous assignment and changes as little as possible:
//
//   - what is gone leaves its segment;
//   - what is new gets a layer of its own while there is room, on top of the
//     others, the most expensive first; then it joins the segment whose cost
//     grows least;
//   - segments are merged, cheapest pair first, while there are too many;
//   - then single units move as long as a move saves more than moveThreshold
//     of the expected transfer.
func stick(units []unit, names func(pkg int) string, prev *Assignment, k int) [][]int {
	s := &segmentation{units: units, extra: packingRate(units, k)}
	fresh := s.survivors(names, prev)
	slices.SortFunc(fresh, func(a, b int) int {
		x, y := &units[a], &units[b]
		return cmp.Or(cmp.Compare(y.size*y.rate, x.size*x.rate), cmp.Compare(x.name, y.name))
	})
	for _, u := range fresh {
		if len(s.segments) < k {
			s.append(u)
		} else {
			i, _ := s.cheapestHome(u, -1)
			s.join(i, u)
		}
	}
	for len(s.segments) > k {
		i, j, _ := s.cheapestMerge(-1)
		s.merge(i, j)
	}
	for range len(units) {
		if !s.improve(k) {
			break
		}
	}
	return s.segments
}

// survivors rebuilds the previous segments from the units that still exist and
// returns the units that are new. A unit of several packages is where the
// first of them was.
func (s *segmentation) survivors(names func(pkg int) string, prev *Assignment) (fresh []int) {
	type place struct{ segment, position int }
	was := map[string]place{}
	for i, seg := range prev.Segments {
		for j, name := range seg {
			if _, ok := was[name]; !ok {
				was[name] = place{i, j}
			}
		}
	}
	positions := make([]place, len(s.units))
	segments := make([][]int, len(prev.Segments))
	for u := range s.units {
		found := false
		for _, p := range s.units[u].packages {
			if at, ok := was[names(p)]; ok {
				positions[u], found = at, true
				segments[at.segment] = append(segments[at.segment], u)
				break
			}
		}
		if !found {
			fresh = append(fresh, u)
		}
	}
	for _, seg := range segments {
		if len(seg) == 0 {
			continue
		}
		slices.SortFunc(seg, func(a, b int) int { return cmp.Compare(positions[a].position, positions[b].position) })
		s.append(seg...)
	}
	return fresh
}

// cheapestHome finds the segment, other than except, whose cost grows least
// when u joins it; -1 when there is none.
func (s *segmentation) cheapestHome(u, except int) (segment int, growth float64) {
	segment, growth = -1, math.Inf(1)
	for i, c := range s.costs {
		if i == except {
			continue
		}
		if g := c.add(&s.units[u]).bytes() - c.bytes(); g < growth {
			segment, growth = i, g
		}
	}
	return segment, growth
}

// cheapestMerge finds the two segments, other than except, that cost least to
// join; i < j, or -1, -1.
func (s *segmentation) cheapestMerge(except int) (i, j int, growth float64) {
	i, j, growth = -1, -1, math.Inf(1)
	for a := range s.costs {
		for b := a + 1; b < len(s.costs); b++ {
			if a == except || b == except {
				continue
			}
			if g := s.costs[a].plus(s.costs[b]).bytes() - s.costs[a].bytes() - s.costs[b].bytes(); g < growth {
				i, j, growth = a, b, g
			}
		}
	}
	return i, j, growth
}

// merge appends the smaller of two segments to the larger, which keeps its
// place: less content changes its position.
func (s *segmentation) merge(i, j int) {
	if s.costs[j].size > s.costs[i].size {
		i, j = j, i
	}
	s.segments[i] = append(s.segments[i], s.segments[j]...)
	s.costs[i] = s.costs[i].plus(s.costs[j])
	s.remove(j)
}

// saving is what a move saves of the expected transfer, and of that with what
// packing costs.
type saving struct{ bytes, packed float64 }

func (s *segmentation) of(c cost) saving { return saving{c.bytes(), c.packed(s.extra)} }

func (v saving) plus(w saving) saving  { return saving{v.bytes + w.bytes, v.packed + w.packed} }
func (v saving) minus(w saving) saving { return saving{v.bytes - w.bytes, v.packed - w.packed} }

// improve makes the one move that saves most, if that is worth it: a unit gets
// a layer of its own (two other segments are merged when there is no room), or
// goes to another segment. It must be worth it in both measures: a fresh
// division is best in the second, and nothing may move in it at once.
func (s *segmentation) improve(k int) bool {
	total := saving{}
	for _, c := range s.costs {
		total = total.plus(s.of(c))
	}
	bestGain, apply := moveThreshold*total.bytes, func() {}
	found := false
	consider := func(gain saving, do func()) {
		if gain.bytes > bestGain && gain.packed > moveThreshold*total.packed {
			bestGain, apply, found = gain.bytes, do, true
		}
	}
	for i := range s.segments {
		if len(s.segments[i]) < 2 {
			continue
		}
		mergeA, mergeB, growth := -1, -1, saving{}
		if len(s.segments) >= k {
			if mergeA, mergeB, _ = s.cheapestMerge(i); mergeA < 0 {
				growth = saving{math.Inf(1), math.Inf(1)}
			} else {
				a, b := s.costs[mergeA], s.costs[mergeB]
				growth = s.of(a.plus(b)).minus(s.of(a)).minus(s.of(b))
			}
		}
		for at, u := range s.segments[i] {
			unit := cost{}.add(&s.units[u])
			saved := s.of(s.costs[i]).minus(s.of(s.costs[i].without(&s.units[u])))
			consider(saved.minus(s.of(unit)).minus(growth), func() { s.extract(i, at, mergeA, mergeB) })
			if home, _ := s.cheapestHome(u, i); home >= 0 {
				grows := s.of(s.costs[home].add(&s.units[u])).minus(s.of(s.costs[home]))
				consider(saved.minus(grows), func() { s.move(i, at, home) })
			}
		}
	}
	apply()
	return found
}

// take removes the unit at a position from a segment.
func (s *segmentation) take(segment, at int) int {
	u := s.segments[segment][at]
	s.segments[segment] = slices.Delete(s.segments[segment], at, at+1)
	s.costs[segment] = s.costs[segment].without(&s.units[u])
	return u
}

func (s *segmentation) extract(segment, at, mergeA, mergeB int) {
	u := s.take(segment, at)
	if mergeA >= 0 {
		s.merge(mergeA, mergeB)
	}
	s.append(u)
}

func (s *segmentation) move(from, at, to int) {
	s.join(to, s.take(from, at))
}
