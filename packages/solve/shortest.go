package solve

import (
	"context"
	"slices"
)

// shortestWork bounds how long a shorter explanation is looked for, in packages,
// facts and lines looked at; it is some tenths of a second's work.
const shortestWork = 1 << 20

// shortener looks for the contradiction that takes the fewest lines to tell.
//
// Of whatever set of packages is tried, some facts do not hold, and each
// contradiction has one of those; so a contradiction is a choice of lines that
// has one of every such set (an implicit hitting set: Reiter's conflict sets the
// other way round). The choices are gone through from the smallest on. One that
// is no contradiction has packages for which it holds, and these give the next
// set, which is the smaller the more else holds for them.
type shortener struct {
	u        *universe
	possible *reach
	ids      map[line]int
	lines    []line
	facts    [][]*fact       // by line, rivals apart
	wanted   map[line]demand // what untaken packages were wanted for
	sets     [][]int         // of lines, one of which every contradiction has
	size     int             // of the sets together
	work     int
}

// shortest returns a contradiction with the fewest lines, if one with fewer than
// the given one is found within reason; it knows no untaken and unpinned
// packages but those of which that is clear beforehand. Equal inputs give equal
// results.
func (u *universe) shortest(ctx context.Context, facts []*fact) ([]*fact, error) {
	return u.newShortener().run(ctx, facts)
}

func (u *universe) newShortener() *shortener {
	return &shortener{u: u, ids: map[line]int{}, wanted: map[line]demand{}, work: shortestWork,
		possible: u.reach(func(*candidate) bool { return true })}
}

func (s *shortener) run(ctx context.Context, facts []*fact) ([]*fact, error) {
	for size := 1; size < countLines(facts) && s.work > 0; size++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if found := s.within(nil, map[int]bool{}, size); found != nil {
			return minimal(found), nil
		}
	}
	return facts, ctx.Err()
}

// within looks for a contradiction that has the chosen lines, at most so many
// more, and none of the banned ones.
func (s *shortener) within(chosen []int, banned map[int]bool, more int) []*fact {
	set := s.unhit(chosen, banned)
	if set == nil {
		facts := s.tell(chosen)
		m := newMinimizer(facts)
		sat := m.solve(facts)
		if s.work -= len(facts); sat.refuted != nil {
			return facts
		}
		if set = s.broken(facts, m, sat); len(set) == 0 {
			s.work = 0 // nothing that it knows of excludes these packages
			return nil
		}
		s.sets = append(s.sets, set)
		s.size += len(set)
	}
	if s.work -= s.size; s.work <= 0 || s.atLeast(chosen, banned) > more {
		return nil
	}
	var here []int
	defer func() {
		for _, l := range here {
			delete(banned, l)
		}
	}()
	for _, l := range set {
		if banned[l] {
			continue
		}
		if found := s.within(append(slices.Clip(chosen), l), banned, more-1); found != nil || s.work <= 0 {
			return found
		}
		banned[l] = true // what has it was gone through
		here = append(here, l)
	}
	return nil
}

// unhit returns the set of which no line is chosen that leaves the fewest to
// choose from.
func (s *shortener) unhit(chosen []int, banned map[int]bool) (best []int) {
	fewest := 0
	for _, set := range s.sets {
		if hits(set, chosen) {
			continue
		}
		n := 0
		for _, l := range set {
			if !banned[l] {
				n++
			}
		}
		if best == nil || n < fewest {
			best, fewest = set, n
		}
	}
	return best
}

func hits(set, chosen []int) bool {
	return slices.ContainsFunc(chosen, func(l int) bool { return slices.Contains(set, l) })
}

// atLeast returns how many more lines are needed: one for each of some sets that
// have nothing in common.
func (s *shortener) atLeast(chosen []int, banned map[int]bool) int {
	n := 0
	used := map[int]bool{}
	for _, set := range s.sets {
		if hits(set, chosen) || slices.ContainsFunc(set, func(l int) bool { return used[l] }) {
			continue
		}
		n++
		for _, l := range set {
			if !banned[l] {
				used[l] = true
			}
		}
	}
	return n
}

// id numbers the lines as they are met.
func (s *shortener) id(l line) int {
	id, ok := s.ids[l]
	if !ok {
		id = len(s.lines)
		s.ids[l] = id
		s.lines, s.facts = append(s.lines, l), append(s.facts, nil)
		if l.kind != rivals {
			s.facts[id] = s.factsOf(l)
		}
	}
	return id
}

// tell returns the facts of the lines; of rivals only those that the others
// mention.
func (s *shortener) tell(lines []int) []*fact {
	var out []*fact
	mentioned := map[*candidate]bool{}
	for _, id := range lines {
		for _, f := range s.facts[id] {
			out = append(out, f)
			for _, c := range f.others {
				mentioned[c] = true
			}
		}
	}
	for _, id := range lines {
		if l := s.lines[id]; l.kind == rivals {
			out = append(out, rivalsAmong(l.shared, mentioned)...)
		}
	}
	return out
}
