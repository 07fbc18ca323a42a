package ldcache

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrCache is wrapped by every error of [Parse].
var ErrCache = errors.New("not an ld.so.cache")

// Entry is one library of a cache.
type Entry struct {
	Name  string // what programs ask for, the SONAME
	Path  string // absolute
	Flags uint32 // FLAG_… of glibc's ldconfig.h
	Hwcap string // the glibc-hwcaps subdirectory it is in, empty: none
}

const (
	magic      = "glibc-ld.so.cache1.1"
	headerSize = 48
	entrySize  = 24

	extensionMagic   = 0xeaa42174
	extensionHeader  = 8
	sectionSize      = 16
	sectionGenerator = 0
	sectionHwcaps    = 1
	// hwcapExtension marks an entry whose low 32 bits are an index into the
	// list of glibc-hwcaps subdirectories.
	hwcapExtension = 1 << 62

	maxHwcaps = 1024 // in a file that Parse reads

	generator = "cairn"
)

type builder struct {
	data    byte // EI_DATA
	entries []Entry
}

// sort puts the entries in the order that the dynamic linker's binary search
// needs: names descending, then flags descending, then those of glibc-hwcaps
// before others. What is still equal keeps the order of the directories.
func (b *builder) sort() {
	slices.SortStableFunc(b.entries, func(x, y Entry) int {
		return cmp.Or(
			compareNames(y.Name, x.Name),
			cmp.Compare(y.Flags, x.Flags),
			compareHwcaps(x.Hwcap, y.Hwcap),
			strings.Compare(x.Name, y.Name),
		)
	})
}

func compareHwcaps(x, y string) int {
	switch {
	case x == y:
		return 0
	case x == "":
		return 1
	case y == "":
		return -1
	}
	return strings.Compare(x, y)
}

// compareNames is the order of _dl_cache_libcmp: runs of digits compare as
// numbers, and a digit comes after any other character.
func compareNames(x, y string) int {
	for x != "" && y != "" {
		dx, dy := isDigit(x[0]), isDigit(y[0])
		switch {
		case dx && dy:
			var nx, ny string
			nx, x = number(x)
			ny, y = number(y)
			if c := cmp.Or(cmp.Compare(len(nx), len(ny)), strings.Compare(nx, ny)); c != 0 {
				return c
			}
		case dx:
			return 1
		case dy:
			return -1
		case x[0] != y[0]:
			return cmp.Compare(x[0], y[0])
		default:
			x, y = x[1:], y[1:]
		}
	}
	return cmp.Compare(len(x), len(y))
}

func isDigit(c byte) bool { return c-'0' < 10 }

// number cuts the leading digits off, without leading zeros.
func number(s string) (digits, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), s[n:]
}

// stringTable collects strings that end with NUL; their offsets count from the
// beginning of the file.
type stringTable struct {
	base int
	text []byte
	at   map[string]uint32
}

func (t *stringTable) add(s string) uint32 {
	if at, ok := t.at[s]; ok {
		return at
	}
	at := uint32(t.base + len(t.text))
	t.text = append(append(t.text, s...), 0)
	t.at[s] = at
	return at
}

// addPath adds a path, and its last element as a string of its own.
func (t *stringTable) addPath(p string) uint32 {
	at := t.add(p)
	base := strings.LastIndexByte(p, '/') + 1
	if _, ok := t.at[p[base:]]; !ok {
		t.at[p[base:]] = at + uint32(base)
	}
	return at
}

// bytes lays the file out: header, entries, strings, extensions.
func (b *builder) bytes() ([]byte, error) {
	var order binary.AppendByteOrder = binary.LittleEndian
	if b.data == dataBig {
		order = binary.BigEndian
	}
	hwcaps := b.hwcaps()
	strs := &stringTable{base: headerSize + entrySize*len(b.entries), at: map[string]uint32{}}
	var table []byte
	for _, e := range b.entries {
		value := strs.addPath(e.Path)
		table = order.AppendUint32(table, e.Flags)
		table = order.AppendUint32(table, strs.add(e.Name))
		table = order.AppendUint32(table, value)
		table = order.AppendUint32(table, 0) // OS version, no longer used
		var hwcap uint64
		if e.Hwcap != "" {
			hwcap = hwcapExtension | uint64(slices.Index(hwcaps, e.Hwcap))
		}
		table = order.AppendUint64(table, hwcap)
	}
	var subdirs []byte
	for _, name := range hwcaps {
		subdirs = order.AppendUint32(subdirs, strs.add(name))
	}
	end := strs.base + len(strs.text)
	if end > 1<<31 {
		return nil, fmt.Errorf("ld.so.cache: %d libraries need more than 2 GiB", len(b.entries))
	}
	extensions := (end + 3) &^ 3

	out := []byte(magic)
	out = order.AppendUint32(out, uint32(len(b.entries)))
	out = order.AppendUint32(out, uint32(len(strs.text)))
	out = append(out, 1+b.data, 0, 0, 0) // byte order: 2 little, 3 big
	out = order.AppendUint32(out, uint32(extensions))
	out = append(out, make([]byte, 12)...)
	out = append(append(out, table...), strs.text...)
	out = append(out, make([]byte, extensions-end)...)
	return appendExtensions(out, order, subdirs), nil
}

// hwcaps returns the names of the glibc-hwcaps subdirectories, sorted.
func (b *builder) hwcaps() []string {
	var out []string
	for _, e := range b.entries {
		if e.Hwcap != "" {
			out = append(out, e.Hwcap)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// appendExtensions adds the directory of extensions and the extensions: the
// offsets of the glibc-hwcaps names, when there are any, and who made the file.
func appendExtensions(out []byte, order binary.AppendByteOrder, subdirs []byte) []byte {
	count := 1
	if len(subdirs) > 0 {
		count = 2
	}
	at := len(out) + extensionHeader + count*sectionSize
	section := func(tag, offset, size int) {
		for _, v := range [...]int{tag, 0, offset, size} {
			out = order.AppendUint32(out, uint32(v))
		}
	}
	out = order.AppendUint32(out, extensionMagic)
	out = order.AppendUint32(out, uint32(count))
	section(sectionGenerator, at+len(subdirs), len(generator))
	if len(subdirs) > 0 {
		section(sectionHwcaps, at, len(subdirs))
	}
	return append(append(out, subdirs...), generator...)
}

// Parse returns the entries of a cache in their order. It reads what [Build] and
// ldconfig since glibc 2.33 write, of either byte order.
func Parse(b []byte) ([]Entry, error) {
	if len(b) < headerSize || !bytes.HasPrefix(b, []byte(magic)) {
		return nil, fmt.Errorf("%d bytes, expected %d or more that begin with %q: %w", len(b), headerSize, magic, ErrCache)
	}
	p := parser{b: b, order: binary.LittleEndian}
	switch b[28] & 3 {
	case 2:
	case 3:
		p.order = binary.BigEndian
	default:
		return nil, fmt.Errorf("byte order mark %d, expected 2 or 3: %w", b[28], ErrCache)
	}
	count := int64(p.uint32(20))
	if headerSize+count*entrySize > int64(len(b)) {
		return nil, fmt.Errorf("%d entries do not fit into %d bytes: %w", count, len(b), ErrCache)
	}
	hwcaps := p.hwcaps(int64(p.uint32(32)))
	out := make([]Entry, 0, count)
	for i := range count {
		at := headerSize + i*entrySize
		e := Entry{Flags: p.uint32(at), Name: p.text(int64(p.uint32(at + 4))), Path: p.text(int64(p.uint32(at + 8)))}
		if hwcap := p.order.Uint64(b[at+16:]); hwcap&hwcapExtension != 0 {
			n := int(uint32(hwcap))
			if n >= len(hwcaps) {
				return nil, fmt.Errorf("entry %d: hwcaps index %d of %d: %w", i, n, len(hwcaps), ErrCache)
			}
			e.Hwcap = hwcaps[n]
		}
		out = append(out, e)
	}
	if p.fail {
		return nil, fmt.Errorf("an offset leads past the end: %w", ErrCache)
	}
	return out, nil
}

type parser struct {
	b     []byte
	order binary.ByteOrder
	fail  bool
}

func (p *parser) uint32(at int64) uint32 {
	if at < 0 || at+4 > int64(len(p.b)) {
		p.fail = true
		return 0
	}
	return p.order.Uint32(p.b[at:])
}

// text returns the string that ends with a NUL byte, of at most PATH_MAX bytes.
func (p *parser) text(at int64) string {
	if at < int64(len(p.b)) {
		if n := bytes.IndexByte(p.b[at:min(at+4096, int64(len(p.b)))], 0); n >= 0 {
			return string(p.b[at : at+int64(n)])
		}
	}
	p.fail = true
	return ""
}

// hwcaps reads the names of the glibc-hwcaps subdirectories.
func (p *parser) hwcaps(at int64) []string {
	if at == 0 || p.uint32(at) != extensionMagic {
		return nil
	}
	var out []string
	count := int64(p.uint32(at + 4))
	for s := at + extensionHeader; count > 0 && !p.fail; count, s = count-1, s+sectionSize {
		if p.uint32(s) != sectionHwcaps {
			continue
		}
		for from, n := int64(p.uint32(s+8)), p.uint32(s+12)/4; n > 0 && !p.fail; n, from = n-1, from+4 {
			out = append(out, p.text(int64(p.uint32(from))))
			p.fail = p.fail || len(out) > maxHwcaps
		}
	}
	return out
}
