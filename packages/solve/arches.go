package solve

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"golang.org/x/sync/errgroup"
)

// SolveAll answers the requests of several architectures so that a package that
// is in several of the solutions has the same version in each. The solutions
// are in the order of the requests; the error is that of the first request that
// has one.
//
// Every request is solved for itself first. Where the versions of a name differ,
// the newest is asked of all that have the name, if they all offer it and it
// fits; otherwise it is forbidden to all, and what chose it is solved again,
// until nothing differs. A name that only one solution contains is left alone:
// an architecture may lack what it does not need.
func SolveAll(ctx context.Context, requests []Request) ([]*Solution, error) {
	a := &agreement{
		requests:  slices.Clone(requests),
		solutions: make([]*Solution, len(requests)),
		asked:     map[string]bool{},
	}
	for i := range a.requests {
		a.requests[i].Prefer = maps.Clone(a.requests[i].Prefer)
		a.requests[i].Forbid = cloneForbid(a.requests[i].Forbid)
	}
	for {
		if err := a.solve(ctx); err != nil {
			return nil, err
		}
		different := a.differences()
		if len(different) == 0 {
			return a.solutions, nil
		}
		again := make([]bool, len(requests))
		for _, name := range different {
			a.settle(name, again)
		}
		for i := range again {
			if again[i] {
				a.solutions[i] = nil
			}
		}
	}
}

// agreement is the state of SolveAll. A nil solution is to be found (again).
type agreement struct {
	requests  []Request
	solutions []*Solution
	asked     map[string]bool // "name=version" that all were asked for
}

func cloneForbid(m map[string]map[string]string) map[string]map[string]string {
	out := make(map[string]map[string]string, len(m))
	for name, versions := range m {
		out[name] = maps.Clone(versions)
	}
	return out
}

// solve finds the solutions that are nil.
func (a *agreement) solve(ctx context.Context) error {
	errs := make([]error, len(a.requests))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i := range a.requests {
		if a.solutions[i] == nil {
			group.Go(func() error {
				a.solutions[i], errs[i] = Solve(ctx, a.requests[i])
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// differences returns the names that solutions have in different versions,
// sorted. What a base image holds is as it is.
func (a *agreement) differences() []string {
	version := map[string]string{}
	different := map[string]bool{}
	held := a.held()
	for _, s := range a.solutions {
		for _, c := range s.Choices {
			p := c.Package
			if held[p.Name] {
				continue
			}
			if v, ok := version[p.Name]; !ok {
				version[p.Name] = p.Version
			} else if v != p.Version {
				different[p.Name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(different))
}

// held are the names of the packages of all base images.
func (a *agreement) held() map[string]bool {
	held := map[string]bool{}
	for i := range a.requests {
		if ix := a.requests[i].Base; ix != nil {
			for at := range ix.Len() {
				held[ix.Package(at).Name] = true
			}
		}
	}
	return held
}

// settle asks the newest chosen version of name of all that have the name, or
// forbids it. It marks the requests to be solved again.
func (a *agreement) settle(name string, again []bool) {
	chosen := make([]string, len(a.solutions)) // by request
	newest := ""
	for i, s := range a.solutions {
		chosen[i] = s.version(name)
		if chosen[i] != "" && (newest == "" || newer(chosen[i], newest)) {
			newest = chosen[i]
		}
	}
	why := a.objection(name, newest, chosen)
	for i := range a.requests {
		switch {
		case why != "":
			a.forbid(i, name, newest, why)
			again[i] = again[i] || chosen[i] == newest
		case chosen[i] != "" && chosen[i] != newest:
			a.prefer(i, name, newest)
			again[i] = true
		}
	}
	a.asked[name+"="+newest] = true
}

// objection says why not all that chose another version of name can have the
// newest; "" as long as they have not been asked.
func (a *agreement) objection(name, newest string, chosen []string) (why string) {
	for i := range a.requests {
		if chosen[i] == "" || chosen[i] == newest {
			continue
		}
		offered := versions(&a.requests[i], name)
		if !slices.Contains(offered, newest) {
			return fmt.Sprintf("%s has only %s", a.arch(i), strings.Join(offered, ", "))
		}
		if a.asked[name+"="+newest] {
			why = fmt.Sprintf("%s needs %s", a.arch(i), chosen[i])
		}
	}
	return why
}

// newer is a total order: versions that compare equal are ordered by spelling.
func newer(a, b string) bool {
	if c := apk.Compare(a, b); c != 0 {
		return c > 0
	}
	return a > b
}

func (a *agreement) arch(i int) string {
	if arch := a.requests[i].Arch; arch != "" {
		return arch
	}
	return fmt.Sprintf("request %d", i+1)
}

func (a *agreement) prefer(i int, name, version string) {
	if a.requests[i].Prefer == nil {
		a.requests[i].Prefer = map[string]string{}
	}
	a.requests[i].Prefer[name] = version
}

func (a *agreement) forbid(i int, name, version, why string) {
	of := a.requests[i].Forbid[name]
	if of == nil {
		of = map[string]string{}
		a.requests[i].Forbid[name] = of
	}
	if _, ok := of[version]; !ok {
		of[version] = why
	}
}

// version returns the version of a package in the solution, or "".
func (s *Solution) version(name string) string {
	for _, c := range s.Choices {
		if c.Package.Name == name {
			return c.Package.Version
		}
	}
	return ""
}

// versions lists the versions of a package that the repositories have, newest
// first.
func versions(r *Request, name string) []string {
	var out []string
	for _, repo := range r.Repositories {
		for _, i := range repo.Index.Providers(name) {
			if p := repo.Index.Package(i); p.Name == name && !slices.Contains(out, p.Version) {
				out = append(out, p.Version)
			}
		}
	}
	slices.SortFunc(out, func(a, b string) int {
		if newer(a, b) {
			return -1
		}
		return 1
	})
	return out
}
