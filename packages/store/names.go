package store

import (
	"fmt"
	"strings"
)

// Limits of the names in an archive, in bytes: Linux's PATH_MAX and NAME_MAX.
const (
	maxPath      = 4095
	maxComponent = 255
)

// cleanName returns the path of a member or of a hard link's target: relative,
// without "./" before it and "/" behind it. The empty path is the root. The
// error text says what is wrong with the name.
func cleanName(name string) (string, error) {
	if len(name) > maxPath {
		return "", fmt.Errorf("path of %d bytes, at most %d are possible", len(name), maxPath)
	}
	if i := indexControl(name); i >= 0 {
		return "", fmt.Errorf("control character %#02x in the path", name[i])
	}
	if strings.HasPrefix(name, "/") {
		return "", fmt.Errorf("absolute path")
	}
	for strings.HasPrefix(name, "./") {
		name = name[2:]
	}
	name = strings.TrimSuffix(name, "/")
	if name == "." || name == "" {
		return "", nil
	}
	return name, checkComponents(name)
}

func checkComponents(name string) error {
	for rest := name; ; {
		component, after, more := strings.Cut(rest, "/")
		switch {
		case component == "..":
			return fmt.Errorf("\"..\" in the path")
		case component == "" || component == ".":
			return fmt.Errorf("empty or \".\" component in the path")
		case len(component) > maxComponent:
			return fmt.Errorf("path component of %d bytes, at most %d are possible", len(component), maxComponent)
		}
		if !more {
			return nil
		}
		rest = after
	}
}

// indexControl returns the position of the first ASCII control character; apk
// calls names with one malicious.
func indexControl(s string) int {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return i
		}
	}
	return -1
}

// checkTarget says what is wrong with a symlink's target. It may point
// anywhere: nothing is ever written through it.
func checkTarget(target string) error {
	switch i := indexControl(target); {
	case target == "":
		return fmt.Errorf("symlink without a target")
	case len(target) > maxPath:
		return fmt.Errorf("symlink target of %d bytes, at most %d are possible", len(target), maxPath)
	case i >= 0:
		return fmt.Errorf("control character %#02x in the symlink target", target[i])
	}
	return nil
}

// whiteout reports whether OCI unpackers take a member of this path as an order
// to delete something.
func whiteout(p string) bool {
	return strings.HasPrefix(p[strings.LastIndexByte(p, '/')+1:], ".wh.")
}

// namespace is what is known of the paths of an archive so far. It refuses
// paths that appear twice and members below something that is not a directory.
type namespace struct {
	at map[string]int32 // path → position of its entry, or implicit
	// lastDir is the parent of the previous member, known to be in order.
	lastDir string
}

const implicit = -1 // a directory without an entry of its own

// parents registers the directories that p lies in.
func (n *namespace) parents(p string, isDir func(int32) bool) error {
	first := true
	for {
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			return nil
		}
		p = p[:i]
		if first && p == n.lastDir {
			return nil
		}
		if first {
			n.lastDir, first = p, false
		}
		at, known := n.at[p]
		if known && at != implicit && !isDir(at) {
			n.lastDir = ""
			return fmt.Errorf("lies below %q, which is not a directory in this package", p)
		}
		if known {
			return nil
		}
		n.at[p] = implicit
	}
}
