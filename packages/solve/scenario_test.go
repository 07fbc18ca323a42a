package solve

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scenario is a request against small repositories (see table). Want lists the
// packages in installation order; Err is the message.
type scenario struct {
	guards string
	repos  []string
	world  string
	prefer map[string]string
	forbid map[string]map[string]string
	want   string
	err    string
}

func (s scenario) request(t *testing.T) Request {
	return Request{
		World:        world(t, s.world),
		Repositories: tables(t, s.repos...),
		Prefer:       s.prefer,
		Forbid:       s.forbid,
	}
}

// order lists the packages of a solution as they are installed.
func (s *Solution) order() string {
	var out []string
	for _, c := range s.Choices {
		out = append(out, c.Package.ID())
	}
	return strings.Join(out, " ")
}

// lines trims a message in a test's source: leading newline and tabs.
func lines(s string) string {
	return strings.ReplaceAll(strings.TrimSpace(s), "\t", "")
}

func runScenarios(t *testing.T, all []scenario) {
	t.Helper()
	for _, s := range all {
		t.Run(s.guards, func(t *testing.T) {
			sol, err := Solve(context.Background(), s.request(t))
			if s.err != "" {
				if err == nil {
					t.Fatalf("solved as %s, expected an error:\n%s", sol.order(), lines(s.err))
				}
				if diff := cmp.Diff(lines(s.err), err.Error()); diff != "" {
					t.Fatalf("error differs (-want +got):\n%s", diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := sol.order(); got != s.want {
				t.Errorf("got  %s\nwant %s", got, s.want)
			}
		})
	}
}

func TestChoice(t *testing.T) {
	runScenarios(t, []scenario{
		{
			guards: "the newest version is taken, dependencies come first",
			repos:  []string{"app 1 D:lib\napp 2 D:lib\nlib 1\nlib 10\nlib 9"},
			world:  "app", want: "lib-10 app-2",
		}, {
			guards: "dependencies are installed in the order the package lists them",
			repos:  []string{"app 1 D:c,a,b\na 1\nb 1\nc 1 D:b"},
			world:  "app", want: "b-1 c-1 a-1 app-1",
		}, {
			guards: "the request is walked in the order of names, case aside",
			repos:  []string{"B 1\na 1\nc 1"},
			world:  "c B a", want: "a-1 B-1 c-1",
		}, {
			guards: "a cycle is cut where it is entered",
			repos:  []string{"a 1 D:b\nb 1 D:c\nc 1 D:a"},
			world:  "b", want: "a-1 c-1 b-1",
		}, {
			guards: "a constraint of the request excludes newer versions",
			repos:  []string{"app 1\napp 2"},
			world:  "app<2", want: "app-1",
		}, {
			guards: "a name that nothing asks for is left out",
			repos:  []string{"app 1\nother 1"},
			world:  "app", want: "app-1",
		}, {
			guards: "an empty request has an empty solution",
			repos:  []string{"app 1"},
			world:  "", want: "",
		}, {
			guards: "equal versions: the earlier repository wins, whatever its name",
			repos:  []string{"app 1 D:z", "app 1 D:y\ny 1\nz 1"},
			world:  "app", want: "z-1 app-1",
		}, {
			guards: "a newer version in a later repository wins",
			repos:  []string{"app 1", "app 2"},
			world:  "app", want: "app-2",
		}, {
			guards: "a version to keep is kept",
			repos:  []string{"app 1\napp 2"},
			world:  "app", prefer: map[string]string{"app": "1"}, want: "app-1",
		}, {
			guards: "a version to keep gives way to the request",
			repos:  []string{"app 1\napp 2"},
			world:  "app>1", prefer: map[string]string{"app": "1"}, want: "app-2",
		}, {
			guards: "a forbidden version is not taken",
			repos:  []string{"app 1\napp 2"},
			world:  "app", forbid: map[string]map[string]string{"app": {"2": "held back"}}, want: "app-1",
		}, {
			guards: "two entries with the same name both count",
			repos:  []string{"a 1\na 2\na 3"},
			world:  "a>1 a<3", want: "a-2",
		}, {
			guards: "of two entries that limit each other the one found last is decided first",
			repos:  []string{"a 3 D:lib=3\na 2 D:lib=2\na 1 D:lib=1\nb 3 D:lib=1\nb 2 D:lib=2\nb 1 D:lib=2\nlib 1\nlib 2\nlib 3"},
			world:  "a b", want: "lib-1 a-1 b-3",
		}, {
			guards: "a requirement of one package limits another's choice",
			repos:  []string{"app 1 D:lib<2,tool\ntool 1 D:lib\nlib 1\nlib 2"},
			world:  "app", want: "lib-1 tool-1 app-1",
		},
	})
}

func TestProvides(t *testing.T) {
	runScenarios(t, []scenario{
		{
			guards: "a versioned provide is selected by itself",
			repos:  []string{"libssl3 3.1 p:so:libssl.so.3=3\napp 1 D:so:libssl.so.3"},
			world:  "app", want: "libssl3-3.1 app-1",
		}, {
			guards: "the newest by the provided version wins, not by the package's own",
			repos:  []string{"a 9 p:so:x=1\nb 1 p:so:x=2"},
			world:  "so:x", want: "b-1",
		}, {
			guards: "packages with versioned provides of one name exclude each other",
			repos:  []string{"a 1 p:x=1\nb 1 p:x=1"},
			world:  "a b",
			err: `
request: "a" and "b" cannot be installed together:
  the request asks for a; a-1 is the only a (https://repo)
  the request asks for b; b-1 is the only b (https://repo)
  only one package can provide x: a-1 (as x=1), b-1 (as x=1)`,
		}, {
			guards: "virtual provides of one name exclude nothing",
			repos:  []string{"a 1 p:x\nb 1 p:x"},
			world:  "a b", want: "a-1 b-1",
		}, {
			guards: "a virtual and a versioned provide of one name exclude each other",
			repos:  []string{"a 1 p:x\nb 1 p:x=1"},
			world:  "a b",
			err: `
request: "a" and "b" cannot be installed together:
  the request asks for a; a-1 is the only a (https://repo)
  the request asks for b; b-1 is the only b (https://repo)
  only one package can provide x: a-1 (as x without a version), b-1 (as x=1)`,
		}, {
			guards: "a virtual name without priority is not selected by itself",
			repos:  []string{"a 1 p:x\nb 1 p:x"},
			world:  "x",
			err: `
request: "x" cannot be installed:
  the request asks for x; a-1 (as x without a version), b-1 (as x without a version) satisfy it
  a-1 provides x without a version or priority: it is taken only when something asks for a by name
  b-1 provides x without a version or priority: it is taken only when something asks for b by name
  hint: ask for the package that is to provide x by its own name`,
		}, {
			guards: "a virtual name is satisfied by what is asked for by its own name",
			repos:  []string{"a 1 p:x k:5\nb 1 p:x\napp 1 D:x"},
			world:  "app b", want: "b-1 app-1",
		}, {
			guards: "the highest priority provides a virtual name",
			repos:  []string{"a 1 p:x k:1\nb 1 p:x k:3\nc 1 p:x k:2"},
			world:  "x", want: "b-1",
		}, {
			guards: "a virtual name brings in nobody when something installed provides it",
			repos:  []string{"app 1 D:l53,lua\nl53 1 p:lua\nl54 1 p:lua k:2"},
			world:  "app", want: "l53-1 app-1",
		}, {
			guards: "a version constraint is not met by a virtual provide",
			repos:  []string{"a 1 p:x k:1"},
			world:  "x>0",
			err: `
request: "x>0" cannot be installed:
  the request asks for x>0; a-1 (as x without a version) is the only x (https://repo)`,
		}, {
			guards: "a package may provide its own name again",
			repos:  []string{"a 1 p:a=7\nb 1 D:a>5"},
			world:  "b", want: "a-1 b-1",
		}, {
			guards: "a provided version can stand in for a package",
			repos:  []string{"new 2 p:old=2\nold 1\napp 1 D:old"},
			world:  "app", want: "new-2 app-1",
		},
	})
}

func TestConflicts(t *testing.T) {
	runScenarios(t, []scenario{
		{
			guards: "an entry !name keeps a package out",
			repos:  []string{"app 1 D:x\na 2 p:x=2\nb 1 p:x=1"},
			world:  "app !a", want: "b-1 app-1",
		}, {
			guards: "a package's !name keeps another out",
			repos:  []string{"app 1 D:!a,x\na 2 p:x=2\nb 1 p:x=1"},
			world:  "app", want: "b-1 app-1",
		}, {
			guards: "!name<version leaves newer versions",
			repos:  []string{"app 1 D:!lib<2\nlib 1\nlib 2"},
			world:  "app lib", want: "lib-2 app-1",
		}, {
			guards: "!name also keeps out who provides the name",
			repos:  []string{"a 1 p:x\napp 1 D:!x"},
			world:  "a app",
			err: `
request: "a" and "app" cannot be installed together:
  the request asks for a; a-1 is the only a (https://repo)
  the request asks for app; app-1 is the only app (https://repo)
  app-1 conflicts with x: a-1 (as x without a version)`,
		}, {
			guards: "a package does not conflict with itself through what it provides",
			repos:  []string{"a 1 p:mta D:!mta\nb 1 p:mta D:!mta"},
			world:  "a", want: "a-1",
		}, {
			guards: "a conflict with a name that is nowhere is no conflict",
			repos:  []string{"app 1 D:!nowhere"},
			world:  "app !nothing", want: "app-1",
		}, {
			guards: "what the request forbids and asks for is impossible",
			repos:  []string{"app 1 D:lib\nlib 1"},
			world:  "app !lib",
			err: `
request: "app" and "!lib" cannot be installed together:
  the request asks for app; app-1 is the only app (https://repo)
  the request forbids lib: lib-1
  app-1 depends on lib; lib-1 is the only lib (https://repo)`,
		},
	})
}

func TestOperators(t *testing.T) {
	const repo = "lib 1.2\nlib 1.2.3\nlib 1.3\nlib 1.2.3-r4\nlib 2"
	for atom, want := range map[string]string{
		"lib=1.2": "1.2", "lib<1.3": "1.2.3-r4", "lib<=1.2.3": "1.2.3", "lib>1.3": "2", "lib>=1.3": "2",
		"lib~1.2": "1.2.3-r4", "lib~=1.2": "1.2.3-r4", "lib~1.2.3": "1.2.3-r4", "lib==1.3": "1.3",
		"!lib>1.3 lib": "1.3", "lib<2 lib>1.2.3-r4": "1.3",
	} {
		runScenarios(t, []scenario{{guards: atom, repos: []string{repo}, world: atom, want: "lib-" + want}})
	}
	r := tables(t, repo)
	sum := r[0].Index.Package(1).Checksum.String()
	runScenarios(t, []scenario{{guards: "checksum", repos: []string{repo}, world: "lib><" + sum, want: "lib-1.2.3"}})
}

func TestInstallIf(t *testing.T) {
	runScenarios(t, []scenario{
		{
			guards: "a package whose conditions all hold is installed, after them",
			repos:  []string{"app 1\napp-doc 1 i:app=1,docs\ndocs 1\napp-dev 1 i:app=1,dev\ndev 1"},
			world:  "docs app", want: "app-1 docs-1 app-doc-1",
		}, {
			guards: "a chain of install_if is followed",
			repos:  []string{"a 1\nb 1 i:a\nc 1 i:b\nd 1 i:c,a"},
			world:  "a", want: "a-1 b-1 c-1 d-1",
		}, {
			guards: "what an install_if package depends on comes too",
			repos:  []string{"a 1\nb 1 i:a D:lib\nlib 1"},
			world:  "a", want: "a-1 lib-1 b-1",
		}, {
			guards: "a condition on another version does not hold",
			repos:  []string{"a 2\na-doc 1 i:a=1,docs\na-doc 2 i:a=2,docs\ndocs 1"},
			world:  "a docs", want: "a-2 docs-1 a-doc-2",
		}, {
			guards: "an install_if package that cannot be there is left out",
			repos:  []string{"a 1 D:!b\nb 1 i:a"},
			world:  "a", want: "a-1",
		}, {
			guards: "the request can forbid an install_if package",
			repos:  []string{"a 1\nb 1 i:a"},
			world:  "a !b", want: "a-1",
		}, {
			guards: "install_if is followed where the search had to go back",
			repos:  []string{"app 2 D:x,y\napp 1\nx 1 D:z=1\ny 1 D:z=2\nz 1\nz 2\napp-doc 1 i:app=1\nextra 1 i:app-doc"},
			world:  "app", want: "app-1 app-doc-1 extra-1",
		},
	})
}

func TestPins(t *testing.T) {
	const main, edge = "app 1 D:lib\nlib 1", "@edge\napp 2 D:lib>=2\nlib 2\nlib 3\nnew 1 D:lib\nonly 1"
	runScenarios(t, []scenario{
		{
			guards: "a tagged repository is not used without a pin",
			repos:  []string{main, edge}, world: "app", want: "lib-1 app-1",
		}, {
			guards: "a pinned package and what it needs may use the tagged repository",
			repos:  []string{main, edge}, world: "app@edge", want: "lib-3 app-2",
		}, {
			guards: "what a pinned package needs comes from the default repositories if they satisfy it",
			repos:  []string{main, edge}, world: "new@edge", want: "lib-1 new-1",
		}, {
			guards: "a pin prefers its repository, even with an older version",
			repos:  []string{"app 9", "@old\napp 1"}, world: "app@old", want: "app-1",
		}, {
			guards: "a pin to a repository that lacks the package falls back",
			repos:  []string{main + "\nplain 1", edge}, world: "plain@edge", want: "plain-1",
		}, {
			guards: "a pin with a version",
			repos:  []string{main, edge}, world: "lib@edge<3", want: "lib-2",
		}, {
			guards: "a package that is only in a tagged repository needs the pin",
			repos:  []string{main, edge}, world: "only",
			err: `
request: "only" cannot be installed:
  the request asks for only; only-1 is the only only (https://repo/edge)
  only-1 is only in a repository tagged @edge, which nothing that asks for it may use
  hint: ask for only@edge`,
		}, {
			guards: "one package's pin is not another's",
			repos:  []string{main, edge}, world: "app@edge only",
			err: `
request: "only" cannot be installed:
  the request asks for only; only-1 is the only only (https://repo/edge)
  only-1 is only in a repository tagged @edge, which nothing that asks for it may use
  hint: ask for only@edge`,
		}, {
			guards: "a tag that no repository has",
			repos:  []string{main, edge}, world: "app@egde",
			err: `
request "app@egde": no repository is tagged @egde
  known tags: @edge`,
		}, {
			guards: "a tag where no repository has one",
			repos:  []string{main}, world: "app@edge",
			err: `
request "app@edge": no repository is tagged @edge
  no repository is tagged`,
		}, {
			guards: "an install_if package inherits the pin",
			repos:  []string{"a 1", "@edge\na 2\na-doc 2 i:a=2"}, world: "a@edge", want: "a-2 a-doc-2",
		}, {
			guards: "a package in a tagged and in a default repository needs no pin",
			repos:  []string{"both 1", "@edge\nboth 1"}, world: "both", want: "both-1",
		},
	})
}
