package multisha

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestGroupLanes advances every number of lanes, in random places, by random
// numbers of blocks, and compares each with crypto/sha256 at the end.
func TestGroupLanes(t *testing.T) {
	for count := 1; count <= Lanes; count++ {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(count), 7))
			var g Group
			var streams [Lanes][]byte
			for _, i := range r.Perm(Lanes)[:count] {
				g.Start(i)
				streams[i] = fill(4096+r.IntN(5000), r.Uint64())
			}
			run(t, &g, &streams, r)
		})
	}
}

// run hashes the streams to their ends.
func run(t *testing.T, g *Group, streams *[Lanes][]byte, r *rand.Rand) {
	t.Helper()
	left := *streams
	for {
		var p [Lanes][]byte
		n, some := 1+r.IntN(20), false
		for i := range left {
			if len(left[i]) >= Block {
				p[i], some = left[i], true
				n = min(n, len(left[i])/Block)
			}
		}
		if !some {
			break
		}
		g.Blocks(&p, n)
		for i := range p {
			if len(p[i]) > 0 {
				left[i] = left[i][n*Block:]
			}
		}
	}
	for i, s := range streams {
		if s == nil {
			continue
		}
		if got, want := g.Sum(i, left[i]), sha256.Sum256(s); got != want {
			t.Errorf("lane %d, %d bytes: %x, crypto/sha256 has %x", i, len(s), got, want)
		}
	}
}

// TestGroupRestart uses lanes again while others go on.
func TestGroupRestart(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var g Group
	long := fill(64*Block*50, 1)
	g.Start(7)
	for round := range 50 {
		var p [Lanes][]byte
		var streams [Lanes][]byte
		for i := range Lanes {
			if i != 7 && (i+round)%3 > 0 {
				g.Start(i)
				streams[i] = fill(64*Block, r.Uint64())
				p[i] = streams[i]
			}
		}
		p[7] = long[round*64*Block:]
		g.Blocks(&p, 64)
		for i, s := range streams {
			if s != nil && g.Sum(i, nil) != sha256.Sum256(s) {
				t.Fatalf("round %d, lane %d is wrong", round, i)
			}
		}
	}
	if g.Sum(7, nil) != sha256.Sum256(long) {
		t.Error("the lane that went on is wrong")
	}
}

// TestGroupKnown hashes the examples of FIPS 180-4.
func TestGroupKnown(t *testing.T) {
	var g Group
	g.Start(0)
	for text, want := range map[string]string{
		"":    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
		"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq": "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
	} {
		if got := fmt.Sprintf("%x", g.Sum(0, []byte(text))); got != want {
			t.Errorf("%q: %s, expected %s", text, got, want)
		}
	}
}

func TestGroupShort(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a lane with too few bytes was accepted")
		}
	}()
	var g Group
	var p [Lanes][]byte
	for i := range p {
		g.Start(i)
		p[i] = make([]byte, 128)
	}
	p[11] = make([]byte, 127)
	g.Blocks(&p, 2)
}

func FuzzGroup(f *testing.F) {
	f.Add(uint64(1), uint64(2), uint16(0xffff))
	f.Add(uint64(5), uint64(3), uint16(0b101))
	f.Fuzz(func(t *testing.T, a, b uint64, lanes uint16) {
		r := rand.New(rand.NewPCG(a, b))
		var g Group
		var streams [Lanes][]byte
		for i := range streams {
			if lanes>>i&1 == 1 {
				g.Start(i)
				streams[i] = fill(r.IntN(3000), r.Uint64())
				if len(streams[i]) == 0 {
					streams[i] = nil
				}
			}
		}
		run(t, &g, &streams, r)
	})
}

func BenchmarkGroup(b *testing.B) {
	for _, count := range []int{1, 2, 4, 5, 6, 8, 12, 16} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var g Group
			var p [Lanes][]byte
			// Not a power of two apart, so that they do not compete for the
			// same places in the cache.
			const stride = 32<<10 + 5*Block
			all := fill(Lanes*stride, 1)
			for i := range count {
				g.Start(i)
				p[i] = all[i*stride:][:32<<10]
			}
			b.SetBytes(int64(count) * 32 << 10)
			for b.Loop() {
				g.Blocks(&p, 32<<10/Block)
			}
		})
	}
}
