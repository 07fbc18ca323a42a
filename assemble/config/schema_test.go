package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// every calls f for each key of the language.
func every(n *node, f func(*node)) {
	f(n)
	for _, c := range n.fields {
		every(c, f)
	}
	for _, c := range []*node{n.elem, n.alt} {
		if c != nil {
			every(c, f)
		}
	}
}

// sample writes a document that has a key in its place, with a null value.
func sample(path string) string {
	var steps []any
	var doc any
	for step := range strings.SplitSeq(path, ".") {
		name := strings.TrimRight(step, "[]")
		for range strings.Count(step, "[]") {
			steps = append(steps, name, 0)
			name = ""
		}
		if name != "" {
			steps = append(steps, name)
		}
	}
	for _, s := range slices.Backward(steps) {
		switch s := s.(type) {
		case string:
			doc = map[string]any{s: doc}
		case int:
			doc = []any{doc}
		}
	}
	b, err := yaml.Marshal(doc)
	must(err)
	return string(b)
}

// TestLanguageIsApkos: every key is known to apko exactly when the language
// says that it is apko's.
func TestLanguageIsApkos(t *testing.T) {
	count := 0
	every(language(), func(n *node) {
		if n.path == "" || strings.HasSuffix(n.path, "]") || strings.HasSuffix(n.path, "*") || strings.Contains(n.path, "{}") {
			return
		}
		count++
		file := filepath.Join(t.TempDir(), "image.yaml")
		if err := os.WriteFile(file, []byte(sample(n.path)), 0o644); err != nil {
			t.Fatal(err)
		}
		_, _, err := apkoLoad(file, nil)
		unknown := err != nil && strings.Contains(err.Error(), "not found in type")
		if unknown != n.own {
			t.Errorf("%s: own is %v, but apko says %v", n.path, n.own, err)
		}
		_, err = LoadBytes("image.yaml", []byte(sample(n.path)), in(nil))
		if err != nil && strings.Contains(err.Error(), "unknown key") {
			t.Errorf("%s: %v", n.path, err)
		}
	})
	if count < 60 {
		t.Errorf("%d keys, expected more", count)
	}
}

// TestRulesHaveKeys: a rule for a key that does not exist is a mistake in the
// table that nothing else would show.
func TestRulesHaveKeys(t *testing.T) {
	paths := map[string]*node{}
	every(language(), func(n *node) { paths[n.path] = n })
	for path, r := range rules() {
		n := paths[path]
		if n == nil {
			t.Errorf("%s: a rule, but no such key", path)
			continue
		}
		for _, name := range r.required {
			if n.byName[name] == nil {
				t.Errorf("%s: requires %s, which is no key", path, name)
			}
		}
		scalar := n.kind == kindText || n.kind == kindNumber || n.kind == kindBool
		if (r.text != nil || r.values != nil) && n.kind != kindText || (r.number != nil || r.max != 0) && n.kind != kindNumber ||
			r.key != nil && n.kind != kindMap || r.object != nil && n.kind != kindObject || r.fallback != "" && !scalar && n.kind != kindList {
			t.Errorf("%s: the rule does not fit a %s", path, n.wanted())
		}
	}
	for path := range advice {
		parent, name := "", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			parent, name = path[:i], path[i+1:]
		}
		if n := paths[parent]; n == nil || n.byName[name] != nil {
			t.Errorf("advice for %s can never be given", path)
		}
	}
}

func TestReference(t *testing.T) {
	root := Reference()
	find := func(path ...string) Key {
		k := root
	next:
		for _, p := range path {
			for k.Elem != nil && k.Type == "list" {
				k = *k.Elem
			}
			for _, f := range k.Keys {
				if f.Name == p {
					k = f
					continue next
				}
			}
			t.Fatalf("no key %v", path)
		}
		return k
	}
	for _, tc := range []struct {
		path []string
		want Key
	}{
		{[]string{"cmd"}, Key{Path: "cmd", Name: "cmd", Type: "text"}},
		{[]string{"paths", "path"}, Key{Path: "paths[].path", Name: "path", Type: "text", Required: true}},
		{[]string{"files", "mode"}, Key{Path: "files[].mode", Name: "mode", Type: "number", Octal: true, Max: 0o7777, Own: true, Default: "0o644"}},
		{[]string{"layering", "budget"}, Key{Path: "layering.budget", Name: "budget", Type: "number", Max: 127, Default: "100"}},
		{[]string{"paths", "recursive"}, Key{Path: "paths[].recursive", Name: "recursive", Type: "boolean", Default: "false"}},
		{[]string{"environment"}, Key{Path: "environment", Name: "environment", Type: "mapping", Elem: &Key{Path: "environment.*", Name: "*", Type: "text"}}},
		{[]string{"entrypoint", "type"}, Key{Path: "entrypoint.type", Name: "type", Type: "text", Values: []string{"service-bundle"}}},
	} {
		if diff := cmp.Diff(tc.want, find(tc.path...)); diff != "" {
			t.Errorf("%v: %s", tc.path, diff)
		}
	}
}

// TestPositions checks line, column and key of problems in every kind of
// place.
func TestPositions(t *testing.T) {
	for _, tc := range []struct{ name, text, want string }{
		{"block", "contents:\n  packages:\n    - ok\n    -   a b\n", "4:9 contents.packages[1]"},
		{"flow", "contents: {packages: [ok, 'a b']}", "1:27 contents.packages[1]"},
		{"after wide characters", "environment: {Ü: 日本, 'ü=': x}", "1:22 environment.ü="},
		{"literal", "contents:\n  packages:\n    - |\n      a b\n", "3:7 contents.packages[0]"},
		{"folded over lines", "cmd:\n  it's\n  open\n", "2:3 cmd"},
		{"deep", "accounts:\n  groups:\n  - groupname: a\n    gid: 1\n    members:\n    - a b\n", "6:7 accounts.groups[0].members[0]"},
		{"alias shows the value", "stop-signal: &s NONE\nenvironment: {A: *s}\n", "1:14 stop-signal"},
		{"merged value", "environment: &e {A: b}\nannotations: {<<: *e, 'x y': z}\n", "2:23 annotations.\"x y\""},
		{"merged key", "annotations: &e {'x y': z}\nenvironment: {<<: *e}\n", "1:18 annotations.\"x y\""},
		{"missing key of an entry", "paths:\n  - type: directory\n    permissions: 0o755\n", "2:5 paths[0].path"},
		{"tabs inside", "cmd:\t'it''s'\n", "1:6 cmd"},
		{"comment before", "# a\n\n# b\ncmd: [a] # c\n", "4:6 cmd"},
		{"tagged", "cmd: !!seq [a]\n", "1:6 cmd"},
		{"anchored", "cmd: &a [a]\n", "1:6 cmd"},
	} {
		_, err := LoadBytes("image.yaml", []byte(tc.text), in(nil))
		var e *Errors
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		p := e.Problems[0]
		if got := fmt.Sprintf("%d:%d %s", p.Line, p.Column, p.Key); got != tc.want {
			t.Errorf("%s: %s, expected %s (%v)", tc.name, got, tc.want, p)
		}
	}
}

// TestSyntaxPositions: the line of a mistake in the YAML itself.
func TestSyntaxPositions(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       string
	}{
		{"tab", "contents:\n  packages:\n\t- a\ncmd: b\n", "3:2"},
		{"wrong dedent", "contents:\n    packages: [a]\n  keyring: [b]\ncmd: c\n", "3:3"},
		{"list among keys", "cmd: a\n- b\nwork-dir: /\n", "2:1"},
		{"unclosed bracket", "cmd: a\narchs: [a,\n  b\nwork-dir: /\n", "2:1"},
		{"closed bracket over lines is none", "archs: [amd64,\n  arm64]\ncmd: [\n", "3:1"},
		{"unclosed quote", "cmd: a\nwork-dir: \"/x\ncmd: b\n", "2:1"},
		{"two colons", "cmd: a: b\n", "1:1"},
		{"unknown anchor", "cmd: a\nwork-dir: *x\n", "2:1"},
		{"bad escape", "work-dir: /\ncmd: \"\\q\"\n", "2:1"},
		{"percent", "cmd: a\n%x\n", "2:1"},
		{"at sign", "contents:\n  packages:\n    - @edge\n", "3:5"},
		{"bracket too many", "archs: [amd64]]\n", "1:1"},
		{"question", "a: b\n? [c\n", "2:1"},
		{"alias as anchor", "cmd: &a *a\n", "1:1"},
	} {
		_, err := LoadBytes("image.yaml", []byte(tc.text), in(nil))
		var e *Errors
		if !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Problem != "not YAML" {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		if got := fmt.Sprintf("%d:%d", e.Problems[0].Line, e.Problems[0].Column); got != tc.want {
			t.Errorf("%s: %s, expected %s (%v)", tc.name, got, tc.want, err)
		}
		if e.Problems[0].Err == nil {
			t.Errorf("%s: no cause", tc.name)
		}
	}
}

// TestLongTextIsNotSearched: beyond maxLocate lines the parser's own line is
// reported.
func TestLongTextIsNotSearched(t *testing.T) {
	text := "environment:\n" + strings.Repeat("  # filler\n", maxLocate) + "  A: [b\n"
	_, err := LoadBytes("image.yaml", []byte(text), in(nil))
	checkProblems(t, err)
	if !strings.Contains(err.Error(), "not YAML") {
		t.Errorf("found %v", err)
	}
}

// TestSameTextSameMessages: neither map order nor parallel loads change what is
// reported.
func TestSameTextSameMessages(t *testing.T) {
	text := []byte("environment: {'a=': b, 'c=': d, 'e=': f}\nannotations: {'g h': i, 'j k': l}\n" +
		"entrypoint: {services: {/m: n, /o: p}}\nkeyrings: {ftp://q: [r], ftp://s: []}\ncontents: {packages: [a, '!a', b=1, b=2]}\n" +
		"accounts: {users: [{username: a, uid: 5}, {username: a, uid: 6}, {username: b, uid: 0}]}\n")
	_, err := LoadBytes("image.yaml", text, in(nil))
	want := err.Error()
	if n := strings.Count(want, "\n"); n < 10 {
		t.Errorf("%d lines:\n%s", n, want)
	}
	var g sync.WaitGroup
	for range 50 {
		g.Go(func() {
			_, err := LoadBytes("image.yaml", text, in(nil))
			if err.Error() != want {
				t.Errorf("found\n%v\nbefore\n%s", err, want)
			}
		})
	}
	g.Wait()
	good := load(t, strings.Replace(wholeBase, "include: base/grand.yaml", "", 1))
	first, err := good.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if next, err := good.YAML(); err != nil || string(next) != string(first) {
			t.Fatalf("rendered differently: %v\n%s", err, next)
		}
	}
}

func TestMergeMarks(t *testing.T) {
	read := func(file, text string) *mark {
		r := &report{}
		doc := document(r, file, []byte(text))
		ck := &checker{report: r, file: file, opened: map[*yaml.Node]bool{}}
		return ck.value(place{doc, ""}, language())
	}
	m := mergeMarks(
		read("base", "cmd: a\nvcs-url: b\ncontents:\n  packages: [a, b]\nenvironment: {A: a, B: b}\nentrypoint:\n  command: a\narchs: [amd64]\nlayering: {budget: 1}"),
		read("top", "work-dir: /\ncontents:\n  packages: [c]\n  keyring: [k]\nenvironment: {B: c}\nentrypoint: {}\narchs: [arm64, armv7]"), language())
	for path, want := range map[string]string{
		"cmd": "base:1:6", "vcs-url": "none", "work-dir": "top:1:11",
		"contents.packages": "top:3:13", "contents.packages.[0]": "base:4:14", "contents.packages.[2]": "top:3:14", "contents.packages.[3]": "none",
		"contents.keyring.[0]": "top:4:13", "environment.A": "base:5:15", "environment.B": "top:5:15",
		"entrypoint.command": "base:7:12", "archs.[0]": "top:7:9", "archs.[1]": "top:7:16", "layering.budget": "base:9:20",
		"contents.packages.[x]": "none",
	} {
		p, ok := m.at(strings.Split(path, ".")...)
		got := "none"
		if ok {
			got = fmt.Sprintf("%s:%d:%d", p.file, p.line, p.col)
		}
		if got != want {
			t.Errorf("%s: %s, expected %s", path, got, want)
		}
	}
	if p, ok := m.at("contents", "packages", "[9]"); ok || p.file != "top" || p.line != 3 {
		t.Errorf("a position that is not there gives the one above: %v", p)
	}
}

// TestRenderDropsNothing: permissions that were not given are not rendered,
// those given as 0 are.
func TestRenderDropsNothing(t *testing.T) {
	c := load(t, "paths:\n- {path: /a, type: symlink, source: b}\n- {path: /b, type: directory, permissions: 0}\n")
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	want := "paths:\n  - path: /a\n    type: symlink\n    source: b\n  - path: /b\n    type: directory\n    permissions: 0o0\n"
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Error(diff)
	}
	again, err := LoadBytes("again.yaml", text, in(nil))
	if err != nil {
		t.Fatal(err)
	}
	if again.PermissionsGiven(0) || !again.PermissionsGiven(1) {
		t.Error("it is no longer known which permissions were given")
	}
}

// TestOpenIsUsed: nothing is read past Options.Open.
func TestOpenIsUsed(t *testing.T) {
	dir := write(t, map[string]string{"image.yaml": "include: base.yaml\n", "base.yaml": "cmd: disk"})
	_, err := Load(filepath.Join(dir, "image.yaml"), in(nil))
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found %v", err)
	}
	c, err := Load("image.yaml", in(map[string]string{"image.yaml": "include: base.yaml", "base.yaml": "cmd: memory"}))
	if err != nil || c.Cmd != "memory" {
		t.Errorf("found %v", err)
	}
}
