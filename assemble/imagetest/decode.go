package imagetest

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

// maxValues bounds the values in a test file with aliases expanded.
const maxValues = 100_000

// document parses the YAML (or JSON) of a test file; nil where it is none.
func document(r *problems, text []byte) *yaml.Node {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := next(dec)
	switch {
	case errors.Is(err, io.EOF):
		r.add("", at{1, 1}, "empty", "found no key, expected schemaVersion", "")
		return nil
	case err != nil:
		line, message := syntax(err)
		r.add("", at{line, 1}, "not YAML", message, "")
		return nil
	}
	if second, err := next(dec); err == nil {
		r.add("", at{second.Line, second.Column}, "second YAML document", `found one more after "---", expected one`, "")
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

// decoder fills the structs of schema.go. Their yaml tags are the keys; "need"
// marks those that must be there, "one" lists what a text may be.
type decoder struct {
	*problems
	count int
}

func (d *decoder) value(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	pos := at{n.Line, n.Column}
	if _, ok := d.places[key]; !ok {
		d.places[key] = pos
	}
	if d.count++; d.count > maxValues {
		if d.count == maxValues+1 {
			d.add(key, pos, "too large", fmt.Sprintf("expected at most %d values with aliases expanded", maxValues), "")
		}
		return
	}
	if n.Kind == yaml.AliasNode { // one that contains itself ends where the types do
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
	case reflect.Slice:
		if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
			return // files: with nothing behind it is no list
		}
		if d.kind(key, n, yaml.SequenceNode, "a list") {
			d.items(key, n, v, tag)
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
	switch {
	case want == yaml.SequenceNode && n.Kind == yaml.ScalarNode && n.ShortTag() != "!!null":
		hint = "a list with one element is written [" + n.Value + "]"
	case strings.HasSuffix(key, ".command") && n.Kind == yaml.SequenceNode:
		hint = "in schemaVersion 2.0.0 command is the program and args are its arguments"
	}
	d.add(key, at{n.Line, n.Column}, "wrong type", "found "+describe(n)+", expected "+text, hint)
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
	index, names, required := fieldsOf(v.Type())
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, val := n.Content[i], n.Content[i+1]
		path, pos := join(key, k.Value), at{k.Line, k.Column}
		field, known := index[k.Value]
		switch {
		case k.Kind != yaml.ScalarNode:
			d.add(key, pos, "wrong type", "found "+describe(k)+" as a key, expected text", "")
		case seen[k.Value] > 0:
			d.add(path, pos, "duplicate key", fmt.Sprintf("already set in line %d", seen[k.Value]), "")
		case !known:
			d.add(path, pos, "unknown key", "expected one of "+strings.Join(names, ", "), hint(k.Value, names))
		default:
			seen[k.Value] = k.Line
			d.places[path] = at{val.Line, val.Column}
			d.value(path, val, v.Field(field), v.Type().Field(field).Tag)
		}
	}
	for _, name := range required {
		if seen[name] == 0 {
			d.add(join(key, name), at{n.Line, n.Column}, "missing", "expected "+name+" here", "")
		}
	}
}

func hint(found string, names []string) string {
	if n := spelling.Nearest(found, names); n != "" {
		return "did you mean " + n + "?"
	}
	return ""
}

func (d *decoder) items(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0)) // [] is not the same as nothing
	for i, c := range n.Content {
		e := reflect.New(v.Type().Elem()).Elem()
		d.value(fmt.Sprintf("%s[%d]", key, i), c, e, tag)
		v.Set(reflect.Append(v, e))
	}
}

func (d *decoder) scalar(key string, n *yaml.Node, v reflect.Value, tag reflect.StructTag) {
	pos := at{n.Line, n.Column}
	wrong := func() {
		d.add(key, pos, "wrong type", "found "+describe(n)+", expected "+wanted(v.Kind()), "")
	}
	if v.Kind() == reflect.String {
		if n.ShortTag() == "!!null" { // numbers and booleans are text as they are written
			wrong()
			return
		}
		v.SetString(n.Value)
	} else if want := map[reflect.Kind]string{reflect.Bool: "!!bool", reflect.Int: "!!int"}[v.Kind()]; n.ShortTag() != want ||
		n.Decode(v.Addr().Interface()) != nil {
		wrong()
		return
	}
	if list := tag.Get("one"); list != "" {
		names := strings.Split(list, ",")
		for _, name := range names {
			if v.String() == name {
				return
			}
		}
		d.add(key, pos, "unknown value", "found "+describe(n)+", expected "+strings.Join(names, ", "), hint(v.String(), names))
	}
}

// fieldsOf lists the keys of a struct.
func fieldsOf(t reflect.Type) (index map[string]int, names, required []string) {
	index = map[string]int{}
	for i := range t.NumField() {
		name := t.Field(i).Tag.Get("yaml")
		if name == "" || name == "-" {
			continue
		}
		index[name] = i
		names = append(names, name)
		if t.Field(i).Tag.Get("need") != "" {
			required = append(required, name)
		}
	}
	return index, names, required
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}
