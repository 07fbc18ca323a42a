// Package files is what is in an image, or in the plan of one, as a program in
// it would find it: paths with their metadata, symbolic links followed below the
// image's root, contents on demand.
//
// It judges nothing and writes nothing: tests (assemble/imagetest) and rules
// (assemble/lint) stand on it. Contents have the digest that the listing or
// receipt gave.
//
//	tree, err := files.OfImage(ctx, &subject.Images[0], files.Options{})
//	if err != nil {
//		return err
//	}
//	node, err := tree.Stat("/usr/bin/python3") // where the link leads
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// MaxRead bounds the content of a file that is read, in bytes.
const MaxRead = 64 << 20

// ErrUnread is for a file whose content cannot be read.
var ErrUnread = errors.New("content cannot be read")

// Node is a path of the tree. Size and digests are those of the content; Type is
// never that of a hard link.
type Node struct {
	apk.Entry
	// HardLink is the path that the file is one with; empty where it stands for
	// itself.
	HardLink string
	// Package is the package that has the path, by the installed database or the
	// plan; empty for none or several.
	Package string
	// Layer is the position of the layer in the image from 0; -1 where no layer
	// states it, and in a plan.
	Layer int
	// Key is the key of the configuration that made a planned path, as in
	// files[0]; empty for all others.
	Key string

	planned *rootfs.Entry
}

// Name is the path as people write it, with a leading slash.
func (n *Node) Name() string { return "/" + n.Path }

// Tree is the files of one image.
type Tree struct {
	// Platform as in [subject.PlatformText], or apk's architecture of a plan.
	Platform string
	// Installed are the packages by the installed database; Database tells
	// whether there is one.
	Installed []apk.InstalledPackage
	Database  bool

	root     *Node
	nodes    map[string]*Node
	children map[string][]*Node
	list     []*Node
	kept     map[apk.SHA256][]byte
	source   *reader // of an image
	read     func(ctx context.Context, nodes []*Node) ([][]byte, error)
}

// newTree takes over nodes in any order.
func newTree(platform string, nodes []*Node) *Tree {
	t := &Tree{Platform: platform, nodes: make(map[string]*Node, len(nodes)), children: map[string][]*Node{}, kept: map[apk.SHA256][]byte{},
		root: &Node{Entry: apk.Entry{Type: apk.TypeDir, Mode: 0o755}, Layer: -1}}
	slices.SortFunc(nodes, func(a, b *Node) int { return rootfs.ComparePaths(a.Path, b.Path) })
	for _, n := range nodes {
		if n.Path == "" {
			t.root = n
			continue
		}
		t.list = append(t.list, n)
		t.nodes[n.Path] = n
		t.children[parent(n.Path)] = append(t.children[parent(n.Path)], n)
	}
	return t
}

// parent is the directory of a clean path.
func parent(name string) string {
	dir, _ := path.Split(name)
	return strings.TrimSuffix(dir, "/")
}

// All returns every path but the root, sorted component by component.
func (t *Tree) All() []*Node { return t.list }

// Children returns what is in a directory, sorted; the path is a real one, as in
// [Node.Path].
func (t *Tree) Children(dir string) []*Node { return t.children[dir] }

// maxLinks bounds the symbolic links on the way to a path, as in Linux.
const maxLinks = 40

// Stat returns what a path leads to, symbolic links followed. The error wraps
// [fs.ErrNotExist] where it leads nowhere.
func (t *Tree) Stat(name string) (*Node, error) { return t.find(name, true) }

// Lstat returns what stands at a path; a link at its end is not followed.
func (t *Tree) Lstat(name string) (*Node, error) { return t.find(name, false) }

func (t *Tree) find(name string, follow bool) (*Node, error) {
	at, rest, links, through := t.root, strings.Split(name, "/"), 0, ""
	missing := func(what string) error {
		if through != "" {
			return fmt.Errorf("%s: by way of %s: %s: %w", name, through, what, fs.ErrNotExist)
		}
		if what == path.Clean("/"+name) {
			return fmt.Errorf("%s: %w", name, fs.ErrNotExist)
		}
		return fmt.Errorf("%s: %s: %w", name, what, fs.ErrNotExist)
	}
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			if part == "." || len(rest) > 0 || at == t.root {
				continue
			}
			if at.Type != apk.TypeDir { // a slash at the end asks for a directory
				return nil, missing(at.Name() + " is no directory")
			}
			continue
		case "..":
			at = t.parentOf(at)
			continue
		}
		if at.Type != apk.TypeDir {
			return nil, missing(at.Name() + " is no directory")
		}
		next := t.nodes[path.Join(at.Path, part)]
		if next == nil {
			return nil, missing(path.Join("/", at.Path, part))
		}
		if next.Type != apk.TypeSymlink || len(rest) == 0 && !follow {
			at = next
			continue
		}
		if links++; links > maxLinks {
			return nil, fmt.Errorf("%s: more than %d symbolic links: %w", name, maxLinks, fs.ErrNotExist)
		}
		through = next.Name() + " → " + next.Link
		if strings.HasPrefix(next.Link, "/") {
			at = t.root
		}
		rest = append(strings.Split(next.Link, "/"), rest...)
	}
	return at, nil
}

func (t *Tree) parentOf(n *Node) *Node {
	if p := t.nodes[parent(n.Path)]; p != nil {
		return p
	}
	return t.root
}

// Read returns the content of regular files, in their order.
func (t *Tree) Read(ctx context.Context, nodes ...*Node) ([][]byte, error) {
	out := make([][]byte, len(nodes))
	var todo []*Node
	var where []int
	for i, n := range nodes {
		b, ok := t.kept[n.SHA256]
		switch {
		case n.Type != apk.TypeFile:
			return nil, fmt.Errorf("%s: %w: no regular file", n.Name(), ErrUnread)
		case n.Size > MaxRead:
			return nil, fmt.Errorf("%s: %w: %d bytes, expected at most %d", n.Name(), ErrUnread, n.Size, MaxRead)
		case n.Size == 0:
			out[i] = []byte{}
		case ok:
			out[i] = b
		default:
			todo, where = append(todo, n), append(where, i)
		}
	}
	if len(todo) == 0 {
		return out, nil
	}
	got, err := t.read(ctx, todo)
	if err != nil {
		return nil, err
	}
	for i, b := range got {
		out[where[i]] = b
	}
	return out, nil
}

// ReadFile returns the content of what a path leads to.
func (t *Tree) ReadFile(ctx context.Context, name string) ([]byte, error) {
	n, err := t.Stat(name)
	if err != nil {
		return nil, err
	}
	got, err := t.Read(ctx, n)
	if err != nil {
		return nil, err
	}
	return got[0], nil
}
