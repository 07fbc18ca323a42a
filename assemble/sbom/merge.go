package sbom

import (
	"cmp"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/cairn-dev/cairn/packages/apk"
)

// merge takes over what the packages' embedded SBOMs say. Each is read by
// itself: identifiers get the package's as a prefix, so that two documents may
// use the same ones.
func (b *builder) merge() error {
	for i := range b.all {
		r := b.all[i].Receipt
		at := b.packages[r.Package.Name]
		for _, path := range embeddedPaths(r) {
			err := b.mergeOne(at, &r.Package, r.Contents[path])
			if err == nil {
				continue
			}
			e := &EmbeddedError{Package: r.Package.ID(), Path: path, Err: err}
			if !b.input.AllowUnreadable {
				return e
			}
			if !slices.Contains(b.Unreadable, e.Package) {
				b.Unreadable = append(b.Unreadable, e.Package)
			}
			b.Components[at].property("cairn:unsafe", "embedded SBOM left out: "+err.Error())
		}
	}
	return nil
}

// mergeOne merges one document. Nothing is added when it is unreadable.
func (b *builder) mergeOne(at int, pkg *apk.Package, raw []byte) error {
	doc, err := parseEmbedded(raw)
	if err != nil {
		return err
	}
	self, err := doc.self(pkg.Name, pkg.Version)
	if err != nil {
		return err
	}
	refs := b.embeddedLicenses(doc, pkg)
	ids := map[string]int{self: at}
	for i := range doc.Packages {
		p := &doc.Packages[i]
		switch {
		case p.SPDXID == self:
			b.Components[at].complete(p, b.licenses.renamed(p.LicenseDeclared, refs))
		case b.isSystem(p):
			ids[p.SPDXID] = b.byID["OperatingSystem"]
		default:
			ids[p.SPDXID] = b.addUpstream(at, p, refs)
		}
	}
	for _, r := range doc.Relationships {
		from, fromOK := ids[r.From]
		to, toOK := ids[r.To]
		if t := RelationType(r.Type); fromOK && toOK && relationTypes()[t] {
			b.relate(from, t, to)
		}
	}
	return nil
}

// isSystem recognizes the distribution among a document's packages.
func (b *builder) isSystem(p *spdxPackage) bool {
	return purpose(p.Purpose) == "OPERATING_SYSTEM" && b.system.id != "" && strings.EqualFold(p.Name, b.system.id)
}

// embeddedLicenses takes over the texts of a document's own licences. Where
// another package uses the same identifier for another text, this one's gets
// the package's name.
func (b *builder) embeddedLicenses(doc *embeddedDoc, pkg *apk.Package) map[string]string {
	refs := map[string]string{}
	for _, l := range doc.Licenses {
		if !strings.HasPrefix(l.ID, "LicenseRef-") || l.Text == "" {
			continue
		}
		id := safeID(l.ID)
		if have, ok := b.licenses[id]; ok && have.Text != l.Text {
			id = safeID("LicenseRef-" + pkg.ID() + "-" + strings.TrimPrefix(l.ID, "LicenseRef-"))
		}
		b.licenses[id] = License{ID: id, Name: cmp.Or(l.Name, strings.TrimPrefix(l.ID, "LicenseRef-")), Text: l.Text}
		refs[l.ID] = id
	}
	return refs
}

// complete fills in what the receipt does not know. The package's own maker
// knows best who supplies it.
func (c *Component) complete(p *spdxPackage, license string) {
	if s := parseParty(p.Supplier); s.Name != "" {
		c.Supplier = s
	}
	if o := parseParty(p.Originator); o.Name != "" && c.Originator.Name == "" {
		c.Originator = o
	}
	c.License = cmp.Or(c.License, license)
	c.Copyright = cmp.Or(c.Copyright, known(p.Copyright))
	c.Homepage = cmp.Or(c.Homepage, webURL(p.Homepage))
	c.Description = cmp.Or(c.Description, p.Description)
	for _, r := range p.References {
		c.refer(r, false)
	}
}

// refer takes over an external reference. The purl of a package is always the
// one that cairn makes; that of an upstream component its own.
func (c *Component) refer(r spdxReference, own bool) {
	category := strings.ReplaceAll(r.Category, "_", "-")
	switch {
	case r.Locator == "" || strings.ContainsAny(r.Locator, " \t\n"):
	case r.Type == "purl":
		if own && c.PURL == "" && strings.HasPrefix(r.Locator, "pkg:") {
			c.PURL = r.Locator
		}
	case r.Type == "cpe23Type" && strings.HasPrefix(r.Locator, "cpe:2.3:"):
		if !slices.Contains(c.CPEs, r.Locator) {
			c.CPEs = append(c.CPEs, r.Locator)
		}
	case slices.Contains([]string{"SECURITY", "PACKAGE-MANAGER", "PERSISTENT-ID", "OTHER"}, category) && r.Type != "":
		c.References = append(c.References, Reference{category, r.Type, r.Locator})
	}
}

// known turns SPDX's words for "unknown" into the empty string.
func known(s string) string {
	if s == noAssertion || s == "NONE" {
		return ""
	}
	return s
}

// addUpstream adds a package of an embedded SBOM, or finds it when another
// package's SBOM has said exactly the same: subpackages share their source.
func (b *builder) addUpstream(of int, p *spdxPackage, refs map[string]string) int {
	c := Component{
		Kind:        KindUpstream,
		Name:        p.Name,
		Version:     p.Version,
		Supplier:    parseParty(p.Supplier),
		Originator:  parseParty(p.Originator),
		License:     b.licenses.renamed(p.LicenseDeclared, refs),
		Copyright:   known(p.Copyright),
		Filename:    p.FileName,
		Download:    known(redact(p.Download)),
		Homepage:    webURL(p.Homepage),
		Description: p.Description,
		SourceInfo:  p.SourceInfo,
		Comment:     p.Comment,
		Purpose:     purpose(p.Purpose),
	}
	for _, s := range p.Checksums {
		if n := checksumLengths()[s.Algorithm]; n > 0 && len(s.Value) == n && isHex(s.Value) {
			c.Checksums = append(c.Checksums, Checksum{s.Algorithm, strings.ToLower(s.Value)})
		}
	}
	for _, r := range p.References {
		c.refer(r, true)
	}
	key, _ := json.Marshal(c)
	if at, ok := b.upstream[string(key)]; ok {
		return at
	}
	c.ID = b.Components[of].ID + "-" + strings.TrimPrefix(p.SPDXID, spdxRef)
	at := b.add(c)
	b.upstream[string(key)] = at
	return at
}

func isHex(s string) bool {
	_, err := hex.DecodeString(s)
	return err == nil
}

// purpose spells a package purpose as the JSON schema of SPDX 2.3 has it; what
// is not in it becomes OTHER.
func purpose(s string) string {
	s = strings.ReplaceAll(s, "-", "_")
	switch s {
	case "":
		return ""
	case "APPLICATION", "FRAMEWORK", "LIBRARY", "CONTAINER", "OPERATING_SYSTEM", "DEVICE", "FIRMWARE", "SOURCE", "ARCHIVE", "FILE", "INSTALL":
		return s
	}
	return "OTHER"
}

// checksumLengths gives the algorithms of SPDX 2.3 that have a fixed length,
// in hexadecimal digits.
var checksumLengths = sync.OnceValue(func() map[string]int {
	return map[string]int{
		"MD5": 32, "SHA1": 40, "SHA224": 56, "SHA256": 64, "SHA384": 96, "SHA512": 128,
		"SHA3-256": 64, "SHA3-384": 96, "SHA3-512": 128, "BLAKE2b-256": 64, "BLAKE2b-384": 96, "BLAKE2b-512": 128,
	}
})

// relationTypes lists SPDX 2.3's relationship types apart from those about
// documents. An embedded SBOM's DESCRIBED_BY (melange links a package to its
// definition by it) is kept.
var relationTypes = sync.OnceValue(func() map[RelationType]bool {
	m := map[RelationType]bool{}
	for t := range strings.FieldsSeq(`DESCRIBED_BY CONTAINS CONTAINED_BY DEPENDS_ON DEPENDENCY_OF
		DEPENDENCY_MANIFEST_OF BUILD_DEPENDENCY_OF DEV_DEPENDENCY_OF OPTIONAL_DEPENDENCY_OF
		PROVIDED_DEPENDENCY_OF TEST_DEPENDENCY_OF RUNTIME_DEPENDENCY_OF EXAMPLE_OF GENERATES
		GENERATED_FROM ANCESTOR_OF DESCENDANT_OF VARIANT_OF DISTRIBUTION_ARTIFACT PATCH_FOR
		PATCH_APPLIED COPY_OF FILE_ADDED FILE_DELETED FILE_MODIFIED EXPANDED_FROM_ARCHIVE
		DYNAMIC_LINK STATIC_LINK DATA_FILE_OF TEST_CASE_OF BUILD_TOOL_OF DEV_TOOL_OF TEST_OF
		TEST_TOOL_OF DOCUMENTATION_OF OPTIONAL_COMPONENT_OF METAFILE_OF PACKAGE_OF AMENDS
		PREREQUISITE_FOR HAS_PREREQUISITE REQUIREMENT_DESCRIPTION_FOR SPECIFICATION_FOR OTHER`) {
		m[RelationType(t)] = true
	}
	return m
})
