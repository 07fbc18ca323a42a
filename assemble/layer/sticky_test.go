package layer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// sized is a unit "name:size" or "name:size:rate".
func sized(list string) (units []unit) {
	for i, f := range strings.Fields(list) {
		u := unit{packages: []int{i}, rate: 1}
		parts := strings.Split(f, ":")
		u.name = parts[0]
		fmt.Sscan(parts[1], &u.size)
		if len(parts) > 2 {
			fmt.Sscan(parts[2], &u.rate)
		}
		units = append(units, u)
	}
	return units
}

func previous(list string) *Assignment {
	a := &Assignment{}
	for _, seg := range strings.Split(list, "|") {
		a.Segments = append(a.Segments, strings.Fields(seg))
	}
	return a
}

func TestStick(t *testing.T) {
	for _, c := range []struct {
		name, units, prev string
		k                 int
		want              string
	}{
		{"nothing changed", "a:9 b:1 c:1", "b c|a", 2, "b c|a"},
		{"the order within a segment is kept", "a:9 b:1 c:1", "c b|a", 2, "c b|a"},
		{"what is gone vanishes", "a:9 c:1", "b c|a", 2, "c|a"},
		{"a segment can vanish", "b:1 c:1 d:50", "b c|a|d", 3, "b c|d"},
		{"new with room: a layer of its own, on top", "a:9 b:1 c:1 n:3", "b c|a", 3, "b c|a|n"},
		{"new without room: where it costs least", "a:9 b:1 c:1 n:3", "b c|a", 2, "b c n|a"},
		{"several new ones, the heaviest first", "a:9 b:1 c:1 m:2 n:3", "b c|a", 3, "b c|a|n m"},
		{"fewer slots: the cheapest are merged", "a:9 b:1 c:1 d:5", "b|c|a|d", 3, "b c|a|d"},
		{"a small gain moves nothing", "a:100 b:11 c:10 d:10", "a|b c|d", 3, "a|b c|d"},
		{"what became heavy loses its company", "a:100 b:5000 c:10 d:10", "a|b c|d", 3, "a|b|d c"},
		{"what became heavy gets its own layer, the cheapest two are merged", "a:10 b:5000 c:4000 e:400 f:400 g:10", "a|b c|e f|g", 4, "a g|c|e f|b"},
		{"what became heavy gets its own layer where there is room", "a:100 b:5000 c:10", "a|b c", 3, "a|c|b"},
		{"twice the same name counts once", "a:1 b:1 c:50", "a b|a|c", 2, "a b|c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			units := sized(c.units)
			got := stick(units, func(p int) string { return units[p].name }, previous(c.prev), c.k)
			var out []string
			for _, seg := range got {
				var names []string
				for _, u := range seg {
					names = append(names, units[u].name)
				}
				out = append(out, strings.Join(names, " "))
			}
			if s := strings.Join(out, "|"); s != c.want {
				t.Errorf("got %s, want %s", s, c.want)
			}
		})
	}
}

// Every unit ends in exactly one segment, and there are never too many.
func TestProperty_StickIsAPartition(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 500 {
		units := someUnits(r, 1+r.IntN(30))
		k := 1 + r.IntN(12)
		prev := &Assignment{}
		for range r.IntN(15) {
			var seg []string
			for range r.IntN(4) {
				seg = append(seg, fmt.Sprintf("u%03d", r.IntN(40)))
			}
			prev.Segments = append(prev.Segments, seg)
		}
		got := stick(units, func(p int) string { return units[p].name }, prev, k)
		all := slices.Sorted(slices.Values(slices.Concat(got...)))
		want := upTo(len(units))
		for i := range want {
			want[i]--
		}
		if len(got) > k || !slices.Equal(all, want) {
			t.Fatalf("round %d: k=%d, %d units: %v", round, k, len(units), got)
		}
	}
}

// bumped is a tree of n packages, the one at position b in a newer version.
func bumped(t *testing.T, n, b int) []apktest.Spec {
	t.Helper()
	var specs []apktest.Spec
	for i := range n {
		content := strings.Repeat(fmt.Sprintf("content of %d ", i), 1+i*i)
		if i == b {
			content += "changed"
		}
		specs = append(specs, pkg(fmt.Sprintf("p%02d", i), file(fmt.Sprintf("usr/lib/p%02d", i), content)))
	}
	return specs
}

// The point of the sticky plan: when one package is updated, all layers keep
// their digest except the one that holds it and the top one.
func TestProperty_OneUpdateChangesOneLayer(t *testing.T) {
	st := openStore(t)
	const n = 8
	for _, o := range []Options{{}, {Budget: 5}, {Strategy: PerOrigin, Budget: 4}} {
		withTop := func(b int) *rootfs.Tree {
			tree := plainTree(t, st, bumped(t, n, b)...)
			put(tree, apk.Entry{Path: "installed", Type: apk.TypeFile, Mode: 0o644}, fmt.Sprint("version ", b))
			return tree
		}
		first := mustPlan(t, withTop(-1), o)
		before := mustWrite(t, first, st)
		for b := range n {
			next := o
			next.Previous = first.Assignment()
			after := mustWrite(t, mustPlan(t, withTop(b), next), st)
			changed := changedLayers(before, after)
			holds := 0
			for _, l := range changed {
				if l.Kind != Top && !slices.Contains(l.Packages, b) {
					t.Errorf("%s/%d: p%02d updated: layer of %v changed", o.Strategy, o.Budget, b, l.Packages)
				}
				if slices.Contains(l.Packages, b) {
					holds++
				}
			}
			if holds != 1 || len(after) != len(before) {
				t.Errorf("%s/%d: p%02d updated: %d changed layers hold it", o.Strategy, o.Budget, b, holds)
			}
		}
	}
}

func changedLayers(before, after []Layer) (changed []Layer) {
	for _, l := range after {
		if !slices.ContainsFunc(before, func(o Layer) bool { return o.Digest == l.Digest }) {
			changed = append(changed, l)
		}
	}
	return changed
}

func TestAssignment_Applies(t *testing.T) {
	o, err := Options{Budget: 10}.normalised()
	if err != nil {
		t.Fatal(err)
	}
	seg := [][]string{{"a"}}
	for _, c := range []struct {
		a    *Assignment
		want bool
	}{
		{nil, false},
		{&Assignment{}, false},
		{&Assignment{Segments: seg}, true},
		{&Assignment{Strategy: PerPackage, Budget: 10, Segments: seg}, true},
		{&Assignment{Strategy: PerPackage, Budget: 11, Segments: seg}, false},
		{&Assignment{Strategy: PerOrigin, Segments: seg}, false},
	} {
		if got := c.a.applies(o); got != c.want {
			t.Errorf("%+v: %v, want %v", c.a, got, c.want)
		}
	}
}
