// Package lint looks for what is probably wrong with an image, or with the plan
// of one: libraries that are not there, Python packages that the interpreter does
// not see, rights that are too wide, secrets. Every rule has a reason, which
// docs/lint.md tells, and can be silenced.
//
// It changes nothing, runs nothing and knows no vulnerabilities. What could not be
// looked at is said, never taken to be good.
//
//	result, err := lint.Run(ctx, lint.Input{Name: "app:1", Tree: tree, Arch: "amd64", User: "65532"}, lint.Options{})
//	if err != nil {
//		return err
//	}
//	for _, f := range result.Findings {
//		fmt.Println(f)
//	}
//
// Single packages have a room of their own, packages/lint.
package lint

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/packages/spelling"
)

// Severity is how much a finding weighs.
type Severity string

// The severities.
const (
	Error   Severity = "error"   // the image does not work, or must not be published
	Warning Severity = "warning" // a human should decide
	Note    Severity = "note"    // good to know
)

// Severities are all severities, the gravest first.
var Severities = []Severity{Error, Warning, Note}

// Rule is one thing that is looked for.
type Rule struct {
	Name     string   `json:"name"`
	Severity Severity `json:"severity"`
	Finds    string   `json:"finds"`  // what, as in "files that run as their owner"
	Reason   string   `json:"reason"` // why that is wrong
	check    func(context.Context, *run) error
}

// Input is one image or the plan of one.
type Input struct {
	// Name is the image or the configuration, as given.
	Name string
	Tree *files.Tree
	Arch string // OCI's spelling
	// User, Env and Annotations are those of the image's configuration; Env has
	// KEY=VALUE.
	User        string
	Env         []string
	Annotations map[string]string
	// NoShell says that the image is meant to have no shell.
	NoShell bool
	// References name what the image is made from, or the image itself.
	References []Reference
	// Position says where a key of the configuration stands; nil for an image.
	Position func(key string) (file string, line, column int)
}

// Reference is a name for something that may change.
type Reference struct {
	Name string // as written
	Key  string // of the configuration; may be empty
	// What is wrong with it; empty: nothing.
	Mutable string
	// Minor marks those that are good to know only.
	Minor bool
}

// Finding is what a rule found.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	// Path is in the image; empty for what is no file. Paths are all that it is
	// about, where there are several.
	Path  string   `json:"path,omitempty"`
	Paths []string `json:"paths,omitempty"`
	// Package has the path.
	Package string `json:"package,omitempty"`
	// Key is the key of the configuration, and File, Line and Column its place.
	Key    string `json:"key,omitempty"`
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String renders "rule: path: message (package)" and the place in front.
func (f Finding) String() string {
	var b strings.Builder
	if f.File != "" {
		fmt.Fprintf(&b, "%s:%d:%d: ", f.File, f.Line, f.Column)
	}
	b.WriteString(f.Rule + ": ")
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Message)
	if f.Package != "" {
		b.WriteString(" (package " + f.Package + ")")
	}
	return b.String()
}

// Result is what was found in one image.
type Result struct {
	Platform string    `json:"platform"`
	Findings []Finding `json:"findings"`
	// Ignored are the findings that were silenced.
	Ignored []Finding `json:"ignored"`
	// NotLookedAt says what could not be looked at, and why.
	NotLookedAt []string `json:"not_looked_at"`
	// Unused are the entries of Options.Ignore that silenced nothing.
	Unused []string `json:"unused_ignores,omitempty"`
}

// Count counts the findings of a severity.
func (r *Result) Count(s Severity) (n int) {
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Options say what does not count.
type Options struct {
	// Ignore are RULE or RULE:PATH; in PATH, * and ? stand for characters but /.
	Ignore []string
}

// ErrRule is for a rule that does not exist.
var ErrRule = errors.New("no such rule")

// CheckIgnore checks the entries of Options.Ignore.
func CheckIgnore(list []string) error {
	for _, text := range list {
		name, pattern, _ := strings.Cut(text, ":")
		if _, ok := Lookup(name); !ok {
			hint := ""
			if near := spelling.Nearest(name, names()); near != "" {
				hint = "\nhint: did you mean " + near + "?"
			}
			return fmt.Errorf("%q: %w: expected one of %s%s", name, ErrRule, strings.Join(names(), ", "), hint)
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("%q: %w: not a pattern", text, ErrRule)
		}
	}
	return nil
}

func names() []string {
	var out []string
	for _, r := range Rules() {
		out = append(out, r.Name)
	}
	return out
}

// Rules returns all rules, sorted by name.
func Rules() []Rule {
	out := slices.Clone(rules())
	slices.SortFunc(out, func(a, b Rule) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Lookup returns the rule of that name.
func Lookup(name string) (Rule, bool) {
	for _, r := range rules() {
		if r.Name == name {
			return r, true
		}
	}
	return Rule{}, false
}

// run is one look at one image.
type run struct {
	in     Input
	rule   Rule
	result *Result
}

// add notes a finding of the current rule.
func (r *run) add(f Finding) {
	f.Rule = r.rule.Name
	f.Severity = cmp.Or(f.Severity, r.rule.Severity)
	if f.Key != "" && r.in.Position != nil {
		f.File, f.Line, f.Column = r.in.Position(f.Key)
	}
	r.result.Findings = append(r.result.Findings, f)
}

// at is a finding about a path.
func at(n *files.Node, format string, args ...any) Finding {
	return Finding{Path: n.Name(), Package: n.Package, Key: n.Key, Message: fmt.Sprintf(format, args...)}
}

// notLookedAt notes what a rule could not see.
func (r *run) notLookedAt(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(r.result.NotLookedAt, text) {
		r.result.NotLookedAt = append(r.result.NotLookedAt, text)
	}
}

// read returns the contents of files; those that cannot be read are nil and
// noted.
func (r *run) read(ctx context.Context, nodes []*files.Node) ([][]byte, error) {
	out, err := r.in.Tree.Read(ctx, nodes...)
	if err == nil || !errors.Is(err, files.ErrUnread) {
		return out, err
	}
	out = make([][]byte, len(nodes))
	for i, n := range nodes {
		got, err := r.in.Tree.Read(ctx, n)
		switch {
		case err == nil:
			out[i] = got[0]
		case errors.Is(err, files.ErrUnread):
			r.notLookedAt("%v", err)
		default:
			return nil, err
		}
	}
	return out, nil
}

// Keep says which contents the rules read of an image, for [files.Options].
func Keep(p string, size int64) bool {
	return size <= maxSecretFile || strings.HasPrefix(p, "etc/ld") || isMetadata(p) && size <= maxMetadata
}

// Run looks at one image with every rule.
func Run(ctx context.Context, in Input, o Options) (*Result, error) {
	if err := CheckIgnore(o.Ignore); err != nil {
		return nil, err
	}
	r := &run{in: in, result: &Result{Platform: in.Tree.Platform, Findings: []Finding{}, Ignored: []Finding{}, NotLookedAt: []string{}}}
	for _, rule := range Rules() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r.rule = rule
		if err := rule.check(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", in.Name, rule.Name, err)
		}
	}
	r.result.silence(o.Ignore)
	slices.SortStableFunc(r.result.Findings, func(a, b Finding) int {
		return slices.Index(Severities, a.Severity) - slices.Index(Severities, b.Severity)
	})
	slices.Sort(r.result.NotLookedAt)
	return r.result, nil
}

// silence moves what is ignored.
func (r *Result) silence(list []string) {
	used := make([]bool, len(list))
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool {
		for i, text := range list {
			name, pattern, withPath := strings.Cut(text, ":")
			if name == f.Rule && (!withPath || f.about(pattern)) {
				used[i] = true
				r.Ignored = append(r.Ignored, f)
				return true
			}
		}
		return false
	})
	for i, text := range list {
		if !used[i] {
			r.Unused = append(r.Unused, text)
		}
	}
}

// about tells whether a finding is about paths that fit a pattern, and no
// others.
func (f *Finding) about(pattern string) bool {
	fits := func(p string) bool {
		ok, _ := path.Match(pattern, p) // was checked
		return ok
	}
	if f.Path != "" && fits(f.Path) {
		return true
	}
	return len(f.Paths) > 0 && !slices.ContainsFunc(f.Paths, func(p string) bool { return !fits(p) })
}
