package layer

import (
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Limits for holding package files in memory on their way to the top layer, in
// bytes. What exceeds them is streamed, at the price of inflating its package
// up to it once more.
const (
	holdFile = 8 << 20
	holdAll  = 32 << 20
)

// source is a member of a package whose content the top layer needs.
type source struct{ pkg, member int }

// contents gives the content of package files. It reads each package once for
// all files that fit in memory.
type contents struct {
	ctx  context.Context
	st   *store.Store
	t    *target
	held map[source][]byte
}

// sourceOf tells where entry i's bytes come from; false when the tree carries
// them.
func (t *target) sourceOf(i int) (source, bool) {
	e := &t.tree.Entries[i]
	if e.Content != nil || e.Package < 0 {
		return source{}, false
	}
	return source{e.Package, contentMember(t.tree.Receipt(e.Package).Entries, e.Member)}, true
}

// newContents reads what the given entries of the tree need.
func newContents(ctx context.Context, st *store.Store, t *target, items []topItem) (*contents, error) {
	c := &contents{ctx: ctx, st: st, t: t, held: map[source][]byte{}}
	wanted := map[int][]int{}
	total := int64(0)
	for _, it := range items {
		if it.entry < 0 || it.header.Type != apk.TypeFile || it.header.Size == 0 {
			continue
		}
		s, ok := t.sourceOf(it.entry)
		if !ok || slices.Contains(wanted[s.pkg], s.member) {
			continue
		}
		r := t.tree.Receipt(s.pkg)
		e := &r.Entries[s.member]
		if b, ok := r.Contents[e.Path]; ok && int64(len(b)) == e.Size {
			c.held[s] = b
			continue
		}
		if !t.tree.OfBase(s.pkg) && e.Size <= holdFile && total+e.Size <= holdAll {
			total += e.Size
			wanted[s.pkg] = append(wanted[s.pkg], s.member)
		}
	}
	for pkg := range t.tree.Packages {
		if len(wanted[pkg]) > 0 {
			slices.Sort(wanted[pkg])
			if err := c.hold(pkg, wanted[pkg]); err != nil {
				return nil, err
			}
		}
	}
	return c, nil
}

// hold reads some members of a package, in archive order, in one pass.
func (c *contents) hold(pkg int, members []int) error {
	r := c.t.tree.Packages[pkg].Receipt
	rec := &recipe{receipt: r}
	for _, m := range members {
		rec.steps = append(rec.steps, step{from: r.Entries[m].DataOffset, to: r.Entries[m].DataOffset + r.Entries[m].Size})
	}
	var all collect
	if err := rec.write(c.ctx, c.st, &all); err != nil {
		return err
	}
	for _, m := range members {
		n := r.Entries[m].Size
		c.held[source{pkg, m}] = all[:n:n]
		all = all[n:]
	}
	return nil
}

type collect []byte

func (c *collect) Write(p []byte) (int, error) {
	*c = append(*c, p...)
	return len(p), nil
}

// write writes the content of entry i and checks its digest.
func (c *contents) write(w io.Writer, i int) error {
	want := c.t.want[i]
	h := sha256.New()
	w = io.MultiWriter(w, h)
	s, ok := c.t.sourceOf(i)
	b, held := c.held[s]
	var err error
	switch {
	case !ok:
		_, err = w.Write(c.t.tree.Entries[i].Content)
	case held:
		_, err = w.Write(b)
	case c.t.tree.OfBase(s.pkg):
		if b, err = c.t.tree.Base.ReadFile(c.ctx, s.member); err == nil {
			_, err = w.Write(b)
		}
	default:
		r := c.t.tree.Packages[s.pkg].Receipt
		rec := &recipe{receipt: r}
		rec.copy(r.Entries[s.member].DataOffset, r.Entries[s.member].DataOffset+r.Entries[s.member].Size)
		err = rec.write(c.ctx, c.st, w)
	}
	if err != nil {
		return err
	}
	return checkContent(want, h)
}

// checkContent compares the digest of what was written with the tree's.
func checkContent(want *apk.Entry, h hash.Hash) error {
	var got apk.SHA256
	if h.Sum(got[:0]); got != want.SHA256 {
		return fmt.Errorf("layer: %s: content has sha256 %s, the tree says %s", want.Path, got.Hex(), want.SHA256.Hex())
	}
	return nil
}
