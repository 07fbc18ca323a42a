package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// bitWriter writes deflate data by hand.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint
}

// put writes the low n bits of v, the lowest first.
func (w *bitWriter) put(v uint64, n uint) *bitWriter {
	w.bits |= v << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
	return w
}

// code writes a Huffman code: the highest bit first.
func (w *bitWriter) code(v uint64, n uint) *bitWriter {
	for i := range n {
		w.put(v>>(n-1-i)&1, 1)
	}
	return w
}

func (w *bitWriter) bytes() []byte {
	if w.n > 0 {
		return append(bytes.Clone(w.out), byte(w.bits))
	}
	return w.out
}

// canonical assigns the codes of RFC 1951, 3.2.2, word by word.
func canonical(lengths []uint8) []uint64 {
	var count, next [maxCode + 1]uint64
	for _, n := range lengths {
		count[n]++
	}
	count[0] = 0
	var code uint64
	for n := 1; n <= maxCode; n++ {
		code = (code + count[n-1]) << 1
		next[n] = code
	}
	codes := make([]uint64, len(lengths))
	for i, n := range lengths {
		if n > 0 {
			codes[i] = next[n]
			next[n]++
		}
	}
	return codes
}

// randomLengths is a complete code of n symbols with codes of at most maxCode
// bits: leaves of a random tree.
func randomLengths(rnd *rand.Rand, n, symbols int) []uint8 {
	leaves := []uint8{0}
	for len(leaves) < n {
		i := rnd.IntN(len(leaves))
		if rnd.IntN(2) == 0 {
			i = len(leaves) - 1 // deeper on one side
		}
		if leaves[i] == maxCode {
			continue
		}
		leaves[i]++
		leaves = append(leaves, leaves[i])
	}
	lengths := make([]uint8, symbols)
	for i, at := range rnd.Perm(symbols)[:n] {
		lengths[at] = leaves[i]
	}
	return lengths
}

// Every code of a random table is found again, by both ways to look it up.
func TestBuild(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var c codes
	for round := range 300 {
		lengths := randomLengths(rnd, 2+rnd.IntN(280), 286)
		if !c.build(c.literal[:], literalBits, lengths, literalEntry, flagOther) {
			t.Fatalf("round %d: a complete code was refused", round)
		}
		for symbol, code := range canonical(lengths) {
			n := uint(lengths[symbol])
			if n == 0 {
				continue
			}
			stream := new(bitWriter).code(code, n).put(rnd.Uint64()&0xffffffff, 32)
			r := NewReader(pieces(stream.bytes(), 1))
			e, err := r.symbol(c.literal[:], literalBits, flagOther)
			want, extra := literalEntry(uint16(symbol))
			want |= uint32(n)<<8 | uint32(n+uint(extra))
			if err != nil || e != want {
				t.Fatalf("round %d: symbol %d of %d bits: entry %08x, want %08x, %v", round, symbol, n, e, want, err)
			}
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	var c codes
	many := func(n int, length uint8) []uint8 { return bytes.Repeat([]uint8{length}, n) }
	for _, x := range []struct {
		name    string
		lengths []uint8
		ok      bool
	}{
		{"nothing", nil, true},
		{"no codes", many(30, 0), true},
		{"one code of one bit", []uint8{0, 1, 0}, true},
		{"one code of two bits", []uint8{0, 2, 0}, false},
		{"two codes of one bit", many(2, 1), true},
		{"three codes of one bit", many(3, 1), false},
		{"incomplete", []uint8{1, 2}, false},
		{"incomplete, long", []uint8{15, 15}, false},
		{"complete, long", []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15}, true},
		{"over-subscribed, long", []uint8{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 15}, false},
		{"all alike", many(256, 8), true},
		{"one too many", many(257, 8), false},
	} {
		for _, first := range []int{distanceBits, literalBits} {
			if got := c.build(c.literal[:], first, x.lengths, literalEntry, flagOther); got != x.ok {
				t.Errorf("%s, table of %d bits: %v", x.name, first, got)
			}
		}
	}
}

// No complete code needs more room than the tables have.
func TestTablesAreLargeEnough(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 9))
	var c codes
	most := 0
	for range 3000 {
		lengths := randomLengths(rnd, 250+rnd.IntN(37), 286)
		if !c.build(c.literal[:], literalBits, lengths, literalEntry, flagOther) {
			t.Fatal("a complete code was refused")
		}
		for i, e := range c.literal[:1<<literalBits] {
			if start := int(e >> 16 & maskStart); e&flagOther != 0 && start != 0 {
				if end := start + 1<<(e>>8&15); end > len(c.literal) {
					t.Fatalf("subtable of %d ends at %d", i, end)
				} else {
					most = max(most, end)
				}
			}
		}
	}
	if most <= 1<<literalBits {
		t.Error("no subtable was needed")
	}
}

// dynamic begins a final block with its own codes: 4-bit code lengths for all
// symbols that the code of code lengths needs, then the given lengths plainly.
func dynamic(literals, distances []uint8) *bitWriter {
	w := new(bitWriter).put(1, 1).put(2, 2)
	w.put(uint64(len(literals)-257), 5).put(uint64(len(distances)-1), 5).put(15, 4)
	// Symbols 0 to 15 of the code length code have 4 bits each, in their order.
	for _, at := range precodeOrder {
		n := uint64(4)
		if at > 15 {
			n = 0
		}
		w.put(n, 3)
	}
	for _, n := range append(bytes.Clone(literals), distances...) {
		w.code(uint64(n), 4)
	}
	return w
}

// wrap makes a gzip member of deflate data.
func wrap(deflate, content []byte) []byte {
	z := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"), deflate...)
	sum, n := crc32.ChecksumIEEE(content), len(content)
	return append(z, byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24), byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// literalLengths gives each of the symbols a length.
func literalLengths(of map[int]uint8) []uint8 {
	l := make([]uint8, 286)
	for symbol, n := range of {
		l[symbol] = n
	}
	return l
}

func TestDynamicBlocksByHand(t *testing.T) {
	ab := map[int]uint8{'a': 1, 'b': 2, 256: 3, 257: 3}
	codes := canonical(literalLengths(ab))
	symbol := func(w *bitWriter, s int) *bitWriter { return w.code(codes[s], uint(ab[s])) }
	for _, c := range []struct {
		name string
		z    func() *bitWriter
		want string
		text string
	}{
		{"literals", func() *bitWriter {
			w := dynamic(literalLengths(ab), []uint8{0})
			return symbol(symbol(symbol(symbol(w, 'a'), 'b'), 'a'), 256)
		}, "aba", ""},
		{"match with the only distance code", func() *bitWriter {
			w := dynamic(literalLengths(ab), []uint8{1})
			return symbol(symbol(symbol(w, 'b'), 257).code(0, 1), 256)
		}, "bbbb", ""},
		{"match without distance codes", func() *bitWriter {
			w := dynamic(literalLengths(ab), []uint8{0})
			return symbol(symbol(symbol(w, 'b'), 257).code(0, 1), 256).put(0, 32)
		}, "b", "invalid deflate data: code without a meaning"},
		{"the missing half of a distance code", func() *bitWriter {
			w := dynamic(literalLengths(ab), []uint8{1})
			return symbol(symbol(symbol(w, 'b'), 257).code(1, 1), 256).put(0, 32)
		}, "b", "invalid deflate data: code without a meaning"},
		{"no end of block", func() *bitWriter {
			return dynamic(literalLengths(map[int]uint8{'a': 1, 'b': 1}), []uint8{0}).put(0, 64)
		}, "", "invalid deflate data: no code for the end of the block"},
		{"incomplete literal code", func() *bitWriter {
			return dynamic(literalLengths(map[int]uint8{'a': 2, 256: 2}), []uint8{0}).put(0, 64)
		}, "", "invalid deflate data: literal code"},
		{"over-subscribed distance code", func() *bitWriter {
			return dynamic(literalLengths(ab), []uint8{1, 1, 1}).put(0, 64)
		}, "", "invalid deflate data: distance code"},
		{"only an end", func() *bitWriter {
			return dynamic(literalLengths(map[int]uint8{256: 1}), []uint8{0}).code(0, 1)
		}, "", ""},
	} {
		z := wrap(c.z().bytes(), []byte(c.want))
		want, wantErr := io.ReadAll(flate.NewReader(bytes.NewReader(z[10:])))
		if (wantErr == nil) != (c.text == "") || wantErr == nil && string(want) != c.want {
			t.Fatalf("%s: the test is wrong: the standard library reads %q, %v", c.name, want, wantErr)
		}
		for _, piece := range []int{1, 9, 1000} {
			got, err := readAll(pieces(z, piece), MinBuffer)
			switch {
			case c.text == "" && (err != nil || string(got) != c.want):
				t.Errorf("%s, pieces of %d: %q, %v", c.name, piece, got, err)
			case c.text != "" && (err == nil || err.Error() != c.text):
				t.Errorf("%s, pieces of %d: error %v, want %q", c.name, piece, err, c.text)
			}
		}
	}
}

// Code lengths that are written with repetitions (RFC 1951, 3.2.7).
func TestCodeLengthRepetitions(t *testing.T) {
	// A code of code lengths with 1 (0), 16 (10), 17 (110) and 18 (111).
	head := func() *bitWriter {
		w := new(bitWriter).put(1, 1).put(2, 2).put(0, 5).put(0, 5).put(15, 4)
		for _, at := range precodeOrder {
			w.put(map[uint8]uint64{1: 1, 16: 2, 17: 3, 18: 3}[at], 3)
		}
		return w
	}
	const one, again, zeros, manyZeros = 0, 2, 6, 7
	zero := func(w *bitWriter, n int) *bitWriter {
		for n >= 11 {
			k := min(n, 138)
			if n-k > 0 && n-k < 3 {
				k -= 3
			}
			w.code(manyZeros, 3).put(uint64(k-11), 7)
			n -= k
		}
		if n >= 3 {
			w.code(zeros, 3).put(uint64(n-3), 3)
		}
		return w
	}
	for _, c := range []struct {
		name string
		w    *bitWriter
		text string
	}{
		{"good: 97 zeros, a one, 158 zeros, ones for the end and a distance", zero(zero(head(), 97).code(one, 1), 158).code(one, 1).code(one, 1).put(0, 1).put(1, 1), ""},
		{"repeating nothing", head().code(again, 2).put(0, 64), "repeated code length without one before"},
		{"too many zeros", zero(zero(head(), 138), 138).put(0, 64), "too many code lengths"},
		{"too many ones", zero(head(), 255).code(one, 1).code(again, 2).put(3, 2).put(0, 64), "too many code lengths"},
	} {
		got, err := readAll(pieces(wrap(c.w.bytes(), []byte("a")), 5), MinBuffer)
		if c.text == "" && (err != nil || string(got) != "a") {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		if c.text != "" && (!errors.Is(err, ErrDeflate) || !strings.HasSuffix(err.Error(), c.text)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Symbols that have a fixed code and no meaning.
func TestReservedSymbols(t *testing.T) {
	for name, w := range map[string]*bitWriter{
		"length 286":  new(bitWriter).put(3, 3).code(0xc6, 8),
		"length 287":  new(bitWriter).put(3, 3).code(0xc7, 8),
		"distance 30": new(bitWriter).put(3, 3).code(0x30, 8).code(1, 7).code(30, 5),
		"distance 31": new(bitWriter).put(3, 3).code(0x30, 8).code(1, 7).code(31, 5),
	} {
		for _, piece := range []int{1, 1000} {
			_, err := readAll(pieces(wrap(w.put(0, 64).put(0, 64).put(0, 64).put(0, 64).bytes(), nil), piece), MinBuffer)
			if !errors.Is(err, errSymbol) {
				t.Errorf("%s, pieces of %d: %v", name, piece, err)
			}
		}
	}
}

// copyMatch against the definition, byte by byte.
func TestCopyMatch(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 50_000 {
		buf := make([]byte, 1000)
		for i := range buf[:600] {
			buf[i] = byte(rnd.Uint32())
		}
		out, length := 300+rnd.IntN(300), 3+rnd.IntN(256)
		dist := 1 + rnd.IntN(out)
		if rnd.IntN(2) == 0 {
			dist = 1 + rnd.IntN(40)
		}
		want := bytes.Clone(buf)
		for i := range length {
			want[out+i] = want[out+i-dist]
		}
		copyMatch(buf, out, dist, length)
		if !bytes.Equal(buf[:out+length], want[:out+length]) {
			t.Fatalf("at %d, distance %d, length %d", out, dist, length)
		}
		if !bytes.Equal(buf[out+length+31:], want[out+length+31:]) {
			t.Fatalf("at %d, distance %d, length %d: wrote more than 31 bytes too far", out, dist, length)
		}
	}
}
