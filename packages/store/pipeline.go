package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store/internal/inflate"
	"github.com/cairn-dev/cairn/packages/store/internal/multisha"
)

// Sizes of the pooled buffers and how many of each kind may wait between two
// steps; one ingestion holds at most about 3 MiB of them.
const (
	compressedBuffer = 128 << 10
	inflatedBuffer   = inflate.Window + 224<<10
	waiting          = 3
)

// buffer is a pooled buffer that several steps read at once. The last one to
// release it gives it back.
type buffer struct {
	b    []byte
	data []byte // the part in use
	refs atomic.Int32
	pool *sync.Pool
}

func (b *buffer) release() {
	if b.refs.Add(-1) == 0 {
		b.pool.Put(b)
	}
}

type buffers struct {
	compressed, inflated sync.Pool
	readers              sync.Pool // of *inflate.Reader
}

// reader returns a reader of next's stream; give it back to b.readers.
func (b *buffers) reader(next func() ([]byte, error)) *inflate.Reader {
	r := b.readers.Get().(*inflate.Reader)
	r.Reset(next)
	return r
}

func newBuffers() *buffers {
	p := &buffers{}
	p.compressed.New = func() any { return &buffer{b: make([]byte, compressedBuffer), pool: &p.compressed} }
	p.inflated.New = func() any { return &buffer{b: make([]byte, inflatedBuffer), pool: &p.inflated} }
	p.readers.New = func() any { return &inflate.Reader{} }
	return p
}

func take(p *sync.Pool, refs int32) *buffer {
	b := p.Get().(*buffer)
	b.refs.Store(refs)
	return b
}

// dataStream reads a data section once and does everything that has to be done
// with its bytes at the same time, in three goroutines: reading, writing and
// hashing the compressed bytes; inflating; reading and hashing the tar.
type dataStream struct {
	buffers *buffers
	limits  Limits
	scan    *scanner
	blob    *os.File  // nil: the bytes are not written
	file    hash.Hash // whole-file digest, already fed with the head

	compressed chan *buffer
	toScan     chan *buffer
	failed     atomic.Bool

	inflateErr, scanErr error
	inflated            int64
}

// streamed is the result of a dataStream.
type streamed struct {
	dataHash, fileHash, diffID apk.SHA256
	size, inflated             int64
	// broken is what is wrong with the contents; the digests of the compressed
	// bytes are right even then, so that damage in transit can be told from a
	// bad package.
	broken error
}

// run reads r to its end, which must come after at most limit bytes.
func (d *dataStream) run(ctx context.Context, r *bufio.Reader, limit int64) (streamed, error) {
	d.compressed = make(chan *buffer, waiting)
	d.toScan = make(chan *buffer, waiting)
	var steps sync.WaitGroup
	steps.Go(d.inflate)
	steps.Go(d.read)
	data := sha256.New()
	size, err := d.pump(ctx, r, data, limit)
	close(d.compressed)
	steps.Wait()
	out := streamed{size: size, inflated: d.inflated}
	d.scan.tar.Sum(out.diffID[:0])
	data.Sum(out.dataHash[:0])
	d.file.Sum(out.fileHash[:0])
	if out.broken = d.scanErr; out.broken == nil {
		out.broken = d.inflateErr
	}
	return out, err
}

// pump reads the compressed bytes.
func (d *dataStream) pump(ctx context.Context, r *bufio.Reader, data hash.Hash, limit int64) (size int64, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		c := take(&d.buffers.compressed, 1)
		n, err := io.ReadFull(r, c.b)
		end := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !end {
			c.release()
			return size, err
		}
		c.data = c.b[:n]
		if size += int64(n); size > limit {
			c.release()
			return size, errTooLong
		}
		multisha.Write2(data, c.data, d.file, c.data)
		if d.blob != nil && !d.failed.Load() {
			if _, err := d.blob.Write(c.data); err != nil {
				c.release()
				return size, storageError("write "+d.blob.Name(), err)
			}
		}
		d.compressed <- c
		if end {
			return size, nil
		}
	}
}

var errTooLong = errors.New("longer than allowed")

// inflate turns compressed buffers into inflated ones until something fails,
// and takes the rest of the compressed buffers in any case.
func (d *dataStream) inflate() {
	defer close(d.toScan)
	var held *buffer
	var size int64
	z := d.buffers.reader(func() ([]byte, error) {
		if held != nil {
			held.release()
		}
		var ok bool
		if held, ok = <-d.compressed; !ok {
			held = nil
			return nil, io.EOF
		}
		size += int64(len(held.data))
		return held.data, nil
	})
	defer d.buffers.readers.Put(z)
	for d.inflateErr == nil && !d.failed.Load() {
		d.inflateErr = d.nextInflated(z, &size)
	}
	if errors.Is(d.inflateErr, io.EOF) {
		d.inflateErr = nil
	} else {
		d.failed.Store(true)
	}
	if held != nil {
		held.release()
	}
	for c := range d.compressed {
		c.release()
	}
}

const ratioFrom = 256 << 20

// nextInflated passes one buffer on. compressed is what was consumed so far.
func (d *dataStream) nextInflated(z *inflate.Reader, compressed *int64) error {
	b := take(&d.buffers.inflated, 1)
	n, err := z.Next(b.b)
	b.data = b.b[inflate.Window : inflate.Window+n]
	d.inflated += int64(n)
	if n > 0 {
		d.toScan <- b
	} else {
		b.release()
	}
	switch {
	case d.inflated > d.limits.DataInflated:
		return d.scan.refuse("", "data section inflates to more than %d bytes", d.limits.DataInflated)
	case d.inflated > ratioFrom && d.inflated / *compressed > d.limits.Ratio:
		return d.scan.refuse("", "data section inflates to more than %d times its size", d.limits.Ratio)
	case errors.Is(err, io.EOF):
		return io.EOF
	case err != nil:
		return &kindError{kind: ErrMalformed, text: "package " + d.scan.id + ": data section", cause: err}
	}
	return nil
}

func (d *dataStream) read() {
	for b := range d.toScan {
		if d.scanErr == nil {
			if _, d.scanErr = d.scan.Write(b.data); d.scanErr != nil {
				d.failed.Store(true)
			}
		}
		b.release()
	}
	if d.scanErr == nil && !d.failed.Load() {
		d.scanErr = d.scan.finish()
	}
}
