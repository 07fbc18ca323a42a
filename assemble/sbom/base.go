package sbom

import (
	"cmp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/store"
)

// baseComponent describes the image that this one is built upon. What it was
// made from is for its own SBOM to say; what is in it is listed here.
func (b *builder) baseComponent() Component {
	base := b.tree.Base
	digest, _ := v1.NewHash(base.Digest)
	c := Component{
		ID:          "BaseImage-" + digest.Hex,
		Kind:        KindBase,
		Name:        cmp.Or(repositoryOf(base.Name), rootfs.BaseImage),
		Version:     base.Digest,
		Supplier:    Party{Name: b.system.name},
		Purpose:     "CONTAINER",
		PURL:        ociPURL(cmp.Or(repositoryOf(base.Name), "base"), digest, b.input.Image.Arch.ToOCIPlatform().Architecture),
		Checksums:   []Checksum{{"SHA256", digest.Hex}},
		Description: "the image that this one is built upon, with the files that none of its packages has",
	}
	c.property("cairn:base:reference", base.Name)
	return c
}

// repositoryOf cuts tag and digest off a reference.
func repositoryOf(ref string) string {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, ':'); i > strings.LastIndexByte(ref, '/') {
		ref = ref[:i]
	}
	return ref
}

// layerImage is the image in whose repository a layer is looked for.
func (b *builder) layerImage(l *layer.Layer) *Image {
	if l.Kind != layer.Base || b.tree.Base == nil {
		return &b.input.Image
	}
	return &Image{Name: cmp.Or(repositoryOf(b.tree.Base.Name), "base")}
}

// basePackages are the packages of the base image, as far as its installed
// database and the SBOMs in it describe them.
func (b *builder) basePackages() []rootfs.Package {
	base := b.tree.Base
	if base == nil {
		return nil
	}
	var out []rootfs.Package
	for i := range base.Installed {
		out = append(out, rootfs.Package{Receipt: &store.Receipt{Package: base.Installed[i].Package, Contents: map[string][]byte{}}})
	}
	for i := range b.tree.Entries {
		e := &b.tree.Entries[i]
		content, kept := base.Receipt.Contents[e.Path]
		if !kept || !b.tree.OfBase(e.Package) || e.Content != nil || !base.Owners[e.Member].Known {
			continue
		}
		out[base.Owners[e.Member].Package].Receipt.Contents[e.Path] = content
	}
	return out
}

// fillBase says what the base image contains, and returns that.
func (b *builder) fillBase() map[int]bool {
	contained := map[int]bool{}
	if b.base == 0 {
		return contained
	}
	for i := range b.tree.Base.Installed {
		at := b.packages[b.tree.Base.Installed[i].Name]
		b.relate(b.base, Contains, at)
		contained[at] = true
	}
	return contained
}

// isBase tells whether a name in Entry.Derived is the base image.
func (b *builder) isBase(name string) bool { return b.base > 0 && name == rootfs.BaseImage }
