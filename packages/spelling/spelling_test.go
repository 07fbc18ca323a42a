package spelling

import (
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	names := []string{"packages", "repositories", "keyring", "cmd"}
	for s, want := range map[string]string{
		"pakages": "packages", "package": "packages", "Packages": "packages", "pacakges": "packages",
		"repos": "", "cdm": "cmd", "cmds": "cmd", "x": "", "": "", "keyrings": "keyring",
		strings.Repeat("a", 100): "",
	} {
		if got := Nearest(s, names); got != want {
			t.Errorf("Nearest(%q) = %q, expected %q", s, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for pair, want := range map[[2]string]int{
		{"", ""}: 0, {"a", ""}: 1, {"", "ab"}: 2, {"abc", "abc"}: 0, {"abc", "abd"}: 1, {"abc", "acb"}: 1, {"abc", "ABC"}: 0,
		{"kitten", "sitting"}: 3, {"cmd", "cdm"}: 1, {"packages", "package"}: 1,
	} {
		if got := distance(pair[0], pair[1]); got != want {
			t.Errorf("distance%v = %d, expected %d", pair, got, want)
		}
		if got := distance(pair[1], pair[0]); got != want {
			t.Errorf("distance%v the other way = %d, expected %d", pair, got, want)
		}
	}
}
