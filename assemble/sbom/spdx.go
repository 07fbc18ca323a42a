package sbom

import (
	"cmp"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

// WriteSPDX writes the graph as SPDX 2.3 JSON.
func (g *Graph) WriteSPDX(w io.Writer) error {
	s := newStream(w, sha1.New())
	g.spdxHead(s)
	codes := g.verificationCodes()
	s.array("packages", func() {
		for i := range g.Components {
			p := g.Components[i].spdx()
			if code := codes[int32(i)]; code != "" {
				p.FilesAnalyzed, p.Verification = true, &spdxVerification{code}
			}
			s.element(p)
		}
	})
	if !g.input.OmitFiles {
		s.array("files", func() { g.eachFile(func(i int) { f := g.spdxFile(i); s.appended(&f) }) })
	}
	if len(g.Licenses) > 0 {
		s.array("hasExtractedLicensingInfos", func() {
			for _, l := range g.Licenses {
				s.element(spdxLicense{l.ID, l.Text, l.Name})
			}
		})
	}
	s.array("relationships", func() { g.spdxRelationships(s) })
	return g.wrote(formatSPDX, s)
}

func (g *Graph) spdxHead(s *stream) {
	in := &g.input
	name := documentName(&in.Image, in.Image.Arch.ToAPK())
	s.field("spdxVersion", "SPDX-2.3")
	s.field("dataLicense", "CC0-1.0")
	s.field("SPDXID", spdxDocument)
	s.field("name", name)
	s.field("documentNamespace", g.Namespace())
	s.field("creationInfo", creation(in.Author, in.ToolVersion, in.Image.Created))
	s.field("documentDescribes", []string{spdxRef + g.Image().ID})
}

// Namespace returns the document namespace of the SPDX document. No two
// documents share one.
func (g *Graph) Namespace() string {
	return namespace(documentName(&g.input.Image, g.input.Image.Arch.ToAPK()), g.documentUUID(formatSPDX))
}

// namespace follows the form that SPDX 2.3 §6.5 proposes for documents that
// are not hosted by their maker.
func namespace(document, uuid string) string {
	return "https://spdx.org/spdxdocs/" + document + "-" + uuid
}

func documentName(img *Image, part string) string {
	name := img.Name[strings.LastIndexByte(img.Name, '/')+1:]
	return "sbom-" + safeID(cmp.Or(name, img.Annotations[annotationTitle], "image")) + "-" + part
}

func creation(author, version string, created time.Time) spdxCreation {
	c := spdxCreation{
		Created:  created.UTC().Format(time.RFC3339),
		Creators: []string{"Tool: cairn-" + cmp.Or(version, "devel")},
	}
	if author != "" {
		c.Creators = append(c.Creators, "Organization: "+author)
	}
	return c
}

func (c *Component) spdx() spdxPackage {
	p := spdxPackage{
		SPDXID:           spdxRef + c.ID,
		Name:             c.Name,
		Version:          c.Version,
		FileName:         c.Filename,
		Supplier:         c.Supplier.String(),
		Download:         cmp.Or(c.Download, noAssertion),
		Homepage:         c.Homepage,
		SourceInfo:       c.SourceInfo,
		LicenseConcluded: noAssertion,
		LicenseDeclared:  cmp.Or(c.License, noAssertion),
		Copyright:        cmp.Or(c.Copyright, noAssertion),
		Description:      c.Description,
		Comment:          c.spdxComment(),
		Purpose:          c.Purpose,
	}
	if c.Originator.Name != "" {
		p.Originator = c.Originator.String()
	}
	for _, s := range c.Checksums {
		p.Checksums = append(p.Checksums, spdxChecksum(s))
	}
	if c.PURL != "" {
		p.References = append(p.References, spdxReference{"PACKAGE-MANAGER", "purl", c.PURL})
	}
	for _, cpe := range c.CPEs {
		p.References = append(p.References, spdxReference{"SECURITY", cpeType(cpe), cpe})
	}
	for _, r := range c.References {
		p.References = append(p.References, spdxReference(r))
	}
	return p
}

func cpeType(cpe string) string {
	if strings.HasPrefix(cpe, "cpe:2.3:") {
		return "cpe23Type"
	}
	return "cpe22Type"
}

// spdxComment holds what SPDX has no field for: properties, and how much of
// the image the component is.
func (c *Component) spdxComment() string {
	var b strings.Builder
	b.WriteString(c.Comment)
	for _, p := range c.allProperties() {
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "%s=%s", p.Name, p.Value)
	}
	return b.String()
}

// allProperties adds the counts to the properties.
func (c *Component) allProperties() []Property {
	if c.Paths == 0 {
		return c.Properties
	}
	return append(slices.Clone(c.Properties),
		Property{"cairn:paths", fmt.Sprint(c.Paths)},
		Property{"cairn:files", fmt.Sprint(c.Files)},
		Property{"cairn:bytes", fmt.Sprint(c.Bytes)})
}

// eachFile calls f with the position of each tree entry that documents list.
func (g *Graph) eachFile(f func(i int)) {
	for i := range g.tree.Entries {
		if isFile(g.tree.Entries[i].Type) {
			f(i)
		}
	}
}

// fileID names a path's element. It depends on the path alone, so that it
// stays the same from image to image.
func (g *Graph) fileID(i int) string {
	g.once.Do(func() {
		g.ids = make([]string, len(g.tree.Entries))
		g.eachFile(func(i int) { g.ids[i] = fileID(g.tree.Entries[i].Path) })
	})
	return g.ids[i]
}

func fileID(path string) string {
	sum := sha1.Sum([]byte(path))
	return "File-" + hex.EncodeToString(sum[:12])
}

func (g *Graph) spdxFile(i int) spdxFile {
	e := &g.tree.Entries[i]
	return spdxFile{id: g.fileID(i), path: e.Path, comment: linkComment(e.Type, e.Link), elf: e.ELF != nil, sums: &g.sums[i]}
}

// linkComment says what a link is; its checksums need the explanation.
func linkComment(t apk.EntryType, target string) string {
	switch t {
	case apk.TypeSymlink:
		return "symbolic link to " + target + "; the checksums are those of the target path as text"
	case apk.TypeHardlink:
		return "hard link to ./" + target
	}
	return ""
}

// verificationCodes computes each component's package verification code
// (SPDX 2.3 §7.9): the SHA-1 of its files' SHA-1s, sorted and joined.
func (g *Graph) verificationCodes() map[int32]string {
	if g.input.OmitFiles {
		return nil
	}
	sums := map[int32][]string{}
	g.eachFile(func(i int) { sums[g.owner[i]] = append(sums[g.owner[i]], g.sums[i].sha1.Hex()) })
	codes := make(map[int32]string, len(sums))
	for at, list := range sums {
		codes[at] = verificationCode(list)
	}
	return codes
}

func verificationCode(sha1s []string) string {
	slices.Sort(sha1s)
	sum := sha1.Sum([]byte(strings.Join(sha1s, "")))
	return hex.EncodeToString(sum[:])
}

func (g *Graph) spdxRelationships(s *stream) {
	s.appended(spdxRelationship{spdxDocument, "DESCRIBES", spdxRef + g.Image().ID})
	for _, r := range g.Relationships {
		s.appended(spdxRelationship{spdxRef + r.From, string(r.Type), spdxRef + r.To})
	}
	if g.input.OmitFiles {
		return
	}
	g.eachFile(func(i int) {
		s.appended(spdxRelationship{spdxRef + g.Components[g.owner[i]].ID, string(Contains), spdxRef + g.fileID(i)})
	})
}
