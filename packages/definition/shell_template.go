package definition

import (
	"strings"
	"sync"

	"github.com/cairn-dev/cairn/packages/definition/condition"
)

// A reusable pipeline's script is used hundreds of times with few words
// different. It is cut in pieces where a statement ends with its line; a piece
// without variables is parsed and printed once. A newline after a complete
// statement ends it whatever comes next, so that pieces which parse on their own
// print as they do together. Where one does not, the script is parsed whole.

// shellTemplate is a script before substitution, in pieces.
type shellTemplate struct {
	pieces []shellPiece // nil when it cannot be cut
}

type shellPiece struct {
	text    string
	printed string // of a piece without variables
	fixed   bool
}

var templates sync.Map // of string to *shellTemplate

// templateOf cuts a script, once.
func templateOf(text string) *shellTemplate {
	if t, ok := templates.Load(text); ok {
		return t.(*shellTemplate)
	}
	t := &shellTemplate{pieces: cutShell(text)}
	templates.Store(text, t)
	return t
}

// cutShell returns the pieces, or nil when there is nothing to gain.
func cutShell(text string) []shellPiece {
	if strings.HasPrefix(text, "#!") {
		return nil // the first line is treated as one of the whole
	}
	cuts := statementLines(maskVariables(text))
	var pieces []shellPiece
	for i, from := range cuts {
		to := len(text)
		if i+1 < len(cuts) {
			to = cuts[i+1]
		}
		piece := shellPiece{text: text[from:to]}
		if !strings.Contains(piece.text, "${{") {
			var err error
			if piece.printed, err = reprint(piece.text); err != nil {
				return nil
			}
			piece.fixed = true
		}
		pieces = append(pieces, piece)
	}
	return pieces
}

// maskVariables puts letters where references are, as many as they are long.
func maskVariables(text string) string {
	var b strings.Builder
	for {
		i := strings.Index(text, "${{")
		j := strings.Index(text[max(i, 0):], "}}")
		if i < 0 || j < 0 {
			b.WriteString(text)
			return b.String()
		}
		b.WriteString(text[:i])
		b.WriteString(strings.Repeat("x", j+2))
		text = text[i+j+2:]
	}
}

// statementLines returns where lines begin that begin a statement, the first of
// them as 0; nothing when the text does not parse.
func statementLines(text string) []int {
	p := printers.Get().(*shellPrinter)
	defer printers.Put(p)
	cuts := []int{0}
	end := uint(1) // line that the statement before ends in
	file, err := p.Parse(strings.NewReader(text), "")
	if err != nil {
		return nil
	}
	for _, statement := range file.Stmts {
		if at := statement.Pos(); at.Line() > end {
			cuts = append(cuts, int(at.Offset()-(at.Col()-1)))
		}
		end = statement.End().Line()
	}
	return cuts
}

// print substitutes in the pieces and prints them; false when the script must be
// parsed whole.
func (t *shellTemplate) print(lookup condition.Lookup) (string, bool) {
	if t.pieces == nil {
		return "", false
	}
	var b strings.Builder
	for _, piece := range t.pieces {
		if piece.fixed {
			b.WriteString(piece.printed)
			continue
		}
		text, err := condition.Substitute(piece.text, lookup)
		if err != nil || mayGoOn(text, piece.text) {
			return "", false
		}
		out, err := printShell(text)
		if err != nil {
			return "", false
		}
		b.WriteString(out)
	}
	return b.String(), true
}

// mayGoOn reports whether a piece could reach into the next one although it
// parses: its last line is continued, or a value begins a here-document.
func mayGoOn(text, written string) bool {
	last := strings.TrimRight(text, "\n")
	return strings.HasSuffix(last, "\\") || strings.Count(text, "<<") != strings.Count(written, "<<")
}
