package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Limits on what is listed of one layer.
const (
	maxListed   = 1 << 20  // members
	maxInflated = 64 << 30 // bytes
	maxPath     = 4096     // bytes, as in Linux
	maxKept     = maxEntry // bytes of all contents that are kept
)

// Listing is what one layer says: its members, contents apart.
type Listing struct {
	// Entries are the members in their order. The type of one that is not known
	// is an error, a path may repeat.
	Entries []apk.Entry
	// Whiteouts are the paths that the layer hides from below, Opaque the
	// directories of which it hides everything.
	Whiteouts, Opaque []string
	// Kept are the contents that were asked for, by path.
	Kept map[string][]byte
	// Inflated is the size of the contents in bytes.
	Inflated int64
}

// List reads one layer, within limits, and makes sure that its bytes are those
// of its digest. The contents of regular files for which keep says so are
// returned too; keep may be nil.
func List(ctx context.Context, l v1.Layer, keep func(path string) bool) (*Listing, error) {
	return ListWith(ctx, l, keep, nil)
}

// Watcher sees the contents of regular files stream by. Begin is called with the
// path and the size in bytes, and returns where the content goes, nil for
// nowhere; End is called with the finished entry of a file that Begin took.
type Watcher interface {
	Begin(path string, size int64) io.Writer
	End(e *apk.Entry)
}

// ListWith is [List] with a watcher, which may be nil.
func ListWith(ctx context.Context, l v1.Layer, keep func(path string) bool, watch Watcher) (*Listing, error) {
	out := &Listing{Kept: map[string][]byte{}}
	kept := int64(0)
	err := eachMember(ctx, l, func(h *tar.Header, r io.Reader) error {
		name := cleanName(h.Name)
		if len(h.Name) > maxPath || len(h.Linkname) > maxPath {
			return fmt.Errorf("%.60q…: longer than %d bytes", h.Name, maxPath)
		}
		for key := range h.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") { // a few bytes that stand for any number
				return fmt.Errorf("%.200q: a sparse file", h.Name)
			}
		}
		if name == "" || out.hide(name) {
			return nil
		}
		if out.Inflated += h.Size; h.Size < 0 || out.Inflated > maxInflated || len(out.Entries) >= maxListed {
			return fmt.Errorf("more than %d bytes or %d members", int64(maxInflated), maxListed)
		}
		if h.Typeflag == tar.TypeReg && keep != nil && keep(name) {
			if kept += h.Size; kept > maxKept {
				return fmt.Errorf("%s: more than %d bytes of the files that are read", name, int64(maxKept))
			}
			content := &strings.Builder{}
			r = io.TeeReader(r, content)
			defer func() { out.Kept[name] = []byte(content.String()) }()
		}
		watched := false
		if h.Typeflag == tar.TypeReg && watch != nil {
			if w := watch.Begin(name, h.Size); w != nil {
				r, watched = io.TeeReader(r, w), true
			}
		}
		e, err := newEntry(name, h, r)
		if err != nil {
			return err
		}
		if watched {
			watch.End(e)
		}
		out.Entries = append(out.Entries, *e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// hide notes a whiteout.
func (l *Listing) hide(name string) bool {
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case base == opaque:
		l.Opaque = append(l.Opaque, dir)
	case strings.HasPrefix(base, whiteout):
		l.Whiteouts = append(l.Whiteouts, path.Join(dir, strings.TrimPrefix(base, whiteout)))
	default:
		return false
	}
	return true
}

// Placed is a path of an unpacked image and the layer it comes from.
type Placed struct {
	apk.Entry
	// Layer is the position of the layer, from 0; -1 for a directory that no
	// layer states and that unpackers make.
	Layer int
	// HardLink is the path that a hard link was made to. The other fields are
	// then those of the file: Type is never TypeHardlink.
	HardLink string
}

// Unpack unpacks listings on paper, from the bottom up, as engines do:
// whiteouts hide what is below, a path whose directory is a symbolic link is
// where the link points, a hard link is the file it names at that time, and
// directories that are only implied belong to root and have mode 0755.
func Unpack(layers []*Listing) (map[string]*Placed, error) {
	u := &unpacked{paths: map[string]*Placed{}, children: map[string]map[string]bool{}}
	for i, l := range layers {
		for _, dir := range l.Opaque {
			if at, err := u.resolve(dir); err == nil {
				for child := range u.children[at] {
					u.remove(child)
				}
			}
		}
		for _, name := range l.Whiteouts {
			if at, err := u.resolve(name); err == nil {
				u.remove(at)
			}
		}
		for n := range l.Entries {
			if err := u.add(i, &l.Entries[n]); err != nil {
				return nil, fmt.Errorf("layer %d: %.200s: %w", i+1, l.Entries[n].Path, err)
			}
		}
	}
	return u.paths, nil
}

type unpacked struct {
	paths    map[string]*Placed
	children map[string]map[string]bool
}

func (u *unpacked) add(layer int, e *apk.Entry) error {
	name, err := u.resolve(e.Path)
	if err != nil {
		return err
	}
	p := &Placed{Entry: *e, Layer: layer}
	p.Path = name
	if e.Type == apk.TypeHardlink {
		to, err := u.resolve(e.Link)
		if err != nil {
			return err
		}
		old := u.paths[to]
		if old == nil || old.Type == apk.TypeDir || to == name {
			return fmt.Errorf("a hard link to %.200s, which is no file", e.Link)
		}
		p.Entry, p.HardLink = old.Entry, to
		p.Path = name
	}
	if old := u.paths[name]; old != nil && (old.Type != apk.TypeDir || p.Type != apk.TypeDir) {
		u.remove(name)
	}
	u.put(name, p)
	return nil
}

// put stores a path and the directories above it.
func (u *unpacked) put(name string, p *Placed) {
	u.paths[name] = p
	for name != "" {
		dir := parent(name)
		if u.children[dir] == nil {
			u.children[dir] = map[string]bool{}
		}
		u.children[dir][name] = true
		if dir == "" || u.paths[dir] != nil && u.paths[dir].Type == apk.TypeDir {
			return
		}
		u.paths[dir] = &Placed{Entry: apk.Entry{Path: dir, Type: apk.TypeDir, Mode: 0o755}, Layer: -1}
		name = dir
	}
}

// parent is the directory of a path; empty: the root.
func parent(name string) string {
	dir, _ := path.Split(name)
	return strings.TrimSuffix(dir, "/")
}

// remove takes a path away with everything below it.
func (u *unpacked) remove(name string) {
	below := []string{name}
	for len(below) > 0 {
		at := below[len(below)-1]
		below = below[:len(below)-1]
		for child := range u.children[at] {
			below = append(below, child)
		}
		delete(u.children, at)
		delete(u.paths, at)
	}
	delete(u.children[parent(name)], name)
}

// maxLinks bounds the symbolic links on the way to a path, as in Linux.
const maxLinks = 40

var errLinks = errors.New("too many symbolic links")

// resolve follows symbolic links in the directories of a path, below the root.
func (u *unpacked) resolve(name string) (string, error) {
	at, rest, links := "", name, 0
	for {
		part, more, found := strings.Cut(rest, "/")
		next := path.Join(at, part)
		if !found {
			return next, nil
		}
		if p := u.paths[next]; p != nil && p.Type == apk.TypeSymlink {
			if links++; links > maxLinks {
				return "", errLinks
			}
			to := p.Link
			if !strings.HasPrefix(to, "/") {
				to = path.Join("/", at, to)
			}
			at, rest = "", strings.TrimPrefix(path.Join("/", to, more), "/")
			continue
		}
		at, rest = next, more
	}
}
