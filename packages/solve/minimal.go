package solve

import (
	"context"
	"slices"
)

// minimal leaves out facts that are not needed for the contradiction, until
// each one is. What is left depends on the order of leaving out; the smaller
// result of two orders is taken.
func minimal(facts []*fact) []*fact {
	m := newMinimizer(facts)
	forward := m.reduce(facts)
	backward := slices.Clone(facts)
	slices.Reverse(backward)
	backward = m.reduce(backward)
	if len(backward) < len(forward) {
		slices.Reverse(backward)
		return backward
	}
	return forward
}

// minimizer has the clauses of facts, over variables without gaps.
type minimizer struct {
	lits      map[*fact][]lit
	variables []int // the candidates that they stand for
}

func newMinimizer(facts []*fact) *minimizer {
	m := &minimizer{lits: make(map[*fact][]lit, len(facts))}
	number := map[int]int{}
	for _, f := range facts {
		c := f.clause()
		for i, l := range c.lits {
			v, ok := number[l.variable()]
			if !ok {
				v = len(number)
				number[l.variable()] = v
				m.variables = append(m.variables, l.variable())
			}
			c.lits[i] = positive(v) | l&1
		}
		m.lits[f] = c.lits
	}
	return m
}

// reduce tries to leave out one fact after the other. A fact that is needed
// once stays needed when there are fewer others.
func (m *minimizer) reduce(facts []*fact) []*fact {
	for i := 0; i < len(facts); {
		without := slices.Concat(facts[:i], facts[i+1:])
		used := m.contradiction(without)
		if used == nil {
			i++
			continue
		}
		facts = slices.DeleteFunc(without, func(f *fact) bool { return !used[f] })
	}
	return facts
}

// contradiction returns those of the facts that a proof of their contradiction
// uses; nil when they do not exclude each other.
func (m *minimizer) contradiction(facts []*fact) map[*fact]bool {
	if s := m.solve(facts); s.refuted != nil {
		return s.used()
	}
	return nil
}

// solve looks for a set of packages for which the facts hold, few at that.
func (m *minimizer) solve(facts []*fact) *sat {
	s := newSat(len(m.variables), 1<<30)
	s.decide = func() (lit, bool) {
		v := slices.Index(s.value, 0)
		return negative(max(v, 0)), v >= 0
	}
	for _, f := range facts {
		c := &clause{fact: f, lits: slices.Clone(m.lits[f])}
		if s.attach(c) != nil {
			s.refuted = c
			return s
		}
	}
	_, _ = s.run(context.Background(), nil) // ends: there is no limit, and no context
	return s
}

func (s *sat) used() map[*fact]bool {
	out := map[*fact]bool{}
	for _, f := range s.core() {
		out[f] = true
	}
	return out
}
