package config

import (
	"reflect"
	"strings"
	"sync"
)

// kind is the shape of a value in YAML.
type kind uint8

const (
	kindObject kind = iota // a mapping with known keys
	kindMap                // a mapping with free keys and text values
	kindList
	kindText
	kindNumber // from 0
	kindBool
)

// mergeKind says how a key of an included configuration meets the same key of
// the including one. It describes what [merge] does, for positions.
type mergeKind uint8

const (
	mergeDeep  mergeKind = iota // lists joined, mappings per key
	mergeWhole                  // the including one's replaces the other
	mergeNone                   // the included one's is ignored
)

// node is one key of the configuration language, made from the Go types.
type node struct {
	name string // last step of the path
	path string // "contents.packages[]", "environment.*"; "contents.packages{}" for alt
	kind kind
	// fields are a mapping's known keys in the order of the Go type.
	fields []*node
	byName map[string]*node
	elem   *node // of lists and free mappings
	own    bool  // cairn's, not apko's
	alt    *node // the mapping that may stand for a text; nil for none
	rule
}

func (n *node) child(name string) *node {
	if n.kind == kindMap {
		return n.elem
	}
	return n.byName[name]
}

// names returns the known keys of a mapping.
func (n *node) names() []string {
	out := make([]string, len(n.fields))
	for i, f := range n.fields {
		out[i] = f.name
	}
	return out
}

// language is the whole configuration language. It is made on first use.
var language = sync.OnceValue(func() *node {
	return newNode(reflect.TypeFor[Config](), "", "", rules(), false)
})

func newNode(t reflect.Type, name, path string, rules map[string]rule, own bool) *node {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	n := &node{name: name, path: path, own: own, rule: rules[path]}
	switch t.Kind() {
	case reflect.Struct:
		n.byName = map[string]*node{}
		n.addFields(t, rules, own)
	case reflect.Map:
		n.kind = kindMap
		n.elem = newNode(t.Elem(), "*", join(path, "*"), rules, own)
	case reflect.Slice:
		n.kind = kindList
		n.elem = newNode(t.Elem(), name, path+"[]", rules, own)
	case reflect.Bool:
		n.kind = kindBool
	case reflect.Int, reflect.Uint32:
		n.kind = kindNumber
	case reflect.String:
		n.kind = kindText
		if n.mapping != nil {
			n.alt = newNode(n.mapping, name, strings.TrimSuffix(path, "[]")+"{}", rules, true)
		}
	default:
		panic("config: no YAML shape for " + t.String())
	}
	return n
}

// addFields adds a struct's keys, those of inlined structs in their place.
func (n *node) addFields(t reflect.Type, rules map[string]rule, own bool) {
	for f := range fields(t) {
		own := own || t == reflect.TypeFor[Config]()
		if f.inline {
			n.addFields(f.typ, rules, false)
			continue
		}
		c := newNode(f.typ, f.name, join(n.path, f.name), rules, own)
		n.fields = append(n.fields, c)
		n.byName[f.name] = c
	}
}

type structField struct {
	name   string
	typ    reflect.Type
	inline bool
}

// fields yields what yaml.v3 sees of a struct type.
func fields(t reflect.Type) func(func(structField) bool) {
	return func(yield func(structField) bool) {
		for i := range t.NumField() {
			f := t.Field(i)
			name, options, _ := strings.Cut(f.Tag.Get("yaml"), ",")
			if !f.IsExported() || name == "-" {
				continue
			}
			if name == "" {
				name = strings.ToLower(f.Name)
			}
			if !yield(structField{name, f.Type, strings.Contains(options, "inline")}) {
				return
			}
		}
	}
}

func join(path, step string) string {
	if path == "" {
		return step
	}
	return path + "." + step
}

// where returns the paths of all mappings that know a key, for hints about
// keys that stand in the wrong place. Depth first, in the order of the types.
func (n *node) where(name string) []string {
	var out []string
	if n.byName[name] != nil && n.kind == kindObject {
		out = append(out, n.path)
	}
	for _, f := range n.fields {
		out = append(out, f.where(name)...)
	}
	if n.elem != nil {
		out = append(out, n.elem.where(name)...)
	}
	return out
}
