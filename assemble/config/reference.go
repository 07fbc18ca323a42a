package config

// Key describes one key of the configuration language, for documentation and
// schemas.
type Key struct {
	// Path is the key's place: "contents.packages[]" is an entry of the list
	// contents.packages, "environment.*" a value of a mapping with free keys.
	Path string
	// Name is the last word of the path.
	Name string
	// Type is mapping, list, text, number or boolean.
	Type string
	// Values are all that a text may be; nil for any.
	Values []string
	// Default says what a key that is not written means; may be empty.
	Default string
	// Required tells that the mapping around needs this key.
	Required bool
	// Max is the largest number allowed; 0 when there is no limit below 2³².
	Max int64
	// Octal tells that a number is permission bits.
	Octal bool
	// Own tells that the key is cairn's; apko refuses it.
	Own bool
	// Keys are the keys of a mapping; nil for a mapping with free keys.
	Keys []Key
	// One tells that a single value may stand for a list.
	One bool
	// Mapping is what a text may be instead; nil for nothing else.
	Mapping *Key
	// Elem describes the entries of a list or of a mapping with free keys.
	Elem *Key
}

// Reference returns the whole configuration language: the top level, with
// everything below it, in the order of the Go types.
func Reference() Key { return newKey(language(), false) }

func newKey(n *node, required bool) Key {
	k := Key{Path: n.path, Name: n.name, Values: n.values, Default: n.fallback, Required: required, Octal: n.octal, Max: n.max, Own: n.own, One: n.one}
	switch n.kind {
	case kindObject, kindMap:
		k.Type = "mapping"
	case kindList:
		k.Type = "list"
	case kindText:
		k.Type = "text"
	case kindNumber:
		k.Type = "number"
	case kindBool:
		k.Type = "boolean"
	}
	for _, f := range n.fields {
		k.Keys = append(k.Keys, newKey(f, n.isRequired(f.name)))
	}
	if n.alt != nil {
		m := newKey(n.alt, false)
		k.Mapping = &m
	}
	if n.elem != nil {
		e := newKey(n.elem, false)
		k.Elem = &e
	}
	return k
}

func (n *node) isRequired(name string) bool {
	for _, r := range n.required {
		if r == name {
			return true
		}
	}
	return false
}
