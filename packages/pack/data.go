package pack

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/pgzip"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

// The compressor's settings decide the bytes: deflate blocks of this size, each
// with the end of the one before as its dictionary. A test holds the result
// against a recorded digest, so that a new version of the library is noticed.
const (
	blockSize = 1 << 20
	level     = 6
)

// section is the data section while it is written.
type section struct {
	ctx   context.Context
	t     *tree.Tree
	mtime time.Time

	hash     hash.Hash // of the compressed bytes
	diff     hash.Hash // of the tar
	size     counter
	inflated counter
	copy     []byte
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// writeData writes the data section to w.
func writeData(ctx context.Context, w io.Writer, t *tree.Tree, mtime int64, jobs int) (_ *section, err error) {
	s := &section{ctx: ctx, t: t, mtime: time.Unix(mtime, 0), hash: sha256.New(), diff: sha256.New(), copy: make([]byte, 256<<10)}
	z, err := pgzip.NewWriterLevel(io.MultiWriter(w, s.hash, &s.size), level)
	if err != nil {
		return nil, err
	}
	z.ModTime = time.Unix(0, 0) // a zero time.Time would become a negative number
	if err := z.SetConcurrency(blockSize, max(jobs, 1)); err != nil {
		return nil, err
	}
	buffered := bufio.NewWriterSize(io.MultiWriter(z, s.diff, &s.inflated), 256<<10)
	err = s.writeTar(buffered)
	if err == nil {
		err = buffered.Flush()
	}
	// Close also ends the compressor's goroutines.
	return s, errors.Join(err, z.Close())
}

func (s *section) writeTar(w io.Writer) error {
	out := tar.NewWriter(w)
	entries := s.t.Entries()
	for i := range entries {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.member(out, &entries[i]); err != nil {
			return fmt.Errorf("%s: %w", entries[i].Path, err)
		}
	}
	return out.Close()
}

func (s *section) member(out *tar.Writer, e *apk.Entry) error {
	h, err := s.header(e)
	if err != nil {
		return err
	}
	if err := out.WriteHeader(h); err != nil {
		return err
	}
	if e.Type != apk.TypeFile {
		return nil
	}
	return s.content(out, e)
}

// The records that apk reads from extended headers.
const (
	paxChecksum = "APK-TOOLS.checksum.SHA1"
	paxXattr    = "SCHILY.xattr."
)

func (s *section) header(e *apk.Entry) (*tar.Header, error) {
	h := &tar.Header{Name: e.Path, Linkname: e.Link, Mode: int64(e.Mode), Uid: e.UID, Gid: e.GID,
		Uname: e.Uname, Gname: e.Gname, ModTime: s.mtime, PAXRecords: map[string]string{}}
	switch e.Type {
	case apk.TypeFile:
		h.Typeflag, h.Size = tar.TypeReg, e.Size
	case apk.TypeDir:
		h.Typeflag = tar.TypeDir
	case apk.TypeSymlink:
		h.Typeflag = tar.TypeSymlink
	case apk.TypeHardlink:
		target := s.t.Lookup(e.Link)
		if target == nil || target.Type != apk.TypeFile || tree.Compare(target.Path, e.Path) >= 0 {
			return nil, fmt.Errorf("hard link to %s, which is not an earlier file", e.Link)
		}
		h.Typeflag = tar.TypeLink
		h.Mode, h.Uid, h.Gid, h.Uname, h.Gname = int64(target.Mode), target.UID, target.GID, target.Uname, target.Gname
	default:
		return nil, fmt.Errorf("kind of file %q: a package can hold files, directories and links only", e.Type)
	}
	if e.Type == apk.TypeFile || e.Type == apk.TypeSymlink {
		h.PAXRecords[paxChecksum] = hex.EncodeToString(e.SHA1[:])
	}
	for name, value := range e.Xattrs {
		h.PAXRecords[paxXattr+name] = value
	}
	return h, nil
}

var errChanged = errors.New("changed while it was packed")

// content copies a file and checks that it is the one whose checksum stands in
// its header.
func (s *section) content(out io.Writer, e *apk.Entry) (err error) {
	f, err := s.t.Open(e.Path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	var n int64
	for n <= e.Size {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		k, err := f.Read(s.copy)
		if n += int64(k); n > e.Size {
			break
		}
		sum.Write(s.copy[:k])
		if _, err := out.Write(s.copy[:k]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if n != e.Size || apk.SHA256(sum.Sum(nil)) != e.SHA256 {
		return errChanged
	}
	return nil
}
