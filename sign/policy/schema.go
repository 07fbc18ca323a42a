package policy

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/packages/strictyaml"
)

// SchemaID is the identifier of the JSON schema.
const SchemaID = "https://cairn.dev/schema/policy/v1.json"

// Schema returns the JSON schema (2020-12) of a policy, made from the same
// declarations that the validation uses.
func Schema() []byte {
	s := schemaOf(reflect.TypeFor[File](), "")
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["$id"] = SchemaID
	s["title"] = "cairn policy"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // maps of strings, numbers and lists
	}
	return append(b, '\n')
}

func schemaOf(t reflect.Type, tag reflect.StructTag) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem(), tag)
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem(), "")}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int:
		s := map[string]any{"type": "integer"}
		if least, err := strconv.Atoi(tag.Get("min")); err == nil {
			s["minimum"] = least
		}
		return s
	case reflect.Struct:
		return objectSchema(t)
	}
	s := map[string]any{"type": "string"}
	if list := tag.Get("enum"); list != "" {
		s["enum"] = strings.Split(list, ",")
	}
	if tag.Get("format") == "duration" {
		s["pattern"] = `^([0-9]+d|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$`
	}
	return s
}

func objectSchema(t reflect.Type) map[string]any {
	properties := map[string]any{}
	for i := range t.NumField() {
		f := t.Field(i)
		p := schemaOf(f.Type, f.Tag)
		p["description"] = f.Tag.Get("doc")
		properties[f.Tag.Get("yaml")] = p
	}
	s := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	if required := strictyaml.Required(t); len(required) > 0 {
		s["required"] = required
	}
	return s
}

func isZero(v any) bool { return reflect.ValueOf(v).IsZero() }
