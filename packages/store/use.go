package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store/internal/inflate"
)

// copyTo copies in pooled buffers until the end or until ctx is done.
func (s *Store) copyTo(ctx context.Context, w io.Writer, r io.Reader) (n int64, err error) {
	b := take(&s.buffers.compressed, 1)
	defer b.release()
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		k, err := r.Read(b.b)
		n += int64(k)
		if _, e := w.Write(b.b[:k]); e != nil {
			return n, e
		}
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// OpenTar returns the package's data section inflated: the tar as it is. At its
// end, and only there, the compressed bytes have been hashed and their digest
// compared: until Read has returned [io.EOF], do not trust what was read. On
// damage Read returns an [ErrCorrupt] in its place and the file is removed.
func (s *Store) OpenTar(ctx context.Context, r *Receipt) (io.ReadCloser, error) {
	return s.openTar(ctx, r)
}

func (s *Store) openTar(ctx context.Context, r *Receipt) (*tarReader, error) {
	name := s.blobPath(r.DataHash)
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFoundf(nil, "package %s: data section %s: not in the store", r.ID(), r.DataHash)
	}
	if err != nil {
		return nil, storageError("open "+name, err)
	}
	t := s.inflateFile(ctx, f, r)
	t.damaged = func(err error) error {
		removeSame(f, name)
		return corruptf(err, "package %s: %s", r.ID(), name)
	}
	t.close = f.Close
	return t, nil
}

// inflateFile reads the data section in f, which stays open, from its start.
func (s *Store) inflateFile(ctx context.Context, f *os.File, r *Receipt) *tarReader {
	t := &tarReader{ctx: ctx, r: r, blob: io.NewSectionReader(f, 0, 1<<62), sum: sha256.New(),
		in: take(&s.buffers.compressed, 1), out: take(&s.buffers.inflated, 1),
		damaged: func(err error) error { return fmt.Errorf("package %s: %w", r.ID(), err) },
		close:   func() error { return nil }}
	t.z = s.buffers.reader(t.more)
	t.release = func() {
		t.in.release()
		t.out.release()
		s.buffers.readers.Put(t.z)
	}
	return t
}

type tarReader struct {
	ctx     context.Context
	r       *Receipt
	blob    io.Reader
	sum     hash.Hash
	z       *inflate.Reader
	in, out *buffer
	left    []byte // inflated and not read yet
	n       int64  // inflated so far
	err     error
	ioErr   error // of reading the file, as opposed to its content
	damaged func(error) error
	close   func() error
	release func()
	once    sync.Once
}

// more returns the next compressed bytes.
func (t *tarReader) more() ([]byte, error) {
	if t.ioErr = t.ctx.Err(); t.ioErr != nil {
		return nil, t.ioErr
	}
	n, err := t.blob.Read(t.in.b)
	t.sum.Write(t.in.b[:n])
	if n > 0 {
		return t.in.b[:n], nil
	}
	if !errors.Is(err, io.EOF) {
		t.ioErr = err
	}
	return nil, err
}

func (t *tarReader) Read(p []byte) (int, error) {
	for len(t.left) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		n, err := t.z.Next(t.out.b)
		t.left = t.out.b[inflate.Window : inflate.Window+n]
		if t.n += int64(n); err != nil {
			t.err = t.verdict(err)
		}
	}
	n := copy(p, t.left)
	t.left = t.left[n:]
	return n, nil
}

// verdict is what the end of the inflated bytes means.
func (t *tarReader) verdict(err error) error {
	var got apk.SHA256
	t.sum.Sum(got[:0])
	switch {
	case t.ioErr != nil:
		return storageError("package "+t.r.ID()+": read data section", t.ioErr)
	case !errors.Is(err, io.EOF):
		return t.damaged(err)
	case got != t.r.DataHash:
		return t.damaged(fmt.Errorf("sha256 is %s, expected %s", got.Hex(), t.r.DataHash.Hex()))
	case t.n != t.r.InflatedSize:
		return t.damaged(fmt.Errorf("inflates to %d bytes, expected %d", t.n, t.r.InflatedSize))
	}
	return io.EOF
}

// Close gives up reading. Closing early is no error.
func (t *tarReader) Close() error {
	err := fs.ErrClosed
	t.once.Do(func() {
		t.err, t.left = fs.ErrClosed, nil
		t.release()
		err = t.close()
	})
	return err
}

// maxReadFile is the limit of ReadFile and ReadFiles, in bytes.
const maxReadFile = 256 << 20

// ReadFile returns the content of the regular file r.Entries[member], checked
// against the digest in the receipt. Contents that the receipt carries cost
// nothing; for others the data section is inflated up to the file. Files of
// more than 256 MiB are refused: use [Store.OpenTar].
func (s *Store) ReadFile(ctx context.Context, r *Receipt, member int) ([]byte, error) {
	list, err := s.ReadFiles(ctx, r, []int{member})
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// ReadFiles is ReadFile for several members of one package, whose data section
// is inflated once. The contents are in the order of members; their sizes
// together are limited too.
func (s *Store) ReadFiles(ctx context.Context, r *Receipt, members []int) ([][]byte, error) {
	out, inflate, err := receiptContents(r, members)
	if err != nil || len(inflate) == 0 {
		return out, err
	}
	offset := func(i int) int64 { return r.Entries[members[i]].DataOffset }
	slices.SortFunc(inflate, func(i, j int) int { return cmp.Compare(offset(i), offset(j)) })
	t, err := s.openTar(ctx, r)
	if err != nil {
		return nil, err
	}
	at := int64(0)
	for n, i := range inflate {
		e := &r.Entries[members[i]]
		if n > 0 && members[i] == members[inflate[n-1]] {
			out[i] = out[inflate[n-1]]
			continue
		}
		if out[i], err = readMember(t, e, at); err != nil {
			break
		}
		at = e.DataOffset + e.Size
	}
	if err != nil && t.ioErr == nil {
		// Say whether it is the blob that is damaged, and remove it if so.
		err = errors.Join(err, s.Verify(ctx, r))
	}
	if err = errors.Join(err, t.Close()); err != nil {
		return nil, err
	}
	return out, nil
}

// receiptContents returns the contents that the receipt carries, and which of
// the members have to be read from the data section.
func receiptContents(r *Receipt, members []int) (out [][]byte, inflate []int, err error) {
	out = make([][]byte, len(members))
	var total int64
	for i, m := range members {
		if m < 0 || m >= len(r.Entries) {
			return nil, nil, fmt.Errorf("package %s: member %d of %d", r.ID(), m, len(r.Entries))
		}
		e := &r.Entries[m]
		if e.Type != apk.TypeFile {
			return nil, nil, fmt.Errorf("package %s: %s: not a regular file", r.ID(), e.Path)
		}
		if b, ok := r.Contents[e.Path]; ok && e.Size <= maxReadFile {
			out[i] = b
			continue
		}
		if total += e.Size; e.Size > maxReadFile || total > maxReadFile {
			return nil, nil, fmt.Errorf("package %s: %s: %d bytes, at most %d can be read at once", r.ID(), e.Path, total, maxReadFile)
		}
		inflate = append(inflate, i)
	}
	return out, inflate, nil
}

// readMember reads the member's bytes from t, which stands at an offset before
// them.
func readMember(t *tarReader, e *apk.Entry, at int64) ([]byte, error) {
	if _, err := io.CopyN(io.Discard, t, e.DataOffset-at); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path, err)
	}
	b := make([]byte, e.Size)
	if _, err := io.ReadFull(t, b); err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path, err)
	}
	if got := apk.SHA256(sha256.Sum256(b)); got != e.SHA256 {
		return nil, corruptf(nil, "package %s: %s: sha256 is %s, expected %s", t.r.ID(), e.Path, got.Hex(), e.SHA256.Hex())
	}
	return b, nil
}
