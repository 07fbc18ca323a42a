package assemble

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/sbom"
)

// sboms makes the graph of each image, checks that it accounts for every byte,
// and writes the documents when they are wanted.
func (b *builder) sboms(context.Context) error {
	var graphs []*sbom.Graph
	for _, j := range b.jobs {
		g, err := b.graph(j)
		if err != nil {
			return err
		}
		graphs = append(graphs, g)
		b.list(j, g)
	}
	if b.options.SBOMDir == "" {
		return nil
	}
	index, err := sbom.NewIndex(sbom.IndexInput{
		Name: b.name(), Tags: b.options.Tags, Digest: b.result.Digest, Created: b.result.Created,
		Annotations: b.cfg.ImageAnnotations(), Author: b.options.Author, ToolVersion: b.options.Version,
	}, graphs)
	if err != nil {
		return err
	}
	var formats []sbom.Format
	for _, f := range b.options.SBOMFormats {
		formats = append(formats, sbom.Format(f))
	}
	b.result.SBOMs, err = sbom.WriteAll(b.options.SBOMDir, graphs, index, formats...)
	return err
}

// list adds the packages of an architecture to the result.
func (b *builder) list(j *job, g *sbom.Graph) {
	purls := map[string]string{}
	for i := range g.Components {
		if c := &g.Components[i]; c.Kind == sbom.KindPackage {
			purls[c.Name] = c.PURL
		}
	}
	for _, r := range j.receipts {
		b.result.Packages = append(b.result.Packages, Package{Arch: j.arch.APK, Receipt: r, PURL: purls[r.Package.Name]})
	}
}

func (b *builder) graph(j *job) (*sbom.Graph, error) {
	digest, err := j.image.Digest()
	if err != nil {
		return nil, err
	}
	g, err := sbom.New(sbom.Input{
		Tree: j.tree, Image: b.described(j, digest), Sources: b.sources(),
		Author: b.options.Author, ToolVersion: b.options.Version, AllowUnreadable: b.options.Unsafe.BrokenSBOM,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", j.arch, err)
	}
	if err := g.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", j.arch, err)
	}
	return g, nil
}

func (b *builder) described(j *job, digest v1.Hash) sbom.Image {
	all := j.written
	if j.base != nil {
		all = slices.Concat(j.base.Layers, j.written)
	}
	return sbom.Image{
		Name: b.name(), Tags: b.options.Tags, Digest: digest, Arch: j.arch.OCI(),
		Layers: all, Created: j.created, Annotations: b.cfg.ImageAnnotations(), Unsafe: b.result.Unsafe,
	}
}

// name is the repository of the first tag.
func (b *builder) name() string {
	refs, err := b.refs()
	if err != nil || len(refs) == 0 {
		return ""
	}
	return refs[0].Registry + "/" + refs[0].Repository
}

// sources are the configuration files, and those that define slices.
func (b *builder) sources() []sbom.Source {
	var out []sbom.Source
	for _, s := range b.cfg.Sources {
		out = append(out, sbom.Source{Name: filepath.Base(s.Path), SHA256: s.SHA256, Size: s.Size})
	}
	for _, f := range b.cfg.SliceFiles() {
		out = append(out, sbom.Source{Name: filepath.Base(f.Path), SHA256: sha256.Sum256(f.Bytes), Size: int64(len(f.Bytes))})
	}
	return out
}
