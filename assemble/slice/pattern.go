package slice

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/cairn-dev/cairn/assemble/glob"
)

// maxPattern bounds a pattern, in bytes.
const maxPattern = 4096

// Pattern stands for paths of a package: "*" for any characters of a name, "?" for
// one, "[a-z]" for one of several, and a name "**" for any number of directories,
// none included. One that ends in "/" stands for directories, any other for what is
// not one; "**" at the end stands for both.
type Pattern struct {
	Text  string // without leading slash
	Place string // "file:line"

	names []string
	dir   bool
}

// ParsePattern reads a pattern; a leading slash does not matter.
func ParsePattern(text string) (Pattern, error) {
	p := Pattern{Text: strings.TrimPrefix(text, "/")}
	bad := func(what string) (Pattern, error) { return p, fmt.Errorf("pattern %q: %w", text, errors.New(what)) }
	if len(text) > maxPattern {
		return bad(fmt.Sprintf("expected at most %d bytes", maxPattern))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return bad("it has a control character")
	}
	body, dir := strings.CutSuffix(p.Text, "/")
	p.dir = dir
	p.names = strings.Split(body, "/")
	for _, name := range p.names {
		switch {
		case name == "" || name == "." || name == "..":
			return bad("expected a clean path below the root")
		case name != "**" && strings.Contains(name, "**"):
			return bad(`"**" stands for whole directories: expected it between slashes`)
		}
		if _, err := path.Match(name, ""); err != nil {
			return bad("a bracket is not closed, or holds nothing")
		}
	}
	return p, nil
}

// literal tells that the pattern is the path of one file.
func (p *Pattern) literal() bool { return !p.dir && !strings.ContainsAny(p.Text, `*?[\`) }

// Match tells whether the pattern stands for a path, which is clean and relative to
// the root.
func (p *Pattern) Match(file string, dir bool) bool {
	if dir && !p.dir && p.names[len(p.names)-1] != "**" || p.dir && !dir {
		return false
	}
	return glob.Match(p.names, strings.Split(file, "/"))
}
