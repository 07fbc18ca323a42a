package policy

import (
	"errors"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/cairn-dev/cairn/assemble/vex"
)

// pattern matches names: * within one part, ** across parts.
type pattern struct {
	text string
	re   *regexp.Regexp
}

func newPattern(text string) (pattern, error) {
	if text == "" {
		return pattern{}, errors.New("found an empty pattern")
	}
	if strings.Contains(text, "***") {
		return pattern{}, errors.New("found ***, expected * or **")
	}
	var b strings.Builder
	for rest := text; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "**"):
			b.WriteString(".*")
			rest = rest[2:]
		case rest[0] == '*':
			b.WriteString("[^/]*")
			rest = rest[1:]
		default:
			i := strings.IndexByte(rest, '*')
			if i < 0 {
				i = len(rest)
			}
			b.WriteString(regexp.QuoteMeta(rest[:i]))
			rest = rest[i:]
		}
	}
	re, err := regexp.Compile(`(?s)\A` + b.String() + `\z`)
	return pattern{text, re}, err
}

func (p pattern) match(s string) bool { return p.re.MatchString(s) }

func matchAny(list []pattern, s string) bool {
	for _, p := range list {
		if p.match(s) {
			return true
		}
	}
	return false
}

// Repository spells a repository the way patterns are matched against it, with
// its registry: "alpine" is "index.docker.io/library/alpine".
func Repository(s string) string {
	return vex.Repository(s)
}

// spelled puts docker.io into the spelling of ggcr.
func spelled(pattern string) string {
	if rest, ok := strings.CutPrefix(pattern, "docker.io/"); ok {
		return name.DefaultRegistry + "/" + rest
	}
	return pattern
}
