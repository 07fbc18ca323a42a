package tree

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Attributes are what a build recorded of one path because the host could not
// keep it: without root a file cannot be given to another user, and not every
// file system has extended attributes. What is nil or empty is as on disk.
type Attributes struct {
	UID    *int              `json:"uid,omitempty"`
	GID    *int              `json:"gid,omitempty"`
	Mode   *uint32           `json:"mode,omitempty"` // 07777
	Xattrs map[string][]byte `json:"xattrs,omitempty"`
}

// DirectoryOptions say how a directory becomes a tree.
type DirectoryOptions struct {
	// Overlay has the attributes by path, relative and with slashes. A path that
	// is not in the directory is an error.
	Overlay map[string]Attributes
	// Owner turns the host's numbers into the package's. Nil: everything that
	// the overlay does not mention is root's, whoever built it.
	Owner func(uid, gid int) (int, int)
	// Users and Groups are the names of the numbers. Root's is known; a number
	// without a name stands as a number.
	Users, Groups map[int]string
}

// reader reads one directory.
type reader struct {
	dir     string
	o       DirectoryOptions
	entries []apk.Entry
	ignored []string
	links   map[[2]uint64]string // device and inode → first path in canonical order
	left    map[string]bool      // overlay paths that were not met
}

// Directory reads the files below dir. Links between files are kept, times are
// not, and nothing depends on the order in which the file system lists names. Of
// the extended attributes security.capability and user.* are taken; the others
// (labels, access lists) belong to the host. The directory must not change until
// the tree is closed.
func Directory(dir string, o DirectoryOptions) (*Tree, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("package content %s: %w", dir, bare(err))
	}
	r := &reader{dir: dir, o: o, links: map[[2]uint64]string{}, left: map[string]bool{}}
	for p := range o.Overlay {
		r.left[p] = true
	}
	if err := r.walk(""); err != nil {
		return nil, errors.Join(fmt.Errorf("package content %s: %w", dir, err), root.Close())
	}
	for p := range r.left {
		return nil, errors.Join(fmt.Errorf("package content %s: %s: recorded attributes of something that is not there", dir, first(r.left, p)), root.Close())
	}
	t := newTree(r.entries, func(e *apk.Entry) (File, error) { return openIn(root, e) }, root.Close)
	t.ignored = r.ignored
	return t, nil
}

// first makes a message independent of the order of a map.
func first(m map[string]bool, least string) string {
	for p := range m {
		least = min(least, p)
	}
	return least
}

// bare drops the operation and the path of an os error, which the message has.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// walk reads one directory; names come sorted by their bytes.
func (r *reader) walk(dir string) error {
	list, err := os.ReadDir(filepath.Join(r.dir, dir))
	if err != nil {
		return fmt.Errorf("%s: %w", path.Join("/", dir), bare(err))
	}
	for _, d := range list {
		p := path.Join(dir, d.Name())
		if dir == "" && strings.HasPrefix(p, ".") {
			r.ignored = append(r.ignored, p)
			delete(r.left, p)
			continue
		}
		fi, err := d.Info()
		if err != nil {
			return fmt.Errorf("%s: %w", p, bare(err))
		}
		if err := r.add(p, fi); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		if fi.IsDir() {
			if err := r.walk(p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *reader) add(p string, fi fs.FileInfo) error {
	if err := checkPath(p); err != nil {
		return err
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("no owner, mode and inode known: expected a Unix file system")
	}
	e := apk.Entry{Path: p, Mode: st.Mode & 0o7777}
	if r.o.Owner != nil {
		e.UID, e.GID = r.o.Owner(int(st.Uid), int(st.Gid))
	}
	if err := r.typed(&e, fi, st); err != nil {
		return err
	}
	if e.Type != apk.TypeSymlink && e.Type != apk.TypeHardlink {
		var err error
		if e.Xattrs, err = readXattrs(filepath.Join(r.dir, p)); err != nil {
			return err
		}
	}
	if err := r.overlay(&e); err != nil {
		return err
	}
	e.Uname, e.Gname = name(r.o.Users, e.UID), name(r.o.Groups, e.GID)
	r.entries = append(r.entries, e)
	return nil
}

// typed fills in what depends on the type.
func (r *reader) typed(e *apk.Entry, fi fs.FileInfo, st *syscall.Stat_t) (err error) {
	switch t := fi.Mode().Type(); t {
	case 0:
		e.Type, e.Size = apk.TypeFile, fi.Size()
		if st.Nlink < 2 {
			return nil
		}
		inode := [2]uint64{uint64(st.Dev), st.Ino}
		if earlier, ok := r.links[inode]; ok {
			e.Type, e.Size, e.Link = apk.TypeHardlink, 0, earlier
			return nil
		}
		r.links[inode] = e.Path
	case fs.ModeDir:
		e.Type = apk.TypeDir
	case fs.ModeSymlink:
		e.Type, e.Mode = apk.TypeSymlink, 0o777
		if e.Link, err = os.Readlink(filepath.Join(r.dir, e.Path)); err != nil {
			return bare(err)
		}
		return checkTarget(e.Link)
	default:
		return fmt.Errorf("%s: a package can hold files, directories and links only", typeName(t))
	}
	return nil
}

func typeName(t fs.FileMode) string {
	switch {
	case t&fs.ModeDevice != 0:
		return "device node"
	case t&fs.ModeNamedPipe != 0:
		return "named pipe"
	case t&fs.ModeSocket != 0:
		return "socket"
	}
	return "unknown kind of file"
}

// overlay applies what was recorded. Of several names of one file the first in
// canonical order counts, because all of them have the same attributes.
func (r *reader) overlay(e *apk.Entry) error {
	a, ok := r.o.Overlay[e.Path]
	if !ok {
		return nil
	}
	delete(r.left, e.Path)
	if e.Type == apk.TypeHardlink {
		return nil
	}
	set := func(to *int, from *int) {
		if from != nil {
			*to = *from
		}
	}
	set(&e.UID, a.UID)
	set(&e.GID, a.GID)
	if a.Mode != nil && e.Type != apk.TypeSymlink {
		e.Mode = *a.Mode & 0o7777
	}
	if len(a.Xattrs) > 0 && e.Type == apk.TypeSymlink {
		return errors.New("recorded extended attributes of a symbolic link: expected a file or a directory")
	}
	for k, v := range a.Xattrs {
		if e.Xattrs == nil {
			e.Xattrs = map[string]string{}
		}
		e.Xattrs[k] = string(v)
	}
	if e.UID < 0 || e.GID < 0 {
		return fmt.Errorf("owner %d:%d: expected numbers from 0 on", e.UID, e.GID)
	}
	return nil
}

func name(names map[int]string, id int) string {
	if n, ok := names[id]; ok {
		return n
	}
	if id == 0 {
		return "root"
	}
	return ""
}

// Limits of names, in bytes: Linux's PATH_MAX and NAME_MAX.
const (
	maxPath      = 4095
	maxComponent = 255
)

// checkPath says what is wrong with a path that is to be in a package.
func checkPath(p string) error {
	switch {
	case p == "" || path.IsAbs(p) || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../"):
		return errors.New("expected a clean relative path")
	case len(p) > maxPath:
		return fmt.Errorf("path of %d bytes: expected at most %d", len(p), maxPath)
	case control(p):
		return fmt.Errorf("control character in the name %q", path.Base(p))
	case strings.HasPrefix(path.Base(p), ".wh."):
		return errors.New("a name that begins with .wh. would delete a file in an image")
	case len(path.Base(p)) > maxComponent:
		return fmt.Errorf("name of %d bytes: expected at most %d", len(path.Base(p)), maxComponent)
	}
	return nil
}

func checkTarget(target string) error {
	switch {
	case target == "":
		return errors.New("symbolic link without a target")
	case len(target) > maxPath:
		return fmt.Errorf("symbolic link target of %d bytes: expected at most %d", len(target), maxPath)
	case control(target):
		return fmt.Errorf("control character in the symbolic link target %.100q", target)
	}
	return nil
}

func control(s string) bool {
	return strings.ContainsFunc(s, func(c rune) bool { return c < 0x20 || c == 0x7f })
}

// openIn opens a file that was regular when the directory was read. What has
// become a link or something else since then is not followed.
func openIn(root *os.Root, e *apk.Entry) (File, error) {
	f, err := root.OpenFile(e.Path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", e.Path, bare(err))
	}
	fi, err := f.Stat()
	if err == nil && (!fi.Mode().IsRegular() || fi.Size() != e.Size) {
		err = errChanged
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", e.Path, err), f.Close())
	}
	return f, nil
}

// errChanged is the error for content that is not what it was.
var errChanged = errors.New("changed while it was read")
