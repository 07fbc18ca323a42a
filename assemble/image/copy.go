package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrBlobChanged is wrapped when a blob's bytes are not those of its digest.
var ErrBlobChanged = errors.New("bytes are not those of the digest")

// copyChunk is how much is copied between two looks at the context.
const copyChunk = 1 << 20

// copyBlob copies exactly b.size bytes and checks them. With trusted set, and
// both ends files, the kernel copies and only the size is checked.
func copyBlob(ctx context.Context, w io.Writer, r io.Reader, b *blob, trusted bool) error {
	var h hash.Hash
	if !trusted {
		h = sha256.New()
		w = io.MultiWriter(w, h)
	}
	for left := b.size; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.CopyN(w, r, min(left, copyChunk))
		left -= n
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%d bytes, expected %d: %w", b.size-left, b.size, ErrBlobChanged)
		}
		if err != nil {
			return err
		}
	}
	var probe [1]byte
	if n, _ := io.ReadFull(r, probe[:]); n > 0 {
		return fmt.Errorf("more than %d bytes: %w", b.size, ErrBlobChanged)
	}
	if h != nil {
		if got := hex.EncodeToString(h.Sum(nil)); got != b.digest.Hex {
			return fmt.Errorf("found sha256:%s: %w", got, ErrBlobChanged)
		}
	}
	return nil
}

// Transfer counts how the bytes of a layout came to it.
type Transfer struct {
	Linked int64 // bytes in blobs that are hard links to the store
	Cloned int64 // bytes in blobs that share blocks with it
	Copied int64 // bytes written
	Kept   int64 // bytes in blobs that were there already
}

// placer puts blobs under their final names in one directory.
type placer struct {
	trusted bool
	count   Transfer
	made    []string // names made so far, to take back on failure
}

// place puts b at path: as a hard link where the blob is a file that everybody
// may read, else sharing its blocks, else as a copy. What was there is
// replaced, at no moment is there nothing.
func (p *placer) place(ctx context.Context, b *blob, path string) error {
	_, err := os.Lstat(path)
	fresh := errors.Is(err, fs.ErrNotExist)
	if b.path != "" && p.link(ctx, b, path) {
		p.count.Linked += b.size
		p.note(path, fresh)
		return nil
	}
	f, err := createAtomic(path, 0o644)
	if err != nil {
		return err
	}
	defer f.abort()
	cloned, err := p.fill(ctx, f.File, b)
	if err != nil {
		return err
	}
	if err := f.commit(); err != nil {
		return err
	}
	p.note(path, fresh)
	if cloned {
		p.count.Cloned += b.size
	} else {
		p.count.Copied += b.size
	}
	return nil
}

func (p *placer) note(path string, fresh bool) {
	if fresh {
		p.made = append(p.made, path)
	}
}

// link makes a hard link and reports whether it did. The mode and the size of
// the file are looked at, and its bytes unless they are trusted: a link shares
// them with the store, so nothing may be wrong with them.
func (p *placer) link(ctx context.Context, b *blob, path string) bool {
	const readable = 0o444
	fi, err := os.Lstat(b.path)
	if err != nil || !fi.Mode().IsRegular() || fi.Size() != b.size || fi.Mode().Perm()&readable != readable {
		return false // copying says what is wrong, if anything is
	}
	if !p.trusted && b.copyTo(ctx, discard{}, false) != nil {
		return false
	}
	err = os.Link(b.path, path)
	if !errors.Is(err, fs.ErrExist) {
		return err == nil
	}
	temp := filepath.Join(filepath.Dir(path), tempPrefix+filepath.Base(path))
	if os.Link(b.path, temp) != nil {
		return false
	}
	defer os.Remove(temp) // gone after a rename, unless both were the same file
	return os.Rename(temp, path) == nil
}

// fill puts the blob's bytes into f.
func (p *placer) fill(ctx context.Context, f *os.File, b *blob) (cloned bool, err error) {
	if b.path != "" && p.trusted {
		if ok, err := cloneFile(f, b); err != nil || ok {
			return ok, err
		}
	}
	return false, b.copyTo(ctx, f, p.trusted)
}

func cloneFile(f *os.File, b *blob) (bool, error) {
	src, err := os.Open(b.path)
	if err != nil {
		return false, err
	}
	defer src.Close()
	if clone(f, src) != nil {
		return false, nil
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() != b.size {
		err = fmt.Errorf("blob %s: %d bytes, expected %d: %w", b.digest, fi.Size(), b.size, ErrBlobChanged)
	}
	return true, err
}

// takeBack removes what was placed.
func (p *placer) takeBack() {
	for _, path := range p.made {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
}
