// Package strictyaml reads YAML into structs for people who make mistakes: every
// problem is found at once, with its line and column, what was found and what was
// expected, and a hint where one is near. Nothing is guessed and nothing is
// passed over: unknown and repeated keys, wrong types and second documents are
// problems.
//
// It knows no language: the structs are one. Their yaml tags are the keys (every
// field that has one), required:"1" marks keys that must be there, enum:"a,b"
// lists what a text may be, min:"1" is the least a number may be. Fields are
// structs, pointers to them, maps by text, lists, text, whole numbers and truth values.
//
//	r := strictyaml.New("policy.yaml", "policy")
//	if root := r.Document(text, "version and images"); root != nil {
//		r.Decode(root, &file, strictyaml.Options{})
//	}
//	if file.Version != 1 {
//		r.Bad("version", "unknown version", "expected 1", "")
//	}
//	return r.Err()
//
// Image configurations and package definitions have readers of their own, which
// know more (templates, includes, apko's and melange's oddities).
package strictyaml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file.
type Problem struct {
	File         string
	Line, Column int // from 1
	// Key is the key's path, such as "images[0].signers", or what the file is.
	Key     string
	Problem string
	Detail  string
	Hint    string // may be empty
}

// String renders "file:line:column: key: problem: detail", and the hint on a
// line of its own.
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Column, p.Key, p.Problem)
	if p.Detail != "" {
		s += ": " + p.Detail
	}
	if p.Hint != "" {
		s += "\n  hint: " + p.Hint
	}
	return s
}

// Errors is every problem of a file, in the order of their positions.
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

// TooLarge is the error for a file of more than limit bytes.
func TooLarge(file, what string, limit int64) error {
	return &Errors{Problems: []Problem{{File: file, Line: 1, Column: 1, Key: what, Problem: "too large",
		Detail: fmt.Sprintf("expected at most %d bytes", limit)}}}
}

// position is a place in the file; both count from 1.
type position struct{ line, col int }

// Report collects the problems of a file and remembers where its values stand.
type Report struct {
	file, what string
	problems   []Problem
	places     map[string]position
	count      int // of values that were decoded
}

// New returns a report without problems; what the file is stands in messages
// about all of it.
func New(file, what string) *Report {
	return &Report{file: file, what: what, places: map[string]position{}}
}

func (r *Report) add(key string, pos position, problem, detail, hint string) {
	r.problems = append(r.problems, Problem{File: r.file, Line: pos.line, Column: pos.col, Key: cmp.Or(key, r.what),
		Problem: problem, Detail: detail, Hint: hint})
}

// Bad adds a problem with the value of a key; a key that is not there is reported
// where the nearest one around it stands.
func (r *Report) Bad(key, problem, detail, hint string) {
	pos := position{1, 1}
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

// Has tells whether a key was written.
func (r *Report) Has(key string) bool {
	_, ok := r.places[key]
	return ok
}

// Reported tells whether there is a problem with a key already.
func (r *Report) Reported(key string) bool {
	return slices.ContainsFunc(r.problems, func(p Problem) bool { return p.Key == key })
}

// Failed tells whether there is any problem.
func (r *Report) Failed() bool { return len(r.problems) > 0 }

// Line returns the line that the value of a key stands in, from 1; 0 for a key
// that was not written.
func (r *Report) Line(key string) int { return r.places[key].line }

// Err returns *[Errors], or nil when nothing is wrong.
func (r *Report) Err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
	return &Errors{Problems: slices.Compact(r.problems)}
}
