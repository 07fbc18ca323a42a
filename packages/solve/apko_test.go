package solve

import (
	"context"
	"testing"
)

// The tests here are named after defects of apko's resolver (research/apko.md
// §0.5, §1.3) and guard the right behaviour.

func TestApkoDefect_OperatorsIgnored(t *testing.T) {
	const conf = "conf 1\nconf 9.1\nconf 10"
	runScenarios(t, []scenario{
		{guards: "~= means its prefix, not any version", repos: []string{conf}, world: "conf~=9", want: "conf-9.1"},
		{guards: "== is =", repos: []string{conf}, world: "conf==1", want: "conf-1"},
		{
			guards: "~= that nothing satisfies is an error", repos: []string{"conf 1"}, world: "conf~=9",
			err: `
request: "conf~9" cannot be installed:
  the request asks for conf~9; conf-1 is the only conf (https://repo)`,
		}, {
			guards: ">< compares the checksum", repos: []string{conf}, world: "conf><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
			err: `
request: "conf><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=" cannot be installed:
  the request asks for conf><Q1AAAAAAAAAAAAAAAAAAAAAAAAAAA=; there is only conf-10, conf-9.1, conf-1`,
		},
		{guards: "~ in a dependency", repos: []string{conf + "\napp 1 D:conf~9"}, world: "app", want: "conf-9.1 app-1"},
	})
}

func TestApkoDefect_UnknownTagAccepted(t *testing.T) {
	runScenarios(t, []scenario{{
		guards: "unknown tag", repos: []string{"app 1", "@edge\napp 2"}, world: "app@testing",
		err: "request \"app@testing\": no repository is tagged @testing\n  known tags: @edge",
	}})
}

func TestApkoDefect_ExclusionIsAnError(t *testing.T) {
	runScenarios(t, []scenario{
		{guards: "!name in the request", repos: []string{"app 1\nbanner 1 i:app"}, world: "app !banner", want: "app-1"},
	})
}

func TestApkoDefect_InstallIfMissed(t *testing.T) {
	// apko looks at install_if once for each entry of the request and in the
	// order of a map: conditions met by several entries, by dependencies or by
	// other install_if packages are missed.
	s := scenario{
		repos: []string{`
			py 3 D:lib
			lib 1
			pyc 1
			py-pyc 3 i:py=3,pyc D:cache
			cache 1
			lib-doc 1 i:lib,docs
			docs 1
			doc-index 1 i:lib-doc`},
		world: "py pyc docs",
		want:  "docs-1 lib-1 lib-doc-1 doc-index-1 py-3 pyc-1 cache-1 py-pyc-3",
	}
	for range 20 {
		sol, err := Solve(context.Background(), s.request(t))
		if err != nil {
			t.Fatal(err)
		}
		if got := sol.order(); got != s.want {
			t.Fatalf("got  %s\nwant %s", got, s.want)
		}
	}
}

func TestApkoDefect_SonameVersionRewritten(t *testing.T) {
	// apko reads so:libx.so.3=3 as version 0.3.
	runScenarios(t, []scenario{
		{
			guards: "the version of a provided soname is taken as it is",
			repos:  []string{"libx 3.1 p:so:libx.so.3=3\napp 1 D:so:libx.so.3>=2"}, world: "app", want: "libx-3.1 app-1",
		}, {
			guards: "the higher provided version wins",
			repos:  []string{"old 9 p:so:x=2\nnew 1 p:so:x=10"}, world: "so:x", want: "new-1",
		},
	})
}

func TestApkoDefect_NoBacktracking(t *testing.T) {
	runScenarios(t, []scenario{{
		guards: "an older version is found where the newest fails",
		repos:  []string{"app 2 D:a,b\napp 1\na 1 D:lib=1\nb 1 D:lib=2\nlib 1\nlib 2"}, world: "app", want: "app-1",
	}})
}

func TestApkoDefect_RepositoryOrderIgnored(t *testing.T) {
	// apko breaks ties by name.
	runScenarios(t, []scenario{{
		guards: "the first repository wins between equal versions",
		repos:  []string{"zeta 1 p:v=1", "alpha 1 p:v=1"}, world: "v", want: "zeta-1",
	}})
}
