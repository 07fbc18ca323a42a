package config

import (
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/spelling"
)

// scalar checks a text, number or truth value, and then what the key's own
// rule says about it.
func (c *checker) scalar(at place, t *node) {
	if !c.tag(at) {
		return
	}
	switch t.kind {
	case kindBool:
		if _, ok := truth(at.n); !ok {
			c.wrongType(at, t)
		}
	case kindNumber:
		c.numeric(at, t)
	default:
		c.text(at, t)
	}
}

// tag refuses explicit tags that mean nothing here and values that contradict
// theirs.
func (c *checker) tag(at place) bool {
	switch tag := at.n.ShortTag(); tag {
	case "!!binary":
		if _, err := base64.StdEncoding.DecodeString(at.n.Value); err != nil {
			c.problem(at, "wrong type", "found a !!binary value that is not base64", "")
			c.fatal = true
			return false
		}
		return true
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp", "!!merge":
		var v any
		if err := at.n.Decode(&v); err != nil {
			c.problem(at, "wrong type", "found "+tag+" "+describe(at.n)+", which is none", "")
			c.fatal = true
			return false
		}
		return true
	default:
		c.problem(at, "unknown tag", "found "+tag+", expected a plain value", "")
		return false
	}
}

func (c *checker) wrongType(at place, t *node) {
	hint := ""
	if at.n.ShortTag() == "!!str" && at.n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 {
		hint = "remove the quotes"
	}
	c.problem(at, "wrong type", "found "+describe(at.n)+", expected "+t.wanted(), hint)
}

// truth reads a truth value as yaml.v3 does into a bool: with the words of
// YAML 1.1, also quoted.
func truth(n *yaml.Node) (value, ok bool) {
	switch n.Value {
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return strings.EqualFold(n.Value, "true"), n.ShortTag() == "!!bool"
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}

// integer reads a number; 0755, 0o755, 0x1ed and 1_000 are numbers too.
func integer(n *yaml.Node) (int64, bool) {
	if n.ShortTag() != "!!int" {
		return 0, false
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return 0, false
	}
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int64:
		return v, true
	}
	return math.MaxInt64, true // a uint64 beyond
}

func (c *checker) numeric(at place, t *node) {
	v, ok := integer(at.n)
	if !ok && at.n.ShortTag() == "!!float" && onlyDigits(strings.TrimPrefix(at.n.Value, "-")) && at.n.Value[0] != '0' {
		v, ok = math.MaxInt64, true // more digits than any integer has
	}
	if !ok {
		c.wrongNumber(at, t)
		return
	}
	high := int64(math.MaxUint32)
	if t.max != 0 && !t.octal { // checkMode explains more
		high = t.max
	}
	if v < 0 || v > high {
		c.problem(at, "out of range", fmt.Sprintf("found %s, expected 0 to %d", describe(at.n), high), "")
		return
	}
	if t.number != nil {
		t.number(c, at, v)
	}
}

// wrongNumber explains the two ways octal numbers go wrong.
func (c *checker) wrongNumber(at place, t *node) {
	digits := strings.TrimPrefix(strings.TrimPrefix(at.n.Value, "0o"), "0")
	octal := digits != "" && strings.Trim(digits, "01234567") == ""
	quoted := at.n.ShortTag() == "!!str" && at.n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0
	switch {
	case quoted && octal && t.octal:
		c.problem(at, "wrong type", "found "+describe(at.n)+", expected a number", "write 0o"+digits+" without quotes")
	case at.n.ShortTag() == "!!float" && t.octal && strings.HasPrefix(at.n.Value, "0"):
		c.problem(at, "wrong type", "found "+describe(at.n)+", expected an octal number", "octal digits go from 0 to 7")
	default:
		c.wrongType(at, t)
	}
}

func (c *checker) text(at place, t *node) {
	v := at.n.Value
	if at.n.ShortTag() == "!!binary" {
		b, _ := base64.StdEncoding.DecodeString(v) // checked in tag
		v = string(b)
	}
	if strings.ContainsRune(v, 0) {
		c.problem(at, "impossible value", "found a NUL character, expected text", "")
		return
	}
	if len(t.values) > 0 && v != "" && !slices.Contains(t.values, v) {
		hint := ""
		if near := spelling.Nearest(v, t.values); near != "" {
			hint = "did you mean " + near + "?"
		}
		c.problem(at, "impossible value", "found "+describe(at.n)+", expected "+strings.Join(t.values, ", "), hint)
		return
	}
	if t.text != nil {
		t.text(c, at, v)
	}
}

// object is a checked mapping, for rules about several of its keys.
type object struct {
	c      *checker
	at     place
	values map[string]*yaml.Node // those that are there, aliases followed
}

// get returns a scalar's text; false when the key is not there or no scalar.
func (o object) get(name string) (string, bool) {
	n := o.values[name]
	if n == nil || n.Kind != yaml.ScalarNode {
		return "", false
	}
	return n.Value, true
}

// place returns where a key's value stands, or the mapping when it has none.
func (o object) place(name string) place {
	if n := o.values[name]; n != nil {
		return place{n, joinPath(o.at.path, name)}
	}
	return place{o.at.n, joinPath(o.at.path, name)}
}

// require reports a key that is not there or empty.
func (o object) require(name string, t *node) {
	n := o.values[name]
	switch {
	case n == nil:
		o.c.problem(o.place(name), "missing", "expected "+t.wanted(), "")
	case n.Kind == yaml.ScalarNode && n.Value == "":
		o.c.problem(o.place(name), "empty", "expected "+t.wanted(), "")
	}
}
