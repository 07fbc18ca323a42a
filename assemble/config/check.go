package config

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// maxValues bounds the values of one file with its aliases expanded, against
// documents that are small on disk and huge in memory.
const maxValues = 200_000

// checker compares a YAML document with the language and notes the position of
// every value.
type checker struct {
	*report
	file    string
	count   int
	opened  map[*yaml.Node]bool // anchors being expanded
	fatal   bool                // the document must not be decoded
	entries entryNodes
}

// place is a value and the path it is shown by.
type place struct {
	n    *yaml.Node
	path string
}

func (c *checker) problem(at place, problem, detail, hint string) {
	c.add(c.newProblem(at, problem, detail, hint))
}

func (c *checker) warning(at place, problem, detail, hint string) {
	c.warn(c.newProblem(at, problem, detail, hint))
}

func (c *checker) newProblem(at place, problem, detail, hint string) Problem {
	return Problem{File: c.file, Line: at.n.Line, Column: at.n.Column, Key: cmp.Or(at.path, "configuration"),
		Problem: problem, Detail: detail, Hint: hint}
}

// value checks one value and everything below it. It returns nil for a value
// that is not there (null).
func (c *checker) value(at place, t *node) *mark {
	if c.count++; c.count > maxValues {
		if !c.fatal {
			c.problem(at, "too large", fmt.Sprintf("expected at most %d values with aliases expanded", maxValues), "")
		}
		c.fatal = true
		return nil
	}
	if at.n.Kind == yaml.AliasNode {
		return c.alias(at, t)
	}
	if isNull(at.n) {
		return nil
	}
	m := &mark{pos: pos{file: c.file, line: at.n.Line, col: at.n.Column}}
	switch t.kind {
	case kindObject:
		if c.shape(at, yaml.MappingNode, "a mapping") {
			c.object(at, t, m)
		}
	case kindMap:
		if c.shape(at, yaml.MappingNode, "a mapping") {
			c.freeMapping(at, t, m)
		}
	case kindList:
		if t.one && at.n.Kind == yaml.ScalarNode {
			m.items = []*mark{c.value(at, t.elem)}
		} else if c.shape(at, yaml.SequenceNode, "a list") {
			c.list(at, t, m)
		}
	default:
		if t.alt != nil && at.n.Kind == yaml.MappingNode {
			c.object(at, t.alt, m)
			c.entry(at)
			return m
		}
		if c.shape(at, yaml.ScalarNode, t.wanted()) {
			c.scalar(at, t)
		}
	}
	return m
}

func (c *checker) alias(at place, t *node) *mark {
	target := at.n.Alias
	if c.opened[target] {
		c.problem(at, "alias to itself", "*"+at.n.Value+" stands inside the value it names", "")
		c.fatal = true
		return nil
	}
	c.opened[target] = true
	defer delete(c.opened, target)
	return c.value(place{target, at.path}, t)
}

// wanted describes the value a key expects.
func (n *node) wanted() string {
	switch n.kind {
	case kindBool:
		return "true or false"
	case kindNumber:
		return "a whole number"
	case kindText:
		return "text"
	case kindList:
		return "a list"
	}
	return "a mapping"
}

func (c *checker) shape(at place, want yaml.Kind, wanted string) bool {
	if at.n.Kind == want {
		return true
	}
	hint := ""
	if want == yaml.SequenceNode && at.n.Kind == yaml.ScalarNode {
		hint = "write one value as a list too: [" + shorten(redactLine(at.n.Value)) + "]"
	}
	c.problem(at, "wrong type", "found "+describe(at.n)+", expected "+wanted, hint)
	return false
}

// describe names a value as its writer sees it.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!int", "!!float":
		return "number " + shorten(n.Value)
	case "!!bool":
		return shorten(n.Value)
	}
	return strconv.Quote(shorten(redactLine(n.Value)))
}

// shorten cuts what is shown of a value.
func shorten(s string) string {
	const limit = 80
	if r := []rune(s); len(r) > limit {
		return string(r[:limit]) + "…"
	}
	return s
}

// pair is a key of a mapping and its value.
type pair struct{ key, value *yaml.Node }

// pairs returns a mapping's entries: its own first, then those that "<<" brings
// in and that are not there yet. Double keys are reported.
func (c *checker) pairs(at place) []pair {
	var own, merged []pair
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(at.n.Content); i += 2 {
		k, v := at.n.Content[i], at.n.Content[i+1]
		switch {
		case k.Kind != yaml.ScalarNode:
			c.problem(place{k, at.path}, "wrong type", "found "+describe(k)+" as a key, expected text", "")
			c.fatal = true
		case isMergeKey(k):
			merged = append(merged, c.mergePairs(place{v, at.path})...)
		case first[k.Value] != nil:
			c.problem(place{k, joinPath(at.path, k.Value)}, "duplicate key",
				fmt.Sprintf("already set in line %d", first[k.Value].Line), "")
		default:
			first[k.Value] = k
			own = append(own, pair{k, v})
		}
	}
	for _, p := range merged {
		if first[p.key.Value] == nil {
			first[p.key.Value] = p.key
			own = append(own, p)
		}
	}
	return own
}

func isMergeKey(k *yaml.Node) bool {
	return k.Value == "<<" && k.ShortTag() == "!!merge"
}

// mergePairs returns the entries of the value of "<<": a mapping or several.
func (c *checker) mergePairs(at place) []pair {
	if c.count++; c.count > maxValues {
		return nil
	}
	switch at.n.Kind {
	case yaml.AliasNode:
		if c.opened[at.n] {
			c.problem(at, "alias to itself", "*"+at.n.Value+" stands inside the value it names", "")
			c.fatal = true
			return nil
		}
		c.opened[at.n] = true
		defer delete(c.opened, at.n)
		return c.mergePairs(place{at.n.Alias, at.path})
	case yaml.MappingNode:
		return c.pairs(at)
	case yaml.SequenceNode:
		var out []pair
		for _, n := range at.n.Content {
			out = append(out, c.mergePairs(place{n, at.path})...)
		}
		return out
	}
	c.problem(at, "wrong type", "found "+describe(at.n)+` after "<<", expected a mapping`, "")
	c.fatal = true
	return nil
}

// object checks a mapping with known keys.
func (c *checker) object(at place, t *node, m *mark) {
	m.fields = map[string]*mark{}
	o := object{c: c, at: at, values: map[string]*yaml.Node{}}
	for _, p := range c.pairs(at) {
		name := p.key.Value
		f := t.byName[name]
		path := joinPath(at.path, name)
		if f == nil {
			c.unknown(place{p.key, path}, name, t)
			continue
		}
		if v := c.value(place{p.value, path}, f); v != nil {
			m.fields[name] = v
			o.values[name] = follow(p.value)
		}
	}
	for _, name := range t.required {
		o.require(name, t.byName[name])
	}
	if t.object != nil {
		t.object(o)
	}
}

// follow returns what an alias stands for.
func follow(n *yaml.Node) *yaml.Node {
	for range 100 {
		if n.Kind != yaml.AliasNode {
			break
		}
		n = n.Alias
	}
	return n
}

// advice is for keys that are written often and do not exist, by name or by
// path.
var advice = map[string]string{
	"accounts.groups[].name":     "did you mean groupname?",
	"accounts.users[].home":      "did you mean homedir?",
	"accounts.users[].name":      "did you mean username?",
	"contents.repos":             "did you mean repositories?",
	"env":                        "did you mean environment?",
	"contents.packages{}.slices": "did you mean slice?",
	"files[].perms":              "did you mean mode?",
	"files[].permissions":        "did you mean mode?",
	"healthcheck":                "OCI images have no health check; it is configured where the container runs",
	"layering.max-layers":        "did you mean budget?",
	"options":                    "options belong to melange; make one configuration per variant and include the common part",
	"os-release":                 "apko no longer has this key; /etc/os-release comes from a package",
	"paths[].mode":               "did you mean permissions?",
	"paths[].target":             "did you mean source?",
	"user":                       "did you mean accounts.run-as?",
	"variants":                   "make one configuration per variant and include the common part",
}

func (c *checker) unknown(at place, name string, t *node) {
	hint, ok := advice[join(t.path, name)]
	if near := spelling.Nearest(name, t.names()); !ok && near != "" {
		hint = "did you mean " + near + "?"
	} else if homes := language().where(name); !ok && len(homes) > 0 {
		hint = name + " belongs to " + home(homes[0])
	}
	c.problem(at, "unknown key", "expected one of "+strings.Join(t.names(), ", "), hint)
}

// home names the mapping that a misplaced key belongs to.
func home(path string) string {
	if path == "" {
		return "the top level"
	}
	return strings.TrimSuffix(path, "[]")
}

func (c *checker) freeMapping(at place, t *node, m *mark) {
	m.fields = map[string]*mark{}
	for _, p := range c.pairs(at) {
		name := p.key.Value
		path := joinPath(at.path, redactURL(name))
		if t.key != nil {
			t.key(c, place{p.key, path}, name)
		}
		v := c.value(place{p.value, path}, t.elem)
		if v == nil { // null is the empty text here
			v = &mark{}
			if t.elem.text != nil {
				t.elem.text(c, place{p.value, path}, "")
			}
		}
		v.pos = pos{file: c.file, line: p.key.Line, col: p.key.Column}
		m.fields[name] = v
	}
}

func (c *checker) list(at place, t *node, m *mark) {
	m.items = []*mark{}
	for i, n := range at.n.Content {
		item := place{n, at.path + index(i)}
		if isNull(follow(n)) {
			c.problem(item, "empty", "found nothing after the dash, expected "+t.elem.wanted(), "")
			continue
		}
		if v := c.value(item, t.elem); v != nil {
			m.items = append(m.items, v)
		}
	}
}

// joinPath appends a written key to a path; keys that are not plain words are
// quoted.
func joinPath(path, key string) string {
	if key == "" || key[0] == '.' || strings.ContainsAny(key, "\"\n\r\t ") {
		key = strconv.Quote(key)
	}
	return join(path, shorten(key))
}
