// Package tree is the content of one package: what files there are, with all
// that a package says of them, and their bytes. It comes from a directory that a
// build filled ([Directory]) or from a finished package ([OpenPackage]), so that
// what looks at contents (dependencies, lint, SBOM, packing) has one form to
// look at.
//
// It decides nothing about the files; what cannot be in a package at all (device
// nodes, sockets, names that no archive can hold) is refused when a directory is
// read.
//
//	t, err := tree.Directory(destdir, tree.DirectoryOptions{})
//	if err != nil {
//		return err
//	}
//	if err := t.Hash(ctx, 0); err != nil {
//		return err
//	}
//	for _, e := range t.Entries() {
//		fmt.Println(e.Path, e.Mode, e.SHA256)
//	}
package tree

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Tree is a set of files. Its entries are in canonical order: a directory before
// what is in it, the names of one directory by their bytes. A Tree may be read by
// several goroutines at a time, except while [Tree.Hash] runs.
type Tree struct {
	entries []apk.Entry
	index   map[string]int
	open    func(e *apk.Entry) (File, error)
	close   func() error
	hashed  bool
	ignored []string
}

// File is an open regular file.
type File interface {
	io.Reader
	io.ReaderAt
	io.Closer
}

// newTree takes entries in any order.
func newTree(entries []apk.Entry, open func(*apk.Entry) (File, error), close func() error) *Tree {
	slices.SortFunc(entries, func(a, b apk.Entry) int { return Compare(a.Path, b.Path) })
	t := &Tree{entries: entries, index: make(map[string]int, len(entries)), open: open, close: close}
	for i := range entries {
		t.index[entries[i].Path] = i
	}
	return t
}

// Compare orders paths canonically: component by component, so that "a/b" comes
// before "a.b".
func Compare(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] == b[i] {
			continue
		}
		switch {
		case a[i] == '/':
			return -1
		case b[i] == '/':
			return 1
		}
		return int(a[i]) - int(b[i])
	}
	return len(a) - len(b)
}

// Entries returns the files in canonical order. They belong to the tree.
func (t *Tree) Entries() []apk.Entry { return t.entries }

// Ignored returns the paths that a directory had and the tree has not, because
// apk leaves them out when it installs a package: names in the root that begin
// with a dot.
func (t *Tree) Ignored() []string { return t.ignored }

// Lookup returns the entry of a path, nil when there is none.
func (t *Tree) Lookup(p string) *apk.Entry {
	if i, ok := t.index[p]; ok {
		return &t.entries[i]
	}
	return nil
}

// maxLinks is how many symbolic links Resolve follows, as Linux does.
const maxLinks = 40

// Resolve follows symbolic links within the tree, in every component and in the
// end; absolute targets are taken from the tree's root. It returns nil when the
// path leads out of the tree or to nothing in it.
func (t *Tree) Resolve(p string) *apk.Entry {
	left := strings.Split(path.Clean("/" + p)[1:], "/")
	at := ""
	for links := 0; len(left) > 0; {
		next := left[0]
		left = left[1:]
		switch next {
		case "", ".":
			continue
		case "..":
			if at = path.Dir(at); at == "." {
				at = ""
			}
			continue
		}
		e := t.Lookup(path.Join(at, next))
		if e == nil {
			return nil
		}
		if e.Type != apk.TypeSymlink {
			at = e.Path
			continue
		}
		if links++; links > maxLinks {
			return nil
		}
		if strings.HasPrefix(e.Link, "/") {
			at = ""
		}
		left = append(strings.Split(e.Link, "/"), left...)
	}
	return t.Lookup(at)
}

// Content returns the entry whose bytes e has: of a hard link the file it links
// to, of a regular file itself, nil of everything else.
func (t *Tree) Content(e *apk.Entry) *apk.Entry {
	switch e.Type {
	case apk.TypeFile:
		return e
	case apk.TypeHardlink:
		if target := t.Lookup(e.Link); target != nil && target.Type == apk.TypeFile {
			return target
		}
	}
	return nil
}

// Open opens a regular file or a hard link to one.
func (t *Tree) Open(p string) (File, error) {
	e := t.Lookup(p)
	if e == nil {
		return nil, fmt.Errorf("%s: %w", p, fs.ErrNotExist)
	}
	content := t.Content(e)
	if content == nil {
		return nil, fmt.Errorf("%s: not a regular file", p)
	}
	return t.open(content)
}

// ErrTooLarge is wrapped when a file has more bytes than the caller allows.
var ErrTooLarge = errors.New("too large")

// ReadFile returns the bytes of a regular file of at most limit bytes.
func (t *Tree) ReadFile(p string, limit int64) (_ []byte, err error) {
	e := t.Lookup(p)
	if e != nil {
		e = t.Content(e)
	}
	if e != nil && e.Size > limit {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read: %w", p, e.Size, limit, ErrTooLarge)
	}
	f, err := t.Open(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b := make([]byte, e.Size)
	if _, err := io.ReadFull(f, b); err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	return b, nil
}

// InstalledSize is what .PKGINFO calls size: the bytes of the regular files. Hard
// links count once, and directories and symbolic links not at all, because what
// those take depends on the file system.
func (t *Tree) InstalledSize() (n int64) {
	for i := range t.entries {
		if t.entries[i].Type == apk.TypeFile {
			n += t.entries[i].Size
		}
	}
	return n
}

// Close gives up what the tree holds open.
func (t *Tree) Close() error {
	if t.close == nil {
		return nil
	}
	return t.close()
}

// memoryFile is a file whose bytes are at hand.
type memoryFile struct{ *bytes.Reader }

func (memoryFile) Close() error { return nil }

// With returns the tree with one regular file more, root's and of mode 0644, and
// the directories above it (0755) where there are none. The file replaces one of
// that path. The tree itself stays as it is; close that one.
func (t *Tree) With(p string, content []byte) (*Tree, error) {
	if err := checkPath(p); err != nil {
		return nil, fmt.Errorf("%s: %w", p, err)
	}
	entries := slices.DeleteFunc(slices.Clone(t.entries), func(e apk.Entry) bool { return e.Path == p })
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		switch e := t.Lookup(dir); {
		case e == nil:
			entries = append(entries, rootOwned(apk.Entry{Path: dir, Type: apk.TypeDir, Mode: 0o755}))
		case e.Type != apk.TypeDir:
			return nil, fmt.Errorf("%s: lies below %s, which is not a directory", p, dir)
		}
	}
	added := rootOwned(apk.Entry{Path: p, Type: apk.TypeFile, Mode: 0o644, Size: int64(len(content))})
	if t.hashed {
		hashBytes(&added, content)
	}
	inner := t.open
	out := newTree(append(entries, added), func(e *apk.Entry) (File, error) {
		if e.Path == p {
			return memoryFile{bytes.NewReader(content)}, nil
		}
		return inner(e)
	}, nil)
	out.hashed, out.ignored = t.hashed, t.ignored
	return out, nil
}

func rootOwned(e apk.Entry) apk.Entry {
	e.Uname, e.Gname = "root", "root"
	return e
}
