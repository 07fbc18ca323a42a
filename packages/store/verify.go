package store

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store/internal/multisha"
)

// Verify hashes the package's data section again. When it is not what was
// ingested, the file is removed, so that the next ingestion puts it right, and
// the error, an [ErrCorrupt], names it.
func (s *Store) Verify(ctx context.Context, r *Receipt) error {
	return s.VerifyAll(ctx, []*Receipt{r}, 1)
}

// VerifyAll is Verify for many packages, each data section once, with so many
// goroutines (2 when workers is less than 1), each of which hashes several data
// sections at the same time. It goes on after a bad one; the error joins all of them in
// the order of the receipts.
func (s *Store) VerifyAll(ctx context.Context, receipts []*Receipt, workers int) error {
	if workers < 1 {
		workers = 2
	}
	var blobs []checked
	seen := make(map[apk.SHA256]bool, len(receipts))
	for _, r := range receipts {
		if !seen[r.DataHash] {
			seen[r.DataHash] = true
			blobs = append(blobs, checked{what: "package " + r.ID(), want: r.DataHash, size: r.DataSize})
		}
	}
	return s.verifyBlobs(ctx, blobs, workers)
}

func (s *Store) verifyBlob(ctx context.Context, what string, want apk.SHA256, size int64) error {
	return s.verifyBlobs(ctx, []checked{{what: what, want: want, size: size}}, 1)
}

// checked is a blob that is hashed again, and what came of it.
type checked struct {
	what string
	want apk.SHA256
	size int64
	err  error
}

// verifyBlobs hashes blobs, the largest first, so that all workers end at about
// the same time.
func (s *Store) verifyBlobs(ctx context.Context, blobs []checked, workers int) error {
	v := &verification{s: s, ctx: ctx, queue: make([]*checked, len(blobs))}
	for i := range blobs {
		v.queue[i] = &blobs[i]
	}
	slices.SortStableFunc(v.queue, func(a, b *checked) int { return cmp.Compare(b.size, a.size) })
	var done sync.WaitGroup
	for range min(workers, len(blobs)) {
		done.Go(v.work)
	}
	done.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	var errs []error
	for i := range blobs {
		errs = append(errs, blobs[i].err)
	}
	return errors.Join(errs...)
}

type verification struct {
	s     *Store
	ctx   context.Context
	queue []*checked
	taken atomic.Int64
}

// laneBuffer is how much of a blob is read at a time, in bytes. Lanes lie a
// little more than that apart: they are read at the same pace, and would compete
// for the same places in the processor's cache.
const (
	laneBuffer = 32 << 10
	laneStride = laneBuffer + 5*multisha.Block
)

// worker hashes several blobs at a time.
type worker struct {
	*verification
	group multisha.Group
	lanes [multisha.Lanes]lane
}

// lane is one of the blobs that a worker hashes.
type lane struct {
	buffer []byte
	blob   *checked // nil: none
	f      *os.File
	n      int64  // bytes read
	left   []byte // read and not hashed
}

// work hashes what is in the queue.
func (v *verification) work() {
	w := worker{verification: v}
	slab := make([]byte, multisha.Lanes*laneStride)
	for i := range w.lanes {
		w.lanes[i].buffer = slab[i*laneStride:][:laneBuffer:laneBuffer]
	}
	for {
		var p [multisha.Lanes][]byte
		n := laneBuffer
		for i := range w.lanes {
			if w.fill(i) {
				p[i] = w.lanes[i].left
				n = min(n, len(p[i])/multisha.Block)
			}
		}
		if n == laneBuffer {
			return // nothing is left
		}
		w.group.Blocks(&p, n)
		for i := range p {
			if p[i] != nil {
				w.lanes[i].left = p[i][n*multisha.Block:]
			}
		}
	}
}

// fill sees to it that a lane has a block to hash, from the next blob in the
// queue when its own is done. It returns false when there is none.
func (w *worker) fill(i int) bool {
	l := &w.lanes[i]
	for len(l.left) < multisha.Block {
		if l.blob == nil && !w.next(i) {
			return false
		}
		rest := copy(l.buffer, l.left)
		n, err := 0, w.ctx.Err()
		if err == nil {
			n, err = io.ReadFull(l.f, l.buffer[rest:])
		}
		l.n += int64(n)
		l.left = l.buffer[:rest+n]
		if err != nil && len(l.left) < multisha.Block || err != nil && !ended(err) {
			w.end(i, err)
		}
	}
	return true
}

// ended reports whether reading ended because the file does.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// next gives a lane the next blob that can be opened.
func (w *worker) next(i int) bool {
	for {
		at := int(w.taken.Add(1)) - 1
		if at >= len(w.queue) {
			return false
		}
		c := w.queue[at]
		name := w.s.blobPath(c.want)
		f, err := os.Open(name)
		switch {
		case err == nil:
			l := &w.lanes[i]
			l.blob, l.f, l.n, l.left = c, f, 0, nil
			w.group.Start(i)
			return true
		case errors.Is(err, fs.ErrNotExist):
			c.err = notFoundf(nil, "%s: data %s: not in the store", c.what, c.want)
		default:
			c.err = storageError(c.what+": open "+name, err)
		}
	}
}

// end closes a lane's blob, whose reading ended with err, with less than a block
// left to hash.
func (w *worker) end(i int, err error) {
	l := &w.lanes[i]
	c, name := l.blob, w.s.blobPath(l.blob.want)
	got := apk.SHA256(w.group.Sum(i, l.left))
	switch {
	case !ended(err):
		c.err = storageError(c.what+": read "+name, err)
	case got != c.want || l.n != c.size:
		removeSame(l.f, name)
		c.err = corruptf(nil, "%s: %s: %d bytes with sha256 %s, expected %d with %s", c.what, name, l.n, got.Hex(), c.size, c.want.Hex())
	}
	_ = l.f.Close()
	l.blob, l.f, l.left = nil, nil, nil
}

// removeSame removes the file only if it is still the one that is open: another
// process may have put it right.
func removeSame(f *os.File, name string) {
	if stillThere(f, name) {
		_ = os.Remove(name)
	}
}
