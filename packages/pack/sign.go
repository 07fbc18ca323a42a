package pack

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
)

// Sign replaces the signatures of a package file by ones of the keys. The control
// section and the data section stay byte for byte, after the data section has
// been found to have the hash that the control section names: nobody should sign
// what is damaged. The file is replaced as a whole.
func Sign(ctx context.Context, name string, keys []repository.SigningKey) (err error) {
	if len(keys) == 0 {
		return errors.New("sign: no key")
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	err = replace(name, func(w io.Writer) error { return signTo(ctx, w, f, keys) })
	if err != nil {
		return fmt.Errorf("package %s: %w", name, err)
	}
	return nil
}

func signTo(ctx context.Context, w io.Writer, f *os.File, keys []repository.SigningKey) error {
	entry, head, err := readEntry(ctx, f)
	if err != nil {
		return err
	}
	signature, err := repository.SignatureMember(head.Control, keys)
	if err != nil {
		return err
	}
	for _, b := range [][]byte{signature, head.Control} {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	n := entry.Size - head.DataOffset()
	return copyAll(ctx, w, io.NewSectionReader(f, head.DataOffset(), n), n)
}

// ErrDataHash is wrapped when a package's data section is not the one that its
// control section names.
var ErrDataHash = errors.New("data section does not match the control section")

// ReadEntry returns what an index says of a package file: its .PKGINFO with
// checksum and size. The data section is hashed, so that no damaged package gets
// into an index; its content is not looked at, see [tree.OpenPackage].
func ReadEntry(ctx context.Context, name string) (*apk.Package, *apk.Head, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	p, head, err := readEntry(ctx, f)
	if err != nil {
		return nil, nil, fmt.Errorf("package %s: %w", name, err)
	}
	return p, head, nil
}

func readEntry(ctx context.Context, f *os.File) (*apk.Package, *apk.Head, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	head, err := apk.ReadHead(bufio.NewReaderSize(f, 64<<10), apk.Limits{})
	if err != nil {
		return nil, nil, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	p := *head.Package
	p.Size = fi.Size()
	if p.DataHash.IsZero() {
		return &p, head, nil
	}
	sum := sha256.New()
	n := p.Size - head.DataOffset()
	if err := copyAll(ctx, sum, io.NewSectionReader(f, head.DataOffset(), n), n); err != nil {
		return nil, nil, err
	}
	if got := apk.SHA256(sum.Sum(nil)); got != p.DataHash {
		return nil, nil, fmt.Errorf("%w: its sha256 is %s, expected %s", ErrDataHash, got.Hex(), p.DataHash.Hex())
	}
	return &p, head, nil
}
