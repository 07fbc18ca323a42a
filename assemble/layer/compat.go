package layer

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/pgzip"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// What apko compresses with: pgzip's default level in blocks of this size. The
// block size decides the bytes, the number of threads does not.
const (
	apkoCompressor = "github.com/klauspost/pgzip v1.2.6, github.com/klauspost/compress v1.19.1, level -1, 1 MiB"
	apkoBlock      = 1 << 20
)

// WriteApko writes a tree as one layer in the form apko 1.2 gives its layers:
// one walk in path order, names without a trailing slash, owner names from the
// image's own etc/passwd and etc/group or none, extended attributes on files
// and directories only, ustar where it fits, hard links where their path sorts
// (before or after what they link to), and pgzip compression.
//
// The form only: what is in the image, and who owns it, is the tree's
// business, see rootfs.CompatApko. That a hard link may come before its target,
// so that the layer cannot be unpacked, is a defect of apko's; it is kept,
// because equal bytes are what is asked for here.
func WriteApko(ctx context.Context, tree *rootfs.Tree, st *store.Store) (Layer, error) {
	t, err := newTarget(tree)
	if err != nil {
		return Layer{}, err
	}
	a := &apkoLayer{t: t, users: map[int]string{}, groups: map[int]string{}}
	for file, names := range map[string]map[int]string{"etc/passwd": a.users, "etc/group": a.groups} {
		if err := a.readNames(ctx, st, file, names); err != nil {
			return Layer{}, err
		}
	}
	key, err := a.prepare()
	if err != nil {
		return Layer{}, err
	}
	l := Layer{Kind: Packed}
	for i := range tree.Packages {
		l.Packages = append(l.Packages, i)
	}
	w := &writer{st: st}
	b, err := w.find(ctx, key)
	if b == nil && err == nil {
		b, err = w.make(ctx, key, func(out io.Writer) (*blob, error) { return a.compress(ctx, st, out) })
	}
	if err != nil {
		return Layer{}, err
	}
	l.set(b)
	return l, nil
}

// apkoLayer is a tree on its way into apko's form.
type apkoLayer struct {
	t             *target
	users, groups map[int]string
	headers       [][]byte // by tree entry
}

// readNames reads the third and first field of each line of an account file of
// the image. A missing file has no names; of several names the last counts.
func (a *apkoLayer) readNames(ctx context.Context, st *store.Store, file string, names map[int]string) error {
	i := a.t.at(file)
	if i < 0 || a.t.want[i].Type != apk.TypeFile {
		return nil
	}
	text := a.t.tree.Entries[i].Content
	if s, ok := a.t.sourceOf(i); ok {
		var err error
		if text, err = st.ReadFile(ctx, a.t.tree.Packages[s.pkg].Receipt, s.member); err != nil {
			return err
		}
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 3 {
			continue
		}
		if id, err := strconv.Atoi(f[2]); err == nil {
			names[id] = f[0]
		}
	}
	return nil
}

// prepare makes all headers and returns the key of the layer.
func (a *apkoLayer) prepare() (key string, err error) {
	h := sha256.New()
	for i := range a.t.tree.Entries {
		b, err := a.header(i)
		if err != nil {
			return "", err
		}
		a.headers = append(a.headers, b)
		h.Write(b)
		if a.t.tree.Entries[i].Type == apk.TypeFile {
			h.Write(a.t.want[i].SHA256[:])
		}
	}
	return fmt.Sprintf("apko\n%s\n%x", apkoCompressor, h.Sum(nil)), nil
}

// header returns the header blocks of entry i; none for the root.
func (a *apkoLayer) header(i int) ([]byte, error) {
	e := &a.t.tree.Entries[i].Entry
	w := a.t.want[i]
	if e.Path == "" || e.Path == "." {
		return nil, nil
	}
	flag, ok := map[apk.EntryType]byte{
		apk.TypeFile: tar.TypeReg, apk.TypeDir: tar.TypeDir, apk.TypeSymlink: tar.TypeSymlink, apk.TypeHardlink: tar.TypeLink,
		apk.TypeChar: tar.TypeChar, apk.TypeBlock: tar.TypeBlock, apk.TypeFIFO: tar.TypeFifo,
	}[e.Type]
	if !ok {
		return nil, fmt.Errorf("path %q: type %q: cannot stand in a tar archive", e.Path, e.Type)
	}
	h := &tar.Header{Typeflag: flag, Name: e.Path, Linkname: e.Link, Mode: int64(w.Mode), Uid: w.UID, Gid: w.GID,
		Uname: a.users[w.UID], Gname: a.groups[w.GID], ModTime: time.Unix(w.MTime, 0), Devmajor: e.DevMajor, Devminor: e.DevMinor}
	if e.Type == apk.TypeFile {
		h.Size = w.Size
	}
	if e.Type == apk.TypeFile || e.Type == apk.TypeDir {
		h.PAXRecords = map[string]string{}
		for name, value := range e.Xattrs {
			h.PAXRecords[xattrPrefix+name] = value
		}
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(h); err != nil {
		return nil, fmt.Errorf("path %q: %w", e.Path, err)
	}
	return b.Bytes(), nil
}

// compress writes the layer's blob.
func (a *apkoLayer) compress(ctx context.Context, st *store.Store, out io.Writer) (*blob, error) {
	spool, err := newSpool(ctx, st, a.t)
	if err != nil {
		return nil, err
	}
	defer spool.close()
	z := pgzip.NewWriter(out)
	if err := z.SetConcurrency(apkoBlock, min(runtime.GOMAXPROCS(0), 8)); err != nil {
		return nil, err
	}
	sum := &counter{Hash: sha256.New()}
	buf := bufio.NewWriterSize(io.MultiWriter(sum, z), apkoBlock)
	if err := a.write(ctx, spool, buf); err != nil {
		return nil, errors.Join(err, z.Close())
	}
	if err := errors.Join(buf.Flush(), z.Close()); err != nil {
		return nil, err
	}
	b := &blob{inflated: sum.n}
	sum.Sum(b.diffID[:0])
	return b, nil
}

func (a *apkoLayer) write(ctx context.Context, spool *spool, w io.Writer) error {
	for i, header := range a.headers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := writeAll(w, header); err != nil {
			return err
		}
		if a.t.tree.Entries[i].Type != apk.TypeFile || a.t.want[i].Size == 0 {
			continue
		}
		if err := spool.write(w, i); err != nil {
			return err
		}
		if err := writeAll(w, padding(a.t.want[i].Size)); err != nil {
			return err
		}
	}
	return writeAll(w, zeroBlocks[:])
}

// spool gives the content of package files in any order: the data sections
// inflated, one after the other, in a file that is gone when the process is.
type spool struct {
	t    *target
	f    *os.File
	base []int64 // by package: where its data section starts in f
}

func newSpool(ctx context.Context, st *store.Store, t *target) (*spool, error) {
	f, err := os.CreateTemp("", "cairn-layer-*")
	if err != nil {
		return nil, err
	}
	s := &spool{t: t, f: f, base: make([]int64, len(t.tree.Packages))}
	if err := errors.Join(os.Remove(f.Name()), s.fill(ctx, st)); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// fill inflates the data sections that are needed.
func (s *spool) fill(ctx context.Context, st *store.Store) error {
	end := int64(0)
	for pkg := range s.t.tree.Packages {
		if len(s.t.from[pkg]) == 0 {
			continue
		}
		s.base[pkg] = end
		r := &recipe{receipt: s.t.tree.Packages[pkg].Receipt}
		r.copy(0, r.receipt.TarEnd)
		if err := r.write(ctx, st, s.f); err != nil {
			return err
		}
		end += r.receipt.TarEnd
	}
	return nil
}

// close removes the file. Nothing of value is in it.
func (s *spool) close() { _ = s.f.Close() }

// write writes the content of entry i and checks its digest.
func (s *spool) write(w io.Writer, i int) error {
	h := sha256.New()
	var from io.Reader = bytes.NewReader(s.t.tree.Entries[i].Content)
	if src, ok := s.t.sourceOf(i); ok {
		e := &s.t.tree.Packages[src.pkg].Receipt.Entries[src.member]
		from = io.NewSectionReader(s.f, s.base[src.pkg]+e.DataOffset, e.Size)
	}
	if _, err := io.Copy(io.MultiWriter(w, h), from); err != nil {
		return err
	}
	return checkContent(s.t.want[i], h)
}
