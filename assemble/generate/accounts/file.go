package accounts

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// file is an account file as lines of fields. Nothing but the fields that are
// set is ever rewritten.
type file struct {
	lines   []*line
	changed bool
}

// line is one line: raw as it came, or nil-raw when it is new or was changed.
// Comments, NIS lines ("+…") and lines without a colon have no fields.
type line struct {
	raw    string
	fields []string
	number int // 1 for the first; 0: added by us
	ours   bool
}

func parse(b []byte) *file {
	f := &file{}
	text := string(bytes.TrimSuffix(b, []byte("\n")))
	if text == "" {
		return f
	}
	for i, raw := range strings.Split(text, "\n") {
		l := &line{raw: raw, number: i + 1}
		if strings.Contains(raw, ":") && !strings.HasPrefix(raw, "#") && !strings.HasPrefix(raw, "+") && !strings.HasPrefix(raw, "-") {
			l.fields = strings.Split(raw, ":")
		}
		f.lines = append(f.lines, l)
	}
	return f
}

// bytes returns the file's text, was itself when nothing changed.
func (f *file) bytes(was []byte) []byte {
	if !f.changed {
		return was
	}
	var b bytes.Buffer
	for _, l := range f.lines {
		if l.ours {
			b.WriteString(strings.Join(l.fields, ":"))
		} else {
			b.WriteString(l.raw)
		}
		b.WriteByte('\n')
	}
	return b.Bytes()
}

// byName returns the first line of that name: the one that lookups find.
func (f *file) byName(name string) *line {
	i := slices.IndexFunc(f.lines, func(l *line) bool { return len(l.fields) > 0 && l.fields[0] == name })
	if i < 0 {
		return nil
	}
	return f.lines[i]
}

// byID returns the first line whose third field is n.
func (f *file) byID(n uint32) *line {
	for _, l := range f.lines {
		if len(l.fields) < 3 {
			continue
		}
		if v, err := strconv.ParseUint(l.fields[2], 10, 32); err == nil && uint32(v) == n {
			return l
		}
	}
	return nil
}

func (f *file) add(fields ...string) {
	f.lines = append(f.lines, &line{fields: fields, ours: true})
	f.changed = true
}

func (f *file) set(l *line, field int, value string) {
	if l.fields[field] == value {
		return
	}
	l.fields[field] = value
	l.ours, f.changed = true, true
}

// sameID checks that the line has the usual number of fields and the id n.
func (f *file) sameID(l *line, what string, fields int, n uint32) error {
	if len(l.fields) != fields {
		return fmt.Errorf("%s %q: line %d of the image's file has %d fields, expected %d", what, l.fields[0], l.number, len(l.fields), fields)
	}
	if v, err := strconv.ParseUint(l.fields[2], 10, 32); err != nil || uint32(v) != n {
		return fmt.Errorf("%s %q: id %d, but line %d of the image's file says %s: %w", what, l.fields[0], n, l.number, l.fields[2], ErrConflict)
	}
	return nil
}
