package layer

import (
	"cmp"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// edge asks for one package's layer to come after another's, so that its
// version of a path wins.
type edge struct {
	first, then int   // packages, later: units or segments
	weight      int64 // bytes that move to the top layer otherwise, and one per path
}

// overrides lists, for each pair of packages, what of the second the tree
// prefers to what the first has at the same paths.
func (t *target) overrides() []edge {
	type pair struct{ first, then int }
	sum := map[pair]int64{}
	for p := range t.tree.Packages {
		entries := t.tree.Packages[p].Receipt.Entries
		for m := range entries {
			i := t.at(entries[m].Path)
			if i < 0 {
				continue
			}
			e := &t.tree.Entries[i]
			if e.Package < 0 || e.Package == p || e.Content != nil || e.Type == apk.TypeDir && entries[m].Type == apk.TypeDir {
				continue
			}
			sum[pair{p, e.Package}] += t.want[i].Size + 1
		}
	}
	out := make([]edge, 0, len(sum))
	for k, w := range sum {
		out = append(out, edge{k.first, k.then, w})
	}
	return out
}

// between maps edges of packages onto groups of them, joins parallel ones and
// drops those within a group. Heaviest first, then by position.
func between(edges []edge, groupOf []int) []edge {
	type pair struct{ first, then int }
	sum := map[pair]int64{}
	for _, e := range edges {
		a, b := groupOf[e.first], groupOf[e.then]
		if a >= 0 && b >= 0 && a != b {
			sum[pair{a, b}] += e.weight
		}
	}
	out := make([]edge, 0, len(sum))
	for k, w := range sum {
		out = append(out, edge{k.first, k.then, w})
	}
	slices.SortFunc(out, func(a, b edge) int {
		return cmp.Or(cmp.Compare(b.weight, a.weight), cmp.Compare(a.first, b.first), cmp.Compare(a.then, b.then))
	})
	return out
}

// arrange returns the positions 0…n-1 in an order that respects as many edges
// as possible, the heaviest first, and departs from 0…n-1 only for them. What
// is left unsatisfied (a cycle) ends in the top layer or in a rewritten layer.
func arrange(n int, edges []edge) []int {
	after := make([][]int, n)
	before := make([]int, n)
	for _, e := range edges {
		if reaches(after, e.then, e.first, make([]bool, n)) {
			continue
		}
		after[e.first] = append(after[e.first], e.then)
		before[e.then]++
	}
	order := make([]int, 0, n)
	done := make([]bool, n)
	for len(order) < n {
		for i := range n {
			if done[i] || before[i] > 0 {
				continue
			}
			done[i] = true
			order = append(order, i)
			for _, j := range after[i] {
				before[j]--
			}
			break
		}
	}
	return order
}

// reaches reports whether there is a way from one node to another.
func reaches(after [][]int, from, to int, seen []bool) bool {
	if from == to {
		return true
	}
	seen[from] = true
	for _, j := range after[from] {
		if !seen[j] && reaches(after, j, to, seen) {
			return true
		}
	}
	return false
}
