package store

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
)

// MaxCarried is the largest receipt that [ParseReceipt] reads, in bytes.
const MaxCarried = 256 << 20

// Marshal returns the receipt's stored form, which [Receipt.Digest] is the
// SHA-256 of: for carrying a receipt elsewhere than in a store.
func (r *Receipt) Marshal() []byte { return appendReceipt(nil, r) }

// ParseReceipt reads what [Receipt.Marshal] gave, from wherever it comes. The
// control section in it must name the data section that the receipt is of, and
// what the receipt says must be possible for a package that [Store.Ingest]
// accepts; that it is true only the data section itself can show, and that it
// is the receipt that somebody meant only [Receipt.Digest].
func ParseReceipt(b []byte) (*Receipt, error) {
	if len(b) > MaxCarried {
		return nil, fmt.Errorf("receipt: %d bytes, at most %d are allowed", len(b), MaxCarried)
	}
	b = bytes.Clone(b)
	n := len(b)
	limits := Limits{}.withDefaults()
	r, err := parseBounded(b[:n:n], string(b), uint64(limits.Entries))
	if err != nil {
		return nil, err
	}
	r.digest = sha256.Sum256(b)
	if err := r.bind("", apk.Limits{}); err != nil {
		return nil, fmt.Errorf("receipt: %w", err)
	}
	if !bytes.Equal(appendReceipt(nil, r), b) {
		return nil, fmt.Errorf("receipt of %s: not in its one encoding: %w", r.ID(), errReceipt)
	}
	return r, r.possible()
}

// possible applies the rules of ingestion to entries that were not made by it.
func (r *Receipt) possible() error {
	s := newScanner(r.ID(), Limits{}.withDefaults())
	for i := range r.Entries {
		if err := s.claimed(&r.Entries[i]); err != nil {
			return fmt.Errorf("receipt: %w", err)
		}
	}
	for name, b := range r.Contents {
		at, known := s.names.at[name]
		if !known || at == implicit || s.entries[at].Type != apk.TypeFile || s.entries[at].SHA256 != sha256.Sum256(b) {
			return fmt.Errorf("receipt: package %s: content of %.200q is not that of its entry", r.ID(), name)
		}
	}
	return nil
}

// claimed takes an entry that a receipt lists.
func (s *scanner) claimed(e *apk.Entry) error {
	h := &header{name: e.Path, link: e.Link, uname: e.Uname, gname: e.Gname, uid: int64(e.UID), gid: int64(e.GID),
		size: e.Size, major: e.DevMajor, minor: e.DevMinor}
	name, err := cleanName(e.Path)
	switch {
	case err != nil:
		return s.refuse(e.Path, "%v", err)
	case name != e.Path || name == "":
		return s.refuse(e.Path, "not a clean path")
	case !known(e.Type):
		return s.refuse(e.Path, "unsupported member type %q", byte(e.Type))
	case e.DataOffset-e.HeaderOffset < blockSize || (e.DataOffset-e.HeaderOffset)%blockSize != 0 || e.HeaderOffset%blockSize != 0:
		return s.refuse(e.Path, "its header is at %d and its content at %d", e.HeaderOffset, e.DataOffset)
	}
	if err := s.checkHeader(h, e); err != nil {
		return err
	}
	switch target := ""; e.Type {
	case apk.TypeSymlink:
		if err := checkTarget(e.Link); err != nil {
			return s.refuse(e.Path, "%v", err)
		}
	case apk.TypeHardlink:
		if target, err = s.hardlinkTarget(e.Path, e.Link); err != nil {
			return err
		}
		if target != e.Link {
			return s.refuse(e.Path, "hard link to %.200q, which is one itself", e.Link)
		}
	}
	n := len(s.entries)
	if _, err := s.add(h, e); err != nil {
		return err
	}
	if len(s.entries) == n {
		return s.refuse(e.Path, "the path appears twice")
	}
	return nil
}

func known(t apk.EntryType) bool {
	for _, k := range entryTypes {
		if k == t {
			return true
		}
	}
	return false
}

// ParseHeader reads the header blocks of one member of a tar, extended headers
// before it included, as ingestion does. The entry has neither digests, except a
// declared SHA-1, nor offsets, and the link of a hard link as written.
func ParseHeader(b []byte) (apk.Entry, error) {
	s := newScanner("", Limits{}.withDefaults())
	for len(b) > blockSize && isExtended(b[156]) {
		h, err := parseHeader(b)
		if err != nil {
			return apk.Entry{}, err
		}
		n := blockSize + (h.size+blockSize-1)&^(blockSize-1)
		if h.size < 0 || n >= int64(len(b)) || h.flag == flagGlobal {
			return apk.Entry{}, fmt.Errorf("extended header of %d bytes without a member after it", h.size)
		}
		if _, err := s.Write(b[:n]); err != nil {
			return apk.Entry{}, err
		}
		b = b[n:]
	}
	if len(b) != blockSize {
		return apk.Entry{}, fmt.Errorf("%d bytes, expected one header block of %d", len(b), blockSize)
	}
	h, err := parseHeader(b)
	if err != nil {
		return apk.Entry{}, err
	}
	e, err := s.entryOf(&h)
	if err == nil && h.size != 0 && e.Type != apk.TypeFile {
		// Ingestion refuses it too: some readers skip as much, others do not.
		return apk.Entry{}, fmt.Errorf("content of %d bytes in a member that is not a regular file", h.size)
	}
	return e, err
}

func isExtended(flag byte) bool {
	return flag == flagPAX || flag == flagGlobal || flag == flagLongName || flag == flagLongLink
}
