package layer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// topItem is one member of the top layer.
type topItem struct {
	entry    int        // of the tree, -1 for a whiteout or a root the tree does not list
	whiteout string     // the path it deletes
	header   *apk.Entry // as it will stand in the archive
}

// topLayer is the layer that turns what the others give into the tree.
type topLayer struct {
	items     []topItem // in archive order
	whiteouts []string
	app       int // 1 more than the position of the application that it is of, 0 for the top layer
}

// topLayer orders what the top layer holds: by path, component by component,
// so that a directory comes before what is in it; whiteouts among them; hard
// links last, after their targets. In a single layer the directories are there
// already.
func (t *target) topLayer(f *fsys, d *difference, single bool) *topLayer {
	top := &topLayer{whiteouts: d.whiteouts}
	if t.at("") < 0 && f.root.layer >= 0 {
		// A package describes the root and the tree does not: undo it.
		top.items = append(top.items, topItem{entry: -1, header: t.rootHeader()})
	}
	for _, i := range d.entries {
		if single && t.want[i].Type == apk.TypeDir {
			continue
		}
		top.items = append(top.items, topItem{entry: i, header: t.headerOf(i)})
	}
	for _, w := range d.whiteouts {
		dir, base := path.Split(w)
		top.items = append(top.items, topItem{entry: -1, whiteout: w, header: &apk.Entry{
			Path: dir + whiteoutPrefix + base, Type: apk.TypeFile, Mode: 0o644,
		}})
	}
	top.sort()
	return top
}

func (l *topLayer) sort() {
	slices.SortStableFunc(l.items, func(a, b topItem) int {
		return cmp.Or(
			cmp.Compare(linkLast(a.header), linkLast(b.header)),
			rootfs.ComparePaths(a.header.Path, b.header.Path))
	})
}

func linkLast(e *apk.Entry) int {
	if e.Type == apk.TypeHardlink {
		return 1
	}
	return 0
}

// headerOf returns entry i as it stands in an archive: hard links with the
// metadata of what they link to, because some unpackers apply it.
func (t *target) headerOf(i int) *apk.Entry {
	e := &t.tree.Entries[i].Entry
	if e.Type != apk.TypeHardlink {
		return t.want[i]
	}
	h := *t.want[i]
	h.Path, h.Type, h.Link, h.Size = e.Path, apk.TypeHardlink, e.Link, 0
	return &h
}

// topTar is the top layer's archive without end-of-archive, ready to be
// written.
type topTar struct {
	t       *target
	kind    Kind
	items   []topItem
	headers [][]byte
	size    int64  // bytes
	key     string // identifies the bytes
}

// dirHeaders are the headers of a packed layer's directories.
func (l *planned) dirHeaders() ([]byte, error) {
	var out []byte
	for i := range l.dirs {
		b, err := tarHeader(l.dirs[i].entry)
		if err != nil {
			return nil, fmt.Errorf("packed layer: %w", err)
		}
		out = append(out, b...)
	}
	return out, nil
}

// tar makes the headers of the top layer or of an application's, from metadata
// alone.
func (t *target) tar(l *topLayer) (*topTar, error) {
	out := &topTar{t: t, items: l.items, kind: l.kind()}
	h := sha256.New()
	for i := range out.items {
		e := out.items[i].header
		b, err := tarHeader(e)
		if err != nil {
			return nil, fmt.Errorf("%s layer: %w", out.kind, err)
		}
		out.headers = append(out.headers, b)
		h.Write(b)
		h.Write(e.SHA256[:])
		out.size += int64(len(b))
		if e.Type == apk.TypeFile {
			out.size += e.Size + int64(len(padding(e.Size)))
		}
	}
	out.key = fmt.Sprintf("%x", h.Sum(nil))
	return out, nil
}

// write writes the archive.
func (t *topTar) write(ctx context.Context, st *store.Store, w io.Writer) error {
	c, err := newContents(ctx, st, t.t, t.items)
	if err != nil {
		return err
	}
	for i := range t.items {
		it := &t.items[i]
		if _, err := w.Write(t.headers[i]); err != nil {
			return err
		}
		if it.entry < 0 || it.header.Type != apk.TypeFile || it.header.Size == 0 {
			continue
		}
		if err := c.write(w, it.entry); err != nil {
			return err
		}
		if _, err := w.Write(padding(it.header.Size)); err != nil {
			return err
		}
	}
	return nil
}
