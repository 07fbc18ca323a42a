// Package glob compares paths with patterns that have "**" for directories. What else is
// a pattern, and of what, is for those who use it to say.
//
// It reads no files and knows no base directory: both sides are lists of names.
//
//	glob.Match([]string{"**", "*.pyc"}, strings.Split("app/lib/x.pyc", "/")) // true
package glob

import "path"

// Match tells whether a pattern, cut at its slashes, stands for a path, cut likewise: "**"
// for any number of names, none included, any other element for one name as in
// [path.Match]. An element that path.Match cannot read stands for nothing.
func Match(pattern, names []string) bool {
	// Where a "**" is, and what it has taken so far: going back to the last one is
	// enough, as for "*" in a name.
	at, star, taken := 0, -1, 0
	for i := 0; i < len(names); {
		switch {
		case at < len(pattern) && pattern[at] == "**":
			star, taken = at, i
			at++
		case at < len(pattern) && matchName(pattern[at], names[i]):
			at++
			i++
		case star >= 0:
			taken++
			at, i = star+1, taken
		default:
			return false
		}
	}
	for at < len(pattern) && pattern[at] == "**" {
		at++
	}
	return at == len(pattern)
}

func matchName(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return ok && err == nil
}
