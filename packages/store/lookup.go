package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

// maxReceipt is the limit of a receipt file, in bytes.
const maxReceipt = 1 << 30

// Lookup returns the receipt of the package whose control section has this
// checksum, if its data section is in the store too; else [ErrNotFound]. The
// receipt is verified: its own hash, and that it belongs to the control section
// that the checksum and the datahash are of. The data section is not: see
// [Store.Verify]. A damaged receipt is removed and reported as [ErrCorrupt],
// which is an ErrNotFound.
func (s *Store) Lookup(checksum apk.SHA1) (*Receipt, error) {
	r, err := s.readReceipt(checksum.Hex())
	if err != nil {
		return nil, err
	}
	return r, s.haveBlob(r)
}

// Find is Lookup for a package that must be as expected: the receipt passes
// [Receipt.Check]. When several files have this control section (signed by
// different keys), it returns one that does.
func (s *Store) Find(e Expect) (*Receipt, error) {
	r, err := s.Lookup(e.Checksum)
	if err == nil {
		if err = r.Check(e); err == nil {
			return r, nil
		}
	}
	variants, _ := filepath.Glob(s.receiptPath(e.Checksum.Hex() + ".*"))
	for _, name := range variants {
		r, other := s.readReceipt(filepath.Base(name))
		if other == nil && r.Check(e) == nil && s.haveBlob(r) == nil {
			return r, nil
		}
	}
	if errors.Is(err, ErrNotFound) {
		return nil, err
	}
	return nil, notFoundf(err, "package %s: the one in the store is another", e.ID())
}

// Receipt returns the receipt of a package with this data section, [ErrNotFound]
// when there is none. When several packages have it (packages without files
// do), it is the one with the lowest control checksum. The data section itself
// need not be in the store.
func (s *Store) Receipt(dataHash apk.SHA256) (*Receipt, error) {
	names, err := s.receiptsOf(dataHash)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		r, e := s.readReceipt(name)
		if e == nil && r.DataHash == dataHash {
			return r, nil
		}
		err = errors.Join(err, e)
	}
	return nil, notFoundf(err, "receipt for data %s: not in the store", dataHash)
}

// receiptsOf returns the names of the receipts for a data section, sorted.
func (s *Store) receiptsOf(dataHash apk.SHA256) ([]string, error) {
	mark := s.dataMarkPath(dataHash, "")
	list, err := os.ReadDir(filepath.Dir(mark))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, storageError("read "+filepath.Dir(mark), err)
	}
	var names []string
	for _, e := range list {
		if name, ok := strings.CutPrefix(e.Name(), filepath.Base(mark)); ok && validReceiptName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// validReceiptName reports whether name is as [variantName] or a control
// checksum in hexadecimal.
func validReceiptName(name string) bool {
	digest, variant, more := strings.Cut(name, ".")
	return isHex(digest, 40) && (!more || isHex(variant, 16))
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// readReceipt reads and verifies a receipt file, and notes its use.
func (s *Store) readReceipt(name string) (*Receipt, error) {
	file := s.receiptPath(name)
	b, info, err := readAll(file, maxReceipt)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notFoundf(nil, "receipt %s: not in the store", name)
	}
	if err != nil {
		return nil, storageError("read "+file, err)
	}
	r, err := decodeReceipt(b, name)
	if err != nil {
		_ = os.Remove(file)
		return nil, corruptf(err, "receipt %s", file)
	}
	s.touch(file, info)
	return r, nil
}

// readAll reads a file of at most limit bytes.
func readAll(name string, limit int64) (b []byte, info fs.FileInfo, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if info.Size() > limit {
		return nil, nil, fmt.Errorf("%d bytes, at most %d are allowed", info.Size(), limit)
	}
	b = make([]byte, info.Size())
	_, err = io.ReadFull(f, b)
	return b, info, err
}

// touch notes in a file's modification time that it was used, for pruning; once
// per open store is enough. In a store that cannot be written to it does nothing.
func (s *Store) touch(file string, info fs.FileInfo) {
	if info.ModTime().Before(s.opened) {
		now := time.Now()
		_ = os.Chtimes(file, now, now)
	}
}

// decodeReceipt reads a receipt file and checks it against its own hash, its
// name, and its control section.
func decodeReceipt(b []byte, name string) (*Receipt, error) {
	n := len(b) - sha256.Size
	if n < 0 {
		return nil, fmt.Errorf("%w: %d bytes", errReceipt, len(b))
	}
	digest := sha256.Sum256(b[:n])
	if !bytes.Equal(digest[:], b[n:]) {
		return nil, fmt.Errorf("its sha256 is %x, it says %x", digest, b[n:])
	}
	r, err := parseReceipt(b[:n:n], string(b[:n]))
	if err != nil {
		return nil, err
	}
	r.digest = digest
	// The control section was within the limits of whoever put it here.
	return r, r.bind(name, apk.Limits{ControlCompressed: -1, ControlInflated: -1})
}

// bind reads the control section and checks that it and the rest belong
// together, and to the receipt's file name unless that is empty.
func (r *Receipt) bind(name string, l apk.Limits) error {
	head, err := apk.ReadHead(bufio.NewReaderSize(bytes.NewReader(r.Control), 512), l)
	if err != nil {
		return err
	}
	if len(head.Control) != len(r.Control) {
		return fmt.Errorf("%w: bytes behind the control section", errReceipt)
	}
	r.complete(head)
	sum := head.ControlSHA1.Hex()
	if want, variant, more := strings.Cut(name, "."); name != "" && sum != want || more && !strings.HasPrefix(r.FileSHA256.Hex(), variant) {
		return fmt.Errorf("it is that of %s with control section %s", r.ID(), sum)
	}
	if want := r.Package.DataHash; !want.IsZero() && want != r.DataHash {
		return fmt.Errorf("data section %s, .PKGINFO says %s", r.DataHash.Hex(), want.Hex())
	}
	return nil
}

// haveBlob checks that the data section is there, by its size only.
func (s *Store) haveBlob(r *Receipt) error {
	name := s.blobPath(r.DataHash)
	info, err := os.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return notFoundf(nil, "package %s: data section %s: not in the store", r.ID(), r.DataHash)
	case err != nil:
		return storageError("look at "+name, err)
	case !info.Mode().IsRegular() || info.Size() != r.DataSize:
		_ = os.Remove(name)
		return corruptf(nil, "package %s: %s: %s of %d bytes, expected a file of %d", r.ID(), name, info.Mode().Type(), info.Size(), r.DataSize)
	}
	return nil
}

// BlobPath returns the path of the file that holds exactly the package's data
// section. It must not be changed; check it with [Store.Verify] before its
// bytes are used.
func (s *Store) BlobPath(r *Receipt) string { return s.blobPath(r.DataHash) }
