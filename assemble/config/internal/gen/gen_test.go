package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
)

var update = flag.Bool("update", false, "write the generated files")

// TestGenerated fails when a committed file is not what the code now says.
func TestGenerated(t *testing.T) {
	dir := filepath.Join("..", "..")
	if *update {
		if err := run(dir); err != nil {
			t.Fatal(err)
		}
	}
	files, err := generate(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not current; run go generate in assemble/config (-generated +committed):\n%s", name, diff)
		}
	}
}

func TestExamplesLoad(t *testing.T) {
	for _, text := range []string{example, keyringExample} {
		c, err := config.LoadBytes("image.yaml", []byte(text), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if len(c.Warnings) > 0 {
			t.Error(c.Warnings)
		}
		if _, err := c.RepositoryKeys(); err != nil {
			t.Error(err)
		}
		if _, err := c.World(); err != nil {
			t.Error(err)
		}
	}
}

func TestComplete(t *testing.T) {
	texts, err := allTexts(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if err := complete(config.Reference(), texts); err != nil {
		t.Error(err)
	}
	delete(texts, "cmd")
	texts["cmds"] = "no such key"
	err = complete(config.Reference(), texts)
	if err == nil || err.Error() != "cmd: no text\ncmds: a text, but no such key" {
		t.Errorf("found %v, expected both mistakes", err)
	}
	for path, text := range texts {
		if !strings.HasSuffix(text, ".") && path != "cmds" {
			t.Errorf("%s: %q is no sentence", path, text)
		}
	}
}

// TestSchemaDescribes checks configurations against the schema with as much of
// JSON Schema as it uses.
func TestSchemaDescribes(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ name, doc, want string }{
		{"example", asJSON(t, example), ""},
		{"unknown key", `{"contents":{"package":[]}}`, "contents: package"},
		{"wrong type", `{"contents":{"packages":"a"}}`, "contents.packages: type"},
		{"missing", `{"paths":[{"path":"/a"}]}`, "paths[].type: missing"},
		{"not a value", `{"entrypoint":{"type":"shell"}}`, "entrypoint.type: enum"},
		{"too large", `{"files":[{"path":"/a","mode":4096}]}`, "files[].mode: maximum"},
		{"number as text", `{"accounts":{"run-as":65532}}`, ""},
	} {
		var doc any
		if err := json.Unmarshal([]byte(tc.doc), &doc); err != nil {
			t.Fatal(err)
		}
		if got := violates(schema, doc, ""); got != tc.want {
			t.Errorf("%s: found %q, expected %q", tc.name, got, tc.want)
		}
	}
}

func asJSON(t *testing.T, text string) string {
	t.Helper()
	c, err := config.LoadBytes("image.yaml", []byte(text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.JSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// violates returns the first thing about doc that the schema forbids.
func violates(schema map[string]any, doc any, path string) string {
	if !hasType(schema["type"], doc) {
		return path + ": type"
	}
	if enum, ok := schema["enum"].([]any); ok && !contains(enum, doc) {
		return path + ": enum"
	}
	switch doc := doc.(type) {
	case float64:
		if most, ok := schema["maximum"].(float64); ok && doc > most {
			return path + ": maximum"
		}
	case []any:
		for _, v := range doc {
			if s := violates(schema["items"].(map[string]any), v, path+"[]"); s != "" {
				return s
			}
		}
	case map[string]any:
		return violatesMapping(schema, doc, path)
	}
	return ""
}

func violatesMapping(schema, doc map[string]any, path string) string {
	properties, _ := schema["properties"].(map[string]any)
	required, _ := schema["required"].([]any)
	for _, r := range required {
		if _, ok := doc[r.(string)]; !ok {
			return path + "." + r.(string) + ": missing"
		}
	}
	for name, v := range doc {
		p, ok := properties[name].(map[string]any)
		if !ok {
			if p, ok = schema["additionalProperties"].(map[string]any); !ok {
				return path + ": " + name
			}
		}
		if s := violates(p, v, strings.TrimPrefix(path+"."+name, ".")); s != "" {
			return s
		}
	}
	return ""
}

func hasType(want, doc any) bool {
	name := map[bool]string{}
	switch doc.(type) {
	case nil:
		name[true] = "null"
	case string:
		name[true] = "string"
	case bool:
		name[true] = "boolean"
	case float64:
		name[true] = "number"
	case []any:
		name[true] = "array"
	case map[string]any:
		name[true] = "object"
	}
	switch want := want.(type) {
	case nil:
		return true
	case string:
		return want == name[true] || want == "integer" && name[true] == "number"
	case []any:
		return contains(want, name[true])
	}
	return false
}

func contains(list []any, v any) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}

// TestUpdateWrites checks the generator itself: that it writes what it makes.
func TestUpdateWrites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	for _, d := range []string{dir, filepath.Join(dir, "..", "..", "docs")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	source, err := os.ReadFile(filepath.Join("..", "..", "config.go"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.go"), source, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(dir); err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join(dir, "..", "..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(doc, []byte("| **`path`** † | text |  | The absolute path in the image. |")) {
		t.Errorf("files[].path is not described:\n%s", doc)
	}
	if err := run(t.TempDir()); err == nil {
		t.Error("no error without the Go source")
	}
}
