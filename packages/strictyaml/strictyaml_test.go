package strictyaml

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// sample has every kind of field.
type sample struct {
	Name   string   `yaml:"name" required:"1"`
	Color  string   `yaml:"color" enum:"red,green"`
	Count  int      `yaml:"count" min:"1"`
	On     *bool    `yaml:"on"`
	Words  []string `yaml:"words"`
	Pairs  [][]int  `yaml:"pairs"`
	Inner  *sample  `yaml:"inner"`
	List   []sample `yaml:"list"`
	Hidden string   `yaml:"-"`
	Other  string
}

func decode(text string, o Options) (*sample, *Report) {
	r := New("x.yaml", "sample")
	s := &sample{}
	if root := r.Document([]byte(text), "name"); root != nil {
		r.Decode(root, s, o)
	}
	return s, r
}

func TestDecode(t *testing.T) {
	s, r := decode("name: a\ncolor: red\ncount: 3\non: false\nwords: [b, c]\npairs: [[1, 2], []]\ninner: {name: d}\nlist: [{name: e}, {name: f}]\n", Options{})
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	off := false
	want := &sample{Name: "a", Color: "red", Count: 3, On: &off, Words: []string{"b", "c"}, Pairs: [][]int{{1, 2}, {}}, Inner: &sample{Name: "d"}, List: []sample{{Name: "e"}, {Name: "f"}}}
	if d := cmp.Diff(want, s); d != "" {
		t.Error(d)
	}
	if r.Line("list[1].name") != 8 || r.Line("none") != 0 || !r.Has("words[1]") || r.Has("words[2]") || r.Failed() || r.Reported("name") {
		t.Error("places are wrong")
	}
	s, _ = decode("name: a\nwords: []", Options{})
	if s.Words == nil || s.Pairs != nil {
		t.Error("an empty list is the same as none")
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "x.yaml:1:1: sample: empty: found no key, expected name",
		"a: [":                     "x.yaml:1:1: sample: not YAML: did not find expected node content",
		"name: a\n---\nb: c":       "x.yaml:3:1: sample: second YAML document: found one more after \"---\", expected one",
		"[]":                       "x.yaml:1:1: sample: wrong type: found a list, expected a mapping",
		"{}":                       "x.yaml:1:1: name: missing: expected name here",
		"name: a\nnames: b":        "x.yaml:2:1: names: unknown key: expected one of name, color, count, on, words, pairs, inner, list\n  hint: did you mean name?",
		"name: a\nhidden: b":       "x.yaml:2:1: hidden: unknown key: expected one of name, color, count, on, words, pairs, inner, list",
		"name: a\nname: b":         "x.yaml:2:1: name: duplicate key: already set in line 1",
		"name: a\n? [b]\n: c":      "x.yaml:2:3: sample: wrong type: found a list as a key, expected text",
		"name: 1":                  "x.yaml:1:7: name: wrong type: found number 1, expected text",
		"name: ~":                  "x.yaml:1:7: name: wrong type: found nothing, expected text",
		"name: a\ncolor: gren":     "x.yaml:2:8: color: unknown value: found \"gren\", expected red, green\n  hint: did you mean green?",
		"name: a\ncount: 0":        "x.yaml:2:8: count: too small: found 0, expected 1 or more",
		"name: a\ncount: 1.5":      "x.yaml:2:8: count: wrong type: found number 1.5, expected a whole number",
		"name: a\ncount: 1e99":     "x.yaml:2:8: count: wrong type: found number 1e99, expected a whole number",
		"name: a\non: 'true'":      "x.yaml:2:5: on: wrong type: found \"true\", expected true or false",
		"name: a\nwords: b":        "x.yaml:2:8: words: wrong type: found \"b\", expected a list\n  hint: a list with one element is written [b]",
		"name: a\nwords: ":         "x.yaml:2:7: words: wrong type: found nothing, expected a list",
		"name: a\nwords: {b: c}":   "x.yaml:2:8: words: wrong type: found a mapping, expected a list",
		"name: a\nwords: [{b: c}]": "x.yaml:2:9: words[0]: wrong type: found a mapping, expected text",
		"name: b\ninner: {}\nlist: [{color: red}, {name: 2}]": "x.yaml:2:8: inner.name: missing: expected name here\nx.yaml:3:8: list[0].name: missing: expected name here\n" +
			"x.yaml:3:29: list[1].name: wrong type: found number 2, expected text",
		"name: " + strings.Repeat("ä", 70) + "\ncolor: " + strings.Repeat("ö", 70): "x.yaml:2:8: color: unknown value: found \"" + strings.Repeat("ö", 60) + "…\", expected red, green",
	} {
		_, r := decode(text, Options{})
		var list *Errors
		if err := r.Err(); !errors.As(err, &list) || err.Error() != want {
			t.Errorf("%q:\nfound    %v\nexpected %s", text, err, want)
		}
	}
}

func TestAnyText(t *testing.T) {
	hint := func(key string, n *yaml.Node) string {
		if key == "name" && n.Kind == yaml.SequenceNode {
			return "one name"
		}
		return ""
	}
	s, r := decode("name: 1.20\ncolor: red\nwords: [true, 0x1F, x]\nlist:\n", Options{AnyText: true})
	if err := r.Err(); err != nil || s.Name != "1.20" || strings.Join(s.Words, " ") != "true 0x1F x" || s.List != nil {
		t.Errorf("found %+v, %v", s, err)
	}
	for text, want := range map[string]string{
		"name: ~":   "x.yaml:1:7: name: wrong type: found nothing, expected text",
		"name: [a]": "x.yaml:1:7: name: wrong type: found a list, expected text\n  hint: one name",
	} {
		if _, r := decode(text, Options{AnyText: true, Hint: hint}); r.Err() == nil || r.Err().Error() != want {
			t.Errorf("%s: found %v", text, r.Err())
		}
	}
}

func TestBadFindsThePlaceAround(t *testing.T) {
	_, r := decode("name: a\nlist:\n  - name: b\n    words: [c]\n", Options{})
	r.Bad("list[0].words[0]", "w", "", "")
	r.Bad("list[0].color", "c", "", "")
	r.Bad("list[7].name", "l", "", "")
	r.Bad("none", "n", "detail", "hint")
	r.Bad("none", "n", "detail", "hint")
	want := "x.yaml:1:1: none: n: detail\n  hint: hint\nx.yaml:3:3: list[7].name: l\nx.yaml:3:5: list[0].color: c\nx.yaml:4:13: list[0].words[0]: w"
	if err := r.Err(); err == nil || err.Error() != want {
		t.Errorf("found\n%v\nexpected\n%s", err, want)
	}
	if !r.Failed() || !r.Reported("none") {
		t.Error("nothing failed")
	}
}

func TestErrorsAreBounded(t *testing.T) {
	e := &Errors{}
	for range 150 {
		e.Problems = append(e.Problems, Problem{File: "p", Line: 1, Column: 1, Key: "k", Problem: "x"})
	}
	if text := e.Error(); !strings.HasSuffix(text, "\n… and 50 more problems") || strings.Count(text, "\n") != 100 {
		t.Errorf("found %d lines", strings.Count(text, "\n"))
	}
	if err := TooLarge("f", "policy", 5); err.Error() != "f:1:1: policy: too large: expected at most 5 bytes" {
		t.Error(err)
	}
	// A value that contains itself ends there too.
	if _, r := decode("name: a\ninner: &i {name: b, inner: *i}", Options{}); r.Err() == nil || !strings.Contains(r.Err().Error(), "too large: expected at most 50000 values") {
		t.Errorf("found %.200v", r.Err())
	}
	var b strings.Builder
	b.WriteString("name: a\nlist:\n  - {name: x, words: &l [a, a, a, a, a, a, a, a, a, a]}\n")
	for range 6000 {
		b.WriteString("  - {name: x, words: *l}\n")
	}
	if _, r := decode(b.String(), Options{}); r.Err() == nil || !strings.Contains(r.Err().Error(), "too large: expected at most 50000 values with aliases expanded") {
		t.Errorf("found %.200v", r.Err())
	}
}

// FuzzDecode: whatever a file says, reading it ends, and problems have places.
func FuzzDecode(f *testing.F) {
	f.Add("name: a\nlist: [{name: b, words: [c]}]", true)
	f.Add("name: &a [*a]\ninner: &b {inner: *b}", false)
	f.Add("{\"name\": 1, \"on\": null, \"pairs\": [[1], 2]}", true)
	f.Fuzz(func(t *testing.T, text string, any bool) {
		_, r := decode(text, Options{AnyText: any})
		var list *Errors
		if err := r.Err(); err == nil {
			return
		} else if !errors.As(err, &list) {
			t.Fatal(err)
		}
		for _, p := range list.Problems {
			if p.File != "x.yaml" || p.Line < 1 || p.Column < 0 || p.Key == "" || p.Problem == "" {
				t.Errorf("found %+v", p)
			}
		}
	})
}
