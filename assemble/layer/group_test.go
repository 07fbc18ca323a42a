package layer

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func someUnits(r *rand.Rand, n int) []unit {
	us := make([]unit, n)
	for i := range us {
		us[i] = unit{name: fmt.Sprintf("u%03d", i), packages: []int{i},
			size: float64(1 + r.IntN(1000)*r.IntN(1000)), rate: float64(r.IntN(5))}
	}
	return us
}

func total(units []unit, segments [][]int) float64 {
	sum := 0.0
	for _, s := range segments {
		c := cost{}
		for _, u := range s {
			c = c.add(&units[u])
		}
		sum += c.bytes()
	}
	return sum
}

// bruteForce is the least cost of any division of an order into at most k
// runs.
func bruteForce(units []unit, order []int, k int) float64 {
	best := math.Inf(1)
	n := len(order)
	for mask := range 1 << (n - 1) {
		var ends []int
		for i := range n - 1 {
			if mask>>i&1 == 1 {
				ends = append(ends, i+1)
			}
		}
		ends = append(ends, n)
		if len(ends) <= k {
			best = min(best, total(units, runs(order, ends)))
		}
	}
	return best
}

// contiguous is the best division of an order into at most k runs.
func contiguous(units []unit, order []int, k int) (ends []int, cost float64) {
	d := newDivision(units, order, k)
	return d.ends(k, len(order)), d.best[k][len(order)]
}

// Packing is not free: with slots to spare for the large ones, only small
// packages are packed, for a little more per update.
func TestDivide_PacksLittle(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	units := make([]unit, 200)
	sum := 0.0
	for i := range units {
		units[i] = unit{name: fmt.Sprint(i), size: math.Exp(r.NormFloat64()*2 + 12), rate: 1}
		sum += units[i].size
	}
	segments := divide(units, 99)
	_, least := newDivision(units, order(units), 99).withSingles(0)
	packed, per, best := packedSize(units, segments)/sum, total(units, segments)/sum/200, least/sum/200
	t.Logf("packed %.1f %%, %.2f %% of the image per update, at best %.2f %%", 100*packed, 100*per, 100*best)
	if packed > 0.06 || per > 1.15*best || len(segments) > 99 {
		t.Errorf("%d segments, packed %.3f, per update %v (best %v)", len(segments), packed, per, best)
	}
}

// order is the units by expected transfer, lightest first.
func order(units []unit) []int {
	out := make([]int, len(units))
	for i := range out {
		out[i] = i
	}
	slices.SortFunc(out, func(a, b int) int { return cmp.Compare(units[a].size*units[a].rate, units[b].size*units[b].rate) })
	return out
}

func TestContiguous_IsOptimal(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 300 {
		n := 1 + r.IntN(11)
		k := 1 + r.IntN(n)
		units := someUnits(r, n)
		order := r.Perm(n)
		ends, cost := contiguous(units, order, k)
		if got := total(units, runs(order, ends)); got != cost || len(ends) > k || ends[len(ends)-1] != n {
			t.Fatalf("round %d: ends %v cost %v, claimed %v", round, ends, got, cost)
		}
		if want := bruteForce(units, order, k); cost != want {
			t.Fatalf("round %d: n=%d k=%d: cost %v, best is %v", round, n, k, cost, want)
		}
	}
}

func TestDivide(t *testing.T) {
	u := func(name string, size, rate float64) unit { return unit{name: name, size: size, rate: rate} }
	for _, c := range []struct {
		name  string
		units []unit
		k     int
		want  string
	}{
		{"room for all", []unit{u("a", 5, 1), u("b", 500, 1), u("c", 1, 1)}, 3, "[[0] [1] [2]]"},
		{"more room than needed", []unit{u("a", 5, 1)}, 9, "[[0]]"},
		{"nothing", nil, 3, "[]"},
		{"one slot", []unit{u("a", 5, 1), u("b", 500, 1)}, 1, "[[0 1]]"},
		{"the heavy one stays alone, wherever it stands", []unit{u("a", 5, 1), u("b", 500, 1), u("c", 1, 1)}, 2, "[[0 2] [1]]"},
		{"so does what changes often", []unit{u("a", 100, 1), u("b", 100, 50), u("c", 100, 1)}, 2, "[[0 2] [1]]"},
		{"what never changes costs nothing", []unit{u("a", 9e9, 0), u("b", 10, 1), u("c", 10, 1)}, 2, "[[0] [1 2]]"},
		{"of equal ones the first stays alone, because packing costs", []unit{u("a", 1, 1), u("b", 1, 1), u("c", 1, 1), u("d", 1, 1)}, 2, "[[0] [1 2 3]]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := fmt.Sprint(divide(c.units, c.k)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// What the layer plan is for: bytes pulled per update of one package.
func TestDivide_BeatsRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	units := make([]unit, 200)
	sum := 0.0
	for i := range units {
		units[i] = unit{name: fmt.Sprint(i), size: math.Exp(r.NormFloat64()*2 + 12), rate: 1}
		sum += units[i].size
	}
	install := upTo(200)
	for i := range install {
		install[i]--
	}
	for _, k := range []int{4, 9, 19} {
		got := total(units, divide(units, k)) / sum / 200
		_, runsOnly := contiguous(units, install, k)
		t.Logf("%d layers: %.1f %% of the image per update, contiguous in installation order %.1f %%", k, 100*got, 100*runsOnly/sum/200)
		if got > runsOnly/sum/200 {
			t.Errorf("%d layers: %v, worse than runs of the installation order", k, got)
		}
	}
}

func TestRates(t *testing.T) {
	if r := rates(nil); r("x") != 1 {
		t.Error("without weights all are equal")
	}
	r := rates(map[string]float64{"a": 1, "b": 5})
	if r("a") != 1 || r("b") != 5 || r("c") != 3 {
		t.Errorf("%v %v %v, want 1 5 3", r("a"), r("b"), r("c"))
	}
}

func TestArrange(t *testing.T) {
	for _, c := range []struct {
		name  string
		n     int
		edges []edge
		want  []int
	}{
		{"nothing to do", 3, nil, []int{0, 1, 2}},
		{"already right", 3, []edge{{0, 2, 1}}, []int{0, 1, 2}},
		{"one moves back", 4, []edge{{2, 0, 1}}, []int{1, 2, 0, 3}},
		{"chain", 3, []edge{{2, 1, 1}, {1, 0, 1}}, []int{2, 1, 0}},
		{"cycle: the heavier edge counts", 2, []edge{{1, 0, 9}, {0, 1, 1}}, []int{1, 0}},
		{"longer cycle", 3, []edge{{2, 1, 9}, {1, 0, 8}, {0, 2, 1}}, []int{2, 1, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := arrange(c.n, c.edges); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestBetween(t *testing.T) {
	got := between([]edge{{0, 1, 5}, {0, 2, 1}, {1, 2, 7}, {3, 0, 9}, {2, 0, 4}}, []int{0, 0, 1, -1})
	want := []edge{{0, 1, 8}, {1, 0, 4}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
