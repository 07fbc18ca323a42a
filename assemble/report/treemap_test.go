package report

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The areas are the weights', nothing overlaps and nothing is outside.
func TestPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		sizes := make([]int64, 1+r.IntN(60))
		for i := range sizes {
			sizes[i] = int64(1000 + r.IntN(1_000_000))
		}
		all := rect{3, 5, pictureWidth, pictureHeight}
		rects := place(sizes, all)
		_, weights := heaviest(sizes)
		total, area := 0.0, 0.0
		for _, w := range weights {
			total += w
		}
		for i, a := range rects {
			area += a.W * a.H
			if a.X < all.X-1e-6 || a.Y < all.Y-1e-6 || a.X+a.W > all.X+all.W+1e-6 || a.Y+a.H > all.Y+all.H+1e-6 {
				t.Fatalf("%v is outside", a)
			}
			if want := math.Max(float64(sizes[i]), sum(sizes)*leastShare) / total * all.W * all.H; math.Abs(a.W*a.H-want) > 1e-3*want+1e-6 {
				t.Fatalf("area %f of %d, expected %f", a.W*a.H, sizes[i], want)
			}
			for _, b := range rects[:i] {
				if math.Min(a.X+a.W, b.X+b.W)-math.Max(a.X, b.X) > 1e-6 && math.Min(a.Y+a.H, b.Y+b.H)-math.Max(a.Y, b.Y) > 1e-6 {
					t.Fatalf("%v and %v overlap", a, b)
				}
			}
		}
		if math.Abs(area-all.W*all.H) > 1e-3*area {
			t.Fatalf("areas of %f, expected %f", area, all.W*all.H)
		}
	}
}

func sum(sizes []int64) float64 {
	t := int64(0)
	for _, s := range sizes {
		t += s
	}
	return float64(t)
}

// The example of the paper: 6, 6, 4, 3, 2, 2, 1 in 6 by 4.
func TestSquarifyExample(t *testing.T) {
	got := squarify([]float64{6, 6, 4, 3, 2, 2, 1}, rect{0, 0, 6, 4})
	want := []rect{{0, 0, 3, 2}, {0, 2, 3, 2}, {3, 0, 12. / 7, 7. / 3}, {3 + 12./7, 0, 9. / 7, 7. / 3}}
	for i := range want {
		if math.Abs(got[i].X-want[i].X)+math.Abs(got[i].Y-want[i].Y)+math.Abs(got[i].W-want[i].W)+math.Abs(got[i].H-want[i].H) > 1e-9 {
			t.Errorf("%d: found %v, expected %v", i, got[i], want[i])
		}
	}
}

func TestSquarifyNothing(t *testing.T) {
	if got := place([]int64{0, 0}, rect{0, 0, 10, 10}); len(got) != 2 || math.IsNaN(got[0].W) {
		t.Errorf("%v", got)
	}
	if got := place(nil, rect{0, 0, 10, 10}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("found %s, expected %s", got, want)
		}
	}
}

func TestClean(t *testing.T) {
	if got := Clean("a\u202eb\x1bc \u00e9"); got != `a\u202eb\u001bc é` {
		t.Error(got)
	}
}
