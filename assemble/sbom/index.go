package sbom

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// IndexInput is what an image index's documents are made from.
type IndexInput struct {
	Name        string // as in Image
	Tags        []string
	Digest      v1.Hash // of the index manifest
	Created     time.Time
	Annotations map[string]string
	Unsafe      []string
	Author      string
	ToolVersion string
}

// Index is the graph of an image index: the index and its images, each with a
// reference to its own document.
type Index struct {
	input  IndexInput
	root   Component
	images []indexed
}

type indexed struct {
	graph     *Graph
	spdx, cdx documentDigest
}

// documentDigest is the digests of a document, taken while it is written.
type documentDigest struct {
	sha1, sha256 hash.Hash
}

// NewIndex makes the graph of an image index over the graphs of its images.
func NewIndex(in IndexInput, images []*Graph) (*Index, error) {
	switch {
	case in.Digest.Hex == "":
		return nil, errors.New("sbom: index: no digest")
	case in.Created.IsZero():
		return nil, errors.New("sbom: index: no creation time")
	case len(images) == 0:
		return nil, errors.New("sbom: index: no images")
	}
	x := &Index{input: in}
	for _, g := range images {
		i := indexed{graph: g, spdx: newDigest(), cdx: newDigest()}
		if err := errors.Join(g.WriteSPDX(i.spdx), g.WriteCycloneDX(i.cdx)); err != nil {
			return nil, err
		}
		x.images = append(x.images, i)
	}
	x.root = x.component()
	return x, nil
}

func newDigest() documentDigest { return documentDigest{sha1.New(), sha256.New()} }

// Write implements [io.Writer].
func (d documentDigest) Write(p []byte) (int, error) {
	d.sha1.Write(p)
	return d.sha256.Write(p)
}

func hexSum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

func (x *Index) component() Component {
	in := &x.input
	b := builder{Graph: &Graph{input: Input{Author: in.Author, Image: Image{Annotations: in.Annotations}}}}
	img := Image{Name: in.Name, Annotations: in.Annotations}
	name := imageName(&img, "image")
	c := Component{
		ID:        "Index-" + in.Digest.Hex,
		Kind:      KindIndex,
		Name:      name,
		Version:   in.Digest.String(),
		Supplier:  b.author(),
		Purpose:   "CONTAINER",
		PURL:      indexPURL(in, name),
		Checksums: []Checksum{{"SHA256", in.Digest.Hex}},
	}
	for _, t := range in.Tags {
		c.property("cairn:image:tag", t)
	}
	for _, u := range in.Unsafe {
		c.property("cairn:unsafe", u)
	}
	return c
}

func (x *Index) uuid(format string) string {
	parts := []string{format, "index", x.input.Digest.String(), x.input.Name, x.input.Author, x.input.ToolVersion}
	for _, i := range x.images {
		parts = append(parts, i.graph.documentUUID(format))
	}
	return uuid5(parts...)
}

// Namespace returns the document namespace of the SPDX document.
func (x *Index) Namespace() string {
	return namespace(x.documentName(), x.uuid("spdx-2.3"))
}

// SerialNumber returns the serial number of the CycloneDX document.
func (x *Index) SerialNumber() string { return "urn:uuid:" + x.uuid("cyclonedx-1.6") }

func (x *Index) documentName() string {
	return documentName(&Image{Name: x.input.Name, Annotations: x.input.Annotations}, "index")
}

// WriteSPDX writes the index as SPDX 2.3 JSON. Each image is a variant of it,
// and described by a document of its own, named by namespace and checksum.
func (x *Index) WriteSPDX(w io.Writer) error {
	s := newStream(w)
	in := &x.input
	s.field("spdxVersion", "SPDX-2.3")
	s.field("dataLicense", "CC0-1.0")
	s.field("SPDXID", spdxDocument)
	s.field("name", x.documentName())
	s.field("documentNamespace", x.Namespace())
	s.field("creationInfo", creation(in.Author, in.ToolVersion, in.Created))
	s.array("externalDocumentRefs", func() {
		for _, i := range x.images {
			s.element(spdxExternalDocument{i.documentRef(), i.graph.Namespace(), spdxChecksum{"SHA1", hexSum(i.spdx.sha1)}})
		}
	})
	s.field("documentDescribes", []string{spdxRef + x.root.ID})
	s.array("packages", func() {
		s.element(x.root.spdx())
		for _, i := range x.images {
			s.element(i.graph.Image().spdx())
		}
	})
	s.array("relationships", func() {
		s.element(spdxRelationship{spdxDocument, "DESCRIBES", spdxRef + x.root.ID})
		for _, i := range x.images {
			id := spdxRef + i.graph.Image().ID
			s.element(spdxRelationship{spdxRef + x.root.ID, string(Contains), id})
			s.element(spdxRelationship{id, string(VariantOf), spdxRef + x.root.ID})
			s.element(spdxRelationship{id, "DESCRIBED_BY", i.documentRef() + ":" + spdxDocument})
		}
	})
	return s.end()
}

func (i *indexed) documentRef() string {
	return "DocumentRef-" + safeID(i.graph.input.Image.Arch.ToAPK())
}

// WriteCycloneDX writes the index as CycloneDX 1.6 JSON, with a BOM-Link to
// each image's document.
func (x *Index) WriteCycloneDX(w io.Writer) error {
	s := newStream(w)
	in := &x.input
	cdxHead(s, x.SerialNumber())
	s.field("metadata", cdxMetadata(in.Author, in.ToolVersion, in.Created, x.root.cdx()))
	s.array("components", func() {
		for _, i := range x.images {
			c := i.graph.Image().cdx()
			ref := cdx.ExternalReference{
				Type:    cdx.ERTypeBOM,
				URL:     bomLink(i.graph.SerialNumber()),
				Comment: "SBOM for " + i.graph.input.Image.Arch.ToOCIPlatform().String(),
				Hashes:  &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hexSum(i.cdx.sha256)}},
			}
			c.ExternalReferences = &[]cdx.ExternalReference{ref}
			s.element(c)
		}
	})
	var ids []string
	for _, i := range x.images {
		ids = append(ids, i.graph.Image().ID)
	}
	s.array("dependencies", func() {
		s.element(cdx.Dependency{Ref: x.root.ID, Dependencies: &ids})
		for _, id := range ids {
			s.element(cdx.Dependency{Ref: id})
		}
	})
	s.array("compositions", func() {
		ref := []cdx.BOMReference{cdx.BOMReference(x.root.ID)}
		s.element(cdx.Composition{Aggregate: cdx.CompositionAggregateComplete, Assemblies: &ref})
	})
	return s.end()
}

func indexPURL(in *IndexInput, name string) string {
	return ociPURL(cmp.Or(in.Name, name), in.Digest, "")
}

// documents lists what WriteAll writes for the index.
func (x *Index) documents() []document {
	return []document{
		{"sbom-index.spdx.json", x.WriteSPDX},
		{"sbom-index.cdx.json", x.WriteCycloneDX},
	}
}

func (g *Graph) documents() []document {
	arch := strings.ReplaceAll(g.input.Image.Arch.ToAPK(), "/", "_")
	return []document{
		{fmt.Sprintf("sbom-%s.spdx.json", arch), g.WriteSPDX},
		{fmt.Sprintf("sbom-%s.cdx.json", arch), g.WriteCycloneDX},
	}
}
