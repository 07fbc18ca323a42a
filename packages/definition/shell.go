package definition

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"gopkg.in/yaml.v3"
	"mvdan.cc/sh/v3/syntax"
)

// script checks a step's shell and prints it as melange does: without comments,
// laid out anew. written is the text before substitution.
func (c *compiler) script(p *Pipeline, written string, s scope) {
	if p.Runs == "" {
		return
	}
	if p.src != nil && p.src.name != c.out.File { // of a reusable pipeline
		if out, ok := templateOf(written).print(s.lookup); ok {
			p.Runs = out
			return
		}
	}
	out, err := printShell(p.Runs)
	if err == nil {
		p.Runs = out
		return
	}
	problem := p.problem("shell syntax", err.Error(), "", "runs")
	var syntaxError syntax.ParseError
	if errors.As(err, &syntaxError) {
		line, column := int(syntaxError.Pos.Line()), int(syntaxError.Pos.Col())
		problem.Detail = fmt.Sprintf("%s in %q", syntaxError.Text, shorten(strings.TrimSpace(lineOf(p.Runs, line))))
		p.locate(&problem, line, column, written)
	}
	c.add(problem)
}

// locate moves a problem from the beginning of a script to a line of it, where
// the lines are still those of the file.
func (p *Pipeline) locate(problem *Problem, line, column int, written string) {
	n := p.value("runs")
	if n == nil || n.Style&yaml.LiteralStyle == 0 || strings.Count(written, "\n") != strings.Count(p.Runs, "\n") {
		return
	}
	problem.Line = n.Line + line
	text := lineOf(string(p.src.text), problem.Line)
	problem.Column = len(text) - len(strings.TrimLeft(text, " ")) + 1
	if body := lineOf(written, line); strings.HasSuffix(text, body) {
		problem.Column = len(text) - len(body) + column
	}
}

// lineOf returns a line, counted from 1, or "".
func lineOf(text string, line int) string {
	for range line - 1 {
		_, rest, ok := strings.Cut(text, "\n")
		if !ok {
			return ""
		}
		text = rest
	}
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimSuffix(first, "\r")
}

// printed keeps what scripts were printed as: the same step of the same
// reusable pipeline occurs in hundreds of definitions.
var printed struct {
	sync.Map // of string to string
	size     atomic.Int64
}

// maxPrinted bounds the texts in printed, in bytes; what comes later is printed
// every time.
const maxPrinted = 64 << 20

// printShell parses a script as bash and prints it again.
func printShell(text string) (string, error) {
	if out, ok := printed.Load(text); ok {
		return out.(string), nil
	}
	out, err := reprint(text)
	if err == nil && printed.size.Add(int64(len(text)+len(out))) < maxPrinted {
		printed.Store(text, out)
	}
	return out, err
}

// printers are for one goroutine at a time.
var printers = sync.Pool{New: func() any {
	return &shellPrinter{syntax.NewParser(syntax.KeepComments(false)), syntax.NewPrinter()}
}}

type shellPrinter struct {
	*syntax.Parser
	*syntax.Printer
}

// reprint prints statement by statement, as melange does. The first line stays
// when it is "#!…" and not the only one. melange parses statement by statement
// too, by an iterator that panics or does not end after some mistakes.
func reprint(text string) (string, error) {
	p := printers.Get().(*shellPrinter)
	defer printers.Put(p)
	var b strings.Builder
	b.Grow(len(text))
	if first, _, ok := strings.Cut(text, "\n"); ok && strings.HasPrefix(first, "#!") {
		b.WriteString(first + "\n")
	}
	file, err := p.Parse(strings.NewReader(text), "")
	if err != nil {
		return "", err
	}
	for _, statement := range file.Stmts {
		if err := p.Print(&b, statement); err != nil {
			return "", err
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
