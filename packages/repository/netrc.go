package repository

import (
	"errors"
	"fmt"
	"strings"
)

// ParseNetrc reads a netrc file: "machine HOST login USER password SECRET" and
// "default login …" in any layout, "#" comments where a keyword could stand (a
// password may begin with "#"), "account" read and ignored, "macdef" skipped up
// to the next empty line. A value may be quoted with double quotes, with \" and
// \\ inside. Entries without login are left out. Errors name the line, never a
// value.
func ParseNetrc(s string) ([]Credential, error) {
	p := netrcParser{rest: s, line: 1}
	for {
		tok, ok, err := p.next(true)
		if err != nil {
			return nil, p.errorf("%w", err)
		}
		if !ok {
			return p.finish()
		}
		if err := p.keyword(tok); err != nil {
			return nil, err
		}
	}
}

type netrcParser struct {
	rest string
	line int
	open bool // an entry has begun
	cur  Credential
	out  []Credential
	last *Credential // the default entry, which counts after all others
}

func (p *netrcParser) errorf(format string, args ...any) error {
	return fmt.Errorf("line %d: "+format, append([]any{p.line}, args...)...)
}

// keyword handles one keyword and the value after it.
func (p *netrcParser) keyword(word string) error {
	switch word {
	case "machine":
		host, err := p.value(word)
		if err != nil {
			return err
		}
		p.begin(host)
		return nil
	case "default":
		p.begin("")
		return nil
	case "macdef":
		if _, err := p.value(word); err != nil {
			return err
		}
		p.skipMacro()
		return nil
	case "login", "user", "password", "passwd", "account":
	default:
		return p.errorf("expected machine, default, login, password, account or macdef")
	}
	v, err := p.value(word)
	if err != nil {
		return err
	}
	if !p.open {
		return p.errorf("%s before any machine", word)
	}
	if err := checkSecret(v); err != nil {
		return p.errorf("%s: %w", word, err)
	}
	switch word {
	case "login", "user":
		p.cur.User = v
	case "password", "passwd":
		p.cur.Password = v
	}
	return nil
}

func (p *netrcParser) value(word string) (string, error) {
	v, ok, err := p.next(false)
	if err != nil {
		return "", p.errorf("%s: %w", word, err)
	}
	if !ok || v == "" {
		return "", p.errorf("no value after %s", word)
	}
	return v, nil
}

// begin ends the entry at hand and starts another.
func (p *netrcParser) begin(host string) {
	p.end()
	p.open = true
	p.cur = Credential{Host: host}
}

func (p *netrcParser) end() {
	if !p.open || p.cur.User == "" {
		return
	}
	c := p.cur
	if c.Host == "" {
		if p.last == nil {
			p.last = &c
		}
		return
	}
	p.out = append(p.out, c)
}

func (p *netrcParser) finish() ([]Credential, error) {
	p.end()
	if p.last != nil {
		p.out = append(p.out, *p.last)
	}
	return p.out, nil
}

// skipMacro skips to after the next empty line.
func (p *netrcParser) skipMacro() {
	i := strings.Index(p.rest, "\n\n")
	if i < 0 {
		p.rest = ""
		return
	}
	p.line += strings.Count(p.rest[:i+2], "\n")
	p.rest = p.rest[i+2:]
}

// next returns the next token; ok is false at the end.
func (p *netrcParser) next(comments bool) (tok string, ok bool, err error) {
	p.skipSpace(comments)
	if p.rest == "" {
		return "", false, nil
	}
	if p.rest[0] == '"' {
		return p.quoted()
	}
	i := strings.IndexAny(p.rest, " \t\r\n")
	if i < 0 {
		i = len(p.rest)
	}
	tok, p.rest = p.rest[:i], p.rest[i:]
	return tok, true, nil
}

func (p *netrcParser) skipSpace(comments bool) {
	for p.rest != "" {
		switch c := p.rest[0]; {
		case c == '\n':
			p.line++
			p.rest = p.rest[1:]
		case c == ' ' || c == '\t' || c == '\r':
			p.rest = p.rest[1:]
		case c == '#' && comments:
			i := strings.IndexByte(p.rest, '\n')
			if i < 0 {
				i = len(p.rest)
			}
			p.rest = p.rest[i:]
		default:
			return
		}
	}
}

func (p *netrcParser) quoted() (string, bool, error) {
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; c {
		case '"':
			p.rest = p.rest[i+1:]
			return b.String(), true, nil
		case '\n':
			return "", false, errors.New("quote not closed")
		case '\\':
			if i++; i < len(p.rest) {
				b.WriteByte(p.rest[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", false, errors.New("quote not closed")
}
