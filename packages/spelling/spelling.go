// Package spelling proposes what a misspelled word may have been meant for: a key
// of a file, a value from a short list. It is not a search: names of packages,
// of which there are thousands, have one of their own in packages/repository.
//
//	if near := spelling.Nearest("pakages", keys); near != "" {
//		hint = "did you mean " + near + "?"
//	}
package spelling

import "strings"

// Nearest returns the candidate that s is probably a misspelling of, or "" when
// none is near: at most a third of its letters may differ, and always one. Case
// does not count, and of several equally near the first is taken.
func Nearest(s string, candidates []string) string {
	best, bestDistance := "", 1+max(1, len(s)/3)
	for _, c := range candidates {
		if d := distance(s, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of insertions, deletions, replacements and swaps of
// neighbours between two short words.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return max(len(a), len(b))
	}
	a, b = strings.ToLower(a), strings.ToLower(b)
	before, prev := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, prev[j+1]+1, prev[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, prev = prev, row
	}
	return prev[len(b)]
}
