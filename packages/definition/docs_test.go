package definition

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

const definitionsPage = "../../docs/definitions.md"

// Every key of the language is in the reference.
func TestDocumentedKeys(t *testing.T) {
	data, err := os.ReadFile(definitionsPage)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	collectKeys(reflect.TypeFor[Definition](), keys)
	if len(keys) < 120 {
		t.Errorf("found %d keys of the language", len(keys))
	}
	for k := range keys {
		if !strings.Contains(string(data), "`"+k+"`") && !strings.Contains(string(data), "."+k+"`") {
			t.Errorf("%s: no `%s`", definitionsPage, k)
		}
	}
}

func collectKeys(t reflect.Type, keys map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collectKeys(t.Elem(), keys)
	case reflect.Struct:
		for _, name := range keysOf(t).names {
			if !keys[t.Name()+"/"+name] {
				keys[name] = true
				if f := t.Field(keysOf(t).index[name]); f.Type != reflect.TypeFor[[]Pipeline]() || t.Name() == "Definition" {
					collectKeys(f.Type, keys)
				}
			}
		}
	}
}

// The table of pipelines is made from them.
func TestDocumentedPipelines(t *testing.T) {
	data, err := os.ReadFile(definitionsPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), "<!-- pipelines:")
	mark, rest, ok2 := strings.Cut(rest, "-->\n")
	_, after, ok3 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 || !ok3 {
		t.Fatalf("%s: no marks for the table of pipelines", definitionsPage)
	}
	text := before + "<!-- pipelines:" + mark + "-->\n" + pipelineTable(t) + "<!-- end -->" + after
	if *update {
		if err := os.WriteFile(definitionsPage, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(data), text); diff != "" {
		t.Errorf("%s is not current; run the test with -update (-file +pipelines)\n%s", definitionsPage, diff)
	}
}

func pipelineTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("\n| pipeline | what it does | inputs (* required, = default) |\n| --- | --- | --- |\n")
	for _, name := range BuiltinPipelines() {
		p := libraryOf(nil).find(name)
		if p.err != nil || len(p.problems) > 0 {
			t.Fatalf("%s: %v %v", name, p.err, p.problems)
		}
		var inputs []string
		var written []*yaml.Node // in the order of the file
		if n := p.pipeline.value("inputs"); n != nil {
			written = n.Content
		}
		for i := 0; i+1 < len(written); i += 2 {
			key := written[i].Value
			in := p.pipeline.Inputs[key]
			text := "`" + key + "`"
			if in.Required {
				text += "*"
			}
			if in.Default != "" {
				text += "=`" + in.Default + "`"
			}
			inputs = append(inputs, text)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", name, p.pipeline.Name, strings.Join(inputs, ", "))
	}
	return b.String() + "\n"
}
