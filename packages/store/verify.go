package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

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

// stride is how many blocks are hashed at most before the context is asked
// again: 1 MiB of each blob.
const stride = 1 << 20 / multisha.Block

// worker hashes several blobs at a time. They are mapped into memory: copying
// what is in the page cache already costs a seventh as much as hashing it.
type worker struct {
	*verification
	group multisha.Group
	lanes [multisha.Lanes]lane
}

// lane is one of the blobs that a worker hashes.
type lane struct {
	blob *checked // nil: none
	f    *os.File
	data []byte // the whole file
	left []byte // the part that is not hashed
}

// work hashes what is in the queue.
func (v *verification) work() {
	w := worker{verification: v}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for w.step() {
	}
}

// step hashes some blocks of each lane. It returns false when nothing is left.
func (w *worker) step() bool {
	var p [multisha.Lanes][]byte
	n, some := stride, false
	for i := range w.lanes {
		if w.fill(i) {
			p[i], some = w.lanes[i].left, true
			n = min(n, len(p[i])/multisha.Block)
		}
	}
	if !some {
		return false
	}
	if bad := w.hash(&p, n); bad >= 0 {
		w.restart(bad)
		return true
	}
	for i := range p {
		if p[i] != nil {
			w.lanes[i].left = p[i][n*multisha.Block:]
		}
	}
	return true
}

// hash hashes n blocks of each lane. When the bytes of one cannot be read, which
// comes as a fault of the memory they are mapped to, it returns that lane, else
// -1.
func (w *worker) hash(p *[multisha.Lanes][]byte, n int) (bad int) {
	defer func() {
		if r := recover(); r != nil {
			if bad = w.laneOf(r); bad < 0 {
				panic(r)
			}
		}
	}()
	w.group.Blocks(p, n)
	return -1
}

// laneOf returns the lane whose memory a fault is in, -1 when none is.
func (w *worker) laneOf(fault any) int {
	f, ok := fault.(interface{ Addr() uintptr })
	if !ok {
		return -1
	}
	for i := range w.lanes {
		if d := w.lanes[i].data; len(d) > 0 {
			start := uintptr(unsafe.Pointer(&d[0]))
			if at := f.Addr(); at >= start && at-start < uintptr(len(d)) {
				return i
			}
		}
	}
	return -1
}

// restart gives up one lane's blob, which cannot be read, and begins the others
// again: how far they had come is not known.
func (w *worker) restart(bad int) {
	c := w.lanes[bad].blob
	w.close(bad)
	c.err = w.s.streamed(w.ctx, c)
	for i := range w.lanes {
		if w.lanes[i].blob != nil {
			w.lanes[i].left = w.lanes[i].data
			w.group.Start(i)
		}
	}
}

// fill sees to it that a lane has a block to hash, from the next blob in the
// queue when its own is done. It returns false when there is none.
func (w *worker) fill(i int) bool {
	l := &w.lanes[i]
	for {
		err := w.ctx.Err()
		switch {
		case l.blob == nil:
			if err != nil || !w.next(i) {
				return false
			}
		case err != nil:
			l.blob.err = err
			w.close(i)
		case len(l.left) >= multisha.Block:
			return true
		default:
			w.end(i)
		}
	}
}

// next gives a lane the next blob that can be mapped.
func (w *worker) next(i int) bool {
	for {
		at := int(w.taken.Add(1)) - 1
		if at >= len(w.queue) {
			return false
		}
		c := w.queue[at]
		f, data, err := mapped(w.s.blobPath(c.want))
		if err == nil {
			w.lanes[i] = lane{blob: c, f: f, data: data, left: data}
			w.group.Start(i)
			return true
		}
		c.err = w.s.streamed(w.ctx, c)
	}
}

// mapped opens a file and maps it into memory, which some file systems refuse.
func mapped(name string) (*os.File, []byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() == 0 {
		return f, nil, nil
	}
	var data []byte
	if err == nil {
		data, err = unix.Mmap(int(f.Fd()), 0, int(fi.Size()), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, data, nil
}

// end compares the digest of a lane's blob, of which less than a block is left
// to hash.
func (w *worker) end(i int) {
	l := &w.lanes[i]
	// The last bytes are read rather than taken from memory: they can be gone.
	tail := make([]byte, len(l.left))
	if _, err := l.f.ReadAt(tail, int64(len(l.data)-len(tail))); err != nil {
		l.blob.err = w.s.streamed(w.ctx, l.blob)
	} else {
		l.blob.err = w.s.judge(l.blob, l.f, apk.SHA256(w.group.Sum(i, tail)), int64(len(l.data)))
	}
	w.close(i)
}

func (w *worker) close(i int) {
	l := &w.lanes[i]
	if len(l.data) > 0 {
		_ = unix.Munmap(l.data)
	}
	_ = l.f.Close()
	*l = lane{}
}

// streamed hashes a blob that cannot be mapped, by reading it.
func (s *Store) streamed(ctx context.Context, c *checked) error {
	name := s.blobPath(c.want)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return notFoundf(nil, "%s: data %s: not in the store", c.what, c.want)
	}
	if err != nil {
		return storageError(c.what+": open "+name, err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := s.copyTo(ctx, h, f)
	if err != nil {
		return storageError(c.what+": read "+name, err)
	}
	var got apk.SHA256
	h.Sum(got[:0])
	return s.judge(c, f, got, n)
}

// judge says what is wrong with a blob of that digest and size, and removes the
// file when something is.
func (s *Store) judge(c *checked, f *os.File, got apk.SHA256, size int64) error {
	if got == c.want && size == c.size {
		return nil
	}
	removeSame(f, f.Name())
	return corruptf(nil, "%s: %s: %d bytes with sha256 %s, expected %d with %s", c.what, f.Name(), size, got.Hex(), c.size, c.want.Hex())
}

// removeSame removes the file only if it is still the one that is open: another
// process may have put it right.
func removeSame(f *os.File, name string) {
	if stillThere(f, name) {
		_ = os.Remove(name)
	}
}
