// Package solve turns a request into the set of packages that satisfies it, in
// installation order, with a reason for each.
//
// It is a pure function of (request, indexes, architectures): it reads no file,
// opens no connection, looks at no clock. It does not know where an index came
// from or whether it may be trusted.
//
//	sol, err := solve.Solve(ctx, solve.Request{
//		World:        world,
//		Repositories: []solve.Repository{{Index: ix, URL: "https://…/main"}},
//	})
//
// The truth is apk-tools' choice: where several solutions exist, Solve takes the
// one that apk-tools 2.14 takes. Where apk-tools' greedy choice runs into a
// conflict that another choice avoids, Solve goes back and finds it.
package solve

import (
	"context"
	"errors"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Index is what the solver needs of a repository index. All methods must be
// safe for concurrent use and give the same answer each time.
type Index interface {
	// Len returns the number of packages.
	Len() int
	// Package returns the package at 0 ≤ i < Len(). Callers must not modify it.
	Package(i int) *apk.Package
	// Providers returns, in ascending order, the positions of the packages
	// that are named name or provide it.
	Providers(name string) []int
	// InstallIf returns, in ascending order, the positions of the packages
	// whose install_if mentions name.
	InstallIf(name string) []int
}

// Repository is an index with what the configuration says of it.
type Repository struct {
	Index Index
	URL   string // for messages and for Choice; never opened
	Tag   string // pin: only requests ending in @Tag (and what they pull in) use it
}

// Request is one architecture's question.
type Request struct {
	World        []apk.Dependency // what the configuration asks for; Conflict entries forbid
	Arch         string           // apk's spelling; for messages only
	Repositories []Repository     // order matters as in /etc/apk/repositories
	// Prefer names versions to keep when they are allowed (from a lock that is
	// updated only in part).
	Prefer map[string]string
	// Forbid excludes single packages ("name" → versions) from consideration,
	// with the reason to print when that makes the request impossible.
	Forbid map[string]map[string]string
	// Base holds the packages that are there already, those of a base image; nil
	// for none. Each stays as it is, and no other package of its name is
	// possible.
	Base Index
	// Steps bounds the search that begins where apk-tools would give up; 0 means
	// a default that is some seconds' work. See LimitError.
	Steps int
}

// Solution is the answer for one architecture.
type Solution struct {
	Arch string
	// Choices are in installation order: a package comes after those it
	// depends on (cycles broken as apk-tools does).
	Choices []Choice
}

// Choice is one package of a solution.
type Choice struct {
	Package *apk.Package
	// Repository is the position in Request.Repositories, len(Repositories) for
	// a package of Request.Base.
	Repository int
	Reason     Reason
}

// ReasonKind says what brought a package in.
type ReasonKind string

// The kinds of reasons.
const (
	Requested  ReasonKind = "requested"  // an entry of the request names it
	Depended   ReasonKind = "depends"    // a chosen package depends on it
	InstallIf  ReasonKind = "install_if" // all its install_if conditions hold
	InBase     ReasonKind = "base"       // it is in the base image
	Conflicted ReasonKind = "conflicts"  // only in explanations
)

// Reason is the first link of the chain from a package back to the request.
type Reason struct {
	Kind ReasonKind
	// By names the chosen package that depends on this one (Depended) or the
	// packages that completed its conditions (InstallIf). Empty for Requested
	// and InBase.
	By []string
	// Dependency is the atom that asked, as written: "so:libssl.so.3".
	Dependency string
}

// Solve answers one request. The errors are [*MissingError] (several are
// joined), [*UnknownTagError], [*UnsatisfiableError], [*LimitError], or that of
// the context.
func Solve(ctx context.Context, req Request) (*Solution, error) {
	u, err := discover(&req)
	if err != nil {
		return nil, err
	}
	if err := u.missingFromWorld(); err != nil {
		return nil, err
	}
	g := newGreedy(u)
	if err := g.run(ctx); err != nil {
		return nil, err
	}
	if a := u.arrange(g.choices()); g.faults == 0 && a.broken == nil && u.pinsHold(a) {
		return u.solution(a), nil
	}
	chosen, against, err := u.newSearch().run(ctx)
	if err != nil {
		return nil, err
	}
	if against != nil {
		return nil, u.explain(against)
	}
	return u.solution(u.arrange(newProvision(chosen))), nil
}

// missingFromWorld reports the entries of the request that nothing provides.
func (u *universe) missingFromWorld() error {
	var errs []error
	for _, d := range u.world {
		if !d.atom.Conflict && len(d.name.providers)+len(d.name.barred) == 0 {
			errs = append(errs, &MissingError{
				Name: d.name.text, Dependency: *d.atom, By: []string{"the request"}, Arch: u.request.Arch,
			})
		}
	}
	return errors.Join(errs...)
}
