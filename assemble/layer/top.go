package layer

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
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
}

// topLayer orders what the top layer holds: by path, component by component,
// so that a directory comes before what is in it; whiteouts among them; hard
// links last, after their targets.
func (t *target) topLayer(f *fsys, d *difference) *topLayer {
	top := &topLayer{whiteouts: d.whiteouts}
	if root := f.root; t.at("") < 0 && root.layer >= 0 {
		// A package describes the root and the tree does not: undo it.
		top.items = append(top.items, topItem{entry: -1, header: &apk.Entry{Type: apk.TypeDir, Mode: 0o755}})
	}
	for _, i := range d.entries {
		top.items = append(top.items, topItem{entry: i, header: t.headerOf(i)})
	}
	for _, w := range d.whiteouts {
		dir, base := path.Split(w)
		top.items = append(top.items, topItem{entry: -1, whiteout: w, header: &apk.Entry{
			Path: dir + whiteoutPrefix + base, Type: apk.TypeFile, Mode: 0o644,
		}})
	}
	slices.SortStableFunc(top.items, func(a, b topItem) int {
		return cmp.Or(
			cmp.Compare(linkLast(a.header), linkLast(b.header)),
			comparePaths(a.header.Path, b.header.Path))
	})
	return top
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

// comparePaths orders paths component by component, bytewise.
func comparePaths(a, b string) int {
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		if !moreA || !moreB {
			return cmp.Compare(len(restA), len(restB))
		}
		a, b = restA, restB
	}
}
