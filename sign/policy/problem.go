package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a policy.
type Problem struct {
	File         string
	Line, Column int // from 1
	// Key is the key's path, such as "images[0].signers".
	Key     string
	Problem string
	Detail  string
	Hint    string // may be empty
}

// String renders "file:line:column: key: problem: detail", and the hint on a
// line of its own.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, cmp.Or(p.Key, "policy"), p.Problem)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.Hint != "" {
		s += "\n  hint: " + p.Hint
	}
	return s
}

// Errors is every problem of a policy, in the order of their positions.
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

// report collects problems and remembers where keys stand.
type report struct {
	file     string
	problems []Problem
	places   map[string]at
}

func (r *report) add(key string, pos at, problem, detail, hint string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: pos.line, Column: pos.col, Key: key,
		Problem: problem, Detail: detail, Hint: hint})
}

// bad reports a problem with the value of a key; a key that is not there is
// reported where the nearest one around it stands.
func (r *report) bad(key, problem, detail, hint string) {
	place := key
	for {
		if pos, ok := r.places[place]; ok {
			r.add(key, pos, problem, detail, hint)
			return
		}
		cut := strings.LastIndexAny(place, ".[")
		if cut < 0 {
			r.add(key, at{1, 1}, problem, detail, hint)
			return
		}
		place = place[:cut]
	}
}

func (r *report) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return &Errors{Problems: slices.Compact(r.problems)}
}

// nearest returns the candidate that s is probably a misspelling of, or "".
func nearest(s string, candidates []string) string {
	best, least := "", 1+max(1, len(s)/3)
	for _, c := range candidates {
		if d := distance(strings.ToLower(s), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is Levenshtein's, for short words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
