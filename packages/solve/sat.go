package solve

import (
	"context"
	"slices"
)

// sat decides whether a set of clauses can be made true, by conflict-driven
// clause learning: it follows a choice until clauses contradict each other,
// learns from the contradiction the clause that rules out its cause, and goes
// back just far enough for that to count. What to choose next is the caller's
// business, so the first solution found is one that the caller likes.
type sat struct {
	value    []int8 // by variable: 1 true, -1 false, 0 open
	level    []int32
	reason   []*clause
	expanded []bool
	watches  [][]*clause // by literal: the clauses that watch it
	trail    []lit       // what is assigned, in order
	marks    []int       // length of the trail before each decision
	head     int         // the trail up to here is propagated
	lowest   int         // how short the trail was since the caller set this
	seen     []bool      // scratch of learn

	// expand returns the clauses that matter only once v is true. May be nil.
	expand func(v int) []*clause
	// decide returns what to try next, or false when nothing needs to be tried.
	decide func() (lit, bool)
	// accept looks at an assignment that decide is content with. It returns nil,
	// or a clause that holds in general and that the assignment does not satisfy
	// (yet). May be nil.
	accept func() *clause

	steps, limit int
	refuted      *clause // the clause that is false whatever is chosen
}

// lit is a variable (2v) or its negation (2v+1).
type lit int32

func positive(v int) lit      { return lit(2 * v) }
func negative(v int) lit      { return lit(2*v + 1) }
func (l lit) not() lit        { return l ^ 1 }
func (l lit) variable() int   { return int(l >> 1) }
func (l lit) isNegated() bool { return l&1 != 0 }

// clause is a set of literals one of which must be true. The first two are
// watched.
type clause struct {
	lits []lit
	fact *fact // what it says, if it was not learned
	// Where a learned clause comes from: the clauses it was resolved from, and
	// variables that are settled without any choice.
	from    []*clause
	settled []int32
}

// verdict is how a run ended.
type verdict int

const (
	satisfied verdict = iota
	refuted           // there is no solution
	rejected          // there is none under the assumptions
	exhausted         // the step limit was reached
)

func newSat(variables, limit int) *sat {
	return &sat{
		value:    make([]int8, variables),
		level:    make([]int32, variables),
		reason:   make([]*clause, variables),
		expanded: make([]bool, variables),
		watches:  make([][]*clause, 2*variables),
		seen:     make([]bool, variables),
		limit:    limit,
	}
}

// of returns 1, 0 or -1 as l is true, open or false.
func (s *sat) of(l lit) int8 {
	if l.isNegated() {
		return -s.value[l.variable()]
	}
	return s.value[l.variable()]
}

func (s *sat) isTrue(v int) bool { return s.value[v] > 0 }

// run looks for a solution under the assumptions.
func (s *sat) run(ctx context.Context, assumptions []lit) (verdict, error) {
	s.back(0)
	var broken *clause
	for {
		if broken == nil {
			broken = s.propagate()
		}
		if broken != nil {
			if !s.resolve(broken) {
				return refuted, nil
			}
			broken = nil
		} else if now := len(s.marks); now < len(assumptions) {
			if s.of(assumptions[now]) < 0 {
				return rejected, nil
			}
			s.try(assumptions[now])
			continue
		} else if l, ok := s.decide(); ok {
			s.try(l)
		} else {
			var more *clause
			if s.accept != nil {
				more = s.accept()
			}
			if more == nil {
				return satisfied, nil
			}
			broken = s.attach(more)
		}
		if s.steps++; s.steps > s.limit {
			return exhausted, nil
		}
		if err := ctx.Err(); err != nil {
			return exhausted, err
		}
	}
}

// try opens a level of decisions with l, which may be true already.
func (s *sat) try(l lit) {
	s.marks = append(s.marks, len(s.trail))
	if s.of(l) == 0 {
		s.assign(l, nil)
	}
}

func (s *sat) assign(l lit, why *clause) {
	v := l.variable()
	s.value[v] = 1
	if l.isNegated() {
		s.value[v] = -1
	}
	s.level[v], s.reason[v] = int32(len(s.marks)), why
	s.trail = append(s.trail, l)
}

// back takes decisions back until only that many are left.
func (s *sat) back(level int) {
	if level >= len(s.marks) {
		return
	}
	keep := s.marks[level]
	for _, l := range s.trail[keep:] {
		s.value[l.variable()], s.reason[l.variable()] = 0, nil
	}
	s.trail, s.marks = s.trail[:keep], s.marks[:level]
	s.head, s.lowest = min(s.head, keep), min(s.lowest, keep)
}

// attach adds a clause to those that are watched. It returns the clause when it
// is false now, and assigns its last open literal when there is one left.
func (s *sat) attach(c *clause) *clause {
	slices.SortStableFunc(c.lits, func(a, b lit) int { return s.watchRank(b) - s.watchRank(a) })
	if len(c.lits) > 1 {
		s.watches[c.lits[0]] = append(s.watches[c.lits[0]], c)
		s.watches[c.lits[1]] = append(s.watches[c.lits[1]], c)
	}
	switch {
	case len(c.lits) == 0 || s.of(c.lits[0]) < 0:
		return c
	case s.of(c.lits[0]) == 0 && (len(c.lits) == 1 || s.of(c.lits[1]) < 0):
		s.assign(c.lits[0], c)
	}
	return nil
}

// watchRank is higher for literals that are not false, then for those that
// became false at a later level.
func (s *sat) watchRank(l lit) int {
	if s.of(l) >= 0 {
		return len(s.trail) + 2 + int(s.of(l))
	}
	return int(s.level[l.variable()])
}

// propagate assigns what follows. It returns a clause that became false.
func (s *sat) propagate() *clause {
	for s.head < len(s.trail) {
		l := s.trail[s.head]
		s.head++
		if broken := s.expandOnce(l); broken != nil {
			return broken
		}
		if broken := s.visitWatches(l.not()); broken != nil {
			return broken
		}
	}
	return nil
}

func (s *sat) expandOnce(l lit) (broken *clause) {
	v := l.variable()
	if s.expand == nil || l.isNegated() || s.expanded[v] {
		return nil
	}
	s.expanded[v] = true
	for _, c := range s.expand(v) {
		if b := s.attach(c); b != nil && broken == nil {
			broken = b
		}
	}
	return broken
}

// visitWatches looks at the clauses that watch l, which became false.
func (s *sat) visitWatches(l lit) *clause {
	list := s.watches[l]
	kept := list[:0]
	for i, c := range list {
		if c.lits[0] == l {
			c.lits[0], c.lits[1] = c.lits[1], c.lits[0]
		}
		if s.of(c.lits[0]) > 0 {
			kept = append(kept, c)
			continue
		}
		if s.watchAnother(c) {
			continue
		}
		kept = append(kept, c)
		if s.of(c.lits[0]) < 0 {
			s.watches[l] = append(kept, list[i+1:]...)
			return c
		}
		s.assign(c.lits[0], c)
	}
	s.watches[l] = kept
	return nil
}

// watchAnother replaces the second literal of c by one that is not false.
func (s *sat) watchAnother(c *clause) bool {
	for i := 2; i < len(c.lits); i++ {
		if s.of(c.lits[i]) >= 0 {
			c.lits[1], c.lits[i] = c.lits[i], c.lits[1]
			s.watches[c.lits[1]] = append(s.watches[c.lits[1]], c)
			return true
		}
	}
	return false
}

// resolve learns from a clause that is false and goes back. It reports false
// when the clause is false whatever is chosen.
func (s *sat) resolve(broken *clause) bool {
	top := int32(0)
	for _, l := range broken.lits {
		top = max(top, s.level[l.variable()])
	}
	if top == 0 {
		s.refuted = broken
		return false
	}
	s.back(int(top))
	learned := s.learn(broken)
	back := int32(0)
	for _, l := range learned.lits[1:] {
		back = max(back, s.level[l.variable()])
	}
	s.back(int(back))
	s.attach(learned)
	return true
}

// learn resolves broken with the reasons of its literals until only one literal
// of the current level is left, which comes first.
func (s *sat) learn(broken *clause) *clause {
	learned := &clause{lits: []lit{0}}
	open := 0 // literals of the current level still to be resolved
	note := func(c *clause, except lit) {
		learned.from = append(learned.from, c)
		for _, l := range c.lits {
			v := l.variable()
			if l == except || s.seen[v] {
				continue
			}
			s.seen[v] = true
			switch int(s.level[v]) {
			case 0:
				learned.settled = append(learned.settled, int32(v))
			case len(s.marks):
				open++
			default:
				learned.lits = append(learned.lits, l)
			}
		}
	}
	note(broken, -1)
	at := len(s.trail) - 1
	for ; ; at-- {
		l := s.trail[at]
		if !s.seen[l.variable()] || int(s.level[l.variable()]) < len(s.marks) {
			continue
		}
		if open == 1 {
			learned.lits[0] = l.not()
			break
		}
		open--
		note(s.reason[l.variable()], l)
	}
	s.forget(learned, at)
	return learned
}

// forget clears seen after learn.
func (s *sat) forget(learned *clause, at int) {
	for _, l := range s.trail[at:] {
		s.seen[l.variable()] = false
	}
	for _, l := range learned.lits {
		s.seen[l.variable()] = false
	}
	for _, v := range learned.settled {
		s.seen[v] = false
	}
}

// core returns the facts that the refutation rests on, each once.
func (s *sat) core() []*fact {
	c := coreWalk{s: s, visited: map[*clause]bool{}, settled: make([]bool, len(s.value))}
	c.visit(s.refuted)
	for _, l := range s.refuted.lits {
		c.settle(l.variable())
	}
	return c.facts
}

type coreWalk struct {
	s       *sat
	visited map[*clause]bool
	settled []bool
	facts   []*fact
}

// visit collects what c was learned from.
func (w *coreWalk) visit(c *clause) {
	if w.visited[c] {
		return
	}
	w.visited[c] = true
	if c.fact != nil {
		w.facts = append(w.facts, c.fact)
	}
	for _, from := range c.from {
		w.visit(from)
	}
	for _, v := range c.settled {
		w.settle(int(v))
	}
}

// settle collects why v has its value without any choice.
func (w *coreWalk) settle(v int) {
	if w.settled[v] {
		return
	}
	w.settled[v] = true
	why := w.s.reason[v]
	w.visit(why)
	for _, l := range why.lits {
		w.settle(l.variable())
	}
}
