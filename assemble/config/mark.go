package config

import (
	"slices"
	"strconv"
	"strings"
)

// pos is where a value stands: in a file, or on the command line.
type pos struct {
	file      string
	line, col int
	flag      string
}

// mark holds the position of a value and, below it, those of its parts. It has
// the shape of the merged configuration.
type mark struct {
	pos    pos
	fields map[string]*mark // of mappings
	items  []*mark          // of lists
}

// child returns the mark below m at one step of a path ("packages" or "[2]"),
// nil when there is none.
func (m *mark) child(step string) *mark {
	if m == nil {
		return nil
	}
	if n, ok := strings.CutPrefix(step, "["); ok {
		i, err := strconv.Atoi(strings.TrimSuffix(n, "]"))
		if err != nil || i < 0 || i >= len(m.items) {
			return nil
		}
		return m.items[i]
	}
	return m.fields[step]
}

// at finds the position of a path, or of what is nearest above it. The last
// result tells whether the path itself was there.
func (m *mark) at(steps ...string) (pos, bool) {
	if m == nil {
		return pos{}, false
	}
	for _, s := range steps {
		next := m.child(s)
		if next == nil {
			return m.pos, false
		}
		m = next
	}
	return m.pos, true
}

// has reports whether the path was written.
func (m *mark) has(steps ...string) bool {
	_, ok := m.at(steps...)
	return ok
}

func index(i int) string { return "[" + strconv.Itoa(i) + "]" }

// keyPath joins steps as they are shown: "contents.packages[2]".
func keyPath(steps ...string) string {
	var b strings.Builder
	for i, s := range steps {
		if i > 0 && !strings.HasPrefix(s, "[") {
			b.WriteByte('.')
		}
		b.WriteString(s)
	}
	return b.String()
}

// mergeMarks does with positions what merging does with values: base is the
// included configuration, m the including one. Lists are joined, base first;
// of anything else m's wins.
func mergeMarks(base, m *mark, t *node) *mark {
	if base == nil || t.merge == mergeNone {
		return m
	}
	if m == nil || t.merge == mergeWhole {
		if m == nil || m.empty() {
			return base
		}
		return m
	}
	out := &mark{pos: m.pos, fields: map[string]*mark{}}
	if t.kind == kindList {
		out.items = slices.Concat(base.items, m.items)
		return out
	}
	for name, b := range base.fields {
		out.fields[name] = mergeMarks(b, m.fields[name], t.child(name))
	}
	for name, v := range m.fields {
		if _, ok := base.fields[name]; !ok {
			out.fields[name] = v
		}
	}
	return out
}

// empty reports whether a mapping or list has nothing in it. Scalars are never
// empty here: a scalar that is not written has no mark.
func (m *mark) empty() bool {
	return m.fields != nil && len(m.fields) == 0 || m.items != nil && len(m.items) == 0
}
