package store

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is something wrong with one file of the store.
type Problem struct {
	Path string
	Err  error
}

// String returns what is wrong, with the path if the error does not name it.
func (p Problem) String() string {
	if strings.Contains(p.Err.Error(), p.Path) {
		return p.Err.Error()
	}
	return p.Path + ": " + p.Err.Error()
}

// Check reads everything in the store again and returns all that is wrong with
// it, sorted by path. Damaged data and receipts have been removed where that was
// possible. What nothing refers to is no problem: see [Info].
//
// A full check also reads each data section as if it were ingested now,
// declared file checksums included, and compares the outcome with the receipt:
// it finds receipts that were forged together with their hash.
func (s *Store) Check(ctx context.Context, full bool) ([]Problem, error) {
	v, err := s.takeInventory()
	if err != nil {
		return nil, err
	}
	c := &checker{s: s, ctx: ctx, full: full}
	for _, path := range slices.Sorted(maps.Keys(v.wrong)) {
		c.note(path, v.wrong[path])
	}
	for _, i := range v.sorted() {
		if err := ctx.Err(); err != nil {
			return c.problems, err
		}
		c.item(i)
	}
	slices.SortFunc(c.problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return c.problems, ctx.Err()
}

type checker struct {
	s        *Store
	ctx      context.Context
	full     bool
	problems []Problem
}

func (c *checker) note(path string, err error) {
	if err != nil && c.ctx.Err() == nil {
		c.problems = append(c.problems, Problem{path, err})
	}
}

func (c *checker) item(i *item) {
	blob := c.s.blobPath(i.data)
	switch {
	case i.blob < 0:
		for _, path := range slices.Concat(i.receipts, i.refs) {
			c.note(path, notFoundf(nil, "its data %s is missing", i.data))
		}
	case i.referred():
		c.note(blob, c.s.verifyBlob(c.ctx, "data", i.data, i.blob))
	}
	for _, path := range i.receipts {
		r, err := c.s.readReceipt(filepath.Base(path))
		if err == nil && r.DataHash != i.data {
			err = corruptf(nil, "it is of data %s, filed under %s", r.DataHash, i.data)
		}
		if err == nil && i.blob >= 0 && r.DataSize != i.blob {
			err = corruptf(nil, "data of %d bytes, %s has %d", r.DataSize, blob, i.blob)
		}
		if err == nil && c.full {
			if err = c.s.reread(c.ctx, r); errors.Is(err, ErrCorrupt) {
				_ = os.Remove(path)
			}
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
			continue // reported as missing data
		}
		c.note(path, err)
	}
}

// reread makes the receipt again from its blob and compares the two.
func (s *Store) reread(ctx context.Context, r *Receipt) error {
	f, err := os.Open(s.BlobPath(r))
	if err != nil {
		return storageError("open "+s.BlobPath(r), err)
	}
	defer f.Close()
	again := &Receipt{Package: r.Package, Signature: r.Signature, Control: r.Control, SignatureKey: r.SignatureKey,
		DataOffset: r.DataOffset, Scripts: r.Scripts}
	limits := s.opts.Limits
	d := &dataStream{buffers: s.buffers, limits: limits, scan: newScanner(r.ID(), limits), file: sha256.New()}
	d.file.Write(r.Signature)
	d.file.Write(r.Control)
	out, err := d.run(ctx, bufio.NewReader(f), limits.File)
	if err != nil {
		return err
	}
	again.take(d.scan, out)
	if err := d.scan.secondLook(ctx, s, again, f); err != nil {
		return err
	}
	if out.broken != nil || again.Digest() != r.Digest() {
		return corruptf(out.broken, "package %s: the receipt says %s, the data makes it %s", r.ID(), r.Digest(), again.Digest())
	}
	return nil
}

// take completes the receipt with what the data section says.
func (r *Receipt) take(scan *scanner, out streamed) {
	r.DataSize, r.DataHash, r.DiffID, r.InflatedSize = out.size, out.dataHash, out.diffID, out.inflated
	r.FileSHA256 = out.fileHash
	r.Entries, r.Contents, r.TarEnd, r.Verbatim = scan.entries, scan.contents, scan.end, scan.verbatim
}
