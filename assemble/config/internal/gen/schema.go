package main

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/cairn-dev/cairn/assemble/config"
)

// member is one member of an ordered JSON object.
type member struct {
	name  string
	value any
}

// ordered is a JSON object that keeps the order of its members.
type ordered []member

// MarshalJSON writes the members in their order.
func (o ordered) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := plainJSON(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// plainJSON encodes without escaping "<" and ">".
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// jsonSchema describes the configuration as JSON Schema, draft 2020-12.
func jsonSchema(root config.Key, texts map[string]string) ([]byte, error) {
	s := ordered{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "cairn image configuration"},
	}
	s = append(s, schemaOf(root, texts)...)
	compact, err := plainJSON(s)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, compact, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

func schemaOf(k config.Key, texts map[string]string) ordered {
	var s ordered
	if t := texts[k.Path]; t != "" {
		s = append(s, member{"description", t})
	}
	switch k.Type {
	case "mapping":
		return append(s, mappingSchema(k, texts)...)
	case "list":
		types := []string{"array", "null"}
		if k.One {
			types = append(types, "string")
		}
		return append(s, member{"type", types}, member{"items", schemaOf(*k.Elem, texts)})
	case "number":
		s = append(s, member{"type", "integer"}, member{"minimum", 0})
		if k.Max != 0 {
			return append(s, member{"maximum", k.Max})
		}
		return append(s, member{"maximum", uint32(1<<32 - 1)})
	case "boolean":
		return append(s, member{"type", "boolean"})
	}
	if k.Values != nil {
		return append(s, member{"enum", slices.Concat(k.Values, []string{""})})
	}
	if k.Mapping != nil {
		m := mappingSchema(*k.Mapping, texts)
		m[0].value = []string{"string", "number", "boolean", "object"}
		return append(s, m...)
	}
	// YAML writes 65532 and true where text is expected; both are accepted.
	return append(s, member{"type", []string{"string", "number", "boolean"}})
}

func mappingSchema(k config.Key, texts map[string]string) ordered {
	s := ordered{{"type", []string{"object", "null"}}}
	if k.Elem != nil {
		return append(s, member{"additionalProperties", schemaOf(*k.Elem, texts)})
	}
	var properties ordered
	var required []string
	for _, f := range k.Keys {
		properties = append(properties, member{f.Name, schemaOf(f, texts)})
		if f.Required {
			required = append(required, f.Name)
		}
	}
	s = append(s, member{"properties", properties}, member{"additionalProperties", false})
	if required != nil {
		s = append(s, member{"required", required})
	}
	return s
}
