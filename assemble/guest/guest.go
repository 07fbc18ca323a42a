// Package guest makes a planned tree a directory: the root of a sandbox that packages
// are built or tested in. Files are hard links to a cache that holds each content once,
// so that a guest costs a link for each file.
//
// It does not plan (assemble/rootfs does) and runs nothing. The cache's files are shared:
// whoever runs something in a guest must keep it from writing to them, as a read-only
// mount or an overlay does. It is not for images, which are layers.
//
//	root, release, err := guest.Shared(ctx, tree, st, filesDir, guestsDir)
package guest

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

var errBase = errors.New("guest: on a base image: not possible")

// maker is one guest.
type maker struct {
	tree  *rootfs.Tree
	st    *store.Store
	cache string
	root  string
	owned bool // files can be given to others
	dirs  map[string]bool
}

// Make makes root, which must not be there, of a tree whose packages are in the store.
// cache is a directory on the same file system for what guests share.
func Make(ctx context.Context, tree *rootfs.Tree, st *store.Store, cache, root string) (err error) {
	m := &maker{tree: tree, st: st, cache: cache, root: root, owned: os.Geteuid() == 0, dirs: map[string]bool{".": true}}
	if tree.Base != nil {
		return errBase
	}
	if err := m.fill(ctx); err != nil {
		return err
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(root))
		}
	}()
	return m.place(ctx)
}

// key is the name of a file in the cache: by its content, and by what of its metadata a
// hard link shares.
func (m *maker) key(e *rootfs.Entry) string {
	name := fmt.Sprintf("%s-%o", e.SHA256.Hex(), e.Mode)
	if m.owned {
		name += fmt.Sprintf("-%d-%d", e.UID, e.GID)
	}
	return filepath.Join(m.cache, name[:2], name)
}

// shared tells whether an entry is a file that guests share.
func shared(e *rootfs.Entry) bool {
	return e.Type == apk.TypeFile && e.Content == nil && e.Package >= 0 && len(e.Xattrs) == 0
}

// fill brings what is missing into the cache, a package at a time.
func (m *maker) fill(ctx context.Context) error {
	missing := map[int]map[string][]*rootfs.Entry{} // by package, then by the member that has the bytes
	seen := map[string]bool{}
	for i := range m.tree.Entries {
		e := &m.tree.Entries[i]
		if e.Type != apk.TypeFile || e.Content != nil || e.Package < 0 {
			continue
		}
		key := m.key(e)
		if seen[key] {
			continue
		}
		seen[key] = true
		if m.have(e) {
			continue
		}
		r := m.tree.Receipt(e.Package)
		member := content(r.Entries, e.Member)
		if member < 0 {
			return fmt.Errorf("guest: %s: its package %s has no such file", e.Path, r.ID())
		}
		if missing[e.Package] == nil {
			missing[e.Package] = map[string][]*rootfs.Entry{}
		}
		name := r.Entries[member].Path
		missing[e.Package][name] = append(missing[e.Package][name], e)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for pkg, files := range missing {
		g.Go(func() error { return m.unpack(ctx, m.tree.Receipt(pkg), files) })
	}
	return g.Wait()
}

// have tells whether the cache has a file, and whole.
func (m *maker) have(e *rootfs.Entry) bool {
	fi, err := os.Lstat(m.key(e))
	return err == nil && fi.Mode() == apk.FileMode(e.Mode) && fi.Size() == e.Size
}

// content is the member that has the bytes of a member: itself, or what a hard link
// leads to; -1 for none.
func content(entries []apk.Entry, i int) int {
	for range len(entries) {
		switch entries[i].Type {
		case apk.TypeFile:
			return i
		case apk.TypeHardlink:
			next := slices.IndexFunc(entries, func(e apk.Entry) bool { return e.Path == entries[i].Link })
			if next < 0 {
				return -1
			}
			i = next
		default:
			return -1
		}
	}
	return -1
}

// unpack reads a package once and puts the files that are wanted into the cache, when
// all of it has been found to be what its receipt says.
func (m *maker) unpack(ctx context.Context, r *store.Receipt, files map[string][]*rootfs.Entry) (err error) {
	data, err := m.st.OpenTar(ctx, r)
	if err != nil {
		return err
	}
	type made struct {
		temp string
		e    *rootfs.Entry
	}
	var all []made
	defer func() {
		for _, f := range all {
			os.Remove(f.temp) // after a rename it is gone
		}
	}()
	t := tar.NewReader(data)
	for {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return errors.Join(fmt.Errorf("guest: package %s: %w", r.ID(), err), data.Close())
		}
		wanted := files[path.Clean(h.Name)]
		if h.Typeflag != tar.TypeReg || len(wanted) == 0 {
			continue
		}
		delete(files, path.Clean(h.Name))
		for i, e := range wanted {
			var src io.Reader = t
			if i > 0 { // the same bytes with other metadata
				f, err := os.Open(all[len(all)-1].temp)
				if err != nil {
					return errors.Join(err, data.Close())
				}
				defer f.Close()
				src = f
			}
			temp, err := m.write(e, src)
			if err != nil {
				return errors.Join(err, data.Close())
			}
			all = append(all, made{temp, e})
		}
	}
	if _, err := io.Copy(io.Discard, data); err != nil {
		return errors.Join(err, data.Close())
	}
	if err := data.Close(); err != nil {
		return err
	}
	if len(files) > 0 {
		return fmt.Errorf("guest: package %s: %d files of its receipt are not in it", r.ID(), len(files))
	}
	for _, f := range all {
		if m.have(f.e) { // another one was faster, and may be using it
			continue
		}
		if err := os.Rename(f.temp, m.key(f.e)); err != nil {
			return err
		}
	}
	return nil
}

// write writes a file of the cache beside its place.
func (m *maker) write(e *rootfs.Entry, src io.Reader) (string, error) {
	dir := filepath.Dir(m.key(e))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, ".new-")
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, src)
	if err == nil && m.owned {
		err = f.Chown(int(e.UID), int(e.GID))
	}
	if err == nil {
		err = f.Chmod(apk.FileMode(e.Mode))
	}
	if err = errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// place makes the directory: all entries, and directories' modes at the end.
func (m *maker) place(ctx context.Context) error {
	var links []*rootfs.Entry
	for i := range m.tree.Entries {
		e := &m.tree.Entries[i]
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Every directory on the way was made here, so that none is a link.
		if !m.dirs[path.Dir(e.Path)] || !filepath.IsLocal(e.Path) {
			return fmt.Errorf("guest: %s: what it is in is no directory of the tree", e.Path)
		}
		to := filepath.Join(m.root, filepath.FromSlash(e.Path))
		var err error
		switch e.Type {
		case apk.TypeDir:
			m.dirs[e.Path] = true
			err = os.Mkdir(to, 0o755)
		case apk.TypeSymlink:
			if err = os.Symlink(e.Link, to); err == nil && m.owned {
				err = os.Lchown(to, int(e.UID), int(e.GID))
			}
		case apk.TypeHardlink:
			links = append(links, e)
		case apk.TypeFile:
			err = m.file(e, to)
		default:
			err = fmt.Errorf("guest: %s: neither file, directory nor link", e.Path)
		}
		if err != nil {
			return err
		}
	}
	for _, e := range links {
		if !filepath.IsLocal(e.Link) || !m.dirs[path.Dir(e.Link)] {
			return fmt.Errorf("guest: %s: links to %s, which is not in the tree", e.Path, e.Link)
		}
		if err := os.Link(filepath.Join(m.root, filepath.FromSlash(e.Link)), filepath.Join(m.root, filepath.FromSlash(e.Path))); err != nil {
			return err
		}
	}
	for _, e := range slices.Backward(m.tree.Entries) {
		if e.Type != apk.TypeDir {
			continue
		}
		to := filepath.Join(m.root, filepath.FromSlash(e.Path))
		if m.owned {
			if err := os.Lchown(to, int(e.UID), int(e.GID)); err != nil {
				return err
			}
		}
		if err := os.Chmod(to, apk.FileMode(e.Mode)); err != nil {
			return err
		}
	}
	return nil
}

// file makes a regular file.
func (m *maker) file(e *rootfs.Entry, to string) error {
	if shared(e) {
		err := os.Link(m.key(e), to)
		// A file that is replaced between finding and linking it is "not there".
		for range 10 {
			if errors.Is(err, unix.ENOENT) {
				err = os.Link(m.key(e), to)
			}
		}
		if !errors.Is(err, unix.EXDEV) && !errors.Is(err, unix.EMLINK) {
			return err
		}
	}
	var src io.Reader
	if e.Content == nil && e.Package >= 0 {
		f, err := os.Open(m.key(e))
		if err != nil {
			return err
		}
		defer f.Close()
		src = f
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if src != nil {
		_, err = io.Copy(out, src)
	} else {
		_, err = out.Write(e.Content)
	}
	if err == nil && m.owned {
		err = out.Chown(int(e.UID), int(e.GID))
		for name, value := range e.Xattrs {
			if e := unix.Fsetxattr(int(out.Fd()), name, []byte(value), 0); e != nil && !errors.Is(e, unix.ENOTSUP) {
				err = errors.Join(err, fmt.Errorf("guest: %s: %s: %w", to, name, e))
			}
		}
	}
	if err == nil {
		err = out.Chmod(apk.FileMode(e.Mode))
	}
	return errors.Join(err, out.Close())
}
