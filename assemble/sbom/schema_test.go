package sbom

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// schemaDir is where the CycloneDX module keeps the official schemas; empty
// when the module cache cannot be asked.
var schemaDir = sync.OnceValue(func() string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/CycloneDX/cyclonedx-go").Output()
	if err != nil {
		return ""
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "schema")
	if _, err := os.Stat(filepath.Join(dir, "bom-1.6.schema.json")); err != nil {
		return ""
	}
	return dir
})

var cdxSchemas = sync.OnceValues(func() (*schemas, error) {
	s := &schemas{docs: map[string]any{}, patterns: map[string]*regexp.Regexp{}}
	for name, file := range map[string]string{"": "bom-1.6.schema.json", "spdx.schema.json": "spdx.schema.json", "jsf-0.82.schema.json": "jsf-0.82.schemax.json"} {
		b, err := os.ReadFile(filepath.Join(schemaDir(), file))
		if err != nil {
			return nil, err
		}
		var doc any
		if err := json.Unmarshal(b, &doc); err != nil {
			return nil, err
		}
		s.docs[name] = doc
	}
	return s, nil
})

// maxSchemaCheck is the size of document that this simple validator is used
// on: thousands of files differ from one another in nothing that matters here.
const maxSchemaCheck = 150 << 10

func cdxSchemaProblems(t testing.TB, raw []byte) []string {
	if schemaDir() == "" || len(raw) > maxSchemaCheck {
		t.Log("not held to the CycloneDX schema: it is not here, or the document is large")
		return nil
	}
	s, err := cdxSchemas()
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(raw, &v); err != nil {
		return []string{err.Error()}
	}
	return s.check("", s.docs[""], v, "")
}

// schemas checks values against JSON Schema draft 7, as far as the CycloneDX
// schemas use it (format apart).
type schemas struct {
	docs     map[string]any
	patterns map[string]*regexp.Regexp
	mu       sync.Mutex
}

func (s *schemas) pattern(p string) *regexp.Regexp {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.patterns[p] == nil {
		s.patterns[p] = regexp.MustCompile(p)
	}
	return s.patterns[p]
}

func (s *schemas) resolve(doc, ref string) (string, any) {
	file, pointer, _ := strings.Cut(ref, "#")
	if file == "" {
		file = doc
	}
	at := s.docs[file]
	for _, part := range strings.Split(strings.Trim(pointer, "/"), "/") {
		if part != "" {
			at = at.(map[string]any)[part]
		}
	}
	if at == nil {
		panic("schema: no " + ref)
	}
	return file, at
}

func (s *schemas) check(doc string, schema, v any, path string) (problems []string) {
	m, ok := schema.(map[string]any)
	if !ok {
		if schema == false {
			return []string{path + ": not allowed"}
		}
		return nil
	}
	bad := func(format string, args ...any) { problems = append(problems, path+": "+fmt.Sprintf(format, args...)) }
	if ref, ok := m["$ref"].(string); ok {
		d, target := s.resolve(doc, ref)
		return s.check(d, target, v, path)
	}
	if want, ok := m["type"]; ok && !hasType(want, v) {
		bad("%T, expected %v", v, want)
		return problems
	}
	if enum, ok := m["enum"].([]any); ok && !slices.Contains(enum, v) {
		bad("%v is none of the values allowed", v)
	}
	problems = append(problems, s.combine(doc, m, v, path)...)
	switch v := v.(type) {
	case string:
		if p, ok := m["pattern"].(string); ok && !s.pattern(p).MatchString(v) {
			bad("%q does not match %s", v, p)
		}
		if n, ok := m["minLength"].(float64); ok && len(v) < int(n) {
			bad("%q is too short", v)
		}
	case float64:
		if n, ok := m["minimum"].(float64); ok && v < n {
			bad("%v is too small", v)
		}
	case []any:
		problems = append(problems, s.array(doc, m, v, path)...)
	case map[string]any:
		problems = append(problems, s.object(doc, m, v, path)...)
	}
	return problems
}

func hasType(want, v any) bool {
	if list, ok := want.([]any); ok {
		return slices.ContainsFunc(list, func(w any) bool { return hasType(w, v) })
	}
	switch v := v.(type) {
	case string:
		return want == "string"
	case bool:
		return want == "boolean"
	case float64:
		return want == "number" || want == "integer" && v == math.Trunc(v)
	case []any:
		return want == "array"
	case map[string]any:
		return want == "object"
	}
	return want == "null"
}

func (s *schemas) combine(doc string, m map[string]any, v any, path string) (problems []string) {
	for _, key := range []string{"oneOf", "anyOf", "allOf"} {
		list, ok := m[key].([]any)
		if !ok {
			continue
		}
		fit := 0
		var why []string
		for _, sub := range list {
			p := s.check(doc, sub, v, path)
			if len(p) == 0 {
				fit++
			}
			why = append(why, p...)
		}
		if key == "oneOf" && fit != 1 || key == "anyOf" && fit == 0 || key == "allOf" && fit != len(list) {
			problems = append(problems, fmt.Sprintf("%s: %s: %d of %d fit: %v", path, key, fit, len(list), why))
		}
	}
	return problems
}

func (s *schemas) array(doc string, m map[string]any, v []any, path string) (problems []string) {
	if n, ok := m["minItems"].(float64); ok && len(v) < int(n) {
		problems = append(problems, path+": too few items")
	}
	if n, ok := m["maxItems"].(float64); ok && len(v) > int(n) {
		problems = append(problems, path+": too many items")
	}
	for i, item := range v {
		at := fmt.Sprintf("%s[%d]", path, i)
		if list, ok := m["items"].([]any); ok {
			if i < len(list) {
				problems = append(problems, s.check(doc, list[i], item, at)...)
			} else if m["additionalItems"] == false {
				problems = append(problems, at+": too many items")
			}
		} else if items, ok := m["items"]; ok {
			problems = append(problems, s.check(doc, items, item, at)...)
		}
	}
	if m["uniqueItems"] == true {
		seen := map[string]bool{}
		for _, item := range v {
			b, _ := json.Marshal(item)
			if seen[string(b)] {
				problems = append(problems, fmt.Sprintf("%s: twice: %s", path, b))
			}
			seen[string(b)] = true
		}
	}
	return problems
}

func (s *schemas) object(doc string, m map[string]any, v map[string]any, path string) (problems []string) {
	if required, ok := m["required"].([]any); ok {
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				problems = append(problems, fmt.Sprintf("%s: no %s", path, name))
			}
		}
	}
	properties, _ := m["properties"].(map[string]any)
	for name, value := range v {
		if sub, ok := properties[name]; ok {
			problems = append(problems, s.check(doc, sub, value, path+"."+name)...)
		} else if more, ok := m["additionalProperties"]; ok {
			problems = append(problems, s.check(doc, more, value, path+"."+name)...)
		}
	}
	return problems
}

// The validator itself must find mistakes.
func TestSchemaValidator(t *testing.T) {
	if schemaDir() == "" {
		t.Skip("the CycloneDX schemas are not here")
	}
	good := `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[{"type":"library","name":"x","licenses":[{"license":{"id":"MIT"}}]}]}`
	if p := cdxSchemaProblems(t, []byte(good)); p != nil {
		t.Fatal(p)
	}
	for _, edit := range [][2]string{
		{`"CycloneDX"`, `"SPDX"`}, {`"library"`, `"book"`}, {`"name":"x",`, ``}, {`"MIT"`, `"NIT"`}, {`"version":1`, `"version":"1"`},
		{`"version":1`, `"version":0`}, {`"version":1`, `"version":1,"serialNumber":"x"`}, {`{"license":{"id":"MIT"}}`, `{"license":{"id":"MIT"},"expression":"MIT"}`},
		{`"version":1`, `"version":1,"colour":"red"`},
	} {
		if p := cdxSchemaProblems(t, []byte(strings.Replace(good, edit[0], edit[1], 1))); p == nil {
			t.Errorf("%s instead of %s is not noticed", edit[1], edit[0])
		}
	}
	if reflect.DeepEqual(cdxSchemaProblems(t, []byte("[]")), []string(nil)) {
		t.Error("an array is taken for a document")
	}
}
