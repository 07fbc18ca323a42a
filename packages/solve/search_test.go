package solve

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestSearch guards what apk-tools gives up on although there is a solution.
func TestSearch(t *testing.T) {
	all := []scenario{
		{
			guards: "an older version is taken when the newest cannot be installed",
			repos:  []string{"app 2 D:lib=1,tool\napp 1 D:lib\ntool 1 D:lib=2\nlib 1\nlib 2"},
			world:  "app", want: "lib-2 app-1",
		}, {
			guards: "going back changes as little as possible: the other choices stay the newest",
			repos:  []string{"app 3 D:x,y\napp 2\napp 1\nx 1 D:z=1\ny 1 D:z=2\nz 1\nz 2\nother 1\nother 2"},
			world:  "app other", want: "app-2 other-2",
		}, {
			guards: "a provider that excludes another is avoided deep down",
			repos:  []string{"app 1 D:n,m\nm 1 D:p\nn 1 D:q\np1 1 p:p=2 D:s=1\np2 1 p:p=1\nq 1 D:s=2\nq 2 D:t,s=2\nt 1\ns 1\ns 2"},
			world:  "app", want: "t-1 s-2 q-2 n-1 p2-1 m-1 app-1",
		}, {
			guards: "a package that provides a name twice is installable",
			repos:  []string{"a 1 p:x=1,x=2\nb 1 D:x>1"},
			world:  "b", want: "a-1 b-1",
		}, {
			guards: "a virtual name whose provider something else can bring in",
			repos:  []string{"app 1 D:v,x\np 1 p:v\nx1 1 p:x=2\nx2 1 p:x=1 D:p"},
			world:  "app", want: "p-1 x2-1 app-1",
		},
	}
	runScenarios(t, all)
	for _, s := range all {
		req := s.request(t)
		u, err := discover(&req)
		if err != nil {
			t.Fatal(err)
		}
		g := newGreedy(u)
		if err := g.run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if a := u.arrange(g.choices()); g.faults == 0 && a.broken == nil {
			t.Errorf("%s: needs no search", s.guards)
		}
	}
}

func TestExplanation(t *testing.T) {
	runScenarios(t, []scenario{
		{
			guards: "a version that there is not, one dependency away",
			repos:  []string{"app 1.0-r0 D:lib<2\nlib 2.1-r0"}, world: "app",
			err: `
request: "app" cannot be installed:
  the request asks for app; app-1.0-r0 is the only app (https://repo)
  app-1.0-r0 depends on lib<2; lib-2.1-r0 is the only lib (https://repo)`,
		}, {
			guards: "what has no part in it is not mentioned",
			repos:  []string{"app 1 D:x,lib<2,y\nx 1\ny 1 D:x\nlib 2\nother 1 D:y"}, world: "other app x",
			err: `
request: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on lib<2; lib-2 is the only lib (https://repo)`,
		}, {
			guards: "the shortest of several contradictions",
			repos:  []string{"app 1 D:a,b,nope>1\na 1 D:lib=1\nb 1 D:lib=2\nlib 1\nlib 2\nnope 1"}, world: "app",
			err: `
request: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on nope>1; nope-1 is the only nope (https://repo)`,
		}, {
			guards: "two entries that need different versions",
			repos:  []string{"a 1 D:lib=1\nb 1 D:lib=2\nlib 1\nlib 2"}, world: "a b",
			err: `
request: "a" and "b" cannot be installed together:
  the request asks for a; a-1 is the only a (https://repo)
  the request asks for b; b-1 is the only b (https://repo)
  a-1 depends on lib=1; only lib-1 satisfies it (https://repo)
  b-1 depends on lib=2; only lib-2 satisfies it (https://repo)
  only one version of lib can be installed: lib-2, lib-1`,
		}, {
			guards: "many versions with the same fault are one line",
			repos:  []string{"app 1 D:lib>9\napp 2 D:lib>9\napp 3 D:lib>9\napp 4 D:lib>9\napp 5 D:lib>9\napp 6 D:lib>9\nlib 1"}, world: "app",
			err: `
request: "app" cannot be installed:
  the request asks for app; app-6, app-5, app-4, app-3 and 2 others satisfy it
  app-6, app-5, app-4, app-3 and 2 other versions depend on lib>9; lib-1 is the only lib (https://repo)`,
		}, {
			guards: "several versions of one virtual provider",
			repos:  []string{"tex 1 p:cmd:x\ntex 2 p:cmd:x\napp 1 D:cmd:x\nlatex 1 D:tex"}, world: "app",
			err: `
request: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on cmd:x; tex-2 (as cmd:x without a version), tex-1 (as cmd:x without a version) satisfy it
  tex-2, tex-1 provide cmd:x without a version or priority: they are taken only when something asks for tex by name
  hint: ask for the package that is to provide cmd:x by its own name`,
		}, {
			guards: "a version that the request forbids says why",
			repos:  []string{"app 1\napp 2"}, world: "app>1",
			forbid: map[string]map[string]string{"app": {"2": "aarch64 has only 1"}},
			err: `
request: "app>1" cannot be installed:
  the request asks for app>1; only app-2 satisfies it (https://repo)
  app-2 is excluded: aarch64 has only 1`,
		}, {
			guards: "no version satisfies an entry",
			repos:  []string{"app 1\napp 2"}, world: "app>2",
			err: `
request: "app>2" cannot be installed:
  the request asks for app>2; there is only app-2, app-1`,
		}, {
			guards: "a dependency that is nowhere",
			repos:  []string{"app 1 D:libfoo\nother 1 D:app"}, world: "other",
			err: `
request: "other" cannot be installed:
  the request asks for other; other-1 is the only other (https://repo)
  other-1 depends on app; app-1 is the only app (https://repo)
  app-1 depends on libfoo, which is in no repository`,
		}, {
			guards: "entries that are nowhere are all named",
			repos:  []string{"app 1"}, world: "foo app bar>1",
			err: `
package "bar": in no repository: the request asks for bar>1
package "foo": in no repository: the request asks for foo`,
		},
	})
}

// TestMissing guards that a missing name can be reached with errors.As, wherever
// it is missed, and that similar names filled in by the caller are printed.
func TestMissing(t *testing.T) {
	_, err := Solve(context.Background(), Request{
		World: world(t, "app"), Repositories: tables(t, "app 1 D:libfoo\napp 2 D:x,libfoo\nx 1"),
	})
	var unsatisfiable *UnsatisfiableError
	if !errors.As(err, &unsatisfiable) {
		t.Fatalf("got %v, expected an UnsatisfiableError", err)
	}
	missing := Missing(fmt.Errorf("wrapped: %w", errors.Join(err)))
	if len(missing) != 1 {
		t.Fatalf("got %d missing names, expected 1", len(missing))
	}
	want := &MissingError{Name: "libfoo", Dependency: world(t, "libfoo")[0], By: []string{"app-1", "app-2"}}
	if diff := cmp.Diff(want, missing[0]); diff != "" {
		t.Error(diff)
	}
	missing[0].Nearest = []string{"libfoo2"}
	if !strings.HasSuffix(err.Error(), "\n  hint: similar to libfoo: libfoo2") {
		t.Errorf("similar names are not printed:\n%v", err)
	}
	direct := &MissingError{Name: "nginz", Dependency: world(t, "nginz")[0], By: []string{"the request"}, Arch: "x86_64", Nearest: []string{"nginx"}}
	if got, want := direct.Error(), "package \"nginz\" for x86_64: in no repository: the request asks for nginz\n  hint: similar names: nginx"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestLimit guards that a search that is given up says so, with its own type.
func TestLimit(t *testing.T) {
	var rows []string
	// Seven pigeons for six holes: no solution, and no short proof.
	for i := range 7 {
		rows = append(rows, fmt.Sprintf("pigeon%d 1 D:hole-for-%d", i, i))
		for hole := range 6 {
			rows = append(rows, fmt.Sprintf("p%dh%d 1 p:hole-for-%d=1,hole%d=1", i, hole, i, hole))
		}
	}
	req := Request{
		World:        world(t, "pigeon0 pigeon1 pigeon2 pigeon3 pigeon4 pigeon5 pigeon6"),
		Repositories: tables(t, strings.Join(rows, "\n")),
		Steps:        50, Arch: "x86_64",
	}
	_, err := Solve(context.Background(), req)
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Steps != 50 {
		t.Fatalf("got %v, expected a LimitError with 50 steps", err)
	}
	if got, want := err.Error(), "request for x86_64: no answer after 50 steps of search\n  hint: give versions to some of the requested packages"; got != want {
		t.Errorf("got %s", got)
	}
	req.Steps = 0
	var unsatisfiable *UnsatisfiableError
	if _, err := Solve(context.Background(), req); !errors.As(err, &unsatisfiable) {
		t.Errorf("got %v, expected an UnsatisfiableError", err)
	} else if len(unsatisfiable.Request) != 7 {
		t.Errorf("got %d entries in the contradiction, all 7 are needed:\n%v", len(unsatisfiable.Request), err)
	}
}

// TestCancelled guards that a cancelled context ends the work with its error.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, w := range []string{"a", "b"} {
		_, err := Solve(ctx, Request{World: world(t, w), Repositories: tables(t, "a 1\nb 1 D:a=1,c\nc 1 D:a=2\na 2")})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: got %v", w, err)
		}
	}
}

// TestCoreIsMinimal guards that each fact of an explanation is needed: leaving
// any one out of the clauses makes them satisfiable.
func TestCoreIsMinimal(t *testing.T) {
	req := Request{
		World: world(t, "a b c d"),
		Repositories: tables(t, `
			a 1 D:x
			a 2 D:x,y
			b 1 D:!x,z
			b 2 D:y=9
			c 1 D:a
			d 1 D:b
			x 1
			y 1
			z 1`),
	}
	u, err := discover(&req)
	if err != nil {
		t.Fatal(err)
	}
	_, against, err := u.newSearch().run(context.Background())
	if err != nil || against == nil {
		t.Fatalf("got %v, expected a contradiction", err)
	}
	facts := minimal(against)
	m := newMinimizer(facts)
	if m.contradiction(facts) == nil {
		t.Fatal("the minimal facts do not exclude each other")
	}
	for i := range facts {
		rest := append(append([]*fact{}, facts[:i]...), facts[i+1:]...)
		if m.contradiction(rest) != nil {
			t.Errorf("fact %d of %d is not needed", i, len(facts))
		}
	}
}
