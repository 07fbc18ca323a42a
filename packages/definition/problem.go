package definition

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// ErrDefinition is in the chain of every error about a definition or a reusable
// pipeline that was read and is wrong.
var ErrDefinition = errors.New("bad definition")

// Problem is one thing that is wrong with a definition.
type Problem struct {
	// File, Line and Column say where; lines and columns count from 1.
	File         string
	Line, Column int
	// Key is the key's path, such as "pipeline[2].with.depth".
	Key string
	// Problem says in a few words what is wrong, Detail what was found and what
	// was expected.
	Problem string
	Detail  string
	// Hint is advice; may be empty.
	Hint string
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

// Errors is every problem of a definition, in the order of the positions.
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

// Unwrap makes every Errors an [ErrDefinition].
func (e *Errors) Unwrap() error { return ErrDefinition }

// report collects what is found.
type report struct {
	problems []Problem
	warnings []Problem
}

func (r *report) add(p Problem)  { r.problems = append(r.problems, p) }
func (r *report) warn(p Problem) { r.warnings = append(r.warnings, p) }

// err returns the problems as an error, or nil.
func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	return &Errors{Problems: sorted(r.problems)}
}

// sorted orders problems by file and position and drops repetitions.
func sorted(list []Problem) []Problem {
	slices.SortStableFunc(list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return slices.Compact(list)
}

// didYouMean is the hint for a misspelled word, or "".
func didYouMean(s string, candidates []string) string {
	if near := spelling.Nearest(s, candidates); near != "" {
		return "did you mean " + near + "?"
	}
	return ""
}

// shorten cuts what is shown of a value.
func shorten(s string) string {
	const limit = 80
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}
