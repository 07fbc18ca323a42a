// Package condition evaluates the conditions of package definitions and
// substitutes variables in their texts, as melange does.
//
// A condition compares texts and joins comparisons:
//
//	expression = atom { ( "&&" | "||" ) atom }
//	atom       = "(" expression ")" | value ( "==" | "!=" ) value
//	value      = 'text' | "text" | ${{name}}
//
// "&&" and "||" bind equally, go from left to right, and evaluate both sides.
// There is no negation, no truth value that stands alone and no function. In a
// quoted text, \\ \' \" \n and \t are escapes; a backslash before anything else
// is itself.
//
// The package knows no variables; they come from a [Lookup].
//
//	ok, err := condition.Evaluate("${{build.arch}} == 'x86_64'", lookup)
package condition

import (
	"errors"
	"fmt"
	"strings"
)

// Lookup gives the value of a variable by its name, without "${{" and "}}".
type Lookup func(name string) (string, error)

// ErrUndefined is for lookups: there is no such variable.
var ErrUndefined = errors.New("undefined variable")

// Undefined is an error about a variable that does not exist.
func Undefined(name string) error { return fmt.Errorf("%w: %s", ErrUndefined, name) }

// SyntaxError is a condition, or a reference to a variable, that is malformed.
type SyntaxError struct {
	// Offset is where, in bytes from the beginning.
	Offset int
	// Found and Expected describe what was there and what should have been.
	Found, Expected string
}

// Error renders "found F at character N, expected E".
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("found %s at character %d, expected %s", e.Found, e.Offset+1, e.Expected)
}

// maxDepth bounds nested parentheses.
const maxDepth = 1000

// Evaluate evaluates a condition. Every variable in it is looked up, whatever
// the result depends on.
func Evaluate(expression string, lookup Lookup) (bool, error) {
	p := &parser{text: expression, lookup: lookup}
	result, err := p.expression()
	if err != nil {
		return false, err
	}
	if p.space(); p.pos < len(p.text) {
		return false, p.unexpected("\"&&\", \"||\" or the end")
	}
	return result, nil
}

type parser struct {
	text   string
	pos    int
	depth  int
	lookup Lookup
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func isName(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-' || c == '_'
}

// space skips white space.
func (p *parser) space() { p.pos = skip(p.text, p.pos, isSpace) }

// skip returns the first position from pos on where is does not hold.
func skip(text string, pos int, is func(byte) bool) int {
	for pos < len(text) && is(text[pos]) {
		pos++
	}
	return pos
}

// take skips white space and s, when s is there.
func (p *parser) take(s string) bool {
	p.space()
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *parser) unexpected(expected string) error {
	p.space()
	found := "the end"
	if rest := p.text[p.pos:]; rest != "" {
		if r := []rune(rest); len(r) > 20 {
			rest = string(r[:20]) + "…"
		}
		found = fmt.Sprintf("%q", rest)
	}
	return &SyntaxError{Offset: p.pos, Found: found, Expected: expected}
}

func (p *parser) expression() (bool, error) {
	result, err := p.atom()
	for err == nil {
		var right bool
		switch {
		case p.take("&&"):
			right, err = p.atom()
			result = result && right
		case p.take("||"):
			right, err = p.atom()
			result = result || right
		default:
			return result, nil
		}
	}
	return false, err
}

func (p *parser) atom() (bool, error) {
	if !p.take("(") {
		return p.comparison()
	}
	if p.depth++; p.depth > maxDepth {
		return false, &SyntaxError{Offset: p.pos, Found: "one more parenthesis", Expected: fmt.Sprintf("at most %d", maxDepth)}
	}
	result, err := p.expression()
	if err != nil {
		return false, err
	}
	p.depth--
	if !p.take(")") {
		return false, p.unexpected("\")\", \"&&\" or \"||\"")
	}
	return result, nil
}

func (p *parser) comparison() (bool, error) {
	left, err := p.value()
	if err != nil {
		return false, err
	}
	equal := p.take("==")
	if !equal && !p.take("!=") {
		return false, p.unexpected("\"==\" or \"!=\"")
	}
	right, err := p.value()
	if err != nil {
		return false, err
	}
	return (left == right) == equal, nil
}

func (p *parser) value() (string, error) {
	p.space()
	switch {
	case p.pos == len(p.text):
	case p.text[p.pos] == '\'' || p.text[p.pos] == '"':
		return p.quoted()
	case strings.HasPrefix(p.text[p.pos:], open):
		name, end, err := reference(p.text, p.pos)
		if err != nil {
			return "", err
		}
		p.pos = end
		return p.lookup(name)
	}
	return "", p.unexpected("a text in quotes or a variable")
}

func (p *parser) quoted() (string, error) {
	quote, start := p.text[p.pos], p.pos
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		c := p.text[p.pos]
		switch {
		case c == quote:
			p.pos++
			return b.String(), nil
		case c == '\\' && p.pos+1 < len(p.text):
			p.pos++
			b.WriteString(unescape(p.text[p.pos]))
		default:
			b.WriteByte(c)
		}
	}
	return "", &SyntaxError{Offset: start, Found: "a text that does not end", Expected: "a closing " + string(quote)}
}

// unescape gives what a backslash and c stand for.
func unescape(c byte) string {
	switch c {
	case '\\', '\'', '"':
		return string(rune(c))
	case 'n':
		return "\n"
	case 't':
		return "\t"
	}
	return string([]byte{'\\', c})
}
