package rootfs

import (
	"context"
	"fmt"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Base is the image that a tree stands on. Its paths are there before the first
// package is installed, and stay as they are unless a package changes them.
type Base struct {
	// Name and Digest say which image it is: a reference, which may be empty,
	// and the digest of the manifest.
	Name, Digest string
	// Receipt has the paths in Entries, sorted as Tree.Entries are, and the
	// bytes of small files in Contents. It is of no package; nothing else in it
	// is set.
	Receipt *store.Receipt
	// Root is what the image says of the root directory; nil: nothing.
	Root *apk.Entry
	// Installed are the packages in it, Owners for each of Entries which of
	// them has the path.
	Installed []apk.InstalledPackage
	Owners    []BaseOwner
	// Database is the real directory of its installed database; empty: none.
	Database string
	// ReadFile returns the content of a regular file; member is the position in
	// Entries. The bytes are checked against the entry. May be nil when all that
	// is needed is in Contents.
	ReadFile func(ctx context.Context, member int) ([]byte, error)
}

// BaseOwner is the line of the base's installed database that a path stands in.
type BaseOwner struct {
	Known              bool // false: no package of the base has the path
	Package, Dir, File int  // positions in Base.Installed; File is -1 for a directory
}

// BaseImage is what Entry.Derived calls the base image itself.
const BaseImage = "base image"

// baseOwner owns the paths of the base that none of its packages has.
var baseOwner = Owner{OwnedByBase, "image"}

// onBase tells whether package p is the base: it stands behind the packages.
func (b *builder) onBase(p int32) bool { return b.in.Base != nil && int(p) == len(b.in.Packages) }

// receipt returns the receipt of package p or of the base.
func (b *builder) receipt(p int32) *store.Receipt {
	if b.onBase(p) {
		return b.in.Base.Receipt
	}
	return b.in.Packages[p].Receipt
}

// packageName names package p, or the owner of the base's member m.
func (b *builder) packageName(p, m int32) string {
	if !b.onBase(p) {
		return b.in.Packages[p].Receipt.Package.Name
	}
	if o := b.basePackage(m); o != nil {
		return o.Name
	}
	return BaseImage
}

// basePackage returns the package that has the base's member m, nil for none.
func (b *builder) basePackage(m int32) *apk.Package {
	if o := b.in.Base.Owners[m]; o.Known {
		return &b.in.Base.Installed[o.Package].Package
	}
	return nil
}

// mergeBase puts the base's paths into the tree.
func (b *builder) mergeBase() error {
	base := b.in.Base
	if base == nil {
		return nil
	}
	p := int32(len(b.in.Packages))
	dirs := map[string]*node{"": b.root}
	files := map[string]*inode{}
	for i := range base.Receipt.Entries {
		e, m := &base.Receipt.Entries[i], int32(i)
		parent, name := split(e.Path)
		dir := dirs[parent]
		if dir == nil {
			return fmt.Errorf("base image: /%s: its directory does not come before it", e.Path)
		}
		ino := files[e.Link]
		if e.Type != apk.TypeHardlink {
			ino = b.packageInode(p, m)
		} else if ino == nil {
			return fmt.Errorf("base image: /%s: hard link to /%s, which does not come before it", e.Path, e.Link)
		}
		n := b.attach(dir, name, ino, p, m)
		switch b.kept[p][m] = true; e.Type {
		case apk.TypeDir:
			ino.spelled, ino.refs = e.Path, []ref{{p, m}}
			dirs[e.Path] = n
		case apk.TypeFile:
			ino.own = true
			files[e.Path] = ino
		default:
			ino.own = true
		}
	}
	return nil
}

// keepBaseDirectories keeps packages from changing what apk-tools keeps them
// from changing, as the base has it.
func (b *builder) keepBaseDirectories() {
	for _, d := range baseList() {
		at, err := b.lookup(d.path, false)
		if d.initdb && err == nil && at.node != nil && at.node.isDir() {
			at.node.ino.own = true
		}
	}
}

// contestBase decides between the base's file at n and the member e of the
// package being installed. A file that a package of the base has is that
// package's, as if it were installed now. One that none has gives way, as it does
// for apk-tools and apko.
func (in *installation) contestBase(n *node, e *apk.Entry) (keep bool, err error) {
	if had := in.basePackage(n.member); had != nil {
		return in.contestPackage(n, e, had)
	}
	if had := in.member(n.pkg, n.member); had.Type != e.Type || had.SHA256 != e.SHA256 || had.Link != e.Link {
		in.warnings = append(in.warnings, fmt.Sprintf("/%s: no package of the base image has it; %s replaces it", n.path(), in.packageID(in.pkg)))
	}
	return false, nil
}

// replacedInBase are the lines of the base's installed database that are not
// true any more: packages have the files now.
func (b *builder) replacedInBase() map[BaseOwner]bool {
	gone := map[BaseOwner]bool{}
	for m, o := range b.in.Base.Owners {
		if o.Known && o.File >= 0 && !b.kept[len(b.in.Packages)][m] {
			gone[o] = true
		}
	}
	return gone
}

// baseInstalled are the base's packages with the files that they still have.
func (b *builder) baseInstalled() []*apk.InstalledPackage {
	gone := b.replacedInBase()
	var out []*apk.InstalledPackage
	for i := range b.in.Base.Installed {
		p := b.in.Base.Installed[i]
		if len(gone) > 0 {
			p.Dirs = remaining(p.Dirs, i, gone)
		}
		out = append(out, &p)
	}
	return out
}

func remaining(dirs []apk.InstalledDir, pkg int, gone map[BaseOwner]bool) []apk.InstalledDir {
	out := make([]apk.InstalledDir, len(dirs))
	for d := range dirs {
		out[d] = dirs[d]
		out[d].Files = nil
		for f := range dirs[d].Files {
			if !gone[BaseOwner{true, pkg, d, f}] {
				out[d].Files = append(out[d].Files, dirs[d].Files[f])
			}
		}
	}
	return out
}

// unchanged tells whether a file is as the base has it.
func (b *builder) unchanged(ino *inode) bool { return b.onBase(ino.pkg) && !ino.changed }

// alone tells whether nothing is installed on top of a base, so that nothing
// has to be generated anew.
func (b *builder) alone() bool { return b.in.Base != nil && len(b.in.Packages) == 0 }
