package slice

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/strictyaml"
)

// MaxFileSize bounds a file of definitions, in bytes.
const MaxFileSize = 4 << 20

// text is a slice as it is written.
type text struct {
	Paths   []string `yaml:"paths" required:"1"`
	Exclude []string `yaml:"exclude"`
	Needs   []string `yaml:"needs"`
}

var (
	packageName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+-]*$`)
	sliceName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._+-]*$`)
)

// Parse reads definitions. The name is used in messages and places. The error is a
// *[strictyaml.Errors] with every problem. That needed slices are defined is for
// [Definitions.Check], because they may be so in another file.
func Parse(name string, data []byte) (*Definitions, error) {
	if len(data) > MaxFileSize {
		return nil, strictyaml.TooLarge(name, "slices", MaxFileSize)
	}
	p := parser{Report: strictyaml.New(name, "slices"), file: name}
	d := &Definitions{all: map[Ref]*Slice{}}
	root := p.Document(data, "the name of a package")
	if root == nil {
		return nil, p.Err()
	}
	var all struct{ Packages map[string]map[string]text }
	p.Decode(root, &all.Packages, strictyaml.Options{})
	for _, pkg := range slices.Sorted(maps.Keys(all.Packages)) {
		if !packageName.MatchString(pkg) {
			p.Bad(pkg, "impossible name", "found "+strconv.Quote(pkg)+", expected the name of a package", "")
			continue
		}
		if len(all.Packages[pkg]) == 0 && !p.Reported(pkg) {
			p.Bad(pkg, "empty", "expected at least one slice", "")
		}
		for _, name := range slices.Sorted(maps.Keys(all.Packages[pkg])) {
			r := Ref{pkg, name}
			d.all[r] = p.slice(r, all.Packages[pkg][name])
		}
	}
	if err := p.Err(); err != nil {
		return nil, err
	}
	return d, nil
}

type parser struct {
	*strictyaml.Report
	file string
}

func (p *parser) place(key string) string { return fmt.Sprintf("%s:%d", p.file, p.Line(key)) }

func (p *parser) slice(r Ref, t text) *Slice {
	key := r.Package + "." + r.Name
	s := &Slice{Ref: r, Place: p.place(key)}
	if !sliceName.MatchString(r.Name) {
		p.Bad(key, "impossible name", "found "+strconv.Quote(r.Name)+", expected lower case letters, digits, \"-\", \"_\", \".\" and \"+\"", "")
	}
	if len(t.Paths) == 0 && p.Has(key+".paths") && !p.Reported(key+".paths") {
		p.Bad(key+".paths", "empty", "expected at least one path", "")
	}
	s.Paths = p.patterns(key+".paths", t.Paths)
	s.Exclude = p.patterns(key+".exclude", t.Exclude)
	for i, n := range t.Needs {
		at := fmt.Sprintf("%s.needs[%d]", key, i)
		need := Need{Ref{r.Package, n}, p.place(at)}
		if pkg, name, ok := strings.Cut(n, "/"); ok {
			need.Ref = Ref{pkg, name}
		}
		switch {
		case p.Reported(at):
		case !packageName.MatchString(need.Package) || !sliceName.MatchString(need.Name):
			p.Bad(at, "impossible name", "found "+strconv.Quote(n)+", expected SLICE or PACKAGE/SLICE", "")
		case need.Ref == r:
			p.Bad(at, "needs itself", "found "+strconv.Quote(n)+", expected another slice", "")
		}
		s.Needs = append(s.Needs, need)
	}
	return s
}

func (p *parser) patterns(key string, list []string) []Pattern {
	var out []Pattern
	for i, text := range list {
		at := fmt.Sprintf("%s[%d]", key, i)
		pattern, err := ParsePattern(text)
		if err != nil && !p.Reported(at) {
			p.Bad(at, "impossible path", fmt.Sprintf("found %q: %v", cut(text), errors.Unwrap(err)), "")
		}
		pattern.Place = p.place(at)
		out = append(out, pattern)
	}
	return out
}

func cut(s string) string {
	if r := []rune(s); len(r) > 80 {
		return string(r[:80]) + "…"
	}
	return s
}
