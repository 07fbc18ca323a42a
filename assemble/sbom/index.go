package sbom

import (
	"cmp"
	"crypto/sha1"
	"crypto/sha256"
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

// The formats, as names of documents are derived from them.
const (
	formatSPDX      = "spdx-2.3"
	formatCycloneDX = "cyclonedx-1.6"
)

type indexed struct{ *Graph }

// spdxSHA1 and cdxSHA256 give the digests of an image's documents, each the one
// by which its format refers to other documents. They are
// known once the document was written; else it is written to nowhere.
func (i indexed) spdxSHA1() (string, error) {
	d, err := i.documentDigest(formatSPDX, i.WriteSPDX)
	if err != nil {
		return "", err
	}
	return hexSum(d), nil
}

func (i indexed) cdxSHA256() (string, error) {
	d, err := i.documentDigest(formatCycloneDX, i.WriteCycloneDX)
	if err != nil {
		return "", err
	}
	return hexSum(d), nil
}

func (g *Graph) documentDigest(format string, write func(io.Writer) error) (hash.Hash, error) {
	for {
		g.mu.Lock()
		d, ok := g.digest[format]
		g.mu.Unlock()
		if ok {
			return d, nil
		}
		if err := write(io.Discard); err != nil {
			return nil, err
		}
	}
}

// wrote ends a document and remembers its digest.
func (g *Graph) wrote(format string, s *stream) error {
	err := s.end()
	if err == nil {
		g.mu.Lock()
		g.digest[format] = s.sum
		g.mu.Unlock()
	}
	return err
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
		x.images = append(x.images, indexed{g})
	}
	x.root = x.component()
	return x, nil
}

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
		parts = append(parts, i.documentUUID(format))
	}
	return uuid5(parts...)
}

// Namespace returns the document namespace of the SPDX document.
func (x *Index) Namespace() string {
	return namespace(x.documentName(), x.uuid(formatSPDX))
}

// SerialNumber returns the serial number of the CycloneDX document.
func (x *Index) SerialNumber() string { return "urn:uuid:" + x.uuid(formatCycloneDX) }

func (x *Index) documentName() string {
	return documentName(&Image{Name: x.input.Name, Annotations: x.input.Annotations}, "index")
}

// WriteSPDX writes the index as SPDX 2.3 JSON. Each image is a variant of it,
// and described by a document of its own, named by namespace and checksum.
func (x *Index) WriteSPDX(w io.Writer) error {
	var external []spdxExternalDocument
	for _, i := range x.images {
		sum, err := i.spdxSHA1()
		if err != nil {
			return err
		}
		external = append(external, spdxExternalDocument{i.documentRef(), i.Namespace(), spdxChecksum{"SHA1", sum}})
	}
	s := newStream(w, sha1.New())
	in := &x.input
	s.field("spdxVersion", "SPDX-2.3")
	s.field("dataLicense", "CC0-1.0")
	s.field("SPDXID", spdxDocument)
	s.field("name", x.documentName())
	s.field("documentNamespace", x.Namespace())
	s.field("creationInfo", creation(in.Author, in.ToolVersion, in.Created))
	s.field("externalDocumentRefs", external)
	s.field("documentDescribes", []string{spdxRef + x.root.ID})
	s.array("packages", func() {
		s.element(x.root.spdx())
		for _, i := range x.images {
			s.element(i.Image().spdx())
		}
	})
	s.array("relationships", func() {
		s.element(spdxRelationship{spdxDocument, "DESCRIBES", spdxRef + x.root.ID})
		for _, i := range x.images {
			id := spdxRef + i.Image().ID
			s.element(spdxRelationship{spdxRef + x.root.ID, string(Contains), id})
			s.element(spdxRelationship{id, string(VariantOf), spdxRef + x.root.ID})
			s.element(spdxRelationship{id, "DESCRIBED_BY", i.documentRef() + ":" + spdxDocument})
		}
	})
	return s.end()
}

func (i indexed) documentRef() string {
	return "DocumentRef-" + safeID(i.input.Image.Arch.ToAPK())
}

// WriteCycloneDX writes the index as CycloneDX 1.6 JSON, with a BOM-Link to
// each image's document.
func (x *Index) WriteCycloneDX(w io.Writer) error {
	var images []cdx.Component
	var ids []string
	for _, i := range x.images {
		sum, err := i.cdxSHA256()
		if err != nil {
			return err
		}
		c := i.Image().cdx()
		c.ExternalReferences = &[]cdx.ExternalReference{{
			Type:    cdx.ERTypeBOM,
			URL:     bomLink(i.SerialNumber()),
			Comment: "SBOM for " + i.input.Image.Arch.ToOCIPlatform().String(),
			Hashes:  &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: sum}},
		}}
		images, ids = append(images, c), append(ids, c.BOMRef)
	}
	s := newStream(w, sha256.New())
	in := &x.input
	cdxHead(s, x.SerialNumber())
	s.field("metadata", cdxMetadata(in.Author, in.ToolVersion, in.Created, x.root.cdx()))
	s.field("components", images)
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
