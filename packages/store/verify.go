package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store/internal/sha256x2"
)

// Verify hashes the package's data section again. When it is not what was
// ingested, the file is removed, so that the next ingestion puts it right, and
// the error, an [ErrCorrupt], names it.
func (s *Store) Verify(ctx context.Context, r *Receipt) error {
	return s.VerifyAll(ctx, []*Receipt{r}, 1)
}

// VerifyAll is Verify for many packages, each data section once, with so many
// goroutines (2 when workers is less than 1), each of which hashes two data
// sections at a time. It goes on after a bad one; the error joins all of them in
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
	for range min(workers, (len(blobs)+1)/2) {
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

// laneBuffer is how much is read at a time, in bytes: enough that the cost of a
// system call does not show.
const laneBuffer = 512 << 10

// work hashes what is in the queue, two blobs at a time.
func (v *verification) work() {
	a, b := &lane{buffer: make([]byte, laneBuffer)}, &lane{buffer: make([]byte, laneBuffer)}
	for {
		v.fill(a)
		v.fill(b)
		n := min(len(a.left), len(b.left))
		switch {
		case n > 0:
			sha256x2.Write(a.sum, a.left[:n], b.sum, b.left[:n])
			a.left, b.left = a.left[n:], b.left[n:]
		case len(a.left) > 0:
			a.alone()
		case len(b.left) > 0:
			b.alone()
		default:
			return
		}
	}
}

// lane is one of the blobs that a worker hashes.
type lane struct {
	buffer []byte
	blob   *checked // nil: none
	f      *os.File
	sum    hash.Hash
	n      int64  // bytes read
	left   []byte // read and not hashed
}

func (l *lane) alone() {
	l.sum.Write(l.left)
	l.left = nil
}

// fill sees to it that the lane has bytes to hash, from the next blob in the
// queue when its own is done. It leaves the lane empty when there are none.
func (v *verification) fill(l *lane) {
	for len(l.left) == 0 {
		if l.blob == nil && !v.next(l) {
			return
		}
		n, err := 0, v.ctx.Err()
		if err == nil {
			n, err = l.f.Read(l.buffer)
		}
		l.n += int64(n)
		l.left = l.buffer[:n]
		if err == nil {
			continue
		}
		l.alone()
		v.end(l, err)
	}
}

// next opens the next blob that can be opened.
func (v *verification) next(l *lane) bool {
	for {
		i := int(v.taken.Add(1)) - 1
		if i >= len(v.queue) {
			return false
		}
		c := v.queue[i]
		name := v.s.blobPath(c.want)
		f, err := os.Open(name)
		switch {
		case err == nil:
			l.blob, l.f, l.n, l.sum = c, f, 0, sha256.New()
			return true
		case errors.Is(err, fs.ErrNotExist):
			c.err = notFoundf(nil, "%s: data %s: not in the store", c.what, c.want)
		default:
			c.err = storageError(c.what+": open "+name, err)
		}
	}
}

// end closes the lane's blob, whose reading ended with err.
func (v *verification) end(l *lane, err error) {
	c, name := l.blob, v.s.blobPath(l.blob.want)
	var got apk.SHA256
	l.sum.Sum(got[:0])
	switch {
	case !errors.Is(err, io.EOF):
		c.err = storageError(c.what+": read "+name, err)
	case got != c.want || l.n != c.size:
		removeSame(l.f, name)
		c.err = corruptf(nil, "%s: %s: %d bytes with sha256 %s, expected %d with %s", c.what, name, l.n, got.Hex(), c.size, c.want.Hex())
	}
	_ = l.f.Close()
	l.blob, l.f = nil, nil
}

// removeSame removes the file only if it is still the one that is open: another
// process may have put it right.
func removeSame(f *os.File, name string) {
	if stillThere(f, name) {
		_ = os.Remove(name)
	}
}
