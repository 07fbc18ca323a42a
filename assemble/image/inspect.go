package image

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// The places of the installed database: apk-tools' since ever, and where /lib
// is merged into /usr.
var installedPaths = []string{"lib/apk/db/installed", "usr/lib/apk/db/installed"}

// Installed reads the installed database of an image: its packages with the
// files of each. The error wraps [fs.ErrNotExist] for an image without one.
func Installed(ctx context.Context, img v1.Image) ([]apk.InstalledPackage, error) {
	b, err := ReadFile(ctx, img, installedPaths...)
	if err != nil {
		return nil, err
	}
	return apk.ParseInstalled(bytes.NewReader(b))
}

// ReadFile returns the content of a regular file of the image: of the first
// of the names (relative to the root) that the highest layer has. Symbolic
// links are not followed. Layers are read from the top down and only as far as
// needed. The error wraps [fs.ErrNotExist] when there is none.
func ReadFile(ctx context.Context, img v1.Image, names ...string) ([]byte, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range slices.Backward(layers) {
		var content []byte
		found, gone := false, false
		err := eachMember(ctx, l, func(h *tar.Header, r io.Reader) error {
			name := cleanName(h.Name)
			switch {
			case slices.Contains(names, name) && h.Typeflag == tar.TypeReg:
				found = true
				content, err = readAll(r, name, maxEntry)
				return err
			case hides(name, names):
				gone = true
			}
			return nil
		})
		switch {
		case err != nil:
			return nil, err
		case found:
			return content, nil
		case gone:
			return nil, notThere(names)
		}
	}
	return nil, notThere(names)
}

func notThere(names []string) error {
	return &fs.PathError{Op: "read", Path: strings.Join(names, " or "), Err: fs.ErrNotExist}
}

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// hides reports whether a whiteout takes away all that lower layers have under
// one of the names.
func hides(name string, names []string) bool {
	dir, base := path.Split(name)
	if !strings.HasPrefix(base, whiteout) {
		return false
	}
	target := strings.TrimSuffix(dir, "/")
	if base != opaque {
		target = dir + strings.TrimPrefix(base, whiteout)
	}
	return slices.ContainsFunc(names, func(n string) bool { return n == target || strings.HasPrefix(n, target+"/") })
}

// cleanName gives a tar member's path as [apk.Entry] has it.
func cleanName(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// maxMembers bounds the number of members in one layer.
const maxMembers = 4 << 20

// eachMember calls f for each member of a layer and then makes sure that the
// whole blob was what its digest says.
func eachMember(ctx context.Context, l v1.Layer, f func(*tar.Header, io.Reader) error) (err error) {
	rc, err := l.Uncompressed()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	tr := tar.NewReader(rc)
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && n >= maxMembers {
			err = fmt.Errorf("more than %d members", maxMembers)
		}
		if err == nil {
			err = f(h, tr)
		}
		if err != nil {
			return layerError(l, err)
		}
	}
	if _, err = io.Copy(io.Discard, rc); err != nil {
		return layerError(l, err)
	}
	return nil
}

func layerError(l v1.Layer, err error) error {
	d, derr := l.Digest()
	if derr != nil {
		return errors.Join(err, derr)
	}
	return fmt.Errorf("layer %s: %w", d, err)
}

// Files unpacks an image in memory, contents apart, and returns every path
// with its type, mode, owner, size, digests and link target, sorted as
// [github.com/cairn-dev/cairn/assemble/rootfs.Tree] is. Whiteouts are applied;
// so is a directory's replacement by something else.
func Files(ctx context.Context, img v1.Image) ([]apk.Entry, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	tree := &flat{entries: map[string]*apk.Entry{}, children: map[string]map[string]bool{}}
	for _, l := range layers {
		mine := map[string]bool{} // paths of this layer, which its whiteouts spare
		err := eachMember(ctx, l, func(h *tar.Header, r io.Reader) error { return tree.apply(h, r, mine) })
		if err != nil {
			return nil, err
		}
	}
	out := make([]apk.Entry, 0, len(tree.entries))
	for _, e := range tree.entries {
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b apk.Entry) int { return rootfs.ComparePaths(a.Path, b.Path) })
	return out, nil
}

// flat is a file tree by path.
type flat struct {
	entries  map[string]*apk.Entry
	children map[string]map[string]bool
}

func (t *flat) apply(h *tar.Header, r io.Reader, mine map[string]bool) error {
	name := cleanName(h.Name)
	dir, base := path.Split(name)
	dir = strings.TrimSuffix(dir, "/")
	switch {
	case name == "":
		return nil
	case base == opaque:
		for child := range t.children[dir] {
			if !mine[child] {
				t.remove(child)
			}
		}
		return nil
	case strings.HasPrefix(base, whiteout):
		t.remove(path.Join(dir, strings.TrimPrefix(base, whiteout)))
		return nil
	}
	e, err := newEntry(name, h, r)
	if err != nil {
		return err
	}
	if old := t.entries[name]; old != nil && (old.Type != apk.TypeDir || e.Type != apk.TypeDir) {
		t.remove(name)
	}
	t.entries[name] = e
	mine[name] = true
	if t.children[dir] == nil {
		t.children[dir] = map[string]bool{}
	}
	t.children[dir][name] = true
	return nil
}

func (t *flat) remove(name string) {
	for child := range t.children[name] {
		t.remove(child)
	}
	delete(t.children, name)
	delete(t.entries, name)
	dir := parent(name)
	delete(t.children[dir], name)
}

var entryTypes = map[byte]apk.EntryType{
	tar.TypeReg: apk.TypeFile, tar.TypeDir: apk.TypeDir, tar.TypeSymlink: apk.TypeSymlink, tar.TypeLink: apk.TypeHardlink,
	tar.TypeChar: apk.TypeChar, tar.TypeBlock: apk.TypeBlock, tar.TypeFifo: apk.TypeFIFO,
}

func newEntry(name string, h *tar.Header, r io.Reader) (*apk.Entry, error) {
	typ, ok := entryTypes[h.Typeflag]
	if !ok {
		return nil, fmt.Errorf("%s: type %q is not known", name, h.Typeflag)
	}
	e := &apk.Entry{
		Path: name, Type: typ, Mode: uint32(h.Mode & 0o7777),
		UID: h.Uid, GID: h.Gid, Uname: h.Uname, Gname: h.Gname,
		MTime: h.ModTime.Unix(), Link: h.Linkname, DevMajor: h.Devmajor, DevMinor: h.Devminor,
	}
	for k, v := range h.PAXRecords {
		if attr, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
			if e.Xattrs == nil {
				e.Xattrs = map[string]string{}
			}
			e.Xattrs[attr] = v
		}
	}
	switch typ {
	case apk.TypeHardlink:
		e.Link = cleanName(h.Linkname)
	case apk.TypeFile:
		e.Size = h.Size
		s1, s256 := sha1.New(), sha256.New()
		if _, err := io.Copy(io.MultiWriter(s1, s256), r); err != nil {
			return nil, err
		}
		s1.Sum(e.SHA1[:0])
		s256.Sum(e.SHA256[:0])
	}
	return e, nil
}
