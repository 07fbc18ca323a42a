package solve

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// checker decides what a solution is, on its own: it shares nothing with the
// solver but the packages. It is slow and made for small universes.
type checker struct {
	world []apk.Dependency
	all   []*apk.Package               // each once
	tags  map[*apk.Package][]string    // of the repositories that have it; "" for none
	same  map[apk.SHA1]*apk.Package    // the one in all that stands for equal ones
	bar   map[string]map[string]string // Request.Forbid
}

func newChecker(req Request) *checker {
	c := &checker{req.World, nil, map[*apk.Package][]string{}, map[apk.SHA1]*apk.Package{}, req.Forbid}
	for _, r := range req.Repositories {
		for i := range r.Index.Len() {
			p := r.Index.Package(i)
			if c.same[p.Checksum] == nil {
				c.same[p.Checksum] = p
				c.all = append(c.all, p)
			}
			p = c.same[p.Checksum]
			c.tags[p] = append(c.tags[p], r.Tag)
		}
	}
	return c
}

// provides lists the versions as which p provides name.
func provides(p *apk.Package, name string) (versions []string) {
	if p.Name == name {
		versions = append(versions, p.Version)
	}
	for _, d := range p.Provides {
		if d.Name == name {
			versions = append(versions, d.Version)
		}
	}
	return versions
}

func matches(p *apk.Package, d apk.Dependency) bool {
	return slices.ContainsFunc(provides(p, d.Name), d.Matches)
}

// justifies reports whether d is reason enough for p to be there.
func justifies(p *apk.Package, d apk.Dependency) bool {
	if d.Conflict {
		return false
	}
	for _, v := range provides(p, d.Name) {
		if d.Matches(v) && (v != "" || p.ProviderPriority != 0) {
			return true
		}
	}
	return false
}

// check returns what is wrong with a set as a solution. A strict check wants for
// each package a chain of reasons from the request; apk-tools' choice may rest
// on packages that provide a virtual name and ask for one another by name.
func (c *checker) check(set []*apk.Package, strict bool) error {
	for _, d := range c.world {
		if err := holds(set, nil, d); err != nil {
			return fmt.Errorf("request: %w", err)
		}
	}
	for i, p := range set {
		if why, ok := c.bar[p.Name][p.Version]; ok {
			return fmt.Errorf("%s is forbidden: %s", p.ID(), why)
		}
		for _, d := range p.Depends {
			if err := holds(set, p, d); err != nil {
				return fmt.Errorf("%s: %w", p.ID(), err)
			}
		}
		for _, q := range set[:i] {
			if name := rivalry(p, q); name != "" {
				return fmt.Errorf("%s and %s both provide %s", p.ID(), q.ID(), name)
			}
		}
	}
	return c.checkReach(set, strict)
}

func holds(set []*apk.Package, by *apk.Package, d apk.Dependency) error {
	for _, p := range set {
		if matches(p, d) && !(d.Conflict && p == by) {
			if d.Conflict {
				return fmt.Errorf("%s: there is %s", d, p.ID())
			}
			return nil
		}
	}
	if d.Conflict {
		return nil
	}
	return fmt.Errorf("%s: nothing satisfies it", d)
}

func rivalry(p, q *apk.Package) string {
	names := []string{p.Name}
	for _, d := range p.Provides {
		names = append(names, d.Name)
	}
	for _, n := range names {
		a, b := provides(p, n), provides(q, n)
		for _, v := range a {
			for _, w := range b {
				if v != "" || w != "" {
					return n
				}
			}
		}
	}
	return ""
}

// checkReach checks that everything has a reason, and may come from where it
// is.
func (c *checker) checkReach(set []*apk.Package, strict bool) error {
	reached := map[*apk.Package]bool{}
	tags := map[*apk.Package][]string{}
	for grown := true; grown; {
		grown = false
		reach := func(p *apk.Package, from ...string) {
			if !reached[p] {
				reached[p], grown = true, true
				tags[p] = []string{""}
			}
			for _, tag := range from {
				if !slices.Contains(tags[p], tag) {
					tags[p] = append(tags[p], tag)
					grown = true
				}
			}
		}
		for _, p := range set {
			for _, d := range c.world {
				if justifies(p, d) || (reached[p] || !strict) && !d.Conflict && matches(p, d) {
					reach(p, d.Pin)
				}
			}
			for _, q := range set {
				for _, d := range q.Depends {
					if reached[q] && (justifies(p, d) || (reached[p] || !strict) && !d.Conflict && matches(p, d)) {
						reach(p, tags[q]...)
					}
				}
			}
			if by := completes(set, p, reached); by != nil {
				for _, q := range by {
					reach(p, tags[q]...)
				}
			}
		}
	}
	for _, p := range set {
		if !reached[p] {
			return fmt.Errorf("%s: nothing brings it in", p.ID())
		}
		if !slices.ContainsFunc(c.tags[p], func(t string) bool { return slices.Contains(tags[p], t) }) {
			return fmt.Errorf("%s: is only in %q, allowed are %q", p.ID(), c.tags[p], tags[p])
		}
	}
	return nil
}

// completes returns the reached packages that complete the conditions of p, or
// nil.
func completes(set []*apk.Package, p *apk.Package, reached map[*apk.Package]bool) (by []*apk.Package) {
	for _, d := range p.InstallIf {
		i := slices.IndexFunc(set, func(q *apk.Package) bool { return reached[q] && matches(q, d) })
		if i < 0 || d.Conflict {
			return nil
		}
		by = append(by, set[i])
	}
	return by
}

// checkComplete returns an install_if package that is missing from a solution
// although it would fit. Conditions on provided names are left out: apk-tools
// overlooks some of them.
func (c *checker) checkComplete(set []*apk.Package) error {
	for _, p := range c.all {
		own := func(d apk.Dependency) bool {
			return slices.ContainsFunc(set, func(q *apk.Package) bool { return q.Name == d.Name && d.Matches(q.Version) })
		}
		if slices.Contains(set, p) || completes(set, p, c.everything()) == nil || !all(p.InstallIf, own) {
			continue
		}
		if c.check(append(slices.Clone(set), p), true) == nil {
			return fmt.Errorf("%s is missing: its install_if conditions hold and it fits", p.ID())
		}
	}
	return nil
}

func all[T any](list []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(list, func(x T) bool { return !ok(x) })
}

func (c *checker) everything() map[*apk.Package]bool {
	all := map[*apk.Package]bool{}
	for _, p := range c.all {
		all[p] = true
	}
	return all
}

// anySolution tries all sets.
func (c *checker) anySolution() []*apk.Package {
	for bits := range 1 << len(c.all) {
		var set []*apk.Package
		for i, p := range c.all {
			if bits&(1<<i) != 0 {
				set = append(set, p)
			}
		}
		if c.check(set, true) == nil {
			return set
		}
	}
	return nil
}

// set returns the packages of a solution as the checker knows them.
func (c *checker) set(s *Solution) []*apk.Package {
	var out []*apk.Package
	for _, choice := range s.Choices {
		out = append(out, c.same[choice.Package.Checksum])
	}
	return out
}

func ids(set []*apk.Package) string {
	var out []string
	for _, p := range set {
		out = append(out, p.ID())
	}
	return strings.Join(out, " ")
}

// checkRandom solves one random universe and checks the answer.
func checkRandom(t *testing.T, seed int64) (solved bool) {
	t.Helper()
	texts, w := randomUniverse(rand.New(rand.NewSource(seed)))
	req := Request{World: world(t, w), Repositories: tables(t, texts...)}
	show := func() string {
		return fmt.Sprintf("seed %d\nrequest %s\n%s", seed, w, strings.Join(texts, "\n--\n"))
	}
	c := newChecker(req)
	sol, err := Solve(context.Background(), req)
	if err != nil {
		var missing *MissingError
		var unsatisfiable *UnsatisfiableError
		if !errors.As(err, &missing) && !errors.As(err, &unsatisfiable) {
			t.Fatalf("%v\n%s", err, show())
		}
		if len(c.all) <= 12 {
			if set := c.anySolution(); set != nil {
				t.Fatalf("%v\nbut there is a solution: %s\n%s", err, ids(set), show())
			}
		}
		return false
	}
	set := c.set(sol)
	if err := c.check(set, false); err != nil {
		t.Fatalf("%v\nin %s\n%s", err, ids(set), show())
	}
	for _, choice := range sol.Choices {
		if chain := sol.Why(choice.Package.Name)[0]; chain.Links[0].Reason.Kind != Requested {
			t.Fatalf("no chain of reasons from the request to %s: %v\n%s", choice.Package.ID(), chain, show())
		}
	}
	if err := c.checkComplete(set); err != nil && !strings.Contains(strings.Join(texts, "\n"), "@") {
		t.Fatalf("%v\nin %s\n%s", err, ids(set), show())
	}
	return true
}

// TestRandomUniverses guards that every answer on small random universes is a
// solution by an independent checker, and that "impossible" is said only where
// trying all sets finds none either.
func TestRandomUniverses(t *testing.T) {
	n, solved := 3000, 0
	if testing.Short() {
		n = 300
	}
	for seed := range n {
		if checkRandom(t, int64(seed)) {
			solved++
		}
	}
	if solved < n/4 || solved > n*3/4 {
		t.Errorf("%d of %d universes solved: the generator tests only one side", solved, n)
	}
}

// FuzzSolve is TestRandomUniverses with the fuzzer's choice of seeds.
func FuzzSolve(f *testing.F) {
	for seed := range int64(4) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) { checkRandom(t, seed) })
}
