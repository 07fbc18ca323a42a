// Package kit is the rebuild kit of an image: everything but package data that
// the image was made from, as one value and as one OCI artifact that refers to
// the image. Data sections are not in it, because they are the image's layers.
//
// It neither builds nor proves: [github.com/cairn-dev/cairn/assemble] makes a
// kit with an image, and whoever wants to build the image again, or to prove
// what it is made of, reads one.
//
//	artifact, err := k.Artifact(subject)         // to write
//	k, err := kit.Read(ctx, source, descriptor)  // to read, verified
//
// The manifest is an OCI 1.1 image manifest of the artifact type [ArtifactType]
// with the image index as its subject. Every part is a layer of its own media
// type, so pinned by its digest in the manifest; the same kit gives the same
// bytes. docs/provenance.md lists the parts.
package kit

import (
	"errors"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Media types of the artifact and its parts.
const (
	ArtifactType = "application/vnd.cairn.kit.v1+json"
	TypeSettings = "application/vnd.cairn.kit.settings.v1+json"
	TypeLock     = "application/vnd.cairn.kit.lock.v1+json"
	TypeFiles    = "application/vnd.cairn.kit.files.v1.tar"
	TypeKeys     = "application/vnd.cairn.kit.keys.v1.tar"
	TypeHeads    = "application/vnd.cairn.kit.heads.v1.tar"
	TypeReceipts = "application/vnd.cairn.kit.receipts.v1.tar+gzip"
	TypeIndex    = "application/vnd.cairn.kit.index.v1.tar+gzip"
	TypeBase     = "application/vnd.cairn.kit.base.v1.tar+gzip"
	TypeApp      = "application/vnd.cairn.kit.app.v1.tar+gzip"

	// TypeEmpty is the media type of the manifest's configuration, which says
	// nothing (OCI image specification 1.1).
	TypeEmpty = "application/vnd.oci.empty.v1+json"
)

// The annotations on a part of type [TypeIndex].
const (
	AnnotationIndexURL  = "dev.cairn.kit.index.url"
	AnnotationIndexArch = "dev.cairn.kit.index.arch"
)

// ErrInvalid is wrapped by every error about the content of a kit.
var ErrInvalid = errors.New("invalid kit")

// Kit is a rebuild kit.
type Kit struct {
	// Subject is the image index that the kit is of.
	Subject  v1.Descriptor
	Settings Settings
	Lock     *lock.Lock
	// Files are the configuration, what it includes, and the local files it
	// names, and the trees of its app key, in this order.
	Files []File
	// Keys are the public keys that indexes or packages were verified with,
	// sorted by name and fingerprint.
	Keys []repository.Key
	// Packages are those of the lock, in its order.
	Packages []Package
	// Indexes are the signed index files of repositories with packages that
	// carry no signature by one of Keys.
	Indexes []Index
	// Bases are the base images, in the order of the architectures; none for an
	// image that is on none.
	Bases []Base
}

// Base is the base image of an architecture, without its layers: those are the
// image's own first ones.
type Base struct {
	Arch  string // apk's spelling
	Image *baseimage.Base
}

// Format is the version of [Settings].
const Format = 1

// Settings is everything beside the files of a kit that decides the bytes of the
// image, and what a reader must know.
type Settings struct {
	Format int `json:"format"`
	// Cairn is the version of the program that built the image.
	Cairn string `json:"cairn,omitempty"`
	// Config is the name under which the configuration stands in Files.
	Config       string   `json:"config"`
	IncludePaths []string `json:"include_paths,omitempty"`
	// Overrides are the changes of the command line, in order.
	Overrides []Overrides `json:"overrides,omitempty"`
	// Architectures are those that the image was built for, apk's spelling.
	Architectures []string `json:"architectures"`
	// VCSURL is where the configuration is from, when it was known.
	VCSURL string `json:"vcs_url,omitempty"`
	// Created is the creation time that was asked for; zero: the packages'.
	Created time.Time `json:"created,omitzero"`
	Author  string    `json:"author,omitempty"`
	Compat  string    `json:"compat,omitempty"`
	// Weights are observed update rates by origin.
	Weights map[string]float64 `json:"weights,omitempty"`
	// Unsafe are the checks that were switched off.
	Unsafe Unsafe `json:"unsafe,omitzero"`
	Files  []Name `json:"files"`
	// Bases names the base images.
	Bases []BaseName `json:"bases,omitempty"`
	// MissingIndexes are the indexes that would be in the kit and could not be
	// had any more when it was made: packages they list cannot be proved by
	// them.
	MissingIndexes []lock.Index `json:"missing_indexes,omitempty"`
}

// BaseName names the base image of an architecture.
type BaseName struct {
	Arch string `json:"arch"` // apk's spelling
	// Name is the reference that it was found under, when it had a whole one. It
	// is the word of whoever made the image: the digest is what counts.
	Name   string  `json:"name,omitempty"`
	Digest v1.Hash `json:"digest"` // of its manifest
}

// Overrides are [config.Overrides], but for the architectures.
type Overrides struct {
	Repositories      []string          `json:"repositories,omitempty"`
	BuildRepositories []string          `json:"build_repositories,omitempty"`
	Keyring           []string          `json:"keyring,omitempty"`
	Packages          []string          `json:"packages,omitempty"`
	Annotations       map[string]string `json:"annotations,omitempty"`
	VCSURL            string            `json:"vcs_url,omitempty"`
}

// Unsafe are the switches of the build.
type Unsafe struct {
	UnsignedIndex    bool `json:"unsigned_index,omitempty"`
	MissingDataHash  bool `json:"missing_datahash,omitempty"`
	PackageSignature bool `json:"package_signature,omitempty"`
	BrokenSBOM       bool `json:"broken_sbom,omitempty"`
}

// Role says what a file is to the configuration.
type Role string

// The roles of files.
const (
	RoleConfig  Role = "config"
	RoleInclude Role = "include"
	RoleFile    Role = "file" // named by the files or slices key
	// RoleApp is the archive of a tree of the app key, under its path in the image.
	RoleApp Role = "app"
)

// Name names a file of the kit.
type Name struct {
	Path   string     `json:"path"` // as it was opened; of a tree: in the image
	Role   Role       `json:"role"`
	SHA256 apk.SHA256 `json:"sha256"`
	Size   int64      `json:"size"` // bytes
}

// File is a file of the kit.
type File struct {
	Name
	Bytes []byte
}

// Package is what a kit holds of a package: all but its data section.
type Package struct {
	Arch    string // apk's spelling
	Receipt *store.Receipt
}

// Head returns the package file up to its data section: signature and control
// section.
func (p *Package) Head() []byte { return slices.Concat(p.Receipt.Signature, p.Receipt.Control) }

// Index is a signed index file, whole: its signature covers every byte, so that
// nothing can be left out of it.
type Index struct {
	URL  string // redacted
	Arch string
	Raw  []byte
}

// Load reads the configuration of the kit with all that was changed on the
// command line, from the kit alone.
func (k *Kit) Load() (*config.Config, error) {
	cfg, err := config.Load(k.Settings.Config, config.Options{IncludePaths: k.Settings.IncludePaths, Open: openFrom(k.Files), App: appFrom(k.Files)})
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	for _, o := range k.Settings.Overrides {
		if err := cfg.Apply(config.Overrides{Repositories: o.Repositories, BuildRepositories: o.BuildRepositories,
			Keyring: o.Keyring, Packages: o.Packages, Annotations: o.Annotations, VCSURL: o.VCSURL}); err != nil {
			return nil, fmt.Errorf("configuration: %w", err)
		}
	}
	last := config.Overrides{Archs: k.Settings.Architectures, VCSURL: k.Settings.VCSURL}
	if err := cfg.Apply(last); err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return cfg, nil
}

// ConfigDigest is the SHA-256 of the configuration file that the kit is of; see
// [config.Source] for what it is over.
func (k *Kit) ConfigDigest() apk.SHA256 {
	for i := range k.Files {
		if k.Files[i].Role == RoleConfig {
			return k.Files[i].SHA256
		}
	}
	return apk.SHA256{}
}
