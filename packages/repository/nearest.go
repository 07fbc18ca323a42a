package repository

import (
	"cmp"
	"slices"
	"strings"
)

// Nearest returns up to n package names of the indexes that name may have been
// meant for, the likeliest first: those a few edits away (an exchange of
// neighbours is one), then those that begin with it. Ties are in alphabetical
// order.
func Nearest(name string, n int, indexes ...*Index) []string {
	if name == "" || n <= 0 {
		return nil
	}
	found := map[string]int{}
	worst := 1 + min(len(name)/3, 4)
	for _, ix := range indexes {
		for i := range ix.Len() {
			have := ix.table.name(i)
			if _, ok := found[have]; ok || have == name {
				continue
			}
			if d := score(name, have, worst); d >= 0 {
				found[have] = d
			}
		}
	}
	names := sortedKeys(found)
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(found[a], found[b]) })
	return names[:min(n, len(names))]
}

// Nearest is the function of that name for one index.
func (ix *Index) Nearest(name string, n int) []string { return Nearest(name, n, ix) }

// name returns the name of a package without decoding the rest.
func (t *table) name(i int) string { return t.str(le32(t.records[i*recordSize+recName:])) }

// score is the edit distance, or beyond worst what a name that merely continues
// the wanted one gets, or -1.
func score(want, have string, worst int) int {
	diff := len(want) - len(have)
	if diff <= worst && -diff <= worst {
		if d := distance(strings.ToLower(want), strings.ToLower(have), worst); d <= worst {
			return d
		}
	}
	if len(want) >= 3 && strings.HasPrefix(have, want) {
		return worst + len(have) - len(want)
	}
	return -1
}

// distance is the number of insertions, deletions, substitutions and exchanges
// of neighbours (each place touched once) between a and b, or anything greater
// than worst when it is greater than that.
func distance(a, b string, worst int) int {
	if len(a) > 200 || len(b) > 200 {
		return worst + 1
	}
	var rows [3][201]int
	before, last, row := rows[0][:len(b)+1], rows[1][:len(b)+1], rows[2][:len(b)+1]
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		least := i
		for j := 1; j <= len(b); j++ {
			step := 1
			if a[i-1] == b[j-1] {
				step = 0
			}
			d := min(last[j]+1, row[j-1]+1, last[j-1]+step)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, before[j-2]+1)
			}
			row[j] = d
			least = min(least, d)
		}
		if least > worst {
			return worst + 1
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
