package multisha

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
)

// Lanes is how many streams a [Group] has at most.
const Lanes = 16

// Block is the size of SHA-256's blocks, in bytes.
const Block = size

// few is the number of streams below which sixteen at a time take longer than
// two at a time.
const few = 6

// states holds word i of all streams' states in row i.
type states [8][Lanes]uint32

// Group is up to [Lanes] hashes that advance together, by whole blocks. A lane
// has to be started before it is used.
type Group struct {
	s      states
	length [Lanes]uint64 // bytes
}

// initial is a hash's state before the first block.
var initial = func() (t text) {
	t.read(sha256.New())
	return t
}()

// Start begins a new hash in a lane.
func (g *Group) Start(lane int) {
	g.set(lane, &initial)
}

func (g *Group) set(lane int, t *text) {
	for i := range g.s {
		g.s[i][lane] = binary.BigEndian.Uint32(t[4+4*i:])
	}
	g.length[lane] = t.length()
}

// get is the lane's hash in the form of crypto/sha256.
func (g *Group) get(lane int) (t text) {
	copy(t[:4], initial[:4])
	for i := range g.s {
		binary.BigEndian.PutUint32(t[4+4*i:], g.s[i][lane])
	}
	binary.BigEndian.PutUint64(t[len(t)-8:], g.length[lane])
	return t
}

func (g *Group) hash(lane int) hash.Hash {
	t, h := g.get(lane), sha256.New()
	t.write(h)
	return h
}

// Sum returns the digest of everything that a lane has hashed, followed by tail,
// which may have any length.
func (g *Group) Sum(lane int, tail []byte) (sum [sha256.Size]byte) {
	h := g.hash(lane)
	h.Write(tail)
	h.Sum(sum[:0])
	return sum
}

// Blocks hashes the first n blocks of each lane's bytes. Lanes without any are
// left as they are; all others must have at least n blocks.
func (g *Group) Blocks(p *[Lanes][]byte, n int) {
	var active []int
	for i := range p {
		if len(p[i]) > 0 {
			active = append(active, i)
			_ = p[i][n*size-1]
		}
	}
	switch {
	case n == 0 || len(active) == 0:
		return
	case sixteens && len(active) >= few:
		g.all(p, active, n)
		active = nil
	case pairs:
		for ; len(active) > 1; active = active[2:] {
			g.two(active[0], active[1], p, n)
		}
	}
	for _, i := range active {
		h := g.hash(i)
		h.Write(p[i][:n*size])
		var t text
		t.read(h)
		g.set(i, &t)
	}
}

// all advances all lanes; those that are not active hash something and get
// their state back.
func (g *Group) all(p *[Lanes][]byte, active []int, n int) {
	var at [Lanes]*byte
	for i := range at {
		at[i] = &p[active[0]][0]
	}
	for _, i := range active {
		at[i] = &p[i][0]
		g.length[i] += uint64(n) * size
	}
	before := g.s
	blocks16(&g.s, &at, n)
	if len(active) == Lanes {
		return
	}
	for i := range p {
		if len(p[i]) == 0 {
			for word := range g.s {
				g.s[word][i] = before[word][i]
			}
		}
	}
}

func (g *Group) two(a, b int, p *[Lanes][]byte, n int) {
	sa, sb := g.state(a), g.state(b)
	blocks2(&sa, &sb, &p[a][0], &p[b][0], n)
	g.advance(a, &sa, n)
	g.advance(b, &sb, n)
}

func (g *Group) state(lane int) (s state) {
	for i, at := range order {
		s[at] = g.s[i][lane]
	}
	return s
}

func (g *Group) advance(lane int, s *state, n int) {
	for i, at := range order {
		g.s[i][lane] = s[at]
	}
	g.length[lane] += uint64(n) * size
}
