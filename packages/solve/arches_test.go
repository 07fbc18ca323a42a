package solve

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/google/go-cmp/cmp"
)

type archTable struct{ arch, table string }

func archRequests(t testing.TB, w string, arches ...archTable) []Request {
	var out []Request
	for _, a := range arches {
		out = append(out, Request{World: world(t, w), Arch: a.arch, Repositories: tables(t, a.table)})
	}
	return out
}

// TestArches guards what several architectures have to agree on.
func TestArches(t *testing.T) {
	for _, c := range []struct {
		guards string
		world  string
		arches []archTable
		want   []string
		err    string
	}{
		{
			guards: "equal indexes agree", world: "app",
			arches: []archTable{{"x86_64", "app 1\napp 2"}, {"aarch64", "app 1\napp 2"}},
			want:   []string{"app-2", "app-2"},
		}, {
			guards: "a version that one architecture lacks is taken by none", world: "app",
			arches: []archTable{{"x86_64", "app 1\napp 2"}, {"aarch64", "app 1"}},
			want:   []string{"app-1", "app-1"},
		}, {
			guards: "agreement on a dependency can change what depends on it", world: "app",
			arches: []archTable{{"x86_64", "app 1 D:lib\napp 2 D:lib>1\nlib 1\nlib 2"}, {"aarch64", "app 1 D:lib\napp 2 D:lib\nlib 1"}},
			want:   []string{"lib-1 app-1", "lib-1 app-1"},
		}, {
			guards: "a fixpoint over several rounds", world: "a",
			arches: []archTable{
				{"x86_64", "a 3 D:b=3\na 2 D:b=2\na 1 D:b=1\nb 3\nb 2\nb 1"},
				{"aarch64", "a 3 D:b\na 2 D:b\na 1 D:b\nb 2\nb 1"},
				{"riscv64", "a 3 D:b\na 2 D:b\na 1 D:b\nb 3\nb 1"},
			},
			want: []string{"b-1 a-1", "b-1 a-1", "b-1 a-1"},
		}, {
			guards: "a package that only one architecture needs may differ from the other's index", world: "app",
			arches: []archTable{{"x86_64", "app 1 D:cpu\ncpu 2"}, {"aarch64", "app 1\ncpu 1"}},
			want:   []string{"cpu-2 app-1", "app-1"},
		}, {
			guards: "the newest is asked of an architecture that prefers another but has it", world: "app",
			arches: []archTable{{"x86_64", "app 1 D:v\nx 1 p:v=5\ny 2 p:v=1"}, {"aarch64", "app 1 D:v,x\nx 1 p:v=5\nx 2 D:nowhere"}},
			want:   []string{"x-1 app-1", "x-1 app-1"},
		}, {
			guards: "an architecture that cannot have the newest beside the rest", world: "app lib",
			arches: []archTable{{"x86_64", "app 1 D:lib\nlib 1\nlib 2"}, {"aarch64", "app 1 D:lib<2\nlib 1\nlib 2"}},
			want:   []string{"lib-1 app-1", "lib-1 app-1"},
		}, {
			guards: "no version that all have", world: "app",
			arches: []archTable{{"x86_64", "app 2"}, {"aarch64", "app 1"}},
			err: `
request for x86_64: "app" cannot be installed:
  the request asks for app; app-2 is the only app (https://repo)
  app-2 is excluded: aarch64 has only 1`,
		}, {
			guards: "a failure names the architecture", world: "app",
			arches: []archTable{{"x86_64", "app 1"}, {"aarch64", "app 1 D:lib>1\nlib 1"}},
			err: `
request for aarch64: "app" cannot be installed:
  the request asks for app; app-1 is the only app (https://repo)
  app-1 depends on lib>1; lib-1 is the only lib (https://repo)`,
		}, {
			guards: "a name that one architecture lacks", world: "app",
			arches: []archTable{{"x86_64", "app 1"}, {"aarch64", "other 1"}},
			err:    `package "app" for aarch64: in no repository: the request asks for app`,
		},
	} {
		t.Run(c.guards, func(t *testing.T) {
			sols, err := SolveAll(context.Background(), archRequests(t, c.world, c.arches...))
			if c.err != "" {
				if err == nil {
					t.Fatal("no error")
				}
				if diff := cmp.Diff(lines(c.err), err.Error()); diff != "" {
					t.Fatal(diff)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, s := range sols {
				got = append(got, s.order())
				if s.Arch != c.arches[i].arch {
					t.Errorf("solution %d is for %q", i, s.Arch)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestArchesLeaveRequestsAlone guards that SolveAll does not write to the maps
// of its caller.
func TestArchesLeaveRequestsAlone(t *testing.T) {
	reqs := archRequests(t, "app", archTable{"x86_64", "app 1\napp 2"}, archTable{"aarch64", "app 1"})
	reqs[0].Prefer = map[string]string{"app": "2"}
	reqs[0].Forbid = map[string]map[string]string{"app": {"3": "no"}}
	if _, err := SolveAll(context.Background(), reqs); err != nil {
		t.Fatal(err)
	}
	if len(reqs[0].Prefer) != 1 || len(reqs[0].Forbid) != 1 || len(reqs[0].Forbid["app"]) != 1 || reqs[1].Forbid != nil {
		t.Errorf("the requests were changed: %v %v %v", reqs[0].Prefer, reqs[0].Forbid, reqs[1].Forbid)
	}
}

// countingIndex counts look-ups.
type countingIndex struct {
	Index
	n *atomic.Int64
}

func (x countingIndex) Package(i int) *apk.Package { x.n.Add(1); return x.Index.Package(i) }

// TestApkoDefect_ArchAgreementCost guards that nothing is looked up for
// agreement where nothing disagrees (apko compares all packages of all pairs of
// architectures), and that packages the request cannot touch are not looked at.
func TestApkoDefect_ArchAgreementCost(t *testing.T) {
	text := "app 1 D:lib\nlib 1\n"
	for i := range 500 {
		text += fmt.Sprintf("unrelated%d 1 D:unrelated%d\n", i, i+1)
	}
	var n atomic.Int64
	var reqs []Request
	for arch := range 9 {
		r := Request{World: world(t, "app"), Arch: fmt.Sprint("arch", arch), Repositories: tables(t, text)}
		r.Repositories[0].Index = countingIndex{r.Repositories[0].Index, &n}
		reqs = append(reqs, r)
	}
	if _, err := SolveAll(context.Background(), reqs); err != nil {
		t.Fatal(err)
	}
	if n.Load() > 9*2 {
		t.Errorf("%d packages looked at, expected 2 for each of 9 architectures", n.Load())
	}
}
