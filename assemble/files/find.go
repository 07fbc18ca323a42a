package files

import (
	"path"
	"slices"

	"github.com/cairn-dev/cairn/packages/apk"
)

// shells are the names of programs that take commands as text.
var shells = []string{"ash", "bash", "busybox", "csh", "dash", "fish", "hush", "ksh", "mksh", "sh", "tcsh", "toybox", "zsh"}

// IsShell tells a shell by its file name, wherever it lies.
func IsShell(name string) bool { return slices.Contains(shells, path.Base(name)) }

// Shells are the paths that run a shell: programs by their names, and links to
// them. Completions and the like, which are no programs, are not among them.
func (t *Tree) Shells() []*Node {
	return t.filter(func(n *Node) bool {
		if !IsShell(n.Path) || n.Type != apk.TypeFile && n.Type != apk.TypeSymlink {
			return false
		}
		to, err := t.Stat(n.Name())
		return err == nil && to.Type == apk.TypeFile && to.Mode&0o111 != 0
	})
}

// SetID are the regular files that run as their owner or group.
func (t *Tree) SetID() []*Node {
	return t.filter(func(n *Node) bool { return n.Type == apk.TypeFile && n.Mode&0o6000 != 0 })
}

// WorldWritable are the files that everybody may write to, and the directories
// in which everybody may replace the files of others.
func (t *Tree) WorldWritable() []*Node {
	return t.filter(func(n *Node) bool {
		switch n.Type {
		case apk.TypeFile:
			return n.Mode&0o002 != 0
		case apk.TypeDir:
			return n.Mode&0o1002 == 0o002
		}
		return false
	})
}

func (t *Tree) filter(keep func(*Node) bool) []*Node {
	var out []*Node
	for _, n := range t.list {
		if keep(n) {
			out = append(out, n)
		}
	}
	return out
}
