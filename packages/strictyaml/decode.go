package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// maxValues bounds the values of a file with aliases expanded.
const maxValues = 50_000

// Options say how values are read.
type Options struct {
	// AnyText takes numbers and truth values for text, as they are written, and a
	// list with nothing behind its key for none, as yaml.v3 does.
	AnyText bool
	// Hint gives advice about a value of the wrong kind; may be nil.
	Hint func(key string, found *yaml.Node) string
}

// Document parses the one document of a file, YAML or JSON; nil where it is none,
// which is then a problem. expect says what an empty file should have had.
func (r *Report) Document(text []byte, expect string) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := next(dec)
	switch {
	case errors.Is(err, io.EOF):
		r.add("", position{1, 1}, "empty", "found no key, expected "+expect, "")
		return nil
	case err != nil:
		line, message := syntax(err)
		r.add("", position{line, 1}, "not YAML", message, "")
		return nil
	}
	if second, err := next(dec); err == nil {
		r.add("", position{second.Line, second.Column}, "second YAML document", "found one more after \"---\", expected one", "")
		return nil
	}
	return doc
}

// next returns the next document's value. yaml.v3 panics on some malformed
// streams.
func next(dec *yaml.Decoder) (n *yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("yaml: malformed text")
		}
	}()
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0], nil
	}
	return &doc, nil
}

var yamlError = regexp.MustCompile(`(?s)^(?:yaml: )?(?:line (\d+): )?(.*)$`)

func syntax(err error) (int, string) {
	m := yamlError.FindStringSubmatch(err.Error())
	line, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		line = 1
	}
	return line, strings.Join(strings.Fields(m[2]), " ")
}

// Decode fills a struct, to which into points. What could be decoded is, whatever
// else is wrong.
func (r *Report) Decode(root *yaml.Node, into any, o Options) {
	d := decoder{Report: r, Options: o}
	d.value("", root, reflect.ValueOf(into).Elem(), "")
}

type decoder struct {
	*Report
	Options
}

// value decodes one value; tag is the field's tag.
func (d *decoder) value(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	pos := position{n.Line, n.Column}
	if !d.Has(key) {
		d.places[key] = pos
	}
	if d.count++; d.count > maxValues {
		if d.count == maxValues+1 {
			d.add(key, pos, "too large", fmt.Sprintf("expected at most %d values with aliases expanded", maxValues), "")
		}
		return
	}
	if n.Kind == yaml.AliasNode {
		// A value that contains itself ends where the types do.
		d.value(key, n.Alias, v, tag)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(key, n, v.Elem(), tag)
	case reflect.Struct:
		if d.kind(key, n, yaml.MappingNode, "a mapping") {
			d.object(key, n, v)
		}
	case reflect.Map:
		if d.kind(key, n, yaml.MappingNode, "a mapping") {
			d.free(key, n, v, tag)
		}
	case reflect.Slice:
		if d.AnyText && n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
			return
		}
		if d.kind(key, n, yaml.SequenceNode, "a list") {
			d.list(key, n, v, tag)
		}
	default:
		if d.kind(key, n, yaml.ScalarNode, wanted(v.Kind())) {
			d.scalar(key, n, v, tag)
		}
	}
}

func wanted(k reflect.Kind) string {
	switch k {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	}
	return "text"
}

func (d *decoder) kind(key string, n *yaml.Node, want yaml.Kind, text string) bool {
	if n.Kind == want {
		return true
	}
	hint := ""
	if d.Hint != nil {
		hint = d.Hint(key, n)
	}
	if hint == "" && want == yaml.SequenceNode && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null" {
		hint = "a list with one element is written [" + n.Value + "]"
	}
	d.add(key, position{n.Line, n.Column}, "wrong type", "found "+describe(n)+", expected "+text, hint)
	return false
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "number " + n.Value
	case "!!bool":
		return n.Value
	}
	value := n.Value
	if r := []rune(value); len(r) > 60 {
		value = string(r[:60]) + "…"
	}
	return strconv.Quote(value)
}

func (d *decoder) object(key string, n *yaml.Node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		path, pos := join(key, k.Value), position{k.Line, k.Column}
		index, known := fields.index[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode:
			d.add(key, pos, "wrong type", "found "+describe(k)+" as a key, expected text", "")
		case seen[k.Value] > 0:
			d.add(path, pos, "duplicate key", fmt.Sprintf("already set in line %d", seen[k.Value]), "")
		case !known:
			d.add(path, pos, "unknown key", "expected one of "+strings.Join(fields.names, ", "), meant(k.Value, fields.names))
		default:
			seen[k.Value] = k.Line
			d.places[path] = position{val.Line, val.Column}
			d.value(path, val, v.Field(index), v.Type().Field(index).Tag)
		}
	}
	for _, name := range fields.required {
		if seen[name] == 0 {
			d.add(join(key, name), position{n.Line, n.Column}, "missing", "expected "+name+" here", "")
		}
	}
}

// free decodes a mapping whose keys are anything.
func (d *decoder) free(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	v.Set(reflect.MakeMap(v.Type()))
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		path, pos := join(key, k.Value), position{k.Line, k.Column}
		switch {
		case k.Kind != yaml.ScalarNode:
			d.add(key, pos, "wrong type", "found "+describe(k)+" as a key, expected text", "")
		case first[k.Value] > 0:
			d.add(path, pos, "duplicate key", fmt.Sprintf("already set in line %d", first[k.Value]), "")
		default:
			first[k.Value] = k.Line
			d.places[path] = pos
			e := reflect.New(v.Type().Elem()).Elem()
			d.value(path, val, e, tag)
			v.SetMapIndex(reflect.ValueOf(k.Value), e)
		}
	}
}

func meant(found string, names []string) string {
	if n := spelling.Nearest(found, names); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}

func (d *decoder) list(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // [] is not the same as nothing
	for i, c := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(fmt.Sprintf("%s[%d]", key, i), c, e, tag)
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) scalar(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	pos := position{n.Line, n.Column}
	if !d.fits(n, v) {
		d.add(key, pos, "wrong type", "found "+describe(n)+", expected "+wanted(v.Kind()), "")
		return
	}
	if least := tag.Get("min"); least != "" && v.Kind() == reflect.Int {
		if m, _ := strconv.Atoi(least); int(v.Int()) < m {
			d.add(key, pos, "too small", fmt.Sprintf("found %d, expected %d or more", v.Int(), m), "")
		}
	}
	if list := tag.Get("enum"); list != "" {
		names := strings.Split(list, ",")
		for _, name := range names {
			if v.String() == name {
				return
			}
		}
		d.add(key, pos, "unknown value", "found "+describe(n)+", expected "+strings.Join(names, ", "), meant(v.String(), names))
	}
}

// fits sets a value when it is of the type.
func (d *decoder) fits(n *yaml.Node, v reflect.Value) bool {
	if d.AnyText && v.Kind() == reflect.String {
		v.SetString(n.Value)
		return n.ShortTag() != "!!null"
	}
	want := map[reflect.Kind]string{reflect.Bool: "!!bool", reflect.Int: "!!int", reflect.String: "!!str"}[v.Kind()]
	return n.ShortTag() == want && n.Decode(v.Addr().Interface()) == nil
}

// Required lists the keys that a struct's mapping must have.
func Required(t reflect.Type) []string { return fieldsOf(t).required }

// fields are the keys of a struct.
type fields struct {
	index           map[string]int
	names, required []string
}

func fieldsOf(t reflect.Type) fields {
	f := fields{index: map[string]int{}}
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		f.index[name] = i
		f.names = append(f.names, name)
		if t.Field(i).Tag.Get("required") != "" {
			f.required = append(f.required, name)
		}
	}
	return f
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
