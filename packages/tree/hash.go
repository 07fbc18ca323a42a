package tree

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// hashBuffer is how much of a file is read at a time, in bytes.
const hashBuffer = 256 << 10

// buffers are the hashers' working space.
var buffers = sync.Pool{New: func() any { return new([hashBuffer]byte) }}

// Hash reads every regular file once and fills in the checksums and, of ELF
// files, what they say of themselves. Symbolic links get the checksum of their
// target. jobs files are read at a time; 0 means one for each processor. The
// entries of a package have all that already. A second call does nothing.
func (t *Tree) Hash(ctx context.Context, jobs int) error {
	if t.hashed {
		return nil
	}
	if jobs <= 0 {
		jobs = runtime.GOMAXPROCS(0)
	}
	g, each := errgroup.WithContext(ctx)
	g.SetLimit(jobs)
	for i := range t.entries {
		e := &t.entries[i]
		switch e.Type {
		case apk.TypeSymlink:
			e.SHA1 = sha1.Sum([]byte(e.Link))
		case apk.TypeFile:
			g.Go(func() error { return t.hashFile(each, e) })
		}
		if each.Err() != nil {
			break
		}
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("package content: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.hashed = true
	return nil
}

func (t *Tree) hashFile(ctx context.Context, e *apk.Entry) (err error) {
	f, err := t.open(e)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	buffer := buffers.Get().(*[hashBuffer]byte)
	defer buffers.Put(buffer)
	sum1, sum256 := sha1.New(), sha256.New()
	var elf store.ELFReader
	elf.Begin(e.Size)
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		k, err := f.Read(buffer[:])
		n += int64(k)
		sum1.Write(buffer[:k])
		sum256.Write(buffer[:k])
		_, _ = elf.Write(buffer[:k])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.Path, bare(err))
		}
	}
	if n != e.Size {
		return fmt.Errorf("%s: %w", e.Path, errChanged)
	}
	sum1.Sum(e.SHA1[:0])
	sum256.Sum(e.SHA256[:0])
	e.ELF = elf.Facts()
	return nil
}

func hashBytes(e *apk.Entry, b []byte) {
	e.SHA1, e.SHA256 = sha1.Sum(b), sha256.Sum256(b)
	var elf store.ELFReader
	elf.Begin(int64(len(b)))
	_, _ = elf.Write(b)
	e.ELF = elf.Facts()
}
