package inflate

import (
	"fmt"
	"math/bits"
)

// Decoding tables. An index is made of the next bits of the stream; what is
// found there says how many bits to take and what they mean.
//
//	bits 0–7    bits to take: the code's, and the extra bits behind it
//	bits 8–15   the code's bits alone
//	bits 16–    literal; base of the length or distance; or start of a subtable
//
// and the flags below. A subtable's entry takes the bits of the whole code and
// is looked up with the bits behind the first table's; a pointer to it has the
// number of those in bits 8–15. A code that does not exist is a pointer to 0.
const (
	literalBits  = 11
	distanceBits = 8
	lengthBits   = 7 // of the code that code lengths are written in

	// More than the tables ever need: 2,342 and 402 entries for complete codes
	// of at most 15 bits (counted by zlib's enough.c).
	literalEntries  = 1 << 12
	distanceEntries = 1 << 9

	flagLiteral = 1 << 31 // literal table only
	flagOther   = 1 << 30 // literal table: subtable, end of block or no code
	flagEnd     = 1 << 29 // with flagOther: end of block
	flagSub     = 1 << 31 // distance table: subtable or no code
	maskStart   = 1<<13 - 1

	maxCode = 15
)

type codes struct {
	literal  [literalEntries]uint32
	distance [distanceEntries]uint32
	isFixed  bool

	lengths [320]uint8 // of a dynamic block's codes
	order   [288]uint16
	precode [1 << lengthBits]uint32
}

// Lengths and distances by symbol (RFC 1951, 3.2.5): base and extra bits.
var (
	lengthBase    = [29]uint16{3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258}
	lengthExtra   = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distanceBase  = [30]uint16{1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577}
	distanceExtra = [30]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
	precodeOrder  = [19]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
)

// literalEntry is the entry of a literal/length symbol, without code bits.
func literalEntry(symbol uint16) (entry uint32, extra uint8) {
	switch {
	case symbol < 256:
		return flagLiteral | uint32(symbol)<<16, 0
	case symbol == 256:
		return flagOther | flagEnd, 0
	case symbol < 286:
		return uint32(lengthBase[symbol-257]) << 16, lengthExtra[symbol-257]
	}
	return noCode, 0
}

func distanceEntry(symbol uint16) (entry uint32, extra uint8) {
	if symbol < 30 {
		return uint32(distanceBase[symbol]) << 16, distanceExtra[symbol]
	}
	return noCode, 0
}

func precodeEntry(symbol uint16) (entry uint32, extra uint8) { return uint32(symbol) << 16, 0 }

// noCode marks symbols that must not be used: they have a code but no meaning.
const noCode = ^uint32(0)

// fixed sets the tables to the fixed codes (RFC 1951, 3.2.6).
func (c *codes) fixed() {
	if c.isFixed {
		return
	}
	l := c.lengths[:288]
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	c.build(c.literal[:], literalBits, l, literalEntry, flagOther)
	for i := range l[:32] {
		l[i] = 5
	}
	c.build(c.distance[:], distanceBits, l[:32], distanceEntry, flagSub)
	c.isFixed = true
}

// build fills a table for the canonical Huffman code with the given lengths
// (RFC 1951, 3.2.2). It reports false for a code that is over-subscribed or
// incomplete; a single code of one bit, or none at all, is allowed.
func (c *codes) build(table []uint32, first int, lengths []uint8, entry func(uint16) (uint32, uint8), sub uint32) bool {
	var count [maxCode + 1]int
	for _, n := range lengths {
		count[n]++
	}
	used := len(lengths) - count[0]
	count[0] = 0
	longest, left := 0, 1
	for n := 1; n <= maxCode; n++ {
		if count[n] > 0 {
			longest = n
		}
		if left = left<<1 - count[n]; left < 0 {
			return false
		}
	}
	if left > 0 && (used > 1 || longest > 1) {
		return false
	}
	for i := range table[:1<<first] {
		table[i] = sub
	}
	c.sortSymbols(lengths, &count)
	b := builder{table: table, first: first, sub: sub, next: 1 << first, count: count, prefix: -1}
	code, length := 0, 0
	for _, symbol := range c.order[:used] {
		n := int(lengths[symbol])
		code <<= n - length
		length = n
		e, extra := entry(symbol)
		b.put(int(bits.Reverse16(uint16(code))>>(16-n)), n, e, extra)
		code++
	}
	return true
}

// sortSymbols puts the used symbols into c.order, by length, then by value.
func (c *codes) sortSymbols(lengths []uint8, count *[maxCode + 1]int) {
	var at [maxCode + 2]int
	for n := 1; n <= maxCode; n++ {
		at[n+1] = at[n] + count[n]
	}
	for symbol, n := range lengths {
		if n > 0 {
			c.order[at[n]] = uint16(symbol)
			at[n]++
		}
	}
}

type builder struct {
	table  []uint32
	first  int // bits of the first table
	sub    uint32
	next   int // free entry of the table
	prefix int // first-table index of the current subtable
	start  int // of the current subtable
	bits   int // of the current subtable
	count  [maxCode + 1]int
}

// put enters the code (its bits reversed: as they come) of n bits.
func (b *builder) put(code, n int, e uint32, extra uint8) {
	if e != noCode {
		e |= uint32(n)<<8 | uint32(n+int(extra))
	} else {
		e = b.sub
	}
	if n <= b.first {
		for i := code; i < 1<<b.first; i += 1 << n {
			b.table[i] = e
		}
		b.count[n]--
		return
	}
	if prefix := code & (1<<b.first - 1); prefix != b.prefix {
		b.open(prefix, n)
	}
	for i := code >> b.first; i < 1<<b.bits; i += 1 << (n - b.first) {
		b.table[b.start+i] = e
	}
	b.count[n]--
}

// open starts the subtable of a prefix whose shortest code has n bits. It gets
// as many bits as the longest code below the prefix needs.
func (b *builder) open(prefix, n int) {
	size := n - b.first
	for left := 1<<size - b.count[n]; left > 0 && b.first+size < maxCode; {
		size++
		left = left<<1 - b.count[b.first+size]
	}
	b.prefix, b.start, b.bits = prefix, b.next, size
	b.next += 1 << size
	for i := b.start; i < b.next; i++ {
		b.table[i] = b.sub
	}
	b.table[prefix] = b.sub | uint32(b.start)<<16 | uint32(size)<<8 | uint32(b.first)
}

// dynamicHeader reads the codes of a dynamic block (RFC 1951, 3.2.7).
func (r *Reader) dynamicHeader() error {
	c := &r.codes
	c.isFixed = false
	v, err := r.readBits(14)
	if err != nil {
		return err
	}
	literals, distances, n := int(v&31)+257, int(v>>5&31)+1, int(v>>10)+4
	if literals > 286 || distances > 30 {
		return fmt.Errorf("%w: %d literal and %d distance codes", ErrDeflate, literals, distances)
	}
	var pre [19]uint8
	for _, at := range precodeOrder[:n] {
		v, err := r.readBits(3)
		if err != nil {
			return err
		}
		pre[at] = uint8(v)
	}
	if !c.build(c.precode[:], lengthBits, pre[:], precodeEntry, 0) {
		return fmt.Errorf("%w: code of the code lengths", ErrDeflate)
	}
	if err := r.codeLengths(c.lengths[:literals+distances]); err != nil {
		return err
	}
	if c.lengths[256] == 0 {
		return fmt.Errorf("%w: no code for the end of the block", ErrDeflate)
	}
	if !c.build(c.literal[:], literalBits, c.lengths[:literals], literalEntry, flagOther) {
		return fmt.Errorf("%w: literal code", ErrDeflate)
	}
	if !c.build(c.distance[:], distanceBits, c.lengths[literals:literals+distances], distanceEntry, flagSub) {
		return fmt.Errorf("%w: distance code", ErrDeflate)
	}
	return nil
}

// codeLengths reads run-length coded code lengths.
func (r *Reader) codeLengths(l []uint8) error {
	for i := 0; i < len(l); {
		e, err := r.precodeSymbol()
		if err != nil {
			return err
		}
		symbol := uint8(e >> 16)
		if symbol < 16 {
			l[i] = symbol
			i++
			continue
		}
		var value uint8
		extra, base := uint(7), 11
		switch symbol {
		case 16:
			if i == 0 {
				return fmt.Errorf("%w: repeated code length without one before", ErrDeflate)
			}
			value, extra, base = l[i-1], 2, 3
		case 17:
			extra, base = 3, 3
		}
		v, err := r.readBits(extra)
		if err != nil {
			return err
		}
		n := base + int(v)
		if n > len(l)-i {
			return fmt.Errorf("%w: too many code lengths", ErrDeflate)
		}
		for range n {
			l[i] = value
			i++
		}
	}
	return nil
}

func (r *Reader) precodeSymbol() (uint32, error) {
	for have := uint(1); ; have++ { // the code may be shorter than its table's index
		if err := r.need(have); err != nil {
			return 0, err
		}
		e := r.codes.precode[r.bits&(1<<lengthBits-1)]
		if n := uint(e & 0xff); e != 0 && n <= r.nbits {
			r.take(n)
			return e, nil
		}
		if r.nbits >= lengthBits {
			return 0, fmt.Errorf("%w: code length code", ErrDeflate)
		}
	}
}
