package condition

import (
	"errors"
	"strings"
)

const (
	open  = "${{"
	close = "}}"
)

// Substitute replaces every ${{name}} in a text by the variable's value, once:
// values are not looked at again. White space around the name is allowed. The
// error joins all problems, in the order of the text.
func Substitute(text string, lookup Lookup) (string, error) {
	i := strings.Index(text, open)
	if i < 0 {
		return text, nil
	}
	var b strings.Builder
	b.Grow(len(text))
	var errs []error
	pos := 0
	for ; i >= 0; i = strings.Index(text[pos:], open) {
		b.WriteString(text[pos : pos+i])
		name, end, err := reference(text, pos+i)
		pos = end
		if err == nil {
			var value string
			value, err = lookup(name)
			b.WriteString(value)
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	if errs != nil {
		return "", errors.Join(errs...)
	}
	b.WriteString(text[pos:])
	return b.String(), nil
}

// reference reads the ${{name}} at pos and returns the position behind it, or,
// where it is malformed, behind what could be read.
func reference(text string, pos int) (name string, end int, err error) {
	start := skip(text, pos+len(open), isSpace)
	end = skip(text, start, isName)
	name = text[start:end]
	if name == "" {
		return "", end, malformed(text, end, "the name of a variable after \"${{\"")
	}
	end = skip(text, end, isSpace)
	if !strings.HasPrefix(text[end:], close) {
		return "", end, malformed(text, end, "\"}}\" after \"${{"+name+"\"")
	}
	return name, end + len(close), nil
}

func malformed(text string, pos int, expected string) error {
	p := &parser{text: text, pos: pos}
	return p.unexpected(expected)
}
