package store

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/cairn-dev/cairn/packages/apk"
)

// AppendEntries appends a list of files that is of no package, and the bytes of
// some of them by path, in the encoding of receipts; see wire.go. Positions in an
// archive are left out. Equal lists give equal bytes.
func AppendEntries(b []byte, entries []apk.Entry, contents map[string][]byte) []byte {
	for _, name := range slices.Sorted(maps.Keys(contents)) {
		b = appendPair(b, fieldContent, name, contents[name])
	}
	b = appendUint(b, fieldEntryCount, uint64(len(entries)))
	var scratch []byte
	for i := range entries {
		e := entries[i]
		e.HeaderOffset, e.DataOffset = 0, 0
		scratch = appendEntry(scratch[:0], &e, 0)
		b = protowire.AppendTag(b, fieldEntry, protowire.BytesType)
		b = protowire.AppendBytes(b, scratch)
	}
	return b
}

// ParseEntries reads what [AppendEntries] gave, of at most limit entries. It says
// nothing about what the entries say. What it returns shares memory with b.
func ParseEntries(b []byte, limit int) ([]apk.Entry, map[string][]byte, error) {
	n := len(b)
	d := receiptDecoder{r: &Receipt{}, all: b[:n:n], text: string(b), limit: uint64(limit)}
	err := fields(d.all, func(field protowire.Number, v uint64, m []byte) error {
		switch field {
		case fieldContent, fieldEntryCount, fieldEntry:
			return d.field(field, v, m)
		}
		return fmt.Errorf("%w: field %d in a list of files", errReceipt, field)
	})
	if err == nil && uint64(len(d.r.Entries)) != d.count {
		err = fmt.Errorf("%w: %d entries, expected %d", errReceipt, len(d.r.Entries), d.count)
	}
	if err != nil {
		return nil, nil, err
	}
	for i := range d.r.Entries {
		d.r.Entries[i].HeaderOffset, d.r.Entries[i].DataOffset = 0, 0
	}
	return d.r.Entries, d.r.Contents, nil
}
