package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxConfigSize bounds a configuration file, in bytes. The largest public ones
// are below 100 kB.
const maxConfigSize = 4 << 20

var byteOrderMark = []byte("\xef\xbb\xbf")

// document turns a file's bytes into its one YAML document, or adds the reason
// why not to the report and returns nil.
func document(r *report, file string, data []byte) *yaml.Node {
	text := bytes.TrimPrefix(data, byteOrderMark)
	if p, ok := badText(text); ok {
		p.File = file
		r.add(p)
		return nil
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := nextDocument(dec)
	if errors.Is(err, io.EOF) || err == nil && isNull(doc) {
		r.add(Problem{File: file, Line: 1, Column: 1, Key: "configuration", Problem: "empty",
			Detail: "found no key, expected at least contents"})
		return nil
	}
	if err != nil {
		r.add(syntaxProblem(file, text, err))
		return nil
	}
	second, err := nextDocument(dec)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isNull(second):
		return doc
	case err != nil:
		r.add(syntaxProblem(file, text, err))
	default:
		r.add(Problem{File: file, Line: second.Line, Column: second.Column, Key: "configuration",
			Problem: "second YAML document", Detail: "found one more after \"---\", expected one per file",
			Hint: "apko reads the first one only; move the others to files of their own"})
	}
	return nil
}

// nextDocument returns the root value of the next document.
func nextDocument(dec *yaml.Decoder) (n *yaml.Node, err error) {
	// yaml.v3 panics on some malformed streams instead of returning an error.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: malformed text")
		}
	}()
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if doc.Kind == yaml.DocumentNode && len(doc.Content) == 1 {
		return doc.Content[0], nil
	}
	return &doc, nil
}

func isNull(n *yaml.Node) bool {
	return n == nil || n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

// badText looks for what no YAML text contains: other encodings than UTF-8 and
// control characters.
func badText(text []byte) (Problem, bool) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return Problem{Line: 1, Column: 1, Key: "configuration", Problem: "wrong encoding",
			Detail: "found UTF-16, expected UTF-8"}, true
	}
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(text[i:])
		}
		bad := c == utf8.RuneError && size == 1
		if bad || c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			line, col := position(text, i)
			p := Problem{Line: line, Column: col, Key: "configuration", Problem: "control character",
				Detail: fmt.Sprintf("found byte 0x%02x, expected printable text", text[i])}
			if bad {
				p.Problem = "wrong encoding"
				p.Detail = fmt.Sprintf("found byte 0x%02x, expected UTF-8", text[i])
			}
			return p, true
		}
		i += size
	}
	return Problem{}, false
}

// position turns an offset into a line and a column in characters, from 1.
func position(text []byte, offset int) (line, col int) {
	before := text[:offset]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}

// yamlLine finds the line in an error of yaml.v3.
func yamlLine(message string) (line int, rest string) {
	m := regexp.MustCompile(`(?s)^(?:yaml: )?(?:unmarshal errors:\s*)?(?:line (\d+): )?(.*)$`).FindStringSubmatch(message)
	line, err := strconv.Atoi(m[1])
	if err != nil || line < 1 {
		line = 1
	}
	return line, strings.ReplaceAll(strings.TrimSpace(m[2]), "\n", "; ")
}

// maxLocate bounds the lines of a text in which locate looks for a mistake.
const maxLocate = 500

// syntaxProblem gives an error of the YAML parser a position. The column is
// that of the line's first character that is not blank.
func syntaxProblem(file string, text []byte, err error) Problem {
	line, message := yamlLine(err.Error())
	lines := bytes.Split(text, []byte("\n"))
	line = locate(lines, min(line, len(lines)))
	content := bytes.TrimRight(lines[line-1], " \t\r")
	p := Problem{File: file, Line: line, Key: "configuration", Problem: "not YAML", Detail: message, Err: err}
	p.Column = 1 + utf8.RuneCount(content) - utf8.RuneCount(bytes.TrimLeft(content, " \t"))
	if bytes.HasPrefix(bytes.TrimLeft(content, " "), []byte("\t")) {
		p.Hint = "indent with spaces; YAML does not allow tabs"
	}
	return p
}

// locate returns the first line that cannot follow the ones before it: one
// after the longest beginning of the text that is YAML. The parser itself names
// a line nearby, or none.
func locate(lines [][]byte, named int) int {
	if len(lines) > maxLocate {
		return named
	}
	for n := len(lines) - 1; n > 0; n-- {
		if isYAML(bytes.Join(lines[:n], []byte("\n"))) {
			return n + 1
		}
	}
	return 1
}

func isYAML(text []byte) bool {
	dec := yaml.NewDecoder(bytes.NewReader(text))
	for {
		_, err := nextDocument(dec)
		if err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}
