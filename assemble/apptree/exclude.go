package apptree

import (
	"fmt"
	"path"
	"strings"

	"github.com/cairn-dev/cairn/assemble/glob"
)

// matcher tells what is left out.
type matcher struct {
	patterns [][]string // by component
}

// CheckPattern says what is wrong with a pattern of [Options.Exclude].
func CheckPattern(p string) error {
	_, err := newMatcher([]string{p})
	return err
}

func newMatcher(list []string) (*matcher, error) {
	m := &matcher{}
	for _, p := range list {
		clean := strings.TrimSuffix(p, "/")
		if clean == "" || strings.HasPrefix(clean, "/") || path.Clean(clean) != clean || clean == "." || strings.HasPrefix(clean, "..") {
			return nil, fmt.Errorf("pattern %.200q: expected a path relative to the source, with *, ? and **", p)
		}
		parts := strings.Split(clean, "/")
		for _, part := range parts {
			if _, err := path.Match(part, ""); err != nil {
				return nil, fmt.Errorf("pattern %.200q: %w", p, err)
			}
		}
		if len(parts) == 1 {
			parts = []string{"**", parts[0]}
		}
		m.patterns = append(m.patterns, parts)
	}
	return m, nil
}

// excludes tells whether a path or a directory above it is left out.
func (m *matcher) excludes(p string) bool {
	if p == "" || len(m.patterns) == 0 {
		return false
	}
	parts := strings.Split(p, "/")
	for n := 1; n <= len(parts); n++ {
		for _, pattern := range m.patterns {
			if glob.Match(pattern, parts[:n]) {
				return true
			}
		}
	}
	return false
}
