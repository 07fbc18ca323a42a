package definition

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// maxFileSize bounds a definition or pipeline, in bytes. Wolfi's largest
// definition has 100 kB.
const maxFileSize = 4 << 20

// Options change how a definition is read. The zero value is right for most.
type Options struct {
	// Commit is the revision of the definition, for packages that name none.
	Commit string
	// Vars replace variables of the definition's vars and add to them.
	Vars map[string]string
	// Environment are variables of the sandbox, below the definition's own.
	Environment map[string]string
}

// ReadFile reads a definition. The error is an *[Errors] with every problem
// when the file can be read and is wrong.
func ReadFile(path string, o Options) (*Definition, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return Read(path, data, o)
}

// readFile reads a file within the limit.
func readFile(path string) (data []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read from
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, fmt.Errorf("%s: is a directory, expected a file", path)
	}
	buf := bytes.NewBuffer(make([]byte, 0, min(info.Size(), maxFileSize)+512))
	n, err := buf.ReadFrom(io.LimitReader(f, maxFileSize+1))
	switch {
	case err != nil:
		return nil, err
	case n > maxFileSize:
		return nil, fmt.Errorf("%s: too large: expected at most %d bytes", path, maxFileSize)
	}
	return buf.Bytes(), nil
}

// Read is [ReadFile] for a definition in memory. The name is used in messages.
func Read(name string, data []byte, o Options) (*Definition, error) {
	sum := sha256.Sum256(data)
	d := &Definition{File: name, SHA256: hex.EncodeToString(sum[:])}
	r := &report{}
	src := &source{name: name, text: data}
	doc := document(r, src)
	if doc == nil {
		return nil, r.err()
	}
	dec := &decoder{report: r, src: src}
	dec.value(place{doc, ""}, reflect.ValueOf(d).Elem())
	d.checkShape(r)
	if err := r.err(); err != nil {
		return nil, err
	}
	d.resolve(r, o)
	if err := r.err(); err != nil {
		return nil, err
	}
	d.check(r)
	if err := r.err(); err != nil {
		return nil, err
	}
	d.Warnings = sorted(r.warnings)
	return d, nil
}

// ReadVars reads a file of variables for Options.Vars: a mapping of names to
// texts. The error is an *[Errors] when the file can be read and is wrong.
func ReadVars(path string) (map[string]string, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	r := &report{}
	src := &source{name: path, text: data}
	var vars map[string]string
	if doc := document(r, src); doc != nil {
		dec := &decoder{report: r, src: src}
		dec.value(place{doc, ""}, reflect.ValueOf(&vars).Elem())
	}
	return vars, r.err()
}

var byteOrderMark = []byte("\xef\xbb\xbf")

// document turns a file's bytes into its one YAML document, or adds the reason
// why not and returns nil.
func document(r *report, src *source) *yaml.Node {
	text := bytes.TrimPrefix(src.text, byteOrderMark)
	fail := func(line, column int, problem, detail, hint string) *yaml.Node {
		r.add(Problem{File: src.name, Line: line, Column: column, Key: "definition", Problem: problem, Detail: detail, Hint: hint})
		return nil
	}
	if !utf8.Valid(text) {
		line, column := badByte(text)
		return fail(line, column, "not UTF-8", "found a byte that is no text, expected UTF-8", "")
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	doc, err := nextDocument(dec)
	switch {
	case errors.Is(err, io.EOF) || err == nil && isNull(doc):
		return fail(1, 1, "empty", "found no key, expected at least package", "")
	case err != nil:
		line, message := yamlLine(err)
		return fail(line, 1, "not YAML", message, yamlHint(text, line))
	}
	return doc
}

// badByte finds the first byte that is not UTF-8.
func badByte(text []byte) (line, column int) {
	line, column = 1, 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		if r == utf8.RuneError && size == 1 {
			return line, column
		}
		if column++; r == '\n' {
			line, column = line+1, 1
		}
		text = text[size:]
	}
	return line, column
}

// nextDocument returns the root value of the next document.
func nextDocument(dec *yaml.Decoder) (n *yaml.Node, err error) {
	// yaml.v3 panics on some malformed streams instead of returning an error.
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("yaml: malformed text")
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

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?((?s).*)$`)

// yamlLine takes the line out of an error of yaml.v3. Errors without one are
// about the first line.
func yamlLine(err error) (line int, message string) {
	m := yamlError.FindStringSubmatch(err.Error())
	if m == nil {
		return 1, err.Error()
	}
	line, _ = strconv.Atoi(m[1]) // digits, or nothing
	return max(line, 1), m[2]
}

// yamlHint says what is usually wrong with a line.
func yamlHint(text []byte, line int) string {
	lines := bytes.Split(text, []byte("\n"))
	for i := max(line-2, 0); i < min(line+1, len(lines)); i++ {
		if l := bytes.TrimLeft(lines[i], " "); len(l) > 0 && l[0] == '\t' {
			return fmt.Sprintf("line %d is indented with a tab; YAML wants spaces", i+1)
		}
	}
	return ""
}
