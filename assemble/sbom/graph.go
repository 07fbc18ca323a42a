package sbom

import (
	"hash"
	"sync"

	"github.com/cairn-dev/cairn/assemble/rootfs"
)

// Kind is the kind of a component.
type Kind string

// The kinds of components.
const (
	KindImage     Kind = "image"
	KindIndex     Kind = "index"
	KindLayer     Kind = "layer"
	KindOS        Kind = "os"
	KindBase      Kind = "base" // the image that this one is built upon
	KindPackage   Kind = "package"
	KindConfig    Kind = "config"    // what a key of the configuration put into the image
	KindGenerator Kind = "generator" // what a generator made: "installed-db", "ld.so.cache"
	KindUpstream  Kind = "upstream"  // named by a package's embedded SBOM
	KindModule    Kind = "module"    // of a language, in a file of an application
	KindSource    Kind = "source"    // a file the image was made from
)

// Party is a person or an organization. The zero value is nobody known.
type Party struct {
	Person bool
	Name   string
	Email  string
}

// Checksum is a digest of what a component was delivered as.
type Checksum struct {
	Algorithm string // SPDX spelling: SHA1, SHA256…
	Value     string // lower-case hexadecimal
}

// Reference is an external reference in SPDX terms.
type Reference struct {
	Category string // SECURITY, PACKAGE-MANAGER, PERSISTENT-ID, OTHER
	Type     string // cpe23Type, purl, gitoid…
	Locator  string
}

// Component is one thing that is in the image or that it was made from. Empty
// fields are unknown.
type Component struct {
	// ID names the component within the graph: letters, digits, "." and "-".
	ID            string
	Kind          Kind
	Name, Version string
	Supplier      Party
	Originator    Party
	License       string // declared, an SPDX expression
	Copyright     string
	PURL          string
	CPEs          []string
	References    []Reference // besides PURL and CPEs
	Checksums     []Checksum
	Filename      string
	Download      string // URL
	Homepage      string // URL
	Description   string
	SourceInfo    string
	Comment       string
	Purpose       string // SPDX primary package purpose
	// Properties are facts for which the formats have no field.
	Properties []Property

	// Paths counts the paths of the image that this component owns, Files
	// those of them that are regular files, Bytes the sum of their sizes.
	Paths, Files int
	Bytes        int64
}

// Property is a named fact.
type Property struct{ Name, Value string }

// RelationType is a relationship's type, in SPDX's spelling.
type RelationType string

// The types of relationships that cairn itself makes. Embedded SBOMs bring
// others.
const (
	Contains      RelationType = "CONTAINS"
	DependsOn     RelationType = "DEPENDS_ON"
	GeneratedFrom RelationType = "GENERATED_FROM"
	VariantOf     RelationType = "VARIANT_OF"
)

// Relationship links two components by their IDs.
type Relationship struct {
	From string
	Type RelationType
	To   string
}

// License is a licence text or name that is not on the SPDX list.
type License struct {
	ID   string // LicenseRef-…
	Name string
	Text string
}

// Graph is what is in one image.
type Graph struct {
	// Components are in a fixed order: image, system, base image, layers,
	// packages of the base, packages in installation order, configuration, generators, what embedded SBOMs
	// name, modules of applications, sources.
	Components    []Component
	Relationships []Relationship // sorted
	Licenses      []License      // sorted by ID
	// Unreadable names the packages whose embedded SBOM was left out.
	Unreadable []string

	input Input
	tree  *rootfs.Tree
	owner []int32  // per tree entry: position in Components
	sums  []digest // per tree entry: digests of the content or of the target
	byID  map[string]int

	paths  func() map[string]int32 // path → position in Components, made when asked for
	mu     sync.Mutex
	digest map[string]hash.Hash // of documents that were written
	once   sync.Once
	ids    []string // per tree entry: of its element, made when asked for
}

// Image returns the image's component.
func (g *Graph) Image() *Component { return &g.Components[0] }

// Component returns the component with an ID, nil when there is none.
func (g *Graph) Component(id string) *Component {
	if i, ok := g.byID[id]; ok {
		return &g.Components[i]
	}
	return nil
}

// Owner returns the component that a path of the image belongs to, nil for a
// path that is not in it. The path is relative to the root.
func (g *Graph) Owner(path string) *Component {
	if at, ok := g.paths()[path]; ok {
		return &g.Components[at]
	}
	return nil
}

func (g *Graph) mapPaths() map[string]int32 {
	m := make(map[string]int32, len(g.owner))
	for i, at := range g.owner {
		m[g.tree.Entries[i].Path] = at
	}
	return m
}
