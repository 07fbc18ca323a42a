package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	// File, Line and Column say where; lines and columns count from 1, columns
	// in characters. File is empty for a value that came from a flag.
	File         string
	Line, Column int
	// Key is the key's path, such as "contents.packages[2]", or the flag.
	Key string
	// Problem says in a few words what is wrong, Detail what was found and
	// what was expected.
	Problem string
	Detail  string
	// Hint is advice; may be empty.
	Hint string
	// Err is the cause when something else reported it; may be nil. It is not
	// part of the text.
	Err error
}

// String renders "file:line:column: key: problem: detail", and the hint on a
// line of its own.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		fmt.Fprintf(&b, "%s:%d:%d: ", p.File, p.Line, p.Column)
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Problem)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	if p.Hint != "" {
		b.WriteString("\n  hint: " + p.Hint)
	}
	return b.String()
}

// Errors is every problem of a configuration, in the order of the files and of
// the positions in them.
type Errors struct {
	Problems []Problem
}

// maxShown bounds the text of an error; all problems stay in Problems.
const maxShown = 100

// Error renders the problems, one per line (or two, with a hint).
func (e *Errors) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i == maxShown {
			fmt.Fprintf(&b, "\n… and %d more problems", len(e.Problems)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(p.String())
	}
	return b.String()
}

// Unwrap returns the causes, for [errors.Is].
func (e *Errors) Unwrap() []error {
	var errs []error
	for _, p := range e.Problems {
		if p.Err != nil {
			errs = append(errs, p.Err)
		}
	}
	return errs
}

// report collects what a load finds.
type report struct {
	problems []Problem
	warnings []Problem
	order    map[string]int // of files, as they were opened
}

// opened fixes the rank of a file among the problems.
func (r *report) opened(file string) {
	if r.order == nil {
		r.order = map[string]int{}
	}
	if _, ok := r.order[file]; !ok {
		r.order[file] = len(r.order)
	}
}

func (r *report) add(p Problem)  { r.problems = append(r.problems, p) }
func (r *report) warn(p Problem) { r.warnings = append(r.warnings, p) }

// err returns the problems as an error, or nil.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &Errors{Problems: r.sorted(r.problems)}
}

func (r *report) sorted(list []Problem) []Problem {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(
			cmp.Compare(r.order[a.File], r.order[b.File]),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Key, b.Key),
		)
	})
	return slices.CompactFunc(list, func(a, b Problem) bool {
		a.Err, b.Err = nil, nil
		return a == b
	})
}
