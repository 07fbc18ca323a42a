// Package rootfs plans the image's file tree from receipts and the
// configuration: every path, what it is, and who put it there. It is metadata
// only: no package data is read, no file is written, no package script is run.
//
// It does not decide in which layer a path travels; that is
// [github.com/cairn-dev/cairn/assemble/layer].
//
//	tree, err := rootfs.Plan(ctx, rootfs.Input{Config: cfg, Packages: pkgs, Arch: "x86_64"})
//
// The rules for packages are apk-tools' (what `apk add --root` would leave on
// disk, scripts apart); those for the configuration are apko's, without its
// defects.
package rootfs

import (
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Package is one package of the solution, in installation order.
type Package struct {
	Receipt    *store.Receipt
	Repository string // URL it came from
	// Requested is true when the configuration names it (for /etc/apk/world).
	Requested bool
}

// OwnerKind says what kind of thing put a path into the tree.
type OwnerKind string

// The kinds of owners. Every path has exactly one owner.
const (
	OwnedByPackage   OwnerKind = "package"   // Name is the package name
	OwnedByConfig    OwnerKind = "config"    // Name is the key: "paths[2]", "files[0]", "accounts"
	OwnedByGenerator OwnerKind = "generator" // Name is the generator: "installed-db", "ld.so.cache"
)

// Owner names who put a path (or its final content) into the tree.
type Owner struct {
	Kind OwnerKind
	Name string
}

// Entry is one path of the final tree.
type Entry struct {
	apk.Entry
	Owner Owner

	// Package and Member locate the bytes and the metadata that this entry was
	// made from: Tree.Packages[Package].Receipt.Entries[Member]. Package is -1
	// for an entry that no package holds.
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
	// Entries are sorted by path, byte-wise, component by component (a
	// directory comes before what is in it). Hard links carry the path of the
	// entry that holds the content.
	Entries []Entry
}
