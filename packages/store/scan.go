package store

import (
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/cairn-dev/cairn/packages/apk"
)

// scanner reads a data section's tar as it streams by and makes its entries.
// It refuses what could harm or what two readers could understand differently:
// see the methods that return errors made by refuse.
type scanner struct {
	id     string // of the package, for messages
	limits Limits

	entries  []apk.Entry
	contents map[string][]byte
	verbatim string
	names    namespace
	metadata int64 // bytes of names, links and attributes held

	pos    int64 // in the tar
	end    int64 // of the last member
	state  scanState
	block  [blockSize]byte
	filled int   // bytes of block
	left   int64 // of the content or the extended header being read
	pad    int64 // bytes after it
	flag   byte  // of the extended header being read
	text   []byte
	ext    extended
	seen   map[string]bool

	tar      hash.Hash // of everything: the diff ID
	unhashed []byte    // part of the bytes at hand that tar has not seen

	current int // position of the entry whose content is being read
	sum     hash.Hash
	sum1    hash.Hash
	want1   apk.SHA1 // declared checksum of the current file
	keep    []byte   // content wanted, nil otherwise
	keeping bool
	kept    int64
	elf     elfCapture
	again   []int // positions of ELF files that must be read a second time
}

type scanState uint8

const (
	atHeader scanState = iota
	inExtended
	inContent
	inPadding
	atHalfEnd // after one zero block
	atEnd
)

func newScanner(id string, l Limits) *scanner {
	return &scanner{id: id, limits: l, names: namespace{at: map[string]int32{}}, ext: noExtended(),
		seen: map[string]bool{}, tar: sha256.New(), sum: sha256.New(), sum1: sha1.New()}
}

func (s *scanner) refuse(member, format string, args ...any) error {
	return &HostileError{Package: s.id, Member: member, Reason: fmt.Sprintf(format, args...)}
}

// note keeps the first reason why the data section cannot be a layer as it is.
func (s *scanner) note(format string, args ...any) {
	if s.verbatim == "" {
		s.verbatim = fmt.Sprintf(format, args...)
	}
}

// Write takes the next bytes of the tar.
func (s *scanner) Write(b []byte) (int, error) {
	n := len(b)
	s.unhashed = b
	for len(b) > 0 {
		used, err := s.step(b)
		if err != nil {
			return n - len(b), err
		}
		s.pos += int64(used)
		b = b[used:]
	}
	s.tar.Write(s.unhashed)
	return n, nil
}

// step handles a part of b and returns its length. Positions count from s.pos,
// the position of b.
func (s *scanner) step(b []byte) (int, error) {
	switch s.state {
	case inContent:
		n := int(min(s.left, int64(len(b))))
		s.content(b[:n])
		if s.left -= int64(n); s.left == 0 {
			if err := s.fileDone(); err != nil {
				return n, err
			}
			s.skipPadding()
		}
		return n, nil
	case inExtended:
		n := int(min(s.left, int64(len(b))))
		s.text = append(s.text, b[:n]...)
		if s.left -= int64(n); s.left == 0 {
			if err := s.extendedDone(); err != nil {
				return n, err
			}
			s.skipPadding()
		}
		return n, nil
	case inPadding:
		n := int(min(s.pad, int64(len(b))))
		if s.pad -= int64(n); s.pad == 0 {
			s.state = atHeader
		}
		return n, nil
	case atEnd:
		for _, c := range b {
			if c != 0 {
				s.note("bytes after the end of the archive")
				break
			}
		}
		return len(b), nil
	}
	return s.headerBytes(b)
}

func (s *scanner) skipPadding() {
	if s.state = inPadding; s.pad == 0 {
		s.state = atHeader
	}
}

// headerBytes collects one block, without copying it when b holds all of it.
func (s *scanner) headerBytes(b []byte) (int, error) {
	if s.filled == 0 && len(b) >= blockSize {
		return blockSize, s.header(b[:blockSize], s.pos)
	}
	n := copy(s.block[s.filled:], b)
	if s.filled += n; s.filled < blockSize {
		return n, nil
	}
	start := s.pos + int64(n) - blockSize
	s.filled = 0
	return n, s.header(s.block[:], start)
}

var zeroBlock [blockSize]byte

// header takes the block at position start.
func (s *scanner) header(b []byte, start int64) error {
	if [blockSize]byte(b) == zeroBlock {
		if s.ext.start >= 0 {
			return s.refuse("", "extended header without a member after it")
		}
		s.state++
		if s.state != atEnd {
			s.state = atHalfEnd
		}
		return nil
	}
	if s.state == atHalfEnd {
		return s.refuse("", "zero block between members")
	}
	h, err := parseHeader(b)
	if err != nil {
		return s.refuse("", "at byte %d of the archive: %v", start, err)
	}
	if h.size < 0 {
		return s.refuse(h.name, "size %d", h.size)
	}
	switch h.flag {
	case flagPAX, flagGlobal, flagLongName, flagLongLink:
		return s.beginExtended(&h, start)
	}
	return s.member(&h, start)
}

func (s *scanner) beginExtended(h *header, start int64) error {
	if h.size > maxExtended {
		return s.refuse("", "extended header of %d bytes, at most %d are allowed", h.size, maxExtended)
	}
	s.flag, s.left, s.text = h.flag, h.size, s.text[:0]
	s.pad = -h.size & (blockSize - 1)
	switch x := &s.ext; h.flag {
	case flagPAX:
		if x.pax || x.gnu {
			return s.refuse("", "two extended headers for one member")
		}
		x.pax = true
	case flagLongName, flagLongLink:
		if x.pax || h.flag == flagLongName && x.name != "" || h.flag == flagLongLink && x.link != "" {
			return s.refuse("", "two extended headers for one member")
		}
		x.gnu = true
	case flagGlobal:
		if x.pax || x.gnu {
			return s.refuse("", "global header between an extended header and its member")
		}
	}
	if s.ext.start < 0 && h.flag != flagGlobal {
		s.ext.start = start
	}
	s.state = inExtended
	if s.left == 0 {
		return s.extendedDone()
	}
	return nil
}

// maxExtended is the limit of one extended header, in bytes.
const maxExtended = 1 << 20

func (s *scanner) extendedDone() error {
	s.state = atHeader
	var err error
	switch s.flag {
	case flagPAX:
		err = parsePAX(s.text, s.seen, s.ext.record)
	case flagGlobal:
		s.note("global pax header")
		err = parsePAX(s.text, s.seen, globalRecord)
	case flagLongName:
		err = setText(&s.ext.name, "long name", longText(s.text))
	case flagLongLink:
		err = setText(&s.ext.link, "long link", longText(s.text))
	}
	if err != nil {
		return s.refuse("", "%v", err)
	}
	return nil
}

// globalRecord allows only comments: readers do not agree on whether global
// headers count.
func globalRecord(key, _ string) error {
	if key == "comment" {
		return nil
	}
	return fmt.Errorf("global pax header with %.60q", key)
}

// longText drops the NULs behind a GNU long name.
func longText(b []byte) string {
	n := len(b)
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return string(b[:n])
}

// finish is called after the last byte.
func (s *scanner) finish() error {
	switch {
	case s.state == inContent || s.state == inExtended || s.state == inPadding || s.filled > 0 && s.state != atEnd:
		return malformedf("package %s: data section: the archive ends early, at byte %d", s.id, s.pos)
	case s.ext.start >= 0:
		return s.refuse("", "extended header without a member after it")
	case s.state == atHeader:
		s.note("no end-of-archive")
	case s.state == atHalfEnd:
		s.note("half an end-of-archive")
	case s.pos%blockSize != 0:
		s.note("the archive ends within a block")
	}
	return nil
}
