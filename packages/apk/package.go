package apk

// Package is the metadata of one package, as an index entry or a .PKGINFO file
// carries it. Fields that the source did not carry are zero.
type Package struct {
	Name        string
	Version     string
	Arch        string // apk's spelling: x86_64, aarch64, armhf, armv7, noarch…
	Description string
	URL         string
	License     string
	Origin      string // name of the source package; empty means Name
	Maintainer  string
	Commit      string // of the package definition

	// Size is the size of the .apk file in bytes (index key S:); .PKGINFO does
	// not carry it.
	Size int64
	// InstalledSize is the sum of the regular files' sizes in bytes (I:, size).
	InstalledSize int64
	// BuildTime is in seconds since the Unix epoch (t:, builddate).
	BuildTime int64

	Depends   []Dependency // D:, depend; a Conflict entry is "!name"
	Provides  []Dependency // p:, provides; Version is empty for an unversioned (virtual) name
	InstallIf []Dependency // i:, install_if
	Replaces  []Dependency // r:, replaces (only .PKGINFO and the installed database)
	Triggers  []string     // directory globs, only .PKGINFO

	// ProviderPriority (k:) ranks this package among the providers of an
	// unversioned name; 0 means: never chosen on its own for such a name.
	ProviderPriority int64
	// ReplacesPriority (q:) ranks owners of a file that several packages ship.
	ReplacesPriority int64

	// Checksum is the SHA-1 of the control section as stored in the file
	// (C:, "Q1…"). Zero when unknown; .PKGINFO does not carry it.
	Checksum SHA1
	// Uninstallable is empty, or says why apk-tools would not install this index
	// entry: it carries a key that this version does not know and that is not
	// marked as optional (a lower-case letter), or a value that cannot be read.
	// A solver must not choose such a package.
	Uninstallable string
	// DataHash is the SHA-256 of the compressed data section (.PKGINFO
	// datahash). Zero when unknown; index entries do not carry it.
	DataHash SHA256
}

// ID returns "name-version", the way apk prints a package.
func (p *Package) ID() string { return p.Name + "-" + p.Version }

// SourceName returns the origin, or the package's own name when it has none.
func (p *Package) SourceName() string {
	if p.Origin == "" {
		return p.Name
	}
	return p.Origin
}

// Filename returns the file name below a repository's architecture directory.
func (p *Package) Filename() string { return p.ID() + ".apk" }
