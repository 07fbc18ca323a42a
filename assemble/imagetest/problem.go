package imagetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a test file.
type Problem struct {
	File         string
	Line, Column int    // from 1
	Key          string // path of the key, such as "commandTests[0].args"
	Problem      string
	Detail       string
	Hint         string // may be empty
}

// String renders "file:line:column: key: problem: detail", and the hint on a
// line of its own.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, cmp.Or(p.Key, "test file"), p.Problem)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.Hint != "" {
		s += "\n  hint: " + p.Hint
	}
	return s
}

// Errors is every problem of a test file, in the order of their positions.
type Errors struct{ Problems []Problem }

// maxShown bounds the text of an error; all problems stay in Problems.
const maxShown = 100

func (e *Errors) Error() string {
	var lines []string
	for i, p := range e.Problems {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("… and %d more problems", len(e.Problems)-i))
			break
		}
		lines = append(lines, p.String())
	}
	return strings.Join(lines, "\n")
}

// at is a position in the file.
type at struct{ line, col int }

// problems collects what is wrong and remembers where keys stand.
type problems struct {
	file   string
	list   []Problem
	places map[string]at
}

func (r *problems) add(key string, pos at, problem, detail, hint string) {
	r.list = append(r.list, Problem{File: r.file, Line: pos.line, Column: pos.col, Key: key, Problem: problem, Detail: detail, Hint: hint})
}

// bad reports a problem with the value of a key, or where the nearest one around
// it stands.
func (r *problems) bad(key, problem, detail, hint string) {
	pos := at{1, 1}
	for place := key; ; {
		if p, ok := r.places[place]; ok {
			pos = p
			break
		}
		cut := strings.LastIndexAny(place, ".[")
		if cut < 0 {
			break
		}
		place = place[:cut]
	}
	r.add(key, pos, problem, detail, hint)
}

func (r *problems) err() error {
	if len(r.list) == 0 {
		return nil
	}
	slices.SortStableFunc(r.list, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return &Errors{Problems: slices.Compact(r.list)}
}
