// Package multisha hashes several streams at once: [Write2] two, a [Group] up to
// sixteen. The rounds of SHA-256 wait for each other, so that a processor's SHA
// unit idles half of the time when it works on one stream; and vector
// instructions work on as many streams as a register has words.
//
// It is not a hash of its own: it only advances whole blocks, of hashes made by
// crypto/sha256, which does everything else (buffering, padding, and all of the
// work where the instructions or the other streams are missing).
//
//	a, b := sha256.New(), sha256.New()
//	multisha.Write2(a, first, b, second)
//	sumA, sumB := a.Sum(nil), b.Sum(nil)
package multisha

import (
	"encoding"
	"encoding/binary"
	"hash"
)

// size is that of SHA-256's blocks, in bytes.
const size = 64

// worthwhile is the shortest input, in bytes, for which moving the states to
// and fro costs less than it saves.
const worthwhile = 1 << 10

// Write2 does what a.Write(pa) and b.Write(pb) do, at the same time as far as the
// two are equally long. Both hashes have to be from [crypto/sha256.New] and must
// not be the same one.
func Write2(a hash.Hash, pa []byte, b hash.Hash, pb []byte) {
	if pairs && min(len(pa), len(pb)) >= worthwhile {
		done := both(a, pa, b, pb)
		pa, pb = pa[done.a:], pb[done.b:]
	}
	a.Write(pa)
	b.Write(pb)
}

// counts are numbers of bytes of either stream.
type counts struct{ a, b int }

// both hashes whole blocks of the two streams and says how much of each it took.
func both(a hash.Hash, pa []byte, b hash.Hash, pb []byte) counts {
	var done counts
	var ta, tb text
	ta.read(a)
	tb.read(b)
	// A part of a block that waits in a hash has to be completed first.
	if done.a = ta.missing(); done.a > 0 {
		a.Write(pa[:done.a])
		ta.read(a)
	}
	if done.b = tb.missing(); done.b > 0 {
		b.Write(pb[:done.b])
		tb.read(b)
	}
	n := min(len(pa)-done.a, len(pb)-done.b) / size
	sa, sb := ta.state(), tb.state()
	blocks2(&sa, &sb, &pa[done.a], &pb[done.b], n)
	ta.advance(&sa, n)
	tb.advance(&sb, n)
	ta.write(a)
	tb.write(b)
	done.a += n * size
	done.b += n * size
	return done
}

// state holds the words F E B A H G D C: the order in which the instructions
// want them.
type state [8]uint32

// order tells where word i of the hash stands in a state.
var order = [8]int{3, 2, 7, 6, 1, 0, 5, 4}

// text is the form in which crypto/sha256 writes and reads what a hash has come
// to: magic, eight words, the waiting part of a block, the length in bytes.
type text [4 + 32 + size + 8]byte

// read takes the hash's form. A hash that has none, or another one, is not from
// crypto/sha256: a mistake of the program.
func (t *text) read(h hash.Hash) {
	b, err := h.(encoding.BinaryAppender).AppendBinary(t[:0])
	if err != nil || len(b) != len(t) || string(b[:4]) != "sha\x03" {
		panic("multisha: a hash that is not from crypto/sha256")
	}
}

func (t *text) write(h hash.Hash) {
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(t[:]); err != nil {
		panic("multisha: " + err.Error())
	}
}

func (t *text) length() uint64 { return binary.BigEndian.Uint64(t[len(t)-8:]) }

// missing is how many bytes complete the block that waits, 0 when none does.
func (t *text) missing() int { return int(-t.length() % size) }

func (t *text) state() (s state) {
	for i, at := range order {
		s[at] = binary.BigEndian.Uint32(t[4+4*i:])
	}
	return s
}

// advance sets the state after n more blocks.
func (t *text) advance(s *state, n int) {
	for i, at := range order {
		binary.BigEndian.PutUint32(t[4+4*i:], s[at])
	}
	binary.BigEndian.PutUint64(t[len(t)-8:], t.length()+uint64(n)*size)
}
