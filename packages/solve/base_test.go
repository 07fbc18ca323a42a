package solve

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// onBase is a request on top of a base image.
func onBase(t *testing.T, asks, base string, repositories ...string) Request {
	t.Helper()
	return Request{World: world(t, strings.Fields(asks)...), Base: table(t, base).Index, Repositories: tables(t, repositories...)}
}

// TestBase: what a base image holds is there, as it is, and is not chosen again.
func TestBase(t *testing.T) {
	for _, c := range []struct {
		guards                    string
		world, base, repositories string
		want                      string // the new packages, sorted
	}{
		{"what is there satisfies", "app", "lib 1", "app 1 D:lib\nlib 1\nlib 2", "app=1"},
		{"the very package of a repository is the base's", "lib", "lib 1", "lib 1\nlib 2", ""},
		{"and another build of it is not", "app", "lib 1 p:a", "lib 1 p:b\napp 1 D:lib", "app=1"},
		{"a request for what is there adds nothing", "lib", "lib 1", "lib 2", ""},
		{"in its version", "lib=1", "lib 1", "lib 2", ""},
		{"nothing is asked", "", "lib 1", "other 1", ""},
		{"its provides count", "app", "lib 1 p:so:x=3", "app 1 D:so:x>2\nother 9 p:so:x=9", "app=1"},
		{"a newer package is chosen that fits it", "app", "lib 1", "app 2 D:lib>1\napp 1 D:lib\nlib 2", "app=1"},
		{"its conflicts count", "tool", "lib 1 D:!b", "a 1 p:tool=1\nb 2 p:tool=2", "a=1"},
		{"what it lacks is added", "app", "lib 1 D:more", "app 1\nmore 1", "app=1 more=1"},
		{"it completes conditions", "app", "docs 1", "app 1\napp-doc 1 i:app,docs", "app-doc=1 app=1"},
		{"its own name provided by another is not it", "", "lib 1", "fake 9 p:lib=1", ""},
		{"pins do not bind it", "lib@edge app", "lib 1", "@edge\nlib 2\n\napp 1", "app=1"},
	} {
		t.Run(c.guards, func(t *testing.T) {
			req := onBase(t, c.world, c.base, strings.Split(c.repositories, "\n\n")...)
			s, err := Solve(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			held := 0
			for _, choice := range s.Choices {
				if choice.Reason.Kind == InBase {
					if held++; choice.Repository != len(req.Repositories) {
						t.Errorf("%s is from repository %d", choice.Package.ID(), choice.Repository)
					}
					continue
				}
				got = append(got, choice.Package.Name+"="+choice.Package.Version)
			}
			if slices.Sort(got); strings.Join(got, " ") != c.want {
				t.Errorf("added %v, expected %s", got, c.want)
			}
			if held != req.Base.Len() {
				t.Errorf("%d packages of the base, expected %d", held, req.Base.Len())
			}
		})
	}
}

func TestBaseUnsatisfiable(t *testing.T) {
	for _, c := range []struct{ guards, world, base, repositories, want string }{
		{"another version is asked for", "lib>1", "lib 1", "lib 1\nlib 2", `request: "lib>1" cannot be installed:
  the request asks for lib>1; only lib-2 satisfies it (https://repo)
  lib-2 is excluded: the base image holds lib-1`},
		{"and no repository has the name", "lib>1", "lib 1", "other 1", `request: "lib>1" cannot be installed:
  the request asks for lib>1; lib-1 is the only lib, which the base image holds`},
		{"another version is depended on", "app", "lib 1", "app 1 D:lib>1\nlib 2", `request: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on lib>1; only lib-2 satisfies it (https://repo)
  lib-2 is excluded: the base image holds lib-1`},
		{"it is forbidden", "!lib", "lib 1", "", `request: "!lib" cannot be installed:
  the request forbids lib: lib-1
  the base image holds lib-1`},
		{"another build", "app", "lib 1 p:a=1", "app 1 D:b=1\nlib 1 p:b=1", `request: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on b=1; lib-1 (as b=1) is the only b (https://repo)
  lib-1 is excluded: the base image holds another build of lib-1`},
		{"the base contradicts itself", "", "a 1 D:!b\nb 1", "", `request: the packages of the base image do not fit together:
  the base image holds a-1
  the base image holds b-1
  a-1 conflicts with b: b-1`},
	} {
		t.Run(c.guards, func(t *testing.T) {
			_, err := Solve(t.Context(), onBase(t, c.world, c.base, c.repositories))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestBaseOfSeveralArchitectures: bases need not agree, nor what is on top with
// what the base of another architecture holds.
func TestBaseOfSeveralArchitectures(t *testing.T) {
	x := onBase(t, "app", "lib 1", "app 1 D:lib\napp 2 D:lib\nlib 3")
	y := onBase(t, "app", "lib 2", "app 1 D:lib\nlib 3")
	z := Request{World: x.World, Repositories: y.Repositories}
	all, err := SolveAll(t.Context(), []Request{x, y, z})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range all {
		got = append(got, strings.Join(s.versions(), " "))
	}
	if diff := cmp.Diff([]string{"app=1 lib=1", "app=1 lib=2", "app=1 lib=3"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestBaseWithoutChecksums: the list of a base's packages may lack them.
func TestBaseWithoutChecksums(t *testing.T) {
	p := &apk.Package{Name: "lib", Version: "1"}
	req := Request{World: world(t, "app"), Base: newIndex([]*apk.Package{p}), Repositories: tables(t, "app 1 D:lib\nlib 1")}
	s, err := Solve(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range s.Choices {
		if c.Package.Name == "lib" && (c.Package != p || c.Reason.Kind != InBase) {
			t.Errorf("chose %+v", c)
		}
	}
}
