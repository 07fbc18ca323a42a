// Package rootfs plans the image's file tree from receipts and the
// configuration: every path, what it is, and who put it there. It works on
// metadata: no file is written, no package script is run, and package data is
// read only for the few files that must be extended (see [Input.ReadFiles]).
//
// It does not decide in which layer a path travels; that is
// [github.com/cairn-dev/cairn/assemble/layer].
//
//	tree, err := rootfs.Plan(ctx, rootfs.Input{Config: cfg, Packages: pkgs, Arch: "x86_64"})
//
// The rules for packages are apk-tools' (what `apk add --root` would leave on
// disk, scripts apart); those for the configuration are apko's, without its
// defects. DIFFERENCES.md lists what differs from either on purpose.
package rootfs

import (
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Package is one package of the solution, in installation order.
type Package struct {
	Receipt    *store.Receipt
	Repository string // URL it came from
	// Requested is true when the configuration names it (for /etc/apk/world).
	Requested bool
	// Slice says which part of the package is in the tree; nil for all of it.
	Slice *Slice
}

// Slice is a part of a package.
type Slice struct {
	// Names are the slices' names, sorted.
	Names []string
	// Keep tells of each of the receipt's entries whether it is in one of them. Of a
	// hard link, its name may be kept without the name that it is a link to.
	Keep []bool
}

// keeps tells whether member m of the package is in the tree as far as slices go.
func (p *Package) keeps(m int) bool { return p.Slice == nil || p.Slice.Keep[m] }

// OwnerKind says what kind of thing put a path into the tree.
type OwnerKind string

// The kinds of owners. Every path has exactly one owner.
const (
	OwnedByPackage   OwnerKind = "package"   // Name is the package name, of the base too
	OwnedByConfig    OwnerKind = "config"    // Name is the key: "paths[2]", "files[0]", "accounts"
	OwnedByGenerator OwnerKind = "generator" // Name is the generator: "installed-db", "ld.so.cache"
	OwnedByBase      OwnerKind = "base"      // what no package of the base image has; Name is "image"
)

// Owner names who put a path (or its final content) into the tree.
type Owner struct {
	Kind OwnerKind
	Name string
}

// Entry is one path of the final tree.
//
// Size, SHA256 and SHA1 are set for regular files only, and right for them
// whether or not the bytes were changed. A hard link has the metadata of the
// entry that holds the content and is made of the same bytes. Symlinks always
// have mode 0777, whatever the package says.
type Entry struct {
	apk.Entry
	Owner Owner

	// App is 1 more than the position in the configuration's app that the entry is
	// of, and 0 for every other: it says in whose layer it travels.
	App int
	// Package and Member locate the bytes and the metadata that this entry was
	// made from: Tree.Receipt(Package).Entries[Member]. Package is -1 for an
	// entry that no package holds, len(Tree.Packages) for one of the base image.
	//
	// The member may have another path (its package has it below a directory
	// that is a symlink in the tree, or the entry is what remains of a hard link
	// group), another type (a hard link whose target another package replaced
	// is a regular file here: its bytes are those of the member's own target),
	// and another mode, owner or time (changed by the configuration, several
	// packages have the directory, or the image's accounts give the user's
	// name another number).
	Package int
	Member  int
	// Content is the bytes of a regular file that comes from no package
	// (Package is -1) or whose bytes were changed (an appended CA bundle, an
	// extended passwd). Nil for a file whose bytes are the package's.
	Content []byte
	// Derived names the packages and keys that Content was made from, for the
	// SBOM: "ca-certificates-bundle", "certificates.additional[0]".
	Derived []string
}

// Tree is the planned root file system.
type Tree struct {
	Arch     string // apk's spelling
	Packages []Package
	// Base is the image that the packages are on top of; nil for none. Its
	// packages are not among Packages.
	Base *Base
	// Entries are sorted by path, byte-wise, component by component (a
	// directory comes before what is in it; see [ComparePaths]). Hard links
	// carry the path of the entry that holds the content, which may come later.
	// The root itself has no entry.
	Entries []Entry

	// User is the configuration's run-as with names replaced by the numbers
	// that the image's passwd and group give them; a name they do not know
	// stays. It is what the image's configuration should say.
	User string
	// Warnings are things that are allowed and rarely meant, in words.
	Warnings []string
}

// Receipt returns the receipt of a package, or for len(t.Packages) that of the
// base image, which is no package's.
func (t *Tree) Receipt(pkg int) *store.Receipt {
	if t.OfBase(pkg) {
		return t.Base.Receipt
	}
	return t.Packages[pkg].Receipt
}

// Parts names the slices of packages of which only a part is in the tree, as in
// "only config, libs of openssl"; empty when all of them are there as a whole.
func (t *Tree) Parts(packages []int) string {
	var out []string
	for _, p := range packages {
		if s := t.Packages[p].Slice; s != nil {
			out = append(out, strings.Join(s.Names, ", ")+" of "+t.Packages[p].Receipt.Package.Name)
		}
	}
	if len(out) == 0 {
		return ""
	}
	return "only " + strings.Join(out, "; ")
}

// Sources is the number of things that entries are made from: the packages, and
// the base image.
func (t *Tree) Sources() int {
	if t.Base != nil {
		return len(t.Packages) + 1
	}
	return len(t.Packages)
}

// OfBase tells whether an entry's Package stands for the base image.
func (t *Tree) OfBase(pkg int) bool { return t.Base != nil && pkg == len(t.Packages) }

// ComparePaths orders clean paths component by component, as Tree.Entries are.
func ComparePaths(a, b string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}

// Lookup returns the entry at path, relative to the root, without following
// symlinks; nil when there is none.
func (t *Tree) Lookup(path string) *Entry {
	i, ok := slices.BinarySearchFunc(t.Entries, path, func(e Entry, p string) int { return ComparePaths(e.Path, p) })
	if !ok {
		return nil
	}
	return &t.Entries[i]
}
