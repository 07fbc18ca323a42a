package config

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"chainguard.dev/apko/pkg/build/types"
	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/assemble/slice"
	"github.com/cairn-dev/cairn/packages/strictyaml"
)

// packageEntry is an entry of contents.packages that is a mapping.
type packageEntry struct {
	Name  string `yaml:"name" json:"name"`
	Slice Texts  `yaml:"slice" json:"slice"`
}

// Texts is a list of texts for which a single one may stand.
type Texts []string

// UnmarshalYAML reads a list or a single text.
func (t *Texts) UnmarshalYAML(n *yaml.Node) error {
	var list []string
	if n.Kind == yaml.ScalarNode {
		list = make([]string, 1)
		if err := n.Decode(&list[0]); err != nil {
			return err
		}
	} else if err := n.Decode(&list); err != nil {
		return err
	}
	*t = list
	return nil
}

// Sliced is an entry of contents.packages that asks for parts of a package only.
type Sliced struct {
	// Index is the entry's position in contents.packages, which has its name and
	// version there.
	Index   int
	Package string   // without version
	Slices  []string // names
}

// Refs are the slices that are asked for.
func (s *Sliced) Refs() []slice.Ref {
	var out []slice.Ref
	for _, name := range s.Slices {
		out = append(out, slice.Ref{Package: s.Package, Name: name})
	}
	return out
}

// SliceFile is a file of slice definitions.
type SliceFile struct {
	Path  string // as opened
	Bytes []byte

	defs *slice.Definitions
}

// Sliced returns the entries of contents.packages that are mappings, in order.
func (c *Config) Sliced() []Sliced { return c.sliced }

// SliceFiles returns the files that the slices key names, those of included
// configurations first.
func (c *Config) SliceFiles() []SliceFile { return c.sliceFiles }

// SliceDefinitions returns the slices that all files define; nil where there are
// none.
func (c *Config) SliceDefinitions() *slice.Definitions { return c.sliceDefs }

// entryNodes are the mappings of a document that stand for texts.
type entryNodes []entryNode

type entryNode struct {
	node  *yaml.Node
	index int // in its list
}

// take puts texts where mappings were, so that the document has the shape of the Go
// types, and returns what has no place there.
func (list entryNodes) take() ([]Sliced, error) {
	var out []Sliced
	read := make([]packageEntry, len(list))
	for i, e := range list {
		if err := e.node.Decode(&read[i]); err != nil {
			return nil, err
		}
		d, _ := parsePackage(read[i].Name)
		out = append(out, Sliced{Index: e.index, Package: d.Name, Slices: read[i].Slice})
	}
	for i, e := range list {
		*e.node = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: read[i].Name, Line: e.node.Line, Column: e.node.Column}
	}
	return out, nil
}

// entry notes a mapping that stands for a text.
func (c *checker) entry(at place) {
	_, last, _ := strings.Cut(at.path, "[")
	if i, err := strconv.Atoi(strings.TrimSuffix(last, "]")); err == nil {
		c.entries = append(c.entries, entryNode{at.n, i})
	}
}

func checkEntry(o object) {
	v, _ := o.get("name")
	if d, detail := parsePackage(v); v != "" && detail == "" && d.Conflict {
		o.c.problem(o.place("name"), impossible, "found "+strconv.Quote(v)+", expected a package that is wanted", "")
	}
}

// readSlices reads the definitions that one configuration names.
func (l *loader) readSlices(name string, c *Config) {
	for i, file := range c.Slices {
		if file == "" || strings.Contains(file, "://") {
			continue // reported already
		}
		file = beside(name, file)
		f, err := l.Open(file)
		var data []byte
		if err == nil {
			data, err = readAll(f, slice.MaxFileSize, true)
		}
		if err != nil {
			l.addAt(c, Problem{Problem: "not readable", Detail: notReadable(file, err), Err: err}, "slices", index(i))
			continue
		}
		l.opened(file)
		defs, err := slice.Parse(file, data)
		if err != nil {
			l.addAll(err)
			continue
		}
		c.sliceFiles = append(c.sliceFiles, SliceFile{file, data, defs})
	}
}

// addAll adds the problems of a file that another reader found.
func (l *loader) addAll(err error) {
	var all *strictyaml.Errors
	if !errors.As(err, &all) {
		l.add(Problem{Problem: err.Error(), Err: err})
		return
	}
	for _, p := range all.Problems {
		l.add(Problem{File: p.File, Line: p.Line, Column: p.Column, Key: p.Key, Problem: p.Problem, Detail: p.Detail, Hint: p.Hint})
	}
}

// mergeSlices puts what an included configuration has in front.
func (c *Config) mergeSlices(base *Config, included int) {
	shifted := append([]Sliced{}, base.sliced...)
	for _, s := range c.sliced {
		s.Index += included
		shifted = append(shifted, s)
	}
	c.sliced = shifted
	c.Slices = append(base.Slices, c.Slices...)
	c.sliceFiles = append(base.sliceFiles, c.sliceFiles...)
}

// slices checks what is asked for against what is defined.
func (w whole) slices() {
	if w.sliceDefs == nil && !w.gatherSlices() {
		return
	}
	asked := map[string]int{}
	var refs []slice.Ref
	failed := false
	for _, s := range w.sliced {
		asked[s.Package] = s.Index
		for i, r := range s.Refs() {
			if _, err := w.sliceDefs.Lookup(r); err != nil {
				failed = true
				w.unknownSlice(s.Index, i, err)
			}
		}
		refs = append(refs, s.Refs()...)
	}
	w.wholeToo(asked)
	if failed {
		return
	}
	all, err := w.sliceDefs.Closure(refs)
	if err != nil {
		return // an unknown need, which is reported with its file
	}
	for pkg := range all { // of packages that are there as a whole nothing is known
		if _, ok := asked[pkg]; !ok {
			delete(all, pkg)
		}
	}
	for _, c := range slice.Conflicts(all) {
		w.add(placed(c.Place, "slice "+c.B.String(), "conflict", fmt.Sprintf("%s is a file of %s too, at %s", c.Path, c.A.Ref, c.A.Place), ""))
	}
}

// gatherSlices makes one of all files, and reports what does not fit together.
func (w whole) gatherSlices() bool {
	var list []*slice.Definitions
	for i := range w.sliceFiles {
		list = append(list, w.sliceFiles[i].defs)
	}
	if len(list) < len(w.Slices) {
		return false // reported
	}
	defs, err := slice.Merge(list...)
	var twice *slice.DuplicateError
	if errors.As(err, &twice) {
		w.add(placed(twice.Place, "slice "+twice.String(), "defined twice", "first at "+twice.First, ""))
		return false
	}
	w.sliceDefs = defs
	for _, e := range defs.Check() {
		w.add(placed(e.Place, "slice "+e.Ref.String(), "unknown slice", e.Detail(), e.Hint()))
	}
	return true
}

func (w whole) unknownSlice(entry, i int, err error) {
	var unknown *slice.UnknownError
	if !errors.As(err, &unknown) {
		return
	}
	p := w.at("unknown slice", unknown.Detail(), unknown.Hint(), "contents", "packages", index(entry), "slice", index(i))
	if len(w.Slices) == 0 {
		p.Detail, p.Hint = "found "+strconv.Quote(unknown.Name)+", but no file defines slices", "name one: slices: slices.yaml"
	}
	w.add(p)
}

// wholeToo finds packages that are asked for as a whole and in parts.
func (w whole) wholeToo(asked map[string]int) {
	sliced := map[int]bool{}
	for _, s := range w.sliced {
		sliced[s.Index] = true
	}
	for i, p := range w.Contents.Packages {
		d, detail := parsePackage(p)
		other, ok := asked[d.Name]
		if detail == "" && ok && !d.Conflict && !sliced[i] {
			w.add(w.at("contradiction", fmt.Sprintf("found all of %s, but only slices of it %s", d.Name,
				w.where("contents", "packages", index(other))), "", "contents", "packages", index(i)))
		}
	}
}

// placed makes a problem of a "file:line".
func placed(place, key, problem, detail, hint string) Problem {
	i := strings.LastIndexByte(place, ':')
	line, _ := strconv.Atoi(place[i+1:])
	return Problem{File: place[:max(i, 0)], Line: line, Column: 1, Key: key, Problem: problem, Detail: detail, Hint: hint}
}

// entryTexts are the entries of contents.packages as they are written.
func (c *Config) entryTexts() []any {
	var out []any
	for _, p := range c.Contents.Packages {
		out = append(out, p)
	}
	for _, s := range c.sliced {
		out[s.Index] = packageEntry{c.Contents.Packages[s.Index], s.Slices}
	}
	return out
}

// writeEntries puts mappings where a rendered configuration has their names.
func (c *Config) writeEntries(contents *yaml.Node) error {
	list := get(contents, "packages")
	for _, s := range c.sliced {
		n, err := toNode(packageEntry{c.Contents.Packages[s.Index], s.Slices})
		if err != nil {
			return err
		}
		list.Content[s.Index] = n
	}
	return nil
}

// jsonContents has contents.packages as they are written.
type jsonContents struct {
	types.ImageContents
	Packages []any `json:"packages,omitempty"`
}

// forJSON is what a configuration with slices is rendered from.
func (c *Config) forJSON() any {
	if len(c.sliced) == 0 {
		return c
	}
	return struct {
		Contents jsonContents `json:"contents"`
		*Config
	}{jsonContents{c.Contents, c.entryTexts()}, c}
}

// SlicedAt is where the entry stands that asks for slices of a package, as
// "file:line:column"; empty when there is none.
func (c *Config) SlicedAt(pkg string) string {
	for _, s := range c.sliced {
		if s.Package == pkg {
			file, line, column := c.Position("contents", "packages", index(s.Index))
			return fmt.Sprintf("%s:%d:%d", cmp.Or(file, "configuration"), line, column)
		}
	}
	return ""
}
