package store

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// elfWindow is how much of an ELF file's beginning is kept while it streams by,
// in bytes: enough for the program headers and, in all but very large or
// rewritten files, the dynamic string table.
const elfWindow = 8 << 20

// maxDynamic is the limit of a dynamic section, in bytes.
const maxDynamic = 1 << 20

// elfCapture collects the parts of a regular file that [apk.ELF] is made from.
type elfCapture struct {
	size   int64
	pos    int64
	active bool
	window []byte // the first bytes of the file; its array is reused

	// dynamic is the part [from, from+cap) of the file, taken as it streams by
	// when it lies behind the window.
	dynamic []byte
	from    int64
	known   bool // whether the program headers have been looked at
	// missed is set by done when the facts lie outside of what was kept.
	missed bool
}

func (c *elfCapture) begin(size int64) {
	*c = elfCapture{size: size, window: c.window[:0], dynamic: c.dynamic[:0]}
}

const elfMagic = "\x7fELF"

// write takes the next bytes of the file.
func (c *elfCapture) write(b []byte) {
	if c.pos == 0 {
		// A magic number split over two buffers is seen when the first has
		// fewer than four bytes: keep those too.
		c.active = strings.HasPrefix(elfMagic, string(b[:min(len(b), 4)]))
	}
	at := c.pos
	c.pos += int64(len(b))
	if !c.active {
		return
	}
	if int64(cap(c.window)) < min(c.size, elfWindow) {
		grown := make([]byte, len(c.window), min(c.size, elfWindow))
		copy(grown, c.window)
		c.window = grown
	}
	if room := elfWindow - len(c.window); room > 0 {
		c.window = append(c.window, b[:min(room, len(b))]...)
		if len(c.window) >= 4 && string(c.window[:4]) != elfMagic {
			c.active = false
			return
		}
	}
	if c.pos > elfWindow {
		c.takeDynamic(b, at)
	}
}

// takeDynamic copies what b, at position at, holds of the dynamic section.
func (c *elfCapture) takeDynamic(b []byte, at int64) {
	if !c.known {
		c.known = true
		if f := newELFFile(c.window, c.size, nil); f != nil && f.dynamic.end() > elfWindow && f.dynamic.size <= maxDynamic {
			c.from = f.dynamic.offset
			if c.from < int64(len(c.window)) {
				c.dynamic = append(c.dynamic, c.window[c.from:]...)
			}
		}
	}
	if c.from == 0 {
		return
	}
	end := c.from + maxDynamic
	next := c.from + int64(len(c.dynamic))
	if next >= at && next < c.pos && next < end {
		c.dynamic = append(c.dynamic, b[next-at:min(c.pos, end)-at]...)
	}
}

// done returns the facts of the file, nil when it is no ELF file.
func (c *elfCapture) done() *apk.ELF {
	if !c.active {
		return nil
	}
	f := newELFFile(c.window, c.size, nil)
	if f == nil {
		return nil
	}
	f.extra, f.extraAt = c.dynamic, c.from
	facts, complete := f.facts()
	c.missed = !complete
	return facts
}

// elfFile reads ELF headers (System V gABI, chapters 4 and 5) from the kept
// parts of a file. Files come from packages and may lie about everything: what
// does not fit is taken as absent.
type elfFile struct {
	head    []byte
	size    int64 // of the whole file
	extra   []byte
	extraAt int64
	whole   io.ReaderAt // nil: only the parts above are at hand
	order   binary.ByteOrder
	wide    bool // 64 bit
	loads   []elfSegment
	dynamic elfSegment
	interp  elfSegment
	ident   apk.ELF
}

type elfSegment struct{ offset, addr, size int64 }

func (s elfSegment) end() int64 { return s.offset + s.size }

// Segment types and dynamic tags of the gABI.
const (
	ptLoad, ptDynamic, ptInterp                           = 1, 2, 3
	dtNeeded, dtStrtab, dtStrsz, dtSoname, dtRpath, dtRun = 1, 5, 10, 14, 15, 29
	maxSegments                                           = 1024
)

// newELFFile returns nil when head does not begin with a whole ELF header.
func newELFFile(head []byte, size int64, whole io.ReaderAt) *elfFile {
	if len(head) < 52 || string(head[:4]) != elfMagic {
		return nil
	}
	f := &elfFile{head: head, size: size, whole: whole, ident: apk.ELF{Class: head[4], Data: head[5], OSABI: head[7]}}
	switch {
	case head[4] == 2 && len(head) >= 64:
		f.wide = true
	case head[4] != 1:
		return nil
	}
	switch head[5] {
	case 1:
		f.order = binary.LittleEndian
	case 2:
		f.order = binary.BigEndian
	default:
		return nil
	}
	f.ident.Type, f.ident.Machine = f.order.Uint16(head[16:]), f.order.Uint16(head[18:])
	flags, phoff, phsize, phnum := 36, int64(f.order.Uint32(head[28:])), 42, 44
	if f.wide {
		flags, phoff, phsize, phnum = 48, int64(f.order.Uint64(head[32:])), 54, 56
	}
	f.ident.Flags = f.order.Uint32(head[flags:])
	f.segments(phoff, int(f.order.Uint16(head[phsize:])), int(f.order.Uint16(head[phnum:])))
	return f
}

func (f *elfFile) segments(offset int64, size, n int) {
	least := 32
	if f.wide {
		least = 56
	}
	if size < least {
		return
	}
	for i := range min(n, maxSegments) {
		b := f.bytes(offset+int64(i*size), int64(least))
		if b == nil {
			return
		}
		s := elfSegment{f.word(b, 4), f.word(b, 8), f.word(b, 16)}
		if f.wide {
			s = elfSegment{f.word(b, 8), f.word(b, 16), f.word(b, 32)}
		}
		if s.offset < 0 || s.size < 0 || s.addr < 0 || s.offset > f.size || s.size > f.size-s.offset {
			continue
		}
		switch f.order.Uint32(b) {
		case ptLoad:
			f.loads = append(f.loads, s)
		case ptDynamic:
			f.dynamic = s
		case ptInterp:
			f.interp = s
		}
	}
}

// word reads an address-sized number.
func (f *elfFile) word(b []byte, at int) int64 {
	if f.wide {
		return int64(f.order.Uint64(b[at:]))
	}
	return int64(f.order.Uint32(b[at:]))
}

// bytes returns n bytes of the file from offset, nil when they were not kept.
func (f *elfFile) bytes(offset, n int64) []byte {
	switch {
	case offset < 0 || n < 0:
		return nil
	case offset <= int64(len(f.head)) && n <= int64(len(f.head))-offset:
		return f.head[offset : offset+n]
	case offset >= f.extraAt && n <= int64(len(f.extra)) && offset-f.extraAt <= int64(len(f.extra))-n:
		return f.extra[offset-f.extraAt:][:n]
	case f.whole != nil && offset <= f.size && n <= f.size-offset && n <= maxDynamic:
		b := make([]byte, n)
		if _, err := f.whole.ReadAt(b, offset); err == nil {
			return b
		}
	}
	return nil
}

// facts returns what the headers and the dynamic section say, and whether all
// parts that are needed for it were kept.
func (f *elfFile) facts() (*apk.ELF, bool) {
	out := f.ident
	complete := true
	if f.interp.size > 0 && f.interp.size <= maxPath {
		b := f.bytes(f.interp.offset, f.interp.size)
		complete = b != nil
		out.Interp = cstring(b)
	}
	if f.dynamic.size == 0 || f.dynamic.size > maxDynamic {
		return &out, complete
	}
	b := f.bytes(f.dynamic.offset, f.dynamic.size)
	if b == nil {
		return &out, false
	}
	return &out, f.readDynamic(b, &out) && complete
}

// readDynamic reads the dynamic section's entries. It reports whether the
// strings that they name were kept.
func (f *elfFile) readDynamic(b []byte, out *apk.ELF) bool {
	step := 8
	if f.wide {
		step = 16
	}
	table, size := int64(-1), int64(-1)
	var list [][2]int64
	for ; len(b) >= step; b = b[step:] {
		tag, value := f.word(b, 0), f.word(b, step/2)
		if tag == 0 {
			break
		}
		switch tag {
		case dtStrtab:
			table = f.offsetOf(value)
		case dtStrsz:
			size = value
		case dtNeeded, dtSoname, dtRpath, dtRun:
			list = append(list, [2]int64{tag, value})
		}
	}
	if table < 0 || size <= 0 || size > f.size-table {
		return true
	}
	complete := true
	var rpath, runpath []string
	for _, d := range list {
		s, ok := f.text(table, size, d[1])
		complete = complete && ok
		switch {
		case s == "":
		case d[0] == dtNeeded:
			out.Needed = append(out.Needed, s)
		case d[0] == dtSoname:
			out.SONAME = s
		case d[0] == dtRpath:
			rpath = strings.Split(s, ":")
		case d[0] == dtRun:
			runpath = strings.Split(s, ":")
		}
	}
	// The loader ignores DT_RPATH when there is a DT_RUNPATH (ld.so(8)).
	if out.RunPath = runpath; runpath == nil {
		out.RunPath = rpath
	}
	return complete
}

// text returns the string at index of the string table. It reports false when
// the bytes exist but were not kept.
func (f *elfFile) text(table, size, index int64) (string, bool) {
	if index < 0 || index >= size {
		return "", true
	}
	n := min(size-index, maxPath+1)
	for _, want := range []int64{n, min(n, 256), 1} { // the table's end may not be kept
		if b := f.bytes(table+index, want); b != nil {
			if i := bytes.IndexByte(b, 0); i >= 0 {
				return string(b[:i]), true
			}
			return "", want == n
		}
	}
	return "", false
}

// offsetOf turns an address into a position in the file, -1 when no segment
// holds it.
func (f *elfFile) offsetOf(addr int64) int64 {
	for _, s := range f.loads {
		if addr >= s.addr && addr-s.addr < s.size {
			return s.offset + addr - s.addr
		}
	}
	return -1
}

func cstring(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}
