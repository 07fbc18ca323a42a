package apptree

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// root is what the tree is called in [Tree.Archive].
const root = "app"

// archive writes entries as a tar whose bytes follow from them alone.
func archive(entries []Entry) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := range entries {
		e := &entries[i]
		h := &tar.Header{Name: path.Join(root, e.Path), Mode: int64(e.Mode), ModTime: time.Unix(0, 0), Linkname: e.Link, Size: int64(len(e.Content))}
		switch e.Type {
		case apk.TypeDir:
			h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
		case apk.TypeSymlink:
			h.Typeflag = tar.TypeSymlink
		default:
			h.Typeflag = tar.TypeReg
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, fmt.Errorf("%s: %w", orTree(e.Path), err)
		}
		if _, err := w.Write(e.Content); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// ParseArchive reads what [Tree.Archive] gives, or another archive of a tree below
// the name "app".
func ParseArchive(b []byte, o Options) (*Tree, error) {
	build, err := newBuilder(o)
	if err != nil {
		return nil, err
	}
	if err := build.readTar(bytes.NewReader(b), root); err != nil {
		return nil, err
	}
	return build.finish()
}

// ReadArchive reads a tar archive, which may be compressed by gzip.
func ReadArchive(r io.Reader, o Options) (*Tree, error) {
	build, err := newBuilder(o)
	if err != nil {
		return nil, err
	}
	in := bufio.NewReader(r)
	if head, _ := in.Peek(2); bytes.Equal(head, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		in = bufio.NewReader(z)
	}
	if err := build.put(Entry{Type: apk.TypeDir, Mode: 0o755}); err != nil {
		return nil, err
	}
	if err := build.readTar(in, ""); err != nil {
		return nil, err
	}
	return build.finish()
}

// readTar takes the members of an archive. Those below the directory below are
// meant where one is given, and others are refused.
func (b *builder) readTar(r io.Reader, below string) error {
	// Headers and padding are bounded too, by what so many files can have.
	limited := &io.LimitedReader{R: r, N: b.options.MaxSize + MaxEntries*2048}
	t := tar.NewReader(limited)
	for {
		h, err := t.Next()
		switch {
		case errors.Is(err, io.EOF):
			// To the end of a compressed archive, where its checksum is.
			if _, err := io.Copy(io.Discard, limited); err != nil {
				return fmt.Errorf("archive: %w", err)
			}
			return nil
		case limited.N <= 0:
			return fmt.Errorf("archive: %w", ErrTooLarge)
		case err != nil:
			return fmt.Errorf("archive: %w", err)
		}
		if err := b.member(h, t, below); err != nil {
			return fmt.Errorf("%.200s: %w", cmp.Or(strings.Trim(h.Name, "/"), "archive"), err)
		}
	}
}

// member adds one member.
func (b *builder) member(h *tar.Header, content io.Reader, below string) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	p, err := inTree(h.Name, below)
	if err != nil {
		return err
	}
	if b.exclude.excludes(p) {
		return nil
	}
	e := Entry{Path: p}
	switch h.Typeflag {
	case tar.TypeDir:
		e.Type = apk.TypeDir
	case tar.TypeSymlink:
		e.Type, e.Mode, e.Link = apk.TypeSymlink, 0o777, h.Linkname
		return b.put(e)
	case tar.TypeLink:
		return b.hardLink(e, h.Linkname, below)
	case tar.TypeReg:
		e.Type = apk.TypeFile
		if err := b.room(h.Size); err != nil {
			return err
		}
		if e.Content, err = io.ReadAll(io.LimitReader(content, h.Size)); err != nil {
			return err
		}
		if int64(len(e.Content)) != h.Size {
			return io.ErrUnexpectedEOF
		}
	default:
		return fmt.Errorf("type %q: %w", h.Typeflag, ErrType)
	}
	e.Mode = b.normal(e.Type, uint32(h.Mode)&0o7777)
	return b.put(e)
}

// hardLink makes a hard link a file of its own: whether two files are one is no
// property of a source tree, and is lost in every copy.
func (b *builder) hardLink(e Entry, target, below string) error {
	to, err := inTree(target, below)
	if err != nil {
		return err
	}
	i, ok := b.at[to]
	if !ok || b.entries[i].Type == apk.TypeDir {
		return fmt.Errorf("hard link to %.200q: not a file that stands before it", target)
	}
	path := e.Path
	e = b.entries[i]
	e.Path = path
	if err := b.room(int64(len(e.Content))); err != nil {
		return err
	}
	return b.put(e)
}

// inTree is the path of a member in the tree.
func inTree(name, below string) (string, error) {
	if strings.ContainsRune(name, 0) || strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("name: %w", ErrEscapes)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("name: %w", ErrEscapes)
		}
	}
	p := path.Clean(name)
	if p == "." {
		p = ""
	}
	if below == "" {
		return p, nil
	}
	if p == below {
		return "", nil
	}
	rest, ok := strings.CutPrefix(p, below+"/")
	if !ok {
		return "", fmt.Errorf("name: expected it below %s/", below)
	}
	return rest, nil
}
