package multisha

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"fmt"
	"hash"
	"math/rand/v2"
	"testing"
)

// fill gives n bytes that differ from seed to seed.
func fill(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	r.Read(b)
	return b
}

func TestAvailable(t *testing.T) {
	if !pairs {
		t.Log("this processor has no SHA instructions: both streams go through crypto/sha256")
	}
}

// TestLengths goes through lengths around blocks and the threshold, with and
// without a waiting part of a block in either hash.
func TestLengths(t *testing.T) {
	lengths := []int{0, 1, 63, 64, 65, 1023, 1024, 1025, 1087, 1088, 1089, 1151, 4096, 70000}
	for _, before := range []counts{{0, 0}, {1, 0}, {0, 63}, {17, 40}, {64, 128}, {65, 127}} {
		for _, la := range lengths {
			for _, lb := range lengths {
				check(t, fill(before.a, 1), fill(la, 2), fill(before.b, 3), fill(lb, 4))
			}
		}
	}
}

// check compares with crypto/sha256: the sums, and what goes on after them.
func check(t *testing.T, headA, a, headB, b []byte) {
	t.Helper()
	ha, hb := sha256.New(), sha256.New()
	ha.Write(headA)
	hb.Write(headB)
	Write2(ha, a, hb, b)
	for _, tail := range []string{"", "and more"} {
		ha.Write([]byte(tail))
		hb.Write([]byte(tail))
		equal(t, fmt.Sprintf("first of %d+%d, %d+%d", len(headA), len(a), len(headB), len(b)), ha, headA, a, []byte(tail))
		equal(t, fmt.Sprintf("second of %d+%d, %d+%d", len(headA), len(a), len(headB), len(b)), hb, headB, b, []byte(tail))
	}
}

func equal(t *testing.T, what string, got hash.Hash, parts ...[]byte) {
	t.Helper()
	want := sha256.Sum256(bytes.Join(parts, nil))
	if sum := got.Sum(nil); !bytes.Equal(sum, want[:]) {
		t.Fatalf("%s: %x, crypto/sha256 has %x", what, sum, want)
	}
}

// TestUnaligned starts at every position within sixteen bytes.
func TestUnaligned(t *testing.T) {
	buf := fill(8192+32, 9)
	for i := range 16 {
		for j := range 16 {
			check(t, nil, buf[i:i+8192], nil, buf[j:j+8000])
		}
	}
}

// TestSame hashes the same bytes twice, behind different beginnings.
func TestSame(t *testing.T) {
	b := fill(100_000, 5)
	check(t, []byte("signature and control"), b, nil, b)
}

// TestMany writes in random pieces, as readers do.
func TestMany(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		a, b := fill(r.IntN(1<<17), r.Uint64()), fill(r.IntN(1<<17), r.Uint64())
		ha, hb := sha256.New(), sha256.New()
		pa, pb := a, b
		for len(pa) > 0 || len(pb) > 0 {
			na, nb := r.IntN(len(pa)+1), r.IntN(len(pb)+1)
			Write2(ha, pa[:na], hb, pb[:nb])
			pa, pb = pa[na:], pb[nb:]
		}
		equal(t, "first", ha, a)
		equal(t, "second", hb, b)
	}
}

func TestForeignHash(t *testing.T) {
	if !pairs {
		t.Skip("no SHA instructions")
	}
	for name, h := range map[string]hash.Hash{"sha224": sha256.New224(), "md5": md5.New()} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if got := recover(); got != "multisha: a hash that is not from crypto/sha256" {
					t.Errorf("panic %v", got)
				}
			}()
			Write2(sha256.New(), make([]byte, 4096), h, make([]byte, 4096))
		})
	}
}

func FuzzWrite2(f *testing.F) {
	f.Add([]byte("a"), []byte("b"), uint16(20), uint16(30))
	f.Add([]byte{}, []byte("some bytes"), uint16(300), uint16(2))
	f.Fuzz(func(t *testing.T, a, b []byte, timesA, timesB uint16) {
		head := a[:len(a)/2]
		a, b = bytes.Repeat(a, int(timesA%512)), bytes.Repeat(b, int(timesB%512))
		if len(a)+len(b) > 1<<20 {
			return
		}
		check(t, head, a, b[:min(7, len(b))], b)
	})
}

func BenchmarkOne(b *testing.B) {
	p := fill(128<<10, 1)
	h := sha256.New()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		h.Write(p)
	}
}

func BenchmarkTwo(b *testing.B) {
	p, q := fill(128<<10, 1), fill(128<<10, 2)
	h, g := sha256.New(), sha256.New()
	b.SetBytes(int64(len(p) + len(q)))
	for b.Loop() {
		Write2(h, p, g, q)
	}
}

// BenchmarkShort is at the length from which on two at a time are worthwhile.
func BenchmarkShort(b *testing.B) {
	p, q := fill(worthwhile, 1), fill(worthwhile, 2)
	for name, write := range map[string]func(a hash.Hash, pa []byte, b hash.Hash, pb []byte){
		"two": Write2,
		"one": func(a hash.Hash, pa []byte, b hash.Hash, pb []byte) { a.Write(pa); b.Write(pb) },
	} {
		b.Run(name, func(b *testing.B) {
			h, g := sha256.New(), sha256.New()
			b.SetBytes(int64(len(p) + len(q)))
			for b.Loop() {
				write(h, p, g, q)
			}
		})
	}
}
