package advisory

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// magic begins a compiled feed, with the version of the form.
const magic = "cairn advisory feed 1\n"

// Marshal gives the compiled form: what the feed is, the severities, and for each
// package its advisories as JSON, which are parsed only when somebody asks for them.
// Equal feeds give equal bytes.
//
// After the magic line come parts, each with its length before it (unsigned varint):
// the JSON of Meta, the JSON of the severities, and then key and value of each entry
// in the order of the keys.
func (f *Feed) Marshal() ([]byte, error) {
	out := []byte(magic)
	part := func(b []byte) {
		out = binary.AppendUvarint(out, uint64(len(b)))
		out = append(out, b...)
	}
	meta := f.Meta
	meta.Name = "" // where it was is no part of it
	for _, v := range []any{meta, f.severities} {
		b, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		part(b)
	}
	for _, key := range slices.Sorted(maps.Keys(f.entries)) {
		part([]byte(key))
		part(f.entries[key])
	}
	return out, nil
}

// unmarshal reads the compiled form. The entries share memory with data.
func unmarshal(data []byte) (*Feed, error) {
	rest := bytes.TrimPrefix(data, []byte(magic))
	part := func() ([]byte, error) {
		n, size := binary.Uvarint(rest)
		if size <= 0 || n > uint64(len(rest)-size) {
			return nil, errors.New("compiled feed: cut short")
		}
		b := rest[size : size+int(n)]
		rest = rest[size+int(n):]
		return b, nil
	}
	f := &Feed{entries: map[string]json.RawMessage{}}
	for _, v := range []any{&f.Meta, &f.severities} {
		b, err := part()
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(b, v); err != nil {
			return nil, fmt.Errorf("compiled feed: %w", err)
		}
	}
	before := ""
	for len(rest) > 0 {
		key, err := part()
		if err != nil {
			return nil, err
		}
		value, err := part()
		if err != nil {
			return nil, err
		}
		if string(key) <= before {
			return nil, errors.New("compiled feed: keys are not in order")
		}
		before = string(key)
		f.entries[before] = value
	}
	return f, nil
}
