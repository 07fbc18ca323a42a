package sbom

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Input is what a graph is made from.
type Input struct {
	Tree  *rootfs.Tree
	Image Image
	// Sources are the files that the image was made from: configuration, lock.
	Sources []Source
	// Author is who makes the image, an organization, named as creator of the
	// documents and as supplier of what the build itself made. May be empty;
	// then the image's vendor or authors annotation is taken as the supplier.
	Author string
	// ToolVersion is cairn's version.
	ToolVersion string
	// AllowUnreadable leaves out embedded SBOMs that cannot be read, which is
	// an unsafe choice; each is named in Graph.Unreadable and at its package.
	AllowUnreadable bool
	// OmitFiles leaves single files out of the documents. They are still
	// counted and checked.
	OmitFiles bool
}

// Image is what an SBOM says of the image itself.
type Image struct {
	// Name is the repository the image is meant for, "docker.io/library/hello";
	// may be empty.
	Name        string
	Tags        []string
	Digest      v1.Hash // of the manifest
	Arch        config.Architecture
	Layers      []layer.Layer
	Created     time.Time
	Annotations map[string]string
	// Unsafe names the unsafe choices made for the image.
	Unsafe []string
}

// Source is a file that an image was made from.
type Source struct {
	Name   string // without directories, which differ between machines
	SHA256 apk.SHA256
	Size   int64
}

const (
	annotationVendor   = "org.opencontainers.image.vendor"
	annotationAuthors  = "org.opencontainers.image.authors"
	annotationTitle    = "org.opencontainers.image.title"
	annotationDesc     = "org.opencontainers.image.description"
	annotationURL      = "org.opencontainers.image.url"
	annotationSource   = "org.opencontainers.image.source"
	annotationRevision = "org.opencontainers.image.revision"
	annotationLicenses = "org.opencontainers.image.licenses"
)
