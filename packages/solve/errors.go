package solve

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// MissingError says that a name is in no repository: neither a package nor
// something that a package provides.
type MissingError struct {
	Name       string
	Dependency apk.Dependency // the atom that asked for it first
	// By lists who asked: "the request", or packages as name-version, sorted.
	By   []string
	Arch string // may be empty
	// Nearest may be filled by the caller with names that look alike; Error
	// prints them.
	Nearest []string
}

// Error returns `package "foo": in no repository: asked for by …`.
func (e *MissingError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %q%s: in no repository: %s asks for %s", e.Name, onArch(e.Arch), strings.Join(e.By, ", "), e.Dependency)
	if len(e.Nearest) > 0 {
		b.WriteString("\n  hint: similar names: " + strings.Join(e.Nearest, ", "))
	}
	return b.String()
}

func onArch(arch string) string {
	if arch == "" {
		return ""
	}
	return " for " + arch
}

// Missing returns every MissingError in err, also where several are joined.
func Missing(err error) []*MissingError {
	var out []*MissingError
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case *MissingError:
			out = append(out, e)
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		default:
			if inner := errors.Unwrap(err); inner != nil {
				walk(inner)
			}
		}
	}
	walk(err)
	return out
}

// UnknownTagError says that the request pins a package to a tag that no
// repository has.
type UnknownTagError struct {
	Dependency apk.Dependency
	Known      []string // the tags there are
}

// Error names the tag and those that exist.
func (e *UnknownTagError) Error() string {
	known := "no repository is tagged"
	if len(e.Known) > 0 {
		known = "known tags: @" + strings.Join(e.Known, ", @")
	}
	return fmt.Sprintf("request %q: no repository is tagged @%s\n  %s", e.Dependency.String(), e.Dependency.Pin, known)
}

// UnsatisfiableError says that no set of packages satisfies the request.
type UnsatisfiableError struct {
	Arch string // may be empty
	// Request holds the entries of the request that cannot be had together; none
	// when the packages of the base image exclude each other.
	Request []apk.Dependency
	// Facts is a smallest set of facts that exclude each other (leave one out
	// and there is a solution), in the order in which the request leads to them.
	Facts []string
	// Hints says what could be changed; may be empty.
	Hints []string
	// Missing holds the names among the facts that are in no repository. They
	// can be reached with errors.As and Missing; Error prints their Nearest.
	Missing []*MissingError
}

// Unwrap returns the missing names.
func (e *UnsatisfiableError) Unwrap() []error {
	out := make([]error, len(e.Missing))
	for i, m := range e.Missing {
		out[i] = m
	}
	return out
}

// Error returns one line that names the entries, and a line for each fact.
func (e *UnsatisfiableError) Error() string {
	var b strings.Builder
	names := make([]string, len(e.Request))
	for i, d := range e.Request {
		names[i] = fmt.Sprintf("%q", d.String())
	}
	verb := "cannot be installed"
	if len(names) > 1 {
		verb = "cannot be installed together"
	}
	if len(names) == 0 {
		names, verb = []string{"the packages of the base image"}, "do not fit together"
	}
	fmt.Fprintf(&b, "request%s: %s %s:", onArch(e.Arch), strings.Join(names, " and "), verb)
	for _, fact := range e.Facts {
		b.WriteString("\n  " + fact)
	}
	for _, m := range e.Missing {
		if len(m.Nearest) > 0 {
			fmt.Fprintf(&b, "\n  hint: similar to %s: %s", m.Name, strings.Join(m.Nearest, ", "))
		}
	}
	for _, hint := range e.Hints {
		b.WriteString("\n  hint: " + hint)
	}
	return b.String()
}

// LimitError says that the search was given up before it knew the answer.
type LimitError struct {
	Arch  string
	Steps int // how many steps were allowed
}

// Error names the limit.
func (e *LimitError) Error() string {
	return fmt.Sprintf("request%s: no answer after %d steps of search\n  hint: give versions to some of the requested packages", onArch(e.Arch), e.Steps)
}
