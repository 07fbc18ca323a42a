package layer

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// ErrDiffers is wrapped when a layer is not what the plan makes of it.
var ErrDiffers = errors.New("differs from the plan")

// ErrUnknown is returned for a layer whose bytes do not follow from metadata:
// apko's single layer.
var ErrUnknown = errors.New("the layer is apko's, which only a build can compare")

// maxHeader bounds the header blocks of one member, in bytes: several extended
// headers of the size that ingestion accepts.
const maxHeader = 4 << 20

// Outline lists the layers that Write returns, from metadata alone: kind and
// packages of each, and digest, diff ID and sizes of those that are verbatim.
func (p *Plan) Outline() []Layer {
	if p.opts.Compat {
		all := make([]int, len(p.t.tree.Packages))
		for i := range all {
			all[i] = i
		}
		return []Layer{{Kind: Packed, Packages: all}}
	}
	out := make([]Layer, len(p.layers))
	for i := range p.layers {
		l := &p.layers[i]
		out[i] = Layer{Kind: l.kind, Packages: l.packages}
		if l.kind == Verbatim {
			r := p.t.tree.Receipt(l.packages[0])
			out[i].Digest, out[i].DiffID, out[i].Size, out[i].Inflated = ociHash(r.DataHash), ociHash(r.DiffID), r.DataSize, r.InflatedSize
		}
	}
	for _, l := range p.above() {
		out = append(out, Layer{Kind: l.kind(), App: l.app})
	}
	return out
}

// NeedsPackages tells whether the layers' bytes follow from the packages only, and
// not from metadata: apko's single layer. [Plan.Check] cannot compare it.
func (p *Plan) NeedsPackages() bool { return p.opts.Compat }

// hasTop tells whether what is in no package is a layer of its own.
func (p *Plan) hasTop() bool {
	return len(p.layers) == 0 && len(p.apps) == 0 || !p.single && len(p.top.items) > 0
}

// Check reads the inflated tar of layer i, of those that [Plan.Outline] lists
// and that is not verbatim, and compares it with what Write would give: every
// header byte for byte, every content by its size and SHA-256, the padding, the
// end, and that nothing follows. Members that a package's own archive brings
// along with their headers are compared field by field, because receipts keep
// what those headers say and not their bytes. No package data is needed.
//
// The error wraps [ErrDiffers] and names the member, or is [ErrUnknown].
func (p *Plan) Check(i int, tar io.Reader) error {
	if p.opts.Compat {
		return ErrUnknown
	}
	w := &walker{r: bufio.NewReaderSize(tar, 64<<10)}
	if n := i - len(p.layers); n >= 0 {
		if err := w.top(p, p.above()[n]); err != nil {
			return err
		}
		return w.end()
	}
	if err := w.layer(p, &p.layers[i]); err != nil {
		return err
	}
	if p.single {
		if err := w.top(p, p.top); err != nil {
			return err
		}
	}
	return w.end()
}

// Explain compares an inflated tar with the data section that layer i, which is a
// package as it is, should be: it names the first member that differs. It is for
// layers whose digest is another; nil says that the members are the same.
func (p *Plan) Explain(i int, tar io.Reader) error {
	if p.opts.Compat || i >= len(p.layers) || p.layers[i].kind != Verbatim {
		return ErrUnknown
	}
	entries := p.t.tree.Receipt(p.layers[i].packages[0]).Entries
	w := &walker{r: bufio.NewReaderSize(tar, 64<<10)}
	at := int64(0)
	for i := range entries {
		e := &entries[i]
		if e.HeaderOffset > at { // what no receipt lists, such as an extended header of its own
			if _, err := w.r.Discard(int(e.HeaderOffset - at)); err != nil {
				return w.unexpected(nil, describeEntry(e))
			}
		}
		if err := w.rawHeader(entries, e); err != nil {
			return err
		}
		if err := w.content(e); err != nil {
			return err
		}
		at = store.MemberEnd(e)
	}
	for { // archives end in as many zero blocks as their writer liked
		b, err := w.take(blockSize)
		if len(bytes.Trim(b, "\x00")) > 0 {
			return w.unexpected(b, "the end of the archive")
		}
		if err != nil {
			if w.why(err) != ErrDiffers {
				return err
			}
			return nil
		}
	}
}

// walker compares a tar with what is expected next.
type walker struct {
	r *bufio.Reader
}

func (w *walker) layer(p *Plan, l *planned) error {
	for i := range l.dirs {
		b, err := tarHeader(l.dirs[i].entry)
		if err != nil {
			return err
		}
		if err := w.header(b); err != nil {
			return err
		}
	}
	for n, pkg := range l.packages {
		for m := range l.members[n] {
			if err := w.member(p, pkg, &l.members[n][m]); err != nil {
				return err
			}
		}
	}
	return nil
}

// member compares one member of a package, written as [Plan.recipe] says.
func (w *walker) member(p *Plan, pkg int, m *member) error {
	entries := p.t.tree.Receipt(pkg).Entries
	if m.raw {
		e := &entries[m.idx]
		if err := w.rawHeader(entries, e); err != nil {
			return err
		}
		return w.content(e)
	}
	h := m.entry
	if h.Type == apk.TypeHardlink {
		h = p.t.headerOf(p.t.at(h.Path))
	}
	b, err := tarHeader(h)
	if err != nil {
		return err
	}
	if err := w.header(b); err != nil {
		return err
	}
	if m.content < 0 {
		return nil
	}
	return w.content(&entries[m.content])
}

func (w *walker) top(p *Plan, l *topLayer) error {
	t, err := p.t.tar(l)
	if err != nil {
		return err
	}
	for i := range t.items {
		if err := w.header(t.headers[i]); err != nil {
			return err
		}
		e := t.items[i].header
		if t.items[i].entry < 0 {
			continue // a whiteout, which is empty, or the root
		}
		if err := w.content(e); err != nil {
			return err
		}
	}
	return nil
}

// header compares the next bytes with header blocks.
func (w *walker) header(want []byte) error {
	got, err := w.take(len(want))
	if err == nil && bytes.Equal(got, want) {
		return nil
	}
	e, _ := store.ParseHeader(want)
	return w.unexpected(got, describeEntry(&e))
}

// rawHeader compares the next bytes with what a package's archive has in front
// of an entry.
func (w *walker) rawHeader(entries []apk.Entry, e *apk.Entry) error {
	n := e.DataOffset - e.HeaderOffset
	if n <= 0 || n > maxHeader {
		return fmt.Errorf("member %s: header of %d bytes: %w", e.Path, n, ErrDiffers)
	}
	b, err := w.take(int(n))
	if err != nil {
		return w.unexpected(b, describeEntry(e))
	}
	got, err := store.ParseHeader(b)
	if err != nil || !sameMember(entries, &got, e) {
		return w.unexpected(b, describeEntry(e))
	}
	return nil
}

// sameMember compares what a header says with a receipt's entry.
func sameMember(entries []apk.Entry, got, want *apk.Entry) bool {
	link := got.Link
	if got.Type == apk.TypeHardlink && link != want.Link {
		for i := range entries { // a link to a link: receipts name the file
			if entries[i].Path == link && entries[i].Type == apk.TypeHardlink {
				link = entries[i].Link
				break
			}
		}
	}
	return got.Path == want.Path && got.Type == want.Type && got.Mode == want.Mode && got.UID == want.UID && got.GID == want.GID &&
		got.Uname == want.Uname && got.Gname == want.Gname && got.Size == want.Size && got.MTime == want.MTime &&
		link == want.Link && got.DevMajor == want.DevMajor && got.DevMinor == want.DevMinor &&
		(got.SHA1.IsZero() || got.SHA1 == want.SHA1) && maps.Equal(got.Xattrs, want.Xattrs)
}

// content compares the content of a regular file, and the padding after it.
func (w *walker) content(e *apk.Entry) error {
	if e.Type != apk.TypeFile {
		return nil
	}
	h := sha256.New()
	if n, err := io.CopyN(h, w.r, e.Size); err != nil {
		return fmt.Errorf("member %s: content ends after %d of %d bytes: %w", e.Path, n, e.Size, w.why(err))
	}
	var got apk.SHA256
	if h.Sum(got[:0]); got != e.SHA256 {
		return fmt.Errorf("member %s: content has sha256 %s, expected %s: %w", e.Path, got.Hex(), e.SHA256.Hex(), ErrDiffers)
	}
	pad, err := w.take(len(padding(e.Size)))
	if err != nil || !bytes.Equal(pad, padding(e.Size)) {
		return fmt.Errorf("member %s: padding is not zero: %w", e.Path, w.why(err))
	}
	return nil
}

// end expects the end of the archive, and of the layer.
func (w *walker) end() error {
	b, err := w.take(len(zeroBlocks))
	if err != nil && len(bytes.Trim(b, "\x00")) == 0 {
		b = nil // cut short
	}
	if err != nil || !bytes.Equal(b, zeroBlocks[:]) {
		return w.unexpected(b, "the end of the archive")
	}
	switch _, err := w.r.ReadByte(); {
	case err == nil:
		return fmt.Errorf("found bytes after the end of the archive: %w", ErrDiffers)
	case !errors.Is(err, io.EOF):
		return err
	}
	return nil
}

// take reads n bytes, or what there is of them.
func (w *walker) take(n int) ([]byte, error) {
	b := make([]byte, n)
	got, err := io.ReadFull(w.r, b)
	return b[:got], err
}

// unexpected says what stands where something else was expected.
func (w *walker) unexpected(got []byte, want string) error {
	return fmt.Errorf("found %s, expected %s: %w", w.describe(got), want, ErrDiffers)
}

// why tells a difference from an error of the reader.
func (w *walker) why(err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrDiffers
	}
	return err
}

// describe names the member whose header begins with these bytes, as far as
// that can be told.
func (w *walker) describe(b []byte) string {
	switch {
	case len(b) < blockSize:
		return "the end of the layer"
	case bytes.Equal(b[:blockSize], zeroBlocks[:blockSize]):
		return "the end of the archive"
	}
	for len(b) <= maxHeader {
		e, err := store.ParseHeader(b[:len(b)&^(blockSize-1)])
		if err == nil {
			return describeEntry(&e)
		}
		if e, err = store.ParseHeader(b[:blockSize]); err == nil {
			return describeEntry(&e)
		}
		more, err := w.take(blockSize)
		if err != nil || len(b) > 16*blockSize {
			break
		}
		b = append(b, more...)
	}
	return "what is no header"
}

var typeNames = map[apk.EntryType]string{
	apk.TypeFile: "file", apk.TypeDir: "directory", apk.TypeSymlink: "symlink", apk.TypeHardlink: "hard link",
	apk.TypeChar: "character device", apk.TypeBlock: "block device", apk.TypeFIFO: "fifo",
}

// describeEntry spells "file etc/passwd (mode 0644, owner 0:0, time 0, 12 bytes)".
func describeEntry(e *apk.Entry) string {
	s := fmt.Sprintf("%s %s (mode %04o, owner %d:%d, time %d", typeNames[e.Type], cmp.Or(e.Path, "/"), e.Mode, e.UID, e.GID, e.MTime)
	switch {
	case e.Type == apk.TypeFile:
		s += fmt.Sprintf(", %d bytes", e.Size)
	case e.Link != "":
		s += fmt.Sprintf(", to %q", e.Link)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		s += fmt.Sprintf(", %s %q", name, e.Xattrs[name])
	}
	return s + ")"
}
