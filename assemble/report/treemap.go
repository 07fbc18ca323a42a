package report

import (
	"cmp"
	"math"
	"slices"
)

// rect is a rectangle of the picture, in its units.
type rect struct{ X, Y, W, H float64 }

// squarify divides a rectangle among weights, which are positive and from the
// largest to the smallest, so that the parts have those areas and are as near
// to squares as can be. The source is Bruls, Huizing and van Wijk, "Squarified
// Treemaps" (2000).
func squarify(weights []float64, r rect) []rect {
	total := 0.0
	for _, w := range weights {
		total += w
	}
	out := make([]rect, 0, len(weights))
	if total <= 0 {
		return append(out, make([]rect, len(weights))...)
	}
	scale := r.W * r.H / total
	for len(weights) > 0 {
		side := min(r.W, r.H)
		n, sum := 1, weights[0]*scale
		for n < len(weights) && worst(weights[:n+1], scale, sum+weights[n]*scale, side) <= worst(weights[:n], scale, sum, side) {
			sum += weights[n] * scale
			n++
		}
		var row []rect
		row, r = lay(weights[:n], scale, sum, r)
		out = append(out, row...)
		weights = weights[n:]
	}
	return out
}

// worst is the largest ratio of sides in a row of the area sum along side.
func worst(row []float64, scale, sum, side float64) float64 {
	if sum == 0 || side == 0 {
		return math.Inf(1)
	}
	largest, least := row[0]*scale, row[len(row)-1]*scale
	return max(side*side*largest/(sum*sum), sum*sum/(side*side*least))
}

// lay places a row along the shorter side of r, and returns what is left.
func lay(row []float64, scale, sum float64, r rect) (out []rect, rest rect) {
	if r.W >= r.H {
		width, y := sum/max(r.H, 1e-9), r.Y
		for _, w := range row {
			h := w * scale / max(width, 1e-9)
			out = append(out, rect{r.X, y, width, h})
			y += h
		}
		return out, rect{r.X + width, r.Y, max(r.W-width, 0), r.H}
	}
	height, x := sum/max(r.W, 1e-9), r.X
	for _, w := range row {
		wd := w * scale / max(height, 1e-9)
		out = append(out, rect{x, r.Y, wd, height})
		x += wd
	}
	return out, rect{r.X, r.Y + height, r.W, max(r.H-height, 0)}
}

// The picture's size, in its units.
const (
	pictureWidth  = 1200
	pictureHeight = 520
	// leastShare keeps small layers visible: none is drawn smaller than this
	// share of the whole.
	leastShare = 0.0012
)

// weighted is something with a weight, at a position of its list.
type weighted struct {
	at     int
	weight float64
}

// heaviest orders weights, and raises those that would not be seen.
func heaviest(sizes []int64) (order []weighted, weights []float64) {
	total := 0.0
	for _, s := range sizes {
		total += float64(max(s, 0))
	}
	for i, s := range sizes {
		order = append(order, weighted{i, max(float64(s), total*leastShare, 1)})
	}
	slices.SortStableFunc(order, func(a, b weighted) int { return cmp.Compare(b.weight, a.weight) })
	for _, o := range order {
		weights = append(weights, o.weight)
	}
	return order, weights
}

// place divides r among sizes; the rectangles are in the order of sizes.
func place(sizes []int64, r rect) []rect {
	order, weights := heaviest(sizes)
	out := make([]rect, len(sizes))
	for i, p := range squarify(weights, r) {
		out[order[i].at] = p
	}
	return out
}
