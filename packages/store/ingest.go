package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/cairn-dev/cairn/packages/apk"
)

// flight is an ingestion in progress in this process.
type flight struct {
	done    chan struct{}
	receipt *Receipt // nil when it failed
}

// Ingest reads one .apk file from r to its end, checks it against e and against
// itself, and stores its data section and its receipt. The file is read once;
// what is written is the data section as it came and the receipt.
//
// When another goroutine is ingesting the same package, Ingest waits for it and
// leaves r unread. An error leaves nothing behind: it is a [*MismatchError], a
// [*HostileError], [ErrMalformed], [ErrNoSpace], one of the errors of
// [apk.ReadHead], or that of r or ctx.
func (s *Store) Ingest(ctx context.Context, r io.Reader, e Expect) (*Receipt, error) {
	if e.Checksum.IsZero() {
		return s.ingest(ctx, r, e)
	}
	for {
		s.mu.Lock()
		f := s.flights[e.Checksum]
		if f == nil {
			f = &flight{done: make(chan struct{})}
			s.flights[e.Checksum] = f
			s.mu.Unlock()
			return s.fly(ctx, f, r, e)
		}
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-f.done:
		}
		if f.receipt != nil {
			if mine := f.receipt.copy(); mine.Check(e) == nil {
				return mine, nil
			}
		}
	}
}

func (s *Store) fly(ctx context.Context, f *flight, r io.Reader, e Expect) (*Receipt, error) {
	defer func() {
		s.mu.Lock()
		delete(s.flights, e.Checksum)
		s.mu.Unlock()
		close(f.done)
	}()
	receipt, err := s.ingest(ctx, r, e)
	if err == nil {
		f.receipt = receipt.copy()
	}
	return receipt, err
}

// copy returns a receipt that can be checked against something else without
// changing r. The immutable parts are shared.
func (r *Receipt) copy() *Receipt {
	c := *r
	return &c
}

func (s *Store) ingest(ctx context.Context, r io.Reader, e Expect) (*Receipt, error) {
	s.gc.RLock()
	defer s.gc.RUnlock()
	in := bufio.NewReaderSize(&contextReader{ctx, r}, 32<<10)
	head, err := apk.ReadHead(in, s.opts.Limits.Control)
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", e.ID(), err)
	}
	receipt := &Receipt{Signature: head.Signature, Control: head.Control, SignatureKey: head.SignatureName}
	receipt.complete(head)
	if err := e.checkHead(receipt); err != nil {
		return nil, err
	}
	blob, err := s.temp()
	if err != nil {
		return nil, err
	}
	if err := s.fill(ctx, receipt, in, e, blob); err != nil {
		discard(blob)
		return nil, err
	}
	receipt.complete(head)
	return receipt, s.store(receipt, e, blob)
}

// contextReader ends when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// fill reads the data section into blob and completes the receipt with what it
// says.
func (s *Store) fill(ctx context.Context, r *Receipt, in *bufio.Reader, e Expect, blob *os.File) error {
	limits := s.opts.Limits
	limit := limits.File
	if e.Size > 0 {
		limit = min(limit, e.Size)
	}
	d := &dataStream{buffers: s.buffers, limits: limits, scan: newScanner(r.ID(), limits), blob: blob, file: sha256.New()}
	d.file.Write(r.Signature)
	d.file.Write(r.Control)
	out, err := d.run(ctx, in, limit-r.DataOffset)
	if errors.Is(err, errTooLong) {
		return s.tooLong(r, e)
	}
	if err != nil {
		return fmt.Errorf("package %s: %w", r.ID(), err)
	}
	if err := checkData(r, e, out); err != nil {
		return err
	}
	r.take(d.scan, out)
	return d.scan.secondLook(ctx, s, r, blob)
}

func (s *Store) tooLong(r *Receipt, e Expect) error {
	if e.Size > 0 && e.Size <= s.opts.Limits.File {
		return &MismatchError{Package: r.ID(), What: "size", Found: "more than that", Wanted: strconv.FormatInt(e.Size, 10)}
	}
	return &HostileError{Package: r.ID(), Reason: fmt.Sprintf("file of more than %d bytes", s.opts.Limits.File)}
}

// checkData compares the digests. Only when they are right is what is wrong
// with the contents the package's own fault.
func checkData(r *Receipt, e Expect, out streamed) error {
	size := r.DataOffset + out.size
	mismatch := func(what, found, wanted string) error {
		return &MismatchError{Package: r.ID(), What: what, Found: found, Wanted: wanted, Cause: out.broken}
	}
	want := r.Package.DataHash
	switch {
	case e.Size > 0 && size != e.Size:
		return mismatch("size", strconv.FormatInt(size, 10), strconv.FormatInt(e.Size, 10))
	case !want.IsZero() && want != out.dataHash:
		return mismatch("sha256 of the data section", out.dataHash.Hex(), want.Hex()+" (datahash in .PKGINFO)")
	case !e.FileSHA256.IsZero() && e.FileSHA256 != out.fileHash:
		return mismatch("sha256 of the file", out.fileHash.Hex(), e.FileSHA256.Hex())
	case out.size == 0:
		return malformedf("package %s: no data section", r.ID())
	}
	return out.broken
}

// store makes the blob and the receipt visible, in this order: a receipt is
// never there before its blob. Both are complete before either is.
//
// Nothing is synced to disk. After a power loss a file may be empty or hold
// garbage; receipts carry their hash and blobs are hashed before use, so that
// both are noticed and fetched again, which is cheaper than to sync each one.
func (s *Store) store(r *Receipt, e Expect, blob *os.File) error {
	encoded := appendReceipt(nil, r)
	r.digest = sha256.Sum256(encoded)
	if err := e.checkFile(r); err != nil {
		discard(blob)
		return err
	}
	name, err := s.receiptName(r)
	if err != nil {
		discard(blob)
		return err
	}
	receipt, err := s.filledTemp(append(encoded, r.digest[:]...))
	if err != nil {
		discard(blob)
		return err
	}
	if err := s.commit(blob, s.blobPath(r.DataHash)); err != nil {
		discard(receipt)
		return err
	}
	if err := s.mark(s.dataMarkPath(r.DataHash, name)); err != nil {
		discard(receipt)
		return err
	}
	return s.commit(receipt, s.receiptPath(name))
}

// receiptName returns the name to store r under: the plain one unless a good
// receipt of another file has it.
func (s *Store) receiptName(r *Receipt) (string, error) {
	plain := r.Package.Checksum.Hex()
	old, err := s.readReceipt(plain)
	switch {
	case err == nil && old.FileSHA256 != r.FileSHA256:
		return variantName(r.Package.Checksum, r.FileSHA256), nil
	case err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrCorrupt):
		return plain, nil
	}
	return "", err
}

// mark makes an empty file when it is not there.
func (s *Store) mark(name string) error {
	for range 2 {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o444)
		switch {
		case err == nil:
			return storageError("write "+name, errors.Join(f.Chmod(0o444), f.Close()))
		case errors.Is(err, fs.ErrExist):
			return nil
		case !errors.Is(err, fs.ErrNotExist):
			return storageError("write "+name, err)
		}
		if err := makeDir(filepath.Dir(name)); err != nil {
			return storageError("write "+name, err)
		}
	}
	return storageError("write "+name, fs.ErrNotExist)
}
