package store

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/cairn-dev/cairn/packages/apk"
)

// secondLook reads the ELF files again whose facts were not in the parts that
// were kept while they streamed by: very large ones with a long symbol table,
// and those whose headers a tool moved to the end.
func (s *scanner) secondLook(ctx context.Context, st *Store, r *Receipt, blob *os.File) error {
	if len(s.again) == 0 {
		return nil
	}
	tar := st.inflateFile(ctx, blob, r)
	defer tar.Close()
	var pos int64
	for _, at := range s.again {
		e := &s.entries[at]
		if _, err := io.CopyN(io.Discard, tar, e.DataOffset-pos); err != nil {
			return fmt.Errorf("package %s: read again: %w", s.id, err)
		}
		facts, err := st.spoolELF(io.LimitReader(tar, e.Size), e)
		if err != nil {
			return fmt.Errorf("package %s: %s: read again: %w", s.id, e.Path, err)
		}
		e.ELF = facts
		pos = e.DataOffset + e.Size
	}
	return nil
}

// spoolELF copies the file to a temporary one, to read it in any order.
func (st *Store) spoolELF(r io.Reader, e *apk.Entry) (*apk.ELF, error) {
	f, err := st.temp()
	if err != nil {
		return nil, err
	}
	defer discard(f)
	if n, err := io.Copy(f, r); err != nil {
		return nil, storageError("write "+f.Name(), err)
	} else if n != e.Size {
		return nil, io.ErrUnexpectedEOF
	}
	head := make([]byte, min(e.Size, 64<<10))
	if _, err := f.ReadAt(head, 0); err != nil {
		return nil, err
	}
	x := newELFFile(head, e.Size, f)
	if x == nil {
		return nil, nil
	}
	facts, _ := x.facts()
	return facts, nil
}
