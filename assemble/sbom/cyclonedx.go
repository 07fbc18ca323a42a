package sbom

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

const cdxSchema = "http://cyclonedx.org/schema/bom-1.6.schema.json"

// WriteCycloneDX writes the graph as CycloneDX 1.6 JSON. Files are nested in
// the component that owns them.
func (g *Graph) WriteCycloneDX(w io.Writer) error {
	s := newStream(w, sha256.New())
	in := &g.input
	cdxHead(s, g.SerialNumber())
	image := g.Image().cdx()
	s.field("metadata", cdxMetadata(in.Author, in.ToolVersion, in.Image.Created, image))
	files := g.filesOf()
	s.array("components", func() {
		for i := range g.Components[1:] {
			g.cdxElement(s, i+1, files[i+1])
		}
	})
	s.array("dependencies", func() { g.cdxDependencies(s) })
	s.array("compositions", func() {
		ref := []cdx.BOMReference{cdx.BOMReference(g.Image().ID)}
		s.element(cdx.Composition{Aggregate: cdx.CompositionAggregateComplete, Assemblies: &ref, Dependencies: &ref})
	})
	return g.wrote(formatCycloneDX, s)
}

// SerialNumber returns the serial number of the CycloneDX document,
// "urn:uuid:…". No two documents share one.
func (g *Graph) SerialNumber() string { return "urn:uuid:" + g.documentUUID(formatCycloneDX) }

func cdxHead(s *stream, serial string) {
	s.field("$schema", cdxSchema)
	s.field("bomFormat", cdx.BOMFormat)
	s.field("specVersion", "1.6")
	s.field("serialNumber", serial)
	s.field("version", 1)
}

func cdxMetadata(author, version string, created time.Time, root cdx.Component) cdx.Metadata {
	m := cdx.Metadata{
		Timestamp:  created.UTC().Format(time.RFC3339),
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhaseBuild}},
		Tools: &cdx.ToolsChoice{Components: &[]cdx.Component{{
			Type: cdx.ComponentTypeApplication, Name: "cairn", Version: cmp.Or(version, "devel"),
		}}},
		Component: &root,
		Supplier:  root.Supplier,
	}
	if author != "" {
		m.Manufacturer = &cdx.OrganizationalEntity{Name: author}
		m.Authors = &[]cdx.OrganizationalContact{{Name: author}}
	}
	return m
}

// optional turns an empty list into none.
func optional[T any](list []T) *[]T {
	if len(list) == 0 {
		return nil
	}
	return &list
}

func (c *Component) cdx() cdx.Component {
	out := cdx.Component{
		BOMRef:             c.ID,
		Type:               c.cdxType(),
		Supplier:           c.Supplier.cdx(),
		Name:               c.Name,
		Version:            c.Version,
		Description:        c.Description,
		Copyright:          c.Copyright,
		PackageURL:         c.PURL,
		Licenses:           cdxLicenses(c.License),
		Hashes:             optional(cdxHashes(c.Checksums)),
		ExternalReferences: optional(c.cdxReferences()),
		Properties:         optional(c.cdxProperties()),
	}
	if c.Kind == KindSource || c.Purpose == "SOURCE" {
		out.Scope = cdx.ScopeExcluded
	}
	if len(c.CPEs) > 0 {
		out.CPE = c.CPEs[0]
	}
	if c.Originator.Person {
		out.Authors = &[]cdx.OrganizationalContact{{Name: c.Originator.Name, Email: c.Originator.Email}}
	}
	return out
}

func (c *Component) cdxType() cdx.ComponentType {
	switch c.Kind {
	case KindImage, KindIndex, KindBase:
		return cdx.ComponentTypeContainer
	case KindOS:
		return cdx.ComponentTypeOS
	case KindLayer, KindSource:
		return cdx.ComponentTypeFile
	case KindConfig, KindGenerator:
		return cdx.ComponentTypeData
	}
	switch c.Purpose {
	case "APPLICATION":
		return cdx.ComponentTypeApplication
	case "OPERATING_SYSTEM":
		return cdx.ComponentTypeOS
	case "FILE", "ARCHIVE":
		return cdx.ComponentTypeFile
	}
	return cdx.ComponentTypeLibrary
}

func (p Party) cdx() *cdx.OrganizationalEntity {
	if p.Name == "" {
		return nil
	}
	e := &cdx.OrganizationalEntity{Name: p.Name}
	if p.Email != "" {
		e.Contact = &[]cdx.OrganizationalContact{{Name: p.Name, Email: p.Email}}
	}
	return e
}

// cdxLicenses spells a licence as CycloneDX wants it: one identifier as such,
// everything else as an expression.
func cdxLicenses(expression string) *cdx.Licenses {
	if expression == "" {
		return nil
	}
	licenses, _ := knownLicenses()
	choice := cdx.LicenseChoice{Expression: expression}
	if licenses[strings.ToLower(expression)] == expression && cdxKnows(expression) {
		choice = cdx.LicenseChoice{License: &cdx.License{ID: expression, Acknowledgement: cdx.LicenseAcknowledgementDeclared}}
	}
	return &cdx.Licenses{choice}
}

// cdxKnows reports whether every version of CycloneDX 1.6's own list has an
// identifier: it is closed, and older than ours. Families that are on it since
// its first version are; all else goes through as an expression.
func cdxKnows(id string) bool {
	for _, family := range []string{"MIT", "Apache-", "BSD-2-Clause", "BSD-3-Clause", "GPL-", "LGPL-", "AGPL-", "MPL-", "ISC", "Zlib", "Unlicense", "CC0-1.0", "OpenSSL", "curl", "PSF-2.0", "Artistic-1.0", "Artistic-2.0", "0BSD"} {
		if id == family || strings.HasSuffix(family, "-") && strings.HasPrefix(id, family) {
			return true
		}
	}
	return false
}

func cdxHashes(sums []Checksum) []cdx.Hash {
	var out []cdx.Hash
	for _, s := range sums {
		if a := cdxAlgorithm(s.Algorithm); a != "" {
			out = append(out, cdx.Hash{Algorithm: a, Value: s.Value})
		}
	}
	return out
}

// cdxAlgorithm spells SPDX's SHA256 as SHA-256; CycloneDX lacks some.
func cdxAlgorithm(spdx string) cdx.HashAlgorithm {
	switch spdx {
	case "MD5", "SHA3-256", "SHA3-384", "SHA3-512":
		return cdx.HashAlgorithm(spdx)
	case "SHA1", "SHA256", "SHA384", "SHA512":
		return cdx.HashAlgorithm("SHA-" + strings.TrimPrefix(spdx, "SHA"))
	case "BLAKE2b-256", "BLAKE2b-384", "BLAKE2b-512":
		return cdx.HashAlgorithm(spdx)
	}
	return ""
}

func (c *Component) cdxReferences() []cdx.ExternalReference {
	var out []cdx.ExternalReference
	if c.Homepage != "" {
		out = append(out, cdx.ExternalReference{Type: cdx.ERTypeWebsite, URL: c.Homepage})
	}
	if u := webURL(c.Download); u != "" {
		out = append(out, cdx.ExternalReference{Type: cdx.ERTypeDistribution, URL: u})
	}
	return out
}

func (c *Component) cdxProperties() []cdx.Property {
	out := []cdx.Property{{Name: "cairn:kind", Value: string(c.Kind)}}
	for _, p := range c.allProperties() {
		out = append(out, cdx.Property(p))
	}
	for i, cpe := range c.CPEs {
		if i > 0 {
			out = append(out, cdx.Property{Name: "cairn:cpe", Value: cpe})
		}
	}
	for _, r := range c.References {
		out = append(out, cdx.Property{Name: "cairn:reference:" + r.Type, Value: r.Locator})
	}
	if c.SourceInfo != "" {
		out = append(out, cdx.Property{Name: "cairn:source-info", Value: c.SourceInfo})
	}
	if c.Filename != "" {
		out = append(out, cdx.Property{Name: "cairn:filename", Value: c.Filename})
	}
	if c.Comment != "" {
		out = append(out, cdx.Property{Name: "cairn:comment", Value: c.Comment})
	}
	return out
}

// filesOf lists each component's tree entries.
func (g *Graph) filesOf() map[int][]int {
	if g.input.OmitFiles {
		return nil
	}
	files := map[int][]int{}
	g.eachFile(func(i int) { files[int(g.owner[i])] = append(files[int(g.owner[i])], i) })
	return files
}

// cdxElement writes a component with its files in place of nested components.
func (g *Graph) cdxElement(s *stream, at int, files []int) {
	c := g.Components[at].cdx()
	if len(files) == 0 {
		s.element(c)
		return
	}
	s.open(c)
	s.text(`,"components":[`)
	for n, i := range files {
		if n > 0 {
			s.text(",")
		}
		e := &g.tree.Entries[i]
		f := cdxFile{id: g.fileID(i), path: e.Path, description: linkComment(e.Type, e.Link), sums: &g.sums[i]}
		s.append(&f)
	}
	s.text("]}")
}

// cdxDependencies writes the dependency graph: who depends on whom, and, for
// which CycloneDX has no relationship, what contains what and what was
// generated from what.
func (g *Graph) cdxDependencies(s *stream) {
	edges := map[string][]string{}
	for _, r := range g.Relationships {
		switch r.Type {
		case DependsOn, Contains, GeneratedFrom:
			if !slices.Contains(edges[r.From], r.To) {
				edges[r.From] = append(edges[r.From], r.To)
			}
		}
	}
	for i := range g.Components {
		id := g.Components[i].ID
		list := edges[id]
		slices.Sort(list)
		s.element(cdx.Dependency{Ref: id, Dependencies: optional(list)})
	}
}

func bomLink(serial string) string {
	return fmt.Sprintf("urn:cdx:%s/1", strings.TrimPrefix(serial, "urn:uuid:"))
}
