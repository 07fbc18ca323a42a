// Package lock reads and writes lock files: the exact packages, per
// architecture and in installation order, that a configuration resolved to,
// with every hash that pins them and the reason each is there.
//
// The format is canonical JSON and a superset of apko's ".lock.json" v1: apko
// reads the files written here, and files written by apko are read here. What
// is cairn's own stands under the keys "cairn" (of the lock and of each
// package), so that neither tool stumbles over the other's.
//
// The package does not resolve, fetch or verify; it compares values.
//
//	l, err := lock.ReadFile("image.lock.json")
//	if err != nil {
//		return err
//	}
//	if changes := l.Stale(request); len(changes) > 0 {
//		return fmt.Errorf("lock is stale: %s", strings.Join(changes, "; "))
//	}
//
// Compatibility: a file written by one release is read by every later one;
// [Format] rises when an older release could misread a newer file.
package lock

import (
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Version is apko's format version, the only one there is.
const Version = "v1"

// Format is the version of cairn's own part. Locks on a base image have
// FormatBase, those with slices of packages FormatSlices: an older release must not
// take them for locks of the whole image, or of whole packages.
const (
	Format       = 1
	FormatBase   = 2
	FormatSlices = 3
)

// Lock is a lock file.
type Lock struct {
	Version  string   `json:"version"`
	Config   Config   `json:"config"`
	Contents Contents `json:"contents"`
	// Cairn is absent in files that apko wrote.
	Cairn *Cairn `json:"cairn,omitempty"`
}

// Config names the configuration that was locked.
type Config struct {
	Name string `json:"name,omitempty"`
	// Checksum is apko's: "sha256-" and the base64 SHA-256 of the raw bytes of
	// the configuration and its includes.
	Checksum string `json:"checksum,omitempty"`
}

// Contents is apko's part of the lock.
type Contents struct {
	Keyring             []Key        `json:"keyring"`
	BuildRepositories   []Repository `json:"build_repositories"`
	RuntimeRepositories []Repository `json:"runtime_repositories"`
	Repositories        []Repository `json:"repositories"`
	// Packages are grouped by architecture, in installation order.
	Packages []Package `json:"packages"`
}

// Key is a key of the keyring.
type Key struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// Content is the PEM text. apko may leave it out.
	Content string `json:"content,omitempty"`
}

// Repository is one repository's index for one architecture.
type Repository struct {
	Name         string `json:"name"`
	URL          string `json:"url"` // of the index file
	Architecture string `json:"architecture"`
}

// Package is one package of one architecture.
type Package struct {
	Name         string `json:"name"`
	URL          string `json:"url"`
	Version      string `json:"version"`
	Architecture string `json:"architecture"` // apk's spelling
	Signature    Range  `json:"signature"`
	Control      Range  `json:"control"`
	Data         Range  `json:"data"`
	// Checksum is the SHA-1 of the control section, "Q1…".
	Checksum apk.SHA1      `json:"checksum"`
	Cairn    *PackageExtra `json:"cairn,omitempty"`
}

// Range locates a section in the package file: "bytes=first-last" (both
// inclusive), and its "sha1-" or "sha256-" checksum in base64.
type Range struct {
	Range    string `json:"range"`
	Checksum string `json:"checksum"`
}

// PackageExtra is cairn's part of a package.
type PackageExtra struct {
	SHA256  apk.SHA256 `json:"sha256"`  // of the whole .apk file
	Size    int64      `json:"size"`    // of the whole .apk file, bytes
	DiffID  apk.SHA256 `json:"diff_id"` // of the inflated data section
	Receipt apk.SHA256 `json:"receipt"` // of the receipt's canonical encoding
	// Inflated is the size of the inflated data section in bytes.
	Inflated int64  `json:"inflated"`
	Origin   string `json:"origin,omitempty"`
	// BuildTime is in seconds since the Unix epoch.
	BuildTime int64  `json:"build_time"`
	Tag       string `json:"tag,omitempty"` // pin of its repository
	Reason    Reason `json:"reason"`
}

// Reason says what brought a package in.
type Reason struct {
	Kind       string   `json:"kind"` // requested, depends, install_if
	By         []string `json:"by,omitempty"`
	Dependency string   `json:"dependency,omitempty"`
}

// Cairn is cairn's part of a lock.
type Cairn struct {
	Format int `json:"format"`
	// Digest is the SHA-256 of the lock's JSON without white space and with
	// this field left out. [Lock.Marshal] sets it, [Parse] checks it: an
	// altered byte anywhere in the file is noticed.
	Digest apk.SHA256 `json:"digest,omitzero"`
	// Request is what was asked, to tell what changed when it no longer fits.
	Request Request `json:"request"`
	Indexes []Index `json:"indexes"`
	// Unsafe lists the checks that were skipped while resolving.
	Unsafe []string `json:"unsafe,omitempty"`
	// Layers is the sticky layer assignment, one per architecture.
	Layers []Layers `json:"layers,omitempty"`
	// Slices are the packages of which a part is in the image, and which part.
	Slices []SliceFiles `json:"slices,omitempty"`
}

// SliceFiles is what the slices of a package came to for one architecture.
type SliceFiles struct {
	Architecture string   `json:"architecture"` // apk's spelling
	Package      string   `json:"package"`
	Slices       []string `json:"slices"` // those needed too, sorted
	// Files is the SHA-256 of the list of files, as cairn's slice encodes it.
	Files apk.SHA256 `json:"files"`
	// Kept and Total count the entries of the package's data section.
	Kept  int `json:"kept"`
	Total int `json:"total"`
}

// Request is the part of a configuration that decides what is resolved.
type Request struct {
	Packages      []string `json:"packages"`
	Repositories  []string `json:"repositories"`
	Keyring       []string `json:"keyring"`
	Architectures []string `json:"architectures"`
	Files         []File   `json:"files,omitempty"`
	// App are the sources of the app key, by their paths in the image: the digests
	// of what was read of each.
	App      []File `json:"app,omitempty"`
	Layering string `json:"layering,omitempty"` // "package/100"
	// Slices are the packages of which slices were asked for.
	Slices []Slice `json:"slices,omitempty"`
	// Base is the base image, one per architecture.
	Base []Base `json:"base,omitempty"`
}

// Base is a base image that packages were resolved on top of.
type Base struct {
	Architecture string     `json:"architecture"`
	Image        apk.SHA256 `json:"image"` // of its manifest
	Index        apk.SHA256 `json:"index"` // of the APKINDEX with its packages
	// Files is the digest of the list of its files, as cairn's baseimage encodes
	// it. Older locks have none.
	Files apk.SHA256 `json:"files,omitzero"`
	// Packages are those in it, as name=version, in the order of the index.
	Packages []string `json:"packages"`
}

// Slice says which parts of a package were asked for.
type Slice struct {
	Package string   `json:"package"`
	Slices  []string `json:"slices"` // those needed too, sorted
	// Definition is the SHA-256 of what defines them, as cairn's slice encodes it.
	Definition apk.SHA256 `json:"definition"`
}

// File is an inline or local file of the configuration.
type File struct {
	Path   string     `json:"path"`
	SHA256 apk.SHA256 `json:"sha256"`
	Size   int64      `json:"size"` // bytes
}

// Index is an index that was used to resolve.
type Index struct {
	URL          string     `json:"url"`
	Architecture string     `json:"architecture"`
	SHA256       apk.SHA256 `json:"sha256"`
	// Newest is the newest build time in it, seconds since the Unix epoch: an
	// index that is older than the one locked is a rollback.
	Newest int64 `json:"newest"`
	// Key is the SHA-256 of the DER form of the public key that signed it.
	Key apk.SHA256 `json:"key,omitzero"`
	// KeyName is the name the signature gave.
	KeyName string `json:"key_name,omitempty"`
}

// Layers is the layer assignment of one architecture, bottom to top, the top
// layer left out.
type Layers struct {
	Architecture string     `json:"architecture"`
	Segments     [][]string `json:"segments"` // package names of each layer
}

// Architectures returns the architectures that have packages, in the order in
// which they stand, and then those that have a base image only.
func (l *Lock) Architectures() []string {
	var out []string
	seen := map[string]bool{}
	add := func(a string) {
		if !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	for i := range l.Contents.Packages {
		add(l.Contents.Packages[i].Architecture)
	}
	if l.Cairn != nil {
		for i := range l.Cairn.Request.Base {
			add(l.Cairn.Request.Base[i].Architecture)
		}
	}
	return out
}

// Base returns the base image of one architecture (apk's spelling); nil when
// there is none, or apko wrote the lock.
func (l *Lock) Base(arch string) *Base {
	if l.Cairn == nil {
		return nil
	}
	return baseOf(l.Cairn.Request.Base, arch)
}

func baseOf(list []Base, arch string) *Base {
	for i := range list {
		if list[i].Architecture == arch {
			return &list[i]
		}
	}
	return nil
}

// Version returns the version that the base has of a package; empty when it has
// none.
func (b *Base) Version(name string) string {
	for _, p := range b.Packages {
		if n, version, _ := strings.Cut(p, "="); n == name {
			return version
		}
	}
	return ""
}

// For returns the packages of one architecture (apk's spelling), in
// installation order.
func (l *Lock) For(arch string) []Package {
	var out []Package
	for _, p := range l.Contents.Packages {
		if p.Architecture == arch {
			out = append(out, p)
		}
	}
	return out
}

// SlicesOf returns the slices of a package that were asked for, those needed
// included; nil for a package that is wanted whole.
func (l *Lock) SlicesOf(pkg string) []string {
	if l.Cairn == nil {
		return nil
	}
	for i := range l.Cairn.Request.Slices {
		if s := &l.Cairn.Request.Slices[i]; s.Package == pkg {
			return s.Slices
		}
	}
	return nil
}

// Segments returns the recorded layer assignment of one architecture, or nil.
func (l *Lock) Segments(arch string) [][]string {
	if l.Cairn == nil {
		return nil
	}
	for _, s := range l.Cairn.Layers {
		if s.Architecture == arch {
			return s.Segments
		}
	}
	return nil
}
