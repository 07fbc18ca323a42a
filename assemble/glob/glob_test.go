package glob

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"a", "a/b", false}, {"a/b", "a", false},
		{"*", "a", true}, {"*", "a/b", false}, {"*.py", "x.py", true}, {"?", "ab", false}, {"[ab]", "b", true},
		{"**", "a", true}, {"**", "a/b/c", true}, {"a/**", "a", true}, {"a/**", "a/b", true}, {"a/**", "b", false},
		{"**/a", "a", true}, {"**/a", "x/y/a", true}, {"**/a", "x/y/a/b", false},
		{"a/**/b", "a/b", true}, {"a/**/b", "a/x/y/b", true}, {"a/**/b", "a/x/b/y", false}, {"a/**/b/c", "a/b/b/c", true},
		{"**/a/**/b", "x/a/y/b", true}, {"**/**", "a", true}, {"**/a/*", "a/a", true}, {"[", "[", false},
	} {
		if got := Match(strings.Split(c.pattern, "/"), strings.Split(c.path, "/")); got != c.want {
			t.Errorf("%s and %s: %v", c.pattern, c.path, got)
		}
	}
}

// Many "**" do not take long.
func TestMatchHostile(t *testing.T) {
	pattern := strings.Split(strings.Repeat("**/a/", 500)+"b", "/")
	if Match(pattern, strings.Split(strings.Repeat("a/", 2000)+"c", "/")) {
		t.Error("matches")
	}
}
