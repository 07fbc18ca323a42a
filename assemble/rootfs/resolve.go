package rootfs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// maxLinks is how many symlinks one path may go through, as in Linux
// (path_resolution(7)).
const maxLinks = 40

// errNotDir is wrapped when a component of a path is not a directory, errLoop
// when a path goes through too many symlinks.
var (
	errNotDir = errors.New("not a directory")
	errLoop   = errors.New("too many levels of symbolic links")
)

// place is where a path leads: an existing node, or the name that is missing.
type place struct {
	node *node // nil: dir has no such name
	dir  *node // real directory, nil when node is the root
	name string
	// deeper tells that more components follow the missing one.
	deeper bool
	// dangling is the symlink whose target the missing name is part of.
	dangling *node
}

// lookup follows p from the root as a process does that is chrooted into the
// tree: absolute symlinks and ".." stay inside. The last component is followed
// when it is a symlink and follow is set.
func (b *builder) lookup(p string, follow bool) (place, error) {
	cur, links := b.root, 0
	var via *node // the symlink that the components beyond tail come from
	tail := 0
	for rest := p; ; {
		rest = strings.TrimLeft(rest, "/")
		if rest == "" {
			return place{node: cur, dir: cur.parent, name: cur.name}, nil
		}
		if via != nil && len(rest) <= tail {
			via = nil
		}
		name, after, _ := strings.Cut(rest, "/")
		last := strings.Trim(after, "/") == ""
		switch name {
		case ".":
			rest = after
			continue
		case "..":
			if cur.parent != nil {
				cur = cur.parent
			}
			rest = after
			continue
		}
		n := cur.ino.kids[name]
		switch {
		case n == nil:
			return place{dir: cur, name: name, deeper: !last, dangling: via}, nil
		case n.ino.typ == apk.TypeSymlink && (follow || !last):
			if links++; links > maxLinks {
				return place{}, fmt.Errorf("%s: %w", n.path(), errLoop)
			}
			if strings.HasPrefix(n.ino.link, "/") {
				cur = b.root
			}
			if via == nil {
				via, tail = n, len(after)
			}
			rest = n.ino.link + "/" + after
		case n.isDir():
			cur, rest = n, after
		case last:
			return place{node: n, dir: cur, name: name}, nil
		default:
			return place{}, fmt.Errorf("%s: %w", n.path(), errNotDir)
		}
	}
}

// mkdirAll returns the directory at p; missing ones are made as implied
// directories. Symlinks are followed, a dangling one gets its target.
func (b *builder) mkdirAll(p string) (*node, error) {
	for {
		at, err := b.lookup(p, true)
		if err != nil {
			return nil, err
		}
		if at.node == nil {
			b.attach(at.dir, at.name, b.newInode(apk.TypeDir, 0o755, Owner{OwnedByGenerator, generatorImplied}), -1, -1)
			continue
		}
		if !at.node.isDir() {
			return nil, fmt.Errorf("%s: %w", at.node.path(), errNotDir)
		}
		return at.node, nil
	}
}

// parentOf returns where p is or would be, with its parent directories made.
// The last component is not followed.
func (b *builder) parentOf(p string) (place, error) {
	p = strings.Trim(p, "/")
	dir, base := split(p)
	d, err := b.mkdirAll(dir)
	if err != nil {
		return place{}, err
	}
	switch base {
	case "", ".", "..":
		return place{}, fmt.Errorf("%q: it is not the name of a file", p)
	}
	return place{node: d.ino.kids[base], dir: d, name: base}, nil
}
