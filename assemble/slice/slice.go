// Package slice knows parts of packages: it reads the definitions of slices, works
// out which slices are needed together, and picks their files from the list of
// files of a package. The definitions are YAML:
//
//	openssl:
//	  libs:
//	    paths: [usr/lib/*.so.*]
//	    needs: [config]
//	  config:
//	    paths: [etc/ssl/**]
//	    exclude: [etc/ssl/misc/**]
//
// It resolves no dependencies and writes no layer: what a slice leaves out is files
// of its package and nothing else.
//
//	defs, err := slice.Parse("slices.yaml", text)
//	if err != nil {
//		return err
//	}
//	need, err := defs.Closure([]slice.Ref{{Package: "openssl", Name: "libs"}})
//	keep, err := slice.Keep(ctx, receipt.Entries, need["openssl"])
package slice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// Ref names a slice.
type Ref struct{ Package, Name string }

// String returns "package/slice".
func (r Ref) String() string { return r.Package + "/" + r.Name }

// Slice is the definition of a part of a package.
type Slice struct {
	Ref
	// Paths and Exclude are patterns over the package's paths; a file is in the
	// slice when one of Paths has it and none of Exclude.
	Paths, Exclude []Pattern
	// Needs are the slices that come with this one. Of a package that is in the
	// image as a whole, any slice is there.
	Needs []Need
	// Place is where it is defined: "file:line".
	Place string
}

// Need is a slice that another one needs.
type Need struct {
	Ref
	Place string // "file:line"
}

// Definitions are the slices of any number of packages.
type Definitions struct {
	all map[Ref]*Slice
}

// Get returns a slice; nil when it is not defined.
func (d *Definitions) Get(r Ref) *Slice {
	if d == nil {
		return nil
	}
	return d.all[r]
}

// Names returns the slices of a package, sorted; none for one without.
func (d *Definitions) Names(pkg string) []string {
	var out []string
	if d != nil {
		for r := range d.all {
			if r.Package == pkg {
				out = append(out, r.Name)
			}
		}
	}
	slices.Sort(out)
	return out
}

// Packages returns the packages that have slices, sorted.
func (d *Definitions) Packages() []string {
	seen := map[string]bool{}
	if d != nil {
		for r := range d.all {
			seen[r.Package] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// DuplicateError says that two files define one slice.
type DuplicateError struct {
	Ref
	Place, First string // "file:line"
}

// Error gives both places.
func (e *DuplicateError) Error() string {
	return fmt.Sprintf("%s: slice %s: defined twice: first at %s", e.Place, e.Ref, e.First)
}

// Merge returns the slices of several files as one. A slice that two of them have
// is a [*DuplicateError].
func Merge(list ...*Definitions) (*Definitions, error) {
	out := &Definitions{all: map[Ref]*Slice{}}
	for _, d := range list {
		for _, s := range d.sorted() {
			if first := out.all[s.Ref]; first != nil {
				return nil, &DuplicateError{s.Ref, s.Place, first.Place}
			}
			out.all[s.Ref] = s
		}
	}
	return out, nil
}

// sorted lists the slices by package and name.
func (d *Definitions) sorted() []*Slice {
	return slices.SortedFunc(maps.Values(d.all), compare)
}

func compare(a, b *Slice) int {
	return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Name, b.Name))
}

// UnknownError says that a slice, or a package with slices, is not defined.
type UnknownError struct {
	Ref
	// Place is where it is asked for; empty when it is not a definition that does.
	Place string
	Known []string // what there is instead
	// Package tells that the package has no slices at all.
	Package bool
}

// Detail says what was found and expected.
func (e *UnknownError) Detail() string {
	if e.Package {
		return fmt.Sprintf("found %q, which has no slices, expected one of %s", e.Ref.Package, orNone(e.Known))
	}
	return fmt.Sprintf("found %q, expected one of %s", e.Name, orNone(e.Known))
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none: no slices are defined"
	}
	return strings.Join(list, ", ")
}

// Hint is advice; may be empty.
func (e *UnknownError) Hint() string {
	name := e.Name
	if e.Package {
		name = e.Ref.Package
	}
	if n := spelling.Nearest(name, e.Known); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}

func (e *UnknownError) Error() string {
	s := "slice " + e.Ref.String() + ": unknown slice: " + e.Detail()
	if e.Place != "" {
		s = e.Place + ": " + s
	}
	if h := e.Hint(); h != "" {
		s += "\n  hint: " + h
	}
	return s
}

// Lookup is [Definitions.Get] that says what there is instead: a [*UnknownError].
func (d *Definitions) Lookup(r Ref) (*Slice, error) {
	if s := d.Get(r); s != nil {
		return s, nil
	}
	if names := d.Names(r.Package); len(names) > 0 {
		return nil, &UnknownError{Ref: r, Known: names}
	}
	return nil, &UnknownError{Ref: r, Known: d.Packages(), Package: true}
}

// Check reports needs that no slice meets, each as a [*UnknownError].
func (d *Definitions) Check() []*UnknownError {
	var out []*UnknownError
	for _, s := range d.sorted() {
		for _, n := range s.Needs {
			if _, err := d.Lookup(n.Ref); err != nil {
				e := err.(*UnknownError)
				e.Place = n.Place
				out = append(out, e)
			}
		}
	}
	return out
}

// Closure returns the slices that are asked for and those they need, directly or
// not, by package and sorted by name. Slices may need each other.
func (d *Definitions) Closure(asked []Ref) (map[string][]*Slice, error) {
	seen := map[Ref]bool{}
	out := map[string][]*Slice{}
	for todo := slices.Clone(asked); len(todo) > 0; todo = todo[1:] {
		r := todo[0]
		if seen[r] {
			continue
		}
		seen[r] = true
		s, err := d.Lookup(r)
		if err != nil {
			return nil, err
		}
		out[r.Package] = append(out[r.Package], s)
		for _, n := range s.Needs {
			todo = append(todo, n.Ref)
		}
	}
	for _, list := range out {
		slices.SortFunc(list, compare)
	}
	return out, nil
}

// ConflictError says that slices of two packages name the same file.
type ConflictError struct {
	Path  string
	A, B  *Slice
	Place string // of the pattern of B
}

// Error gives both places.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s: slice %s: conflict: %s is a file of %s too, at %s", e.Place, e.B.Ref, e.Path, e.A.Ref, e.A.Place)
}

// Conflicts finds files that slices of two packages name: only one of them can be
// in an image. What patterns with wildcards have in common shows when the packages
// are put together.
func Conflicts(all map[string][]*Slice) []*ConflictError {
	var out []*ConflictError
	first := map[string]*Slice{}
	for _, pkg := range slices.Sorted(maps.Keys(all)) {
		for _, s := range all[pkg] {
			for _, p := range s.Paths {
				switch other := first[p.Text]; {
				case !p.literal():
				case other == nil:
					first[p.Text] = s
				case other.Package != s.Package:
					out = append(out, &ConflictError{p.Text, other, s, p.Place})
				}
			}
		}
	}
	return out
}
