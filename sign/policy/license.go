package policy

import (
	"slices"
	"strings"
)

// licenseMet reports whether an SPDX expression can be met with licences that
// ok accepts: all parts of an AND, one of an OR. A text that is no expression is
// one name.
func licenseMet(expression string, ok func(id string) bool) bool {
	p := licenseParser{tokens: strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression)), ok: ok}
	met := p.or(0)
	if p.bad || len(p.tokens) > 0 {
		return ok(strings.TrimSpace(expression))
	}
	return met
}

type licenseParser struct {
	tokens []string
	ok     func(string) bool
	bad    bool
}

func (p *licenseParser) next(words ...string) bool {
	if len(p.tokens) > 0 && slices.Contains(words, p.tokens[0]) {
		p.tokens = p.tokens[1:]
		return true
	}
	return false
}

func (p *licenseParser) or(depth int) bool {
	met := p.and(depth)
	for p.next("OR", "or") {
		met = p.and(depth) || met
	}
	return met
}

func (p *licenseParser) and(depth int) bool {
	met := p.one(depth)
	for p.next("AND", "and") {
		met = p.one(depth) && met
	}
	return met
}

func (p *licenseParser) one(depth int) bool {
	if len(p.tokens) == 0 || depth > 50 {
		p.bad = true
		return false
	}
	if p.next("(") {
		met := p.or(depth + 1)
		p.bad = p.bad || !p.next(")")
		return met
	}
	id := p.tokens[0]
	p.tokens = p.tokens[1:]
	p.bad = p.bad || slices.Contains([]string{")", "AND", "OR", "WITH", "and", "or", "with"}, id)
	if p.next("WITH", "with") && len(p.tokens) > 0 {
		exception := p.tokens[0]
		p.tokens = p.tokens[1:]
		return p.ok(id+" WITH "+exception) || p.ok(id)
	}
	return p.ok(id)
}
