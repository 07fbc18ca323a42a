package layer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// step is one step of turning a data section into its part of a layer: new
// header blocks to write, or a range of the inflated tar to copy.
type step struct {
	literal  []byte
	from, to int64
}

// recipe is the steps that write a package's members, without an
// end-of-archive. Ranges go forwards: one pass over the data section does.
type recipe struct {
	receipt *store.Receipt
	steps   []step
}

// recipe returns how the members of a package are written.
func (p *Plan) recipe(pkg int, members []member) (*recipe, error) {
	r := &recipe{receipt: p.t.tree.Packages[pkg].Receipt}
	entries := r.receipt.Entries
	for i := range members {
		m := &members[i]
		if m.raw {
			r.copy(entries[m.idx].HeaderOffset, store.MemberEnd(&entries[m.idx]))
			continue
		}
		h := m.entry
		if h.Type == apk.TypeHardlink { // with its target's metadata, see headerOf
			h = p.t.headerOf(p.t.at(h.Path))
		}
		b, err := tarHeader(h)
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", r.receipt.Package.Name, err)
		}
		r.steps = append(r.steps, step{literal: b})
		if m.content >= 0 {
			r.copy(entries[m.content].DataOffset, store.MemberEnd(&entries[m.content]))
		}
	}
	return r, nil
}

// copy adds a range, joined to the one before where they meet.
func (r *recipe) copy(from, to int64) {
	if n := len(r.steps); n > 0 && r.steps[n-1].literal == nil && r.steps[n-1].to == from {
		r.steps[n-1].to = to
		return
	}
	if from < to {
		r.steps = append(r.steps, step{from: from, to: to})
	}
}

// key identifies the bytes that the recipe gives.
func (r *recipe) key() string {
	h := sha256.New()
	var n [16]byte
	for _, s := range r.steps {
		binary.BigEndian.PutUint64(n[:8], uint64(s.from))
		binary.BigEndian.PutUint64(n[8:], uint64(s.to)-uint64(len(s.literal)))
		h.Write(n[:])
		h.Write(s.literal)
	}
	return fmt.Sprintf("%s %x", r.receipt.DataHash, h.Sum(nil))
}

// size is the number of tar bytes that the recipe gives.
func (r *recipe) size() (n int64) {
	for _, s := range r.steps {
		n += s.to - s.from + int64(len(s.literal))
	}
	return n
}

// write follows the recipe. When it returns nil, the whole data section has
// been read and its digest compared.
func (r *recipe) write(ctx context.Context, st *store.Store, w io.Writer) (err error) {
	tar, err := st.OpenTar(ctx, r.receipt)
	if err != nil {
		return err
	}
	defer func() {
		if e := tar.Close(); err == nil {
			err = e
		}
	}()
	in := bufio.NewReaderSize(tar, 64<<10)
	pos := int64(0)
	for _, s := range r.steps {
		if s.literal != nil {
			if _, err := w.Write(s.literal); err != nil {
				return err
			}
			continue
		}
		if s.from < pos {
			return fmt.Errorf("package %s: recipe goes back from %d to %d", r.receipt.ID(), pos, s.from)
		}
		if _, err := io.CopyN(io.Discard, in, s.from-pos); err != nil {
			return r.short(err)
		}
		if _, err := io.CopyN(w, in, s.to-s.from); err != nil {
			return r.short(err)
		}
		pos = s.to
	}
	_, err = io.Copy(io.Discard, in) // the digest is compared at the end
	return err
}

func (r *recipe) short(err error) error {
	if err == io.EOF {
		return fmt.Errorf("package %s: data section: shorter than its receipt says", r.receipt.ID())
	}
	return err
}
