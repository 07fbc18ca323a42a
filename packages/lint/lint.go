// Package lint looks for what is probably wrong with the content of a package:
// files where none belong, permissions that are too wide, debugging information
// that was forgotten. The checks and their names are melange's, so that
// definitions can switch them off as they are; where melange's code does not do
// what it says, the intention is followed (tests named TestMelangeDefect_… say
// where).
//
// It changes nothing and builds nothing, and looks only at the files of one
// package: what a definition says is for the caller to pass on.
//
//	findings, err := lint.Run(ctx, lint.Input{Name: "hello", Arch: "x86_64", Tree: t})
//	if err != nil {
//		return err
//	}
//	for _, f := range findings {
//		fmt.Println(f.Severity, f)
//	}
//
// # Silencing
//
// checks.disabled of the package, or of the one subpackage, names checks: one that
// is required becomes a warning there, one that warns becomes silent. Checks of
// other packages are not touched. [Options] can require or switch off checks for
// a whole run.
package lint

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

// Severity is what a finding means.
type Severity string

// The severities.
const (
	Required Severity = "required" // the package must not be published
	Warn     Severity = "warn"     // a human should look
	Off      Severity = "off"      // not looked for unless asked
)

// Linter is one check.
type Linter struct {
	Name     string   `json:"name"`
	Severity Severity `json:"severity"` // where nothing else is said
	Finds    string   `json:"finds"`    // what it finds, as in "writes to /dev"
	Reason   string   `json:"reason"`   // why that is wrong
	Fix      string   `json:"fix"`      // what to do about it
	check    func(*run) ([]string, error)
}

// Input is one package or subpackage.
type Input struct {
	Name string
	Arch string // of the package; "" when it is not known
	Tree *tree.Tree
	// Disabled are the names in checks.disabled.
	Disabled []string
	// Tests are the pipelines that the package's test uses. Nil means that they
	// are not known, and checks about tests find nothing.
	Tests []string
	// NoProvides says that the package is meant to be empty or private.
	NoProvides bool
}

// Options change severities for a whole run. Every name must be a linter's.
type Options struct {
	Require []string
	Warn    []string
	Off     []string
	// Only runs these checks and no others, whatever their severity.
	Only []string
}

// Finding is what one check found in one package.
type Finding struct {
	Package  string   `json:"package"`
	Linter   string   `json:"linter"`
	Severity Severity `json:"severity"`
	Message  string   `json:"message"`
	Reason   string   `json:"reason"`
	Fix      string   `json:"fix"`
	Paths    []string `json:"paths,omitempty"` // in canonical order, some with what is wrong in parentheses
}

// maxShown is how many paths the text of a finding has.
const maxShown = 5

func (f Finding) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s: %s", f.Package, f.Linter, f.Message)
	for i, p := range f.Paths {
		if i == maxShown {
			fmt.Fprintf(&b, " and %d more", len(f.Paths)-i)
			break
		}
		if i == 0 {
			b.WriteString(": ")
		} else {
			b.WriteString(", ")
		}
		b.WriteString(p)
	}
	return b.String()
}

// Linters returns all checks, sorted by name.
func Linters() []Linter {
	out := slices.Clone(linters)
	slices.SortFunc(out, func(a, b Linter) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Lookup returns the check of that name.
func Lookup(name string) (Linter, bool) {
	i := slices.IndexFunc(linters, func(l Linter) bool { return l.Name == name })
	if i < 0 {
		return Linter{}, false
	}
	return linters[i], true
}

// CheckNames returns an error that names the unknown ones among names.
func CheckNames(names []string) error {
	for _, n := range names {
		if _, ok := Lookup(n); !ok {
			return fmt.Errorf("check %.60q: unknown%s", n, nearest(n))
		}
	}
	return nil
}

// nearest proposes a check that has the name in it or the other way round.
func nearest(name string) string {
	for _, l := range Linters() {
		if strings.Contains(l.Name, name) && name != "" || strings.Contains(name, l.Name) {
			return "\nhint: did you mean " + l.Name + "?"
		}
	}
	return "\nhint: cairn package lint --list lists the checks"
}

// run is one package while it is looked at.
type run struct {
	ctx context.Context
	Input
}

// Run checks one package. The findings are sorted by severity, required ones
// first, then by name. The tree must have been hashed ([tree.Tree.Hash]). An
// error is about a file that cannot be read or a name that is no check's.
func Run(ctx context.Context, in Input, o Options) ([]Finding, error) {
	for _, list := range [][]string{in.Disabled, o.Require, o.Warn, o.Off, o.Only} {
		if err := CheckNames(list); err != nil {
			return nil, err
		}
	}
	r := &run{ctx, in}
	var out []Finding
	for _, l := range Linters() {
		severity := o.severity(l, in.Disabled)
		if severity == Off {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		paths, err := l.check(r)
		if err != nil {
			return nil, fmt.Errorf("package %s: check %s: %w", in.Name, l.Name, err)
		}
		if paths != nil {
			out = append(out, Finding{in.Name, l.Name, severity, l.Finds, l.Reason, l.Fix, slices.DeleteFunc(paths, func(p string) bool { return p == "" })})
		}
	}
	slices.SortStableFunc(out, func(a, b Finding) int { return strings.Compare(string(a.Severity), string(b.Severity)) })
	return out, nil
}

// severity is computed from nothing but the arguments, so that one package's
// disabled checks cannot leak into another's.
func (o Options) severity(l Linter, disabled []string) Severity {
	s := l.Severity
	switch {
	case len(o.Only) > 0 && !slices.Contains(o.Only, l.Name):
		return Off
	case slices.Contains(o.Off, l.Name):
		return Off
	case slices.Contains(o.Require, l.Name):
		s = Required
	case slices.Contains(o.Warn, l.Name):
		s = Warn
	case len(o.Only) > 0 && s == Off:
		s = Warn
	}
	if slices.Contains(disabled, l.Name) {
		s = map[Severity]Severity{Required: Warn, Warn: Off, Off: Off}[s]
	}
	return s
}

// Failed reports whether one of the findings is required to be mended.
func Failed(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity == Required })
}

// files returns the paths that are not directories and fit.
func (r *run) files(fits func(p string) bool) (out []string, _ error) {
	for _, e := range r.Tree.Entries() {
		if e.Type != apk.TypeDir && fits(e.Path) {
			out = append(out, e.Path)
		}
	}
	return out, nil
}

// below makes a check for files below a directory, except in packages whose name
// ends in one of the suffixes.
func below(dir string, except ...string) func(*run) ([]string, error) {
	return unlessNamed(func(r *run) ([]string, error) {
		return r.files(func(p string) bool { return strings.HasPrefix(p, dir+"/") })
	}, except...)
}

// ending makes a check for files with a suffix.
func ending(suffix string, except ...string) func(*run) ([]string, error) {
	return unlessNamed(func(r *run) ([]string, error) {
		return r.files(func(p string) bool { return strings.HasSuffix(p, suffix) })
	}, except...)
}

func unlessNamed(check func(*run) ([]string, error), suffixes ...string) func(*run) ([]string, error) {
	return func(r *run) ([]string, error) {
		if slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(r.Name, s) }) {
			return nil, nil
		}
		return check(r)
	}
}
