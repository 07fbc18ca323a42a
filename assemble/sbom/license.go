package sbom

import (
	"crypto/sha256"
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// licenseList holds the identifiers of the SPDX licence list (CC0-1.0): the
// licences, an empty line, the exceptions.
//
//go:embed licenses.txt
var licenseList string

// knownLicenses maps lower-case identifiers to their spelling: identifiers are
// compared without regard to case.
var knownLicenses = sync.OnceValues(func() (licenses, exceptions map[string]string) {
	l, e, _ := strings.Cut(licenseList, "\n\n")
	return byLower(l), byLower(e)
})

func byLower(list string) map[string]string {
	m := map[string]string{}
	for id := range strings.FieldsSeq(list) {
		m[strings.ToLower(id)] = id
	}
	return m
}

// licenseSet holds the licences that are not on the list, by identifier.
type licenseSet map[string]License

func (s licenseSet) sorted() []License {
	var out []License
	for _, l := range s {
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b License) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// expression turns a licence field into a valid SPDX expression. Names that
// are not on the list become LicenseRef identifiers; a field that is no
// expression becomes one of them as a whole. An empty field stays empty.
func (s licenseSet) expression(field string) string {
	return s.renamed(field, nil)
}

// renamed is expression for a field in which LicenseRef identifiers have the
// meaning that an embedded SBOM gives them.
func (s licenseSet) renamed(field string, refs map[string]string) string {
	field = strings.Join(strings.Fields(field), " ")
	switch field {
	case "", noAssertion, "NONE":
		return ""
	}
	p := licenseParser{tokens: licenseTokens(field), set: s, refs: refs}
	out, ok := p.or()
	if !ok || len(p.tokens) > 0 {
		return s.reference(field)
	}
	for _, name := range p.unknown {
		s.reference(name)
	}
	return out
}

// reference returns the LicenseRef identifier for a name that is not on the
// list.
func (s licenseSet) reference(name string) string {
	id := "LicenseRef-" + safeID(name)
	if safeID(name) != name || len(id) > 80 {
		sum := sha256.Sum256([]byte(name))
		id = fmt.Sprintf("%.70s-%x", id, sum[:4])
	}
	if _, ok := s[id]; !ok {
		s[id] = License{ID: id, Name: name, Text: fmt.Sprintf("The package declares its licence as %q.", name)}
	}
	return id
}

func licenseTokens(s string) []string {
	s = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s)
	return strings.Fields(s)
}

// licenseParser reads the grammar of SPDX 2.3 annex D: OR binds weakest, then
// AND, then WITH.
type licenseParser struct {
	tokens  []string
	set     licenseSet
	refs    map[string]string
	unknown []string
	depth   int
}

const maxLicenseDepth = 50

func (p *licenseParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *licenseParser) take() string {
	t := p.peek()
	if t != "" {
		p.tokens = p.tokens[1:]
	}
	return t
}

func (p *licenseParser) or() (string, bool)  { return p.binary("OR", p.and) }
func (p *licenseParser) and() (string, bool) { return p.binary("AND", p.with) }

func (p *licenseParser) binary(op string, operand func() (string, bool)) (string, bool) {
	left, ok := operand()
	for ok && isOperator(p.peek(), op) {
		p.take()
		var right string
		right, ok = operand()
		left += " " + op + " " + right
	}
	return left, ok
}

// isOperator accepts AND and and, but not And, as the specification does.
func isOperator(token, op string) bool { return token == op || token == strings.ToLower(op) }

func (p *licenseParser) with() (string, bool) {
	if p.peek() == "(" {
		if p.depth++; p.depth > maxLicenseDepth {
			return "", false
		}
		p.take()
		inner, ok := p.or()
		p.depth--
		return "(" + inner + ")", ok && p.take() == ")"
	}
	id, ok := p.id(p.take())
	if !ok || !isOperator(p.peek(), "WITH") {
		return id, ok
	}
	p.take()
	_, exceptions := knownLicenses()
	exception, ok := exceptions[strings.ToLower(p.take())]
	return id + " WITH " + exception, ok
}

var idPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9.-]+$`) })

// id reads one licence identifier.
func (p *licenseParser) id(token string) (string, bool) {
	bare, plus := strings.CutSuffix(token, "+")
	licenses, _ := knownLicenses()
	if id, ok := licenses[strings.ToLower(token)]; ok { // "GPL-2.0+" is itself on the list
		return id, true
	}
	if id, ok := licenses[strings.ToLower(bare)]; ok && plus {
		return id + "+", true
	}
	switch {
	case token == "" || token == "(" || token == ")" || isOperator(token, "AND") || isOperator(token, "OR") || isOperator(token, "WITH"):
		return "", false
	case p.refs[token] != "":
		return p.refs[token], true
	case strings.HasPrefix(token, "LicenseRef-") && idPattern().MatchString(token):
		if _, ok := p.set[token]; !ok {
			p.set[token] = License{ID: token, Name: strings.TrimPrefix(token, "LicenseRef-"), Text: fmt.Sprintf("The package declares its licence as %q.", token)}
		}
		return token, true
	case idPattern().MatchString(bare):
		p.unknown = append(p.unknown, token)
		return p.set.referenceID(token), true
	}
	return "", false
}

// referenceID is the identifier that reference gives to name, without
// recording it.
func (s licenseSet) referenceID(name string) string {
	scratch := licenseSet{}
	return scratch.reference(name)
}
