package definition

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

// maxValues bounds the values of one file with its aliases expanded, against
// documents that are small on disk and huge in memory.
const maxValues = 500_000

// decoder fills Go values from YAML nodes by yaml.v3's rules for types, and
// finds every problem rather than the first.
type decoder struct {
	*report
	src    *source
	count  int
	opened map[*yaml.Node]bool // anchors being expanded
	// lenient ignores unknown keys, as melange does in reusable pipelines.
	lenient bool
}

// place is a value and the path it is shown by.
type place struct {
	n    *yaml.Node
	path string
}

func (d *decoder) problem(at place, problem, detail, hint string) {
	key := at.path
	if key == "" {
		key = "definition"
	}
	d.add(Problem{File: d.src.name, Line: at.n.Line, Column: at.n.Column, Key: key, Problem: problem, Detail: detail, Hint: hint})
}

// value fills v, which can be set, and reports whether there was something to
// fill it with.
func (d *decoder) value(at place, v reflect.Value) bool {
	if d.count++; d.count > maxValues {
		if d.count == maxValues+1 {
			d.problem(at, "too large", fmt.Sprintf("expected at most %d values with aliases expanded", maxValues), "")
		}
		return false
	}
	if at.n.Kind == yaml.AliasNode {
		return d.alias(at, v)
	}
	if isNull(at.n) {
		if k := v.Kind(); k == reflect.Pointer || k == reflect.Map || k == reflect.Slice {
			v.SetZero()
			return k == reflect.Pointer
		}
		return false
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		return d.value(at, v.Elem())
	case reflect.Struct:
		return d.shape(at, yaml.MappingNode, "a mapping") && d.object(at, v)
	case reflect.Map:
		return d.shape(at, yaml.MappingNode, "a mapping") && d.mapping(at, v)
	case reflect.Slice:
		return d.shape(at, yaml.SequenceNode, "a list") && d.list(at, v)
	}
	return d.shape(at, yaml.ScalarNode, wanted(v.Type())) && d.scalar(at, v)
}

func (d *decoder) alias(at place, v reflect.Value) bool {
	target := at.n.Alias
	if !d.open(at, target) {
		return false
	}
	defer delete(d.opened, target)
	return d.value(place{target, at.path}, v)
}

// open notes that an anchor is being expanded; false when it already is.
func (d *decoder) open(at place, target *yaml.Node) bool {
	if d.opened[target] {
		d.problem(at, "alias to itself", "*"+at.n.Value+" stands inside the value it names", "")
		return false
	}
	if d.opened == nil {
		d.opened = map[*yaml.Node]bool{}
	}
	d.opened[target] = true
	return true
}

func (d *decoder) shape(at place, want yaml.Kind, wanted string) bool {
	if at.n.Kind == want {
		return true
	}
	hint := ""
	if want == yaml.SequenceNode && at.n.Kind == yaml.ScalarNode {
		hint = "write one value as a list too: [" + shorten(at.n.Value) + "]"
	}
	d.problem(at, "wrong type", "found "+describe(at.n)+", expected "+wanted, hint)
	return false
}

// wanted describes the value that a type expects.
func wanted(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return wanted(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.Int64:
		return "a duration such as 90m"
	case reflect.Int:
		return "a whole number"
	case reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	case reflect.Slice:
		return "a list"
	case reflect.String:
		return "text"
	}
	return "a mapping"
}

// describe names a value as its writer sees it.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "number " + shorten(n.Value)
	case "!!bool":
		return shorten(n.Value)
	}
	return strconv.Quote(shorten(n.Value))
}

func (d *decoder) scalar(at place, v reflect.Value) bool {
	n := at.n
	if v.Kind() == reflect.String {
		text := n.Value
		if n.Tag == "!!binary" {
			b, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				d.problem(at, "wrong type", "found a !!binary value that is not base64", "")
				return false
			}
			text = string(b)
		}
		v.SetString(text)
		return true
	}
	if err := n.Decode(v.Addr().Interface()); err != nil {
		hint := ""
		if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 && v.Kind() != reflect.Int64 {
			hint = "remove the quotes"
		}
		d.problem(at, "wrong type", "found "+describe(n)+", expected "+wanted(v.Type()), hint)
		return false
	}
	return true
}

func (d *decoder) list(at place, v reflect.Value) bool {
	out := reflect.MakeSlice(v.Type(), len(at.n.Content), len(at.n.Content))
	used := 0
	for i, n := range at.n.Content {
		if d.value(place{n, at.path + index(i)}, out.Index(used)) {
			used++
		}
	}
	v.Set(out.Slice(0, used))
	return true
}

func (d *decoder) mapping(at place, v reflect.Value) bool {
	t := v.Type()
	if v.IsNil() {
		v.Set(reflect.MakeMapWithSize(t, len(at.n.Content)/2))
	}
	for _, p := range d.pairs(at) {
		elem := reflect.New(t.Elem()).Elem()
		if d.value(place{p.value, joinPath(at.path, p.key.Value)}, elem) || isNull(follow(p.value)) {
			v.SetMapIndex(reflect.ValueOf(p.key.Value), elem)
		}
	}
	return true
}

func (d *decoder) object(at place, v reflect.Value) bool {
	known := keysOf(v.Type())
	if m, ok := v.Addr().Interface().(marked); ok {
		m.setAt(at.n, d.src, at.path)
	}
	for _, p := range d.pairs(at) {
		i, ok := known.index[p.key.Value]
		if !ok {
			if !d.lenient {
				d.unknown(place{p.key, joinPath(at.path, p.key.Value)}, p.key.Value, known.names)
			}
			continue
		}
		d.value(place{p.value, joinPath(at.path, p.key.Value)}, v.Field(i))
	}
	return true
}

// pair is a key of a mapping and its value.
type pair struct{ key, value *yaml.Node }

// pairs returns a mapping's entries: its own first, then those that "<<" brings
// in and that are not there yet. Double keys are reported.
func (d *decoder) pairs(at place) []pair {
	own := make([]pair, 0, len(at.n.Content)/2)
	var merged []pair
	for i := 0; i+1 < len(at.n.Content); i += 2 {
		k, v := at.n.Content[i], at.n.Content[i+1]
		switch key := follow(k); {
		case key.Kind != yaml.ScalarNode:
			d.problem(place{k, at.path}, "wrong type", "found "+describe(k)+" as a key, expected text", "")
		case isMerge(key):
			merged = append(merged, d.merged(place{v, at.path})...)
		case isNull(key):
		default:
			if first := find(own, key.Value); first != nil {
				d.problem(place{k, joinPath(at.path, key.Value)}, "duplicate key", fmt.Sprintf("already set in line %d", first.Line), "")
				continue
			}
			own = append(own, pair{key, v})
		}
	}
	for _, p := range merged {
		if find(own, p.key.Value) == nil {
			own = append(own, p)
		}
	}
	return own
}

// find returns the key of that name. Mappings are small, or maps of data, for
// which the quadratic time is bounded by the number of values.
func find(list []pair, name string) *yaml.Node {
	for _, p := range list {
		if p.key.Value == name {
			return p.key
		}
	}
	return nil
}

// merged returns the entries of the value of "<<": a mapping or several.
func (d *decoder) merged(at place) []pair {
	if d.count++; d.count > maxValues {
		return nil
	}
	switch at.n.Kind {
	case yaml.AliasNode:
		if !d.open(at, at.n.Alias) {
			return nil
		}
		defer delete(d.opened, at.n.Alias)
		return d.merged(place{at.n.Alias, at.path})
	case yaml.MappingNode:
		return d.pairs(at)
	case yaml.SequenceNode:
		var out []pair
		for _, n := range at.n.Content {
			out = append(out, d.merged(place{n, at.path})...)
		}
		return out
	}
	d.problem(at, "wrong type", "found "+describe(at.n)+` after "<<", expected a mapping`, "")
	return nil
}

// advice is for keys that are written often and do not exist, by the mapping's
// last step and the key.
var advice = map[string]string{
	"dependencies.build":    "packages for the build belong to environment.contents.packages",
	"dependencies.depends":  "did you mean runtime?",
	"package.arch":          "did you mean target-architecture?",
	"package.license":       "licences belong to copyright: [{license: …}]",
	"package.release":       "did you mean epoch?",
	"package.revision":      "did you mean epoch?",
	"pipeline.env":          "did you mean environment?",
	"pipeline.run":          "did you mean runs?",
	"pipeline.workdir":      "did you mean working-directory?",
	"pipeline.cwd":          "did you mean working-directory?",
	"subpackages.version":   "a subpackage has the version of the main package",
	"subpackages.epoch":     "a subpackage has the epoch of the main package",
	"subpackages.copyright": "a subpackage has the licences of the main package",
}

func (d *decoder) unknown(at place, name string, names []string) {
	home := strings.TrimSuffix(at.path, "."+name)
	if i := strings.LastIndexByte(home, '.'); i >= 0 {
		home = home[i+1:]
	}
	home, _, _ = strings.Cut(home, "[")
	hint := advice[home+"."+name]
	if hint == "" {
		hint = didYouMean(name, names)
	}
	d.problem(at, "unknown key", "expected one of "+strings.Join(names, ", "), hint)
}

// keys are the keys of a struct type, in its order.
type keys struct {
	names []string
	index map[string]int // to the field
}

var keyCache sync.Map // of reflect.Type to *keys

// keysOf returns what yaml.v3 sees of a struct type.
func keysOf(t reflect.Type) *keys {
	if k, ok := keyCache.Load(t); ok {
		return k.(*keys)
	}
	k := &keys{index: map[string]int{}}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		k.names = append(k.names, name)
		k.index[name] = i
	}
	keyCache.Store(t, k)
	return k
}
