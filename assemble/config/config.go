// Package config reads an image configuration: apko's YAML, every key with
// apko's meaning, and cairn's own keys beside them. A configuration is read,
// merged with what it includes, and validated as a whole, with the position of
// every problem, before anything else happens.
//
// It fetches nothing and resolves nothing: the only files it opens are the
// configuration, what it includes, and what its files, app and slices keys name. Values come
// out as they were written, with apko's defaults filled in; what a consumer
// would otherwise derive again and again (repositories, command lines,
// accounts, architectures) has a method.
//
//	cfg, err := config.Load("image.yaml", config.Options{})
//	if err != nil {
//		return err // a *config.Errors listing every problem as file:line:column
//	}
//	if err := cfg.Apply(config.Overrides{Packages: []string{"curl"}}); err != nil {
//		return err // the same, naming --package-append
//	}
//	world, err := cfg.World()
//
// A configuration that apko 1.2 accepts and can build is accepted here and
// means the same; what apko accepts and then cannot build is refused at once.
package config

//go:generate go run ./internal/gen

import (
	"chainguard.dev/apko/pkg/build/types"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/assemble/slice"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Config is a validated image configuration with its includes merged in.
//
// The methods of the embedded type (Load, Validate, MergeInto…) are apko's and
// know nothing of the keys added here; use this package's functions.
type Config struct {
	// ImageConfiguration is apko's; its keys and their meaning are kept.
	types.ImageConfiguration `yaml:",inline"`

	// Files are files to put into the image, after packages and before paths.
	// Each is its own component in lock and SBOM.
	Files []File `yaml:"files,omitempty" json:"files,omitempty"`
	// App are directories, archives and files of the machine that become layers of
	// their own, one per entry. Each is its own component in lock and SBOM.
	App []App `yaml:"app,omitempty" json:"app,omitempty"`
	// Keyrings are keys that count for one repository only, by its URL. A
	// repository that has an entry here trusts no other keys.
	Keyrings map[string][]string `yaml:"keyrings,omitempty" json:"keyrings,omitempty"`
	// Format is the file system of the layers. Only "tar" is supported.
	Format string `yaml:"format,omitempty" json:"format,omitempty"`
	// Slices are files that define parts of packages, relative to the configuration
	// that names them, one or a list. Entries of contents.packages name the parts that
	// are wanted; see [slices](slices.md).
	Slices Texts `yaml:"slices,omitempty" json:"slices,omitempty"`
	// Lint is what cairn lint is told of the image. Nothing of it is in the image.
	Lint Lint `yaml:"lint,omitempty" json:"lint,omitzero"`
	// Twin is what cairn twin puts into the image for debugging this one. Nothing of it
	// is in the image.
	Twin TwinImage `yaml:"twin,omitempty" json:"twin,omitzero"`

	// Sources are the configuration files this one was made from, the
	// including one first.
	Sources []Source `yaml:"-" json:"-"`
	// ApkoChecksum is what apko's lock files record for the configuration:
	// "sha256-" and the base64 SHA-256 of the bytes of all Sources.
	ApkoChecksum string `yaml:"-" json:"-"`
	// Warnings are values that are valid but probably not meant.
	Warnings []Problem `yaml:"-" json:"-"`

	marks        *mark    // where each value stands
	includePaths []string // of the options it was loaded with
	applied      []Overrides
	sliced       []Sliced
	sliceFiles   []SliceFile
	sliceDefs    *slice.Definitions // of all files; nil until they are checked
	vcsProbed    bool               // VCSUrl was found in a git repository, not written
}

// File is one entry of the files key.
type File struct {
	// Path is the absolute path in the image.
	Path string `yaml:"path" json:"path"`
	// Content is the content, inline. Exactly one of content and source is given.
	Content *string `yaml:"content,omitempty" json:"content,omitempty"`
	// Source is a local file, relative to the configuration that names it.
	Source string `yaml:"source,omitempty" json:"source,omitempty"`
	// SHA256 is the digest that the content must have, 64 hexadecimal digits;
	// required with source.
	SHA256 string `yaml:"sha256,omitempty" json:"sha256,omitempty"`
	// Mode is the permission, setuid, setgid and sticky bits.
	Mode *uint32 `yaml:"mode,omitempty" json:"mode,omitempty"`
	// UID is the number of the user that owns the file.
	UID uint32 `yaml:"uid,omitempty" json:"uid,omitempty"`
	// GID is the number of the group that owns the file.
	GID uint32 `yaml:"gid,omitempty" json:"gid,omitempty"`

	// Bytes is the content, inline or read from Source and checked.
	Bytes []byte `yaml:"-" json:"-"`
	// Opened is the file that Source was found at; empty for inline content.
	Opened string `yaml:"-" json:"-"`
}

// TwinImage is the value of twin.
type TwinImage struct {
	// Packages are what the twin has beside the packages of the image.
	Packages []string `yaml:"packages,omitempty" json:"packages,omitempty"`
}

// App is one entry of the app key.
type App struct {
	// Source is a directory, an archive (.tar, .tar.gz, .tgz) or any other file, which
	// is taken as it is; relative to the configuration that names it.
	Source string `yaml:"source" json:"source"`
	// Path is the absolute path in the image that the source becomes.
	Path string `yaml:"path" json:"path"`
	// SHA256 is the digest that the source must have, 64 hexadecimal digits: what
	// cairn lock records for it.
	SHA256 string `yaml:"sha256,omitempty" json:"sha256,omitempty"`
	// UID is the number of the user that owns everything in it.
	UID uint32 `yaml:"uid,omitempty" json:"uid,omitempty"`
	// GID is the number of the group that owns everything in it.
	GID uint32 `yaml:"gid,omitempty" json:"gid,omitempty"`
	// Mode is the permission bits of files. Those that can be executed in the source
	// can be by everybody who may read them here.
	Mode *uint32 `yaml:"mode,omitempty" json:"mode,omitempty"`
	// DirMode is the permission, setgid and sticky bits of directories.
	DirMode *uint32 `yaml:"dir-mode,omitempty" json:"dir-mode,omitempty"`
	// KeepSetuid is whether setuid, setgid and sticky bits of the source count.
	KeepSetuid bool `yaml:"keep-setuid,omitempty" json:"keep-setuid,omitempty"`
	// Exclude are patterns of what is left out: * and ? within a name, ** for any
	// directories; one without a slash counts in every directory.
	Exclude []string `yaml:"exclude,omitempty" json:"exclude,omitempty"`

	// Tree is what Source has.
	Tree *apptree.Tree `yaml:"-" json:"-"`
	// Opened is where Source was found.
	Opened string `yaml:"-" json:"-"`
}

// Lint is the value of lint.
type Lint struct {
	// NoShell is whether the image is meant to have no shell, so that one is a
	// finding.
	NoShell bool `yaml:"no-shell,omitempty" json:"no-shell,omitempty"`
	// Ignore are rules whose findings do not count: RULE, or RULE:PATH for a path
	// in the image, in which * stands for any characters but /.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty"`
}

// DefaultFileMode is the mode of a file whose entry gives none.
const DefaultFileMode = 0o644

// FileMode returns the mode, or [DefaultFileMode] when none is given.
func (f *File) FileMode() uint32 {
	if f.Mode == nil {
		return DefaultFileMode
	}
	return *f.Mode
}

// Source is a configuration file.
type Source struct {
	Path string // as opened
	Name string // the same, relative to Options.Dir when it lies in there
	// SHA256 is over the text with a byte order mark dropped and CRLF line ends
	// turned to LF: a checkout on Windows has the same digest. (ApkoChecksum is
	// over the bytes as they are.)
	SHA256 apk.SHA256
	Size   int64  // of the file in bytes
	Text   []byte // of the file, as it is
}
