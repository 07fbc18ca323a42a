package solve

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"testing"
)

// contradiction discovers a universe and searches it for what excludes a
// solution.
func contradiction(t testing.TB, req Request) (*universe, []*fact) {
	t.Helper()
	u, err := discover(&req)
	if err != nil {
		t.Fatal(err)
	}
	_, against, err := u.newSearch().run(context.Background())
	if err != nil || against == nil {
		t.Fatalf("got %v, expected a contradiction", err)
	}
	return u, against
}

// TestShortest guards that the shortest explanation is found where leaving out
// facts one after the other from the first contradiction gives a longer one.
func TestShortest(t *testing.T) {
	all := []scenario{
		{
			guards: "a chain to one dead end, found after two chains that meet",
			repos:  []string{"app 1 D:a,b,c\na 1 D:lib=1\nb 1 D:lib=2\nlib 1\nlib 2\nc 1 D:d\nd 1 D:nope>1\nnope 1"}, world: "app",
			err: `
request: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on c; c-1 is the only c (https://repo)
  c-1 depends on d; d-1 is the only d (https://repo)
  d-1 depends on nope>1; nope-1 is the only nope (https://repo)`,
		}, {
			guards: "what excludes both versions alike, not a reason for each",
			repos:  []string{"web 2 p:legacy\nweb 1\napp 2\napp 3 D:!web"}, world: "app=3 web !legacy",
			err: `
request: "app=3" and "web" cannot be installed together:
  the request asks for app=3; only app-3 satisfies it (https://repo)
  the request asks for web; web-2, web-1 satisfy it
  app-3 conflicts with web: web-2, web-1`,
		}, {
			guards: "two entries for one package, without a third that has no part in it",
			repos:  []string{"lib 2\ntool 2 p:any\ntool 1\nlib 3 p:any,api=1 k:2\nlib 1 p:any=2,api=1"}, world: "any api lib=2",
			err: `
request: "api" and "lib=2" cannot be installed together:
  the request asks for api; lib-3 (as api=1), lib-1 (as api=1) satisfy it
  the request asks for lib=2; only lib-2 satisfies it (https://repo)
  only one version of lib can be installed: lib-3, lib-2, lib-1`,
		},
	}
	runScenarios(t, all)
	for _, s := range all {
		_, against := contradiction(t, s.request(t))
		if got, first := strings.Count(s.err, "\n  "), countLines(minimal(against)); first <= got {
			t.Errorf("%s: leaving out facts gives %d lines, the test expects %d", s.guards, first, got)
		}
	}
}

// TestShortestGivesUp guards that looking for a shorter explanation is bounded,
// and that the one that was there is given then.
func TestShortestGivesUp(t *testing.T) {
	var rows strings.Builder
	var atoms []string
	for i := range 200 { // each of many requests excludes the last, on its own way
		atoms = append(atoms, fmt.Sprintf("m%d", i))
		fmt.Fprintf(&rows, "m%d 1 D:n%d\nn%d 1 D:o%d\no%d 1 D:x=1\n", i, i, i, i, i)
	}
	rows.WriteString("x 1\nx 2\nz 1 D:y\ny 1 D:x=2")
	u, against := contradiction(t, Request{World: world(t, append(atoms, "z")...), Repositories: tables(t, rows.String())})
	facts := minimal(against)
	s := u.newShortener()
	s.work = 1000
	if got, err := s.run(context.Background(), facts); err != nil || countLines(got) != countLines(facts) || s.work > 0 || s.work < -1000 {
		t.Errorf("%d lines of %d, %v, %d work left", countLines(got), countLines(facts), err, s.work)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := u.newShortener().run(ctx, facts); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestShortestReal guards that explanations on the real Alpine indexes are the
// same each time.
func TestShortestReal(t *testing.T) {
	repos := alpine(t)
	for _, c := range []struct {
		world string
		lines int
	}{
		{"python3 !libexpat", 3}, {manyPackages + " !brotli-libs", 4}, {"plasma-desktop-meta !qt5-qtbase", 4}, {"gimp ffmpeg !libdrm", 4},
	} {
		first := ""
		for range 2 {
			_, err := Solve(context.Background(), Request{World: world(t, c.world), Repositories: repos})
			var e *UnsatisfiableError
			if !errors.As(err, &e) || len(e.Facts) != c.lines || first != "" && e.Error() != first {
				t.Fatalf("%s: %v\nexpected %d lines, and the first time\n%s", c.world, err, c.lines, first)
			}
			first = e.Error()
		}
	}
}

// fewestLines is the number of lines of the shortest explanation, found by trying
// all sets of packages: a contradiction has a line of what each of them breaks.
// It is 0 when no line breaks for one of them: then rules about chains of
// reasons play a part, which are no clauses.
func fewestLines(u *universe) int {
	s := u.newSearch()
	var facts []*fact
	for _, d := range u.world {
		facts = append(facts, u.demandFacts(nil, d)...)
	}
	var in []*candidate
	for _, c := range u.candidates {
		if c.found || c.bar != "" {
			in = append(in, c)
			facts = append(facts, u.packageFacts(c)...)
		}
	}
	for _, c := range s.clauses(facts) {
		if c.fact.kind == untaken {
			facts = append(facts, c.fact)
		}
	}
	var sets [][]line
	for bits := range 1 << len(in) {
		has := map[int]bool{}
		for i, c := range in {
			has[c.id] = bits&(1<<i) != 0
		}
		var set []line
		for _, f := range facts {
			if !holdsFor(f, has) {
				set = append(set, f.line())
			}
		}
		if len(set) == 0 {
			return 0
		}
		sets = append(sets, set)
	}
	for n := 1; ; n++ {
		if hittable(sets, map[line]bool{}, n) {
			return n
		}
	}
}

func holdsFor(f *fact, has map[int]bool) bool {
	for _, l := range f.clause().lits {
		if has[l.variable()] != l.isNegated() {
			return true
		}
	}
	return false
}

func hittable(sets [][]line, chosen map[line]bool, more int) bool {
	for _, set := range sets {
		hit := false
		for _, l := range set {
			hit = hit || chosen[l]
		}
		if hit {
			continue
		}
		if more == 0 {
			return false
		}
		for _, l := range set {
			chosen[l] = true
			if hittable(sets, chosen, more-1) {
				delete(chosen, l)
				return true
			}
			delete(chosen, l)
		}
		return false
	}
	return true
}

// TestShortestOfRandom compares with trying all sets of packages of small random
// universes.
func TestShortestOfRandom(t *testing.T) {
	n, compared, shorter := 4000, 0, 0
	if testing.Short() {
		n = 400
	}
	for seed := range n {
		texts, w := randomUniverse(rand.New(rand.NewSource(int64(seed))))
		req := Request{World: world(t, w), Repositories: tables(t, texts...)}
		u, err := discover(&req)
		if err != nil || len(u.candidates) > 10 || u.missingFromWorld() != nil {
			continue
		}
		_, against, err := u.newSearch().run(context.Background())
		if err != nil || against == nil {
			continue
		}
		want := fewestLines(u)
		var e *UnsatisfiableError
		if !errors.As(u.explain(context.Background(), against), &e) {
			t.Fatalf("seed %d: no explanation", seed)
		}
		first := countLines(minimal(against))
		if want == 0 {
			if len(e.Facts) > first {
				t.Errorf("seed %d: longer than without looking: %v", seed, e)
			}
			continue
		}
		compared++
		if len(e.Facts) < first {
			shorter++
		}
		if len(e.Facts) != want {
			t.Errorf("seed %d: %d lines, expected %d\n%v\nrequest %s\n%s", seed, len(e.Facts), want, e, w, strings.Join(texts, "\n--\n"))
		}
		checkContradiction(t, u, against)
	}
	t.Logf("%d compared, %d of them shorter than the minimal one", compared, shorter)
	if compared < n/20 || shorter < compared/100 {
		t.Errorf("%d of %d compared, %d shorter: the generator tests too little", compared, n, shorter)
	}
}

// checkContradiction checks that what is told is one, and that no fact of it can
// be left out.
func checkContradiction(t *testing.T, u *universe, against []*fact) {
	t.Helper()
	facts, err := u.shortest(context.Background(), minimal(against))
	if err != nil {
		t.Fatal(err)
	}
	m := newMinimizer(facts)
	if m.contradiction(facts) == nil {
		t.Fatalf("not a contradiction: %v", u.explain(context.Background(), against))
	}
	for i := range facts {
		if m.contradiction(append(append([]*fact{}, facts[:i]...), facts[i+1:]...)) != nil {
			t.Errorf("fact %d is not needed: %v", i, u.explain(context.Background(), against))
		}
	}
}

// TestLine guards which facts are told in one line.
func TestLine(t *testing.T) {
	u, _ := contradiction(t, Request{
		World:        world(t, "app", "!old", "tool", "app"),
		Repositories: tables(t, "app 1 D:lib=1,!x\napp 2 D:lib=1,!x,lib=3\ntool 1 D:lib=1,app\nold 1\nold 2\nlib 1\nlib 2"),
		Forbid:       map[string]map[string]string{"lib": {"1": "why", "2": "why"}},
	})
	app, tool, lib, old := u.names["app"].versions(), u.names["tool"].versions(), u.names["lib"].versions(), u.names["old"].versions()
	of := func(c *candidate, i int) *fact { return &fact{kind: needs, by: c, need: c.depends[i]} }
	request := func(i int) *fact { return u.demandFacts(nil, u.world[i])[0] }
	pair := func(shared string, a, b *candidate) *fact {
		return &fact{kind: rivals, others: []*candidate{a, b}, shared: u.names[shared]}
	}
	for _, c := range []struct {
		what string
		f, g *fact
		same bool
	}{
		{"a dependency of two versions", of(app[0], 0), of(app[1], 0), true},
		{"two dependencies of one name", of(app[1], 0), of(app[1], 2), false},
		{"a dependency of two packages", of(app[0], 0), of(tool[0], 0), false},
		{"a dependency and the opposite", of(app[0], 0), &fact{kind: excludes, by: app[0], need: app[0].depends[0]}, false},
		{"a dependency and an entry of the request", of(tool[0], 1), request(0), false},
		{"two equal entries of the request", request(0), request(1), false},
		{"an exclusion of the request, of two versions", u.demandFacts(nil, u.world[2])[0], u.demandFacts(nil, u.world[2])[1], true},
		{"rivals for a name", pair("old", old[0], old[1]), pair("old", old[1], old[0]), true},
		{"rivals for two names", pair("old", old[0], old[1]), pair("app", app[0], app[1]), false},
		{"versions with one bar", &fact{kind: barred, by: lib[0]}, &fact{kind: barred, by: lib[1]}, true},
		{"a bar and none", &fact{kind: barred, by: lib[0]}, &fact{kind: barred, by: old[0]}, false},
	} {
		if same := c.f.line() == c.g.line(); same != c.same {
			t.Errorf("%s: one line: %v", c.what, same)
		}
	}
}

func TestAreRivals(t *testing.T) {
	u, _ := contradiction(t, Request{World: world(t, "v=9"), Repositories: tables(t, "a 1 p:v=1\na 2 p:v=1\nb 1 p:v\nc 1 p:v\nv 1")})
	v := u.names["v"]
	by := map[string]provider{}
	for _, p := range v.providers {
		by[p.pkg.pkg.ID()] = p
	}
	for _, c := range []struct {
		p, q string
		want bool
	}{
		{"a-1", "a-1", false}, {"a-1", "b-1", true}, {"b-1", "c-1", false}, {"v-1", "b-1", true},
		{"a-1", "a-2", false}, // they are, by their own name
	} {
		if got := areRivals(v, by[c.p], by[c.q]); got != c.want {
			t.Errorf("%s and %s: %v", c.p, c.q, got)
		}
	}
	a := u.names["a"].versions()
	if !areRivals(u.names["a"], a[0].self(), a[1].self()) {
		t.Error("two versions of one package are no rivals")
	}
}
