package sbom

import (
	"cmp"
	"errors"
	"fmt"
	"hash"
	"slices"
	"strings"
	"sync"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
)

// builder carries a graph under construction.
type builder struct {
	*Graph
	system   system
	all      []rootfs.Package     // of the base image and of the tree
	base     int                  // component of the base image, 0 for none
	layers   []int                // components
	packages map[string]int       // package name → component
	owners   map[rootfs.Owner]int // config and generator owners → component
	licenses licenseSet
	seen     map[Relationship]bool
	upstream map[string]int // what an upstream component says → component
}

// New makes the graph of one image and checks that it is complete.
func New(in Input) (*Graph, error) {
	switch {
	case in.Tree == nil:
		return nil, errors.New("sbom: no tree")
	case in.Image.Digest.Hex == "":
		return nil, errors.New("sbom: no image digest")
	case in.Image.Created.IsZero():
		return nil, errors.New("sbom: no creation time")
	}
	b := &builder{
		Graph:    &Graph{input: in, tree: in.Tree, byID: map[string]int{}, digest: map[string]hash.Hash{}},
		packages: map[string]int{},
		owners:   map[rootfs.Owner]int{},
		licenses: licenseSet{},
		seen:     map[Relationship]bool{},
		upstream: map[string]int{},
	}
	b.paths = sync.OnceValue(b.mapPaths)
	for _, step := range []func() error{b.frame, b.addPackages, b.attribute, b.fillLayers, b.depend, b.merge, b.addModules, b.addSources, b.finish, b.Check} {
		if err := step(); err != nil {
			return nil, fmt.Errorf("sbom: %w", err)
		}
	}
	return b.Graph, nil
}

// add appends a component, making its ID unique, and returns its position.
func (b *builder) add(c Component) int {
	c.ID = safeID(c.ID)
	if _, taken := b.byID[c.ID]; taken {
		base := c.ID
		for n := 2; taken; n++ {
			c.ID = fmt.Sprintf("%s-%d", base, n)
			_, taken = b.byID[c.ID]
		}
	}
	b.byID[c.ID] = len(b.Components)
	b.Components = append(b.Components, c)
	return len(b.Components) - 1
}

// relate adds a relationship between two positions, once.
func (b *builder) relate(from int, t RelationType, to int) {
	r := Relationship{b.Components[from].ID, t, b.Components[to].ID}
	if from != to && !b.seen[r] {
		b.seen[r] = true
		b.Relationships = append(b.Relationships, r)
	}
}

// frame adds the image, the operating system and the layers.
func (b *builder) frame() error {
	var err error
	if b.system, err = readSystem(b.tree); err != nil {
		return err
	}
	img := b.add(b.imageComponent())
	if b.system.id != "" {
		b.relate(img, Contains, b.add(b.system.component()))
	}
	if b.tree.Base != nil {
		b.base = b.add(b.baseComponent())
		b.relate(img, Contains, b.base)
	}
	for i := range b.input.Image.Layers {
		at := b.add(b.layerComponent(i))
		b.layers = append(b.layers, at)
		b.relate(img, Contains, at)
		if b.input.Image.Layers[i].Kind == layer.Base {
			b.relate(b.base, Contains, at)
		}
	}
	return nil
}

func (b *builder) finish() error {
	b.Licenses = b.licenses.sorted()
	slices.SortFunc(b.Relationships, func(x, y Relationship) int {
		return cmp.Or(
			cmp.Compare(b.byID[x.From], b.byID[y.From]),
			strings.Compare(string(x.Type), string(y.Type)),
			cmp.Compare(b.byID[x.To], b.byID[y.To]),
		)
	})
	return nil
}

// author is who supplies what the build itself made.
func (b *builder) author() Party {
	a := b.input.Image.Annotations
	switch {
	case b.input.Author != "":
		return Party{Name: b.input.Author}
	case a[annotationVendor] != "":
		return Party{Name: a[annotationVendor]}
	case a[annotationAuthors] != "":
		return parsePerson(a[annotationAuthors])
	}
	return Party{}
}

func (b *builder) imageComponent() Component {
	img := &b.input.Image
	a := img.Annotations
	c := Component{
		ID:          "Image-" + img.Digest.Hex,
		Kind:        KindImage,
		Name:        imageName(img, "image"),
		Version:     img.Digest.String(),
		Supplier:    b.author(),
		Purpose:     "CONTAINER",
		PURL:        imagePURL(img),
		Checksums:   []Checksum{{"SHA256", img.Digest.Hex}},
		Description: a[annotationDesc],
		Homepage:    webURL(a[annotationURL]),
		License:     b.licenses.expression(a[annotationLicenses]),
	}
	c.property("cairn:image:arch", img.Arch.ToOCIPlatform().String())
	for _, t := range img.Tags {
		c.property("cairn:image:tag", t)
	}
	if rev := a[annotationRevision]; rev != "" {
		c.SourceInfo = fmt.Sprintf("built from %s at %s", redact(a[annotationSource]), rev)
	}
	for _, u := range img.Unsafe {
		c.property("cairn:unsafe", u)
	}
	return c
}

func imageName(img *Image, fallback string) string {
	return cmp.Or(img.Name, img.Annotations[annotationTitle], fallback)
}

// fillLayers says what each layer contains. What no layer claims is in the
// top layer.
func (b *builder) fillLayers() error {
	if len(b.layers) == 0 {
		return nil
	}
	contained := b.fillBase()
	for i, at := range b.layers {
		for _, p := range b.input.Image.Layers[i].Packages {
			if p < 0 || p >= len(b.tree.Packages) {
				return fmt.Errorf("layer %d: package %d of %d", i, p, len(b.tree.Packages))
			}
			c := b.packages[b.tree.Packages[p].Receipt.Package.Name]
			b.relate(at, Contains, c)
			contained[c] = true
		}
	}
	top := b.fillApps(contained)
	for i := range b.Components {
		switch b.Components[i].Kind {
		case KindPackage, KindConfig, KindGenerator:
			if !contained[i] {
				b.relate(top, Contains, i)
			}
		}
	}
	return nil
}

// fillApps says what the layers of applications contain, and returns the layer that
// everything is in that no other has.
func (b *builder) fillApps(contained map[int]bool) (top int) {
	top = b.layers[len(b.layers)-1]
	for i := len(b.layers) - 1; i >= 0; i-- {
		l := &b.input.Image.Layers[i]
		if l.Kind != layer.App {
			break
		}
		if i > 0 {
			top = b.layers[i-1]
		}
		if at, ok := b.owners[appOwner(l.App)]; ok {
			b.relate(b.layers[i], Contains, at)
			contained[at] = true
		}
	}
	return top
}

func (b *builder) layerComponent(i int) Component {
	l := &b.input.Image.Layers[i]
	c := Component{
		ID:          "Layer-" + l.Digest.Hex,
		Kind:        KindLayer,
		Name:        "layer " + l.Digest.String(),
		Version:     l.Digest.String(),
		Supplier:    b.author(),
		Purpose:     "ARCHIVE",
		PURL:        layerPURL(b.layerImage(l), l),
		Checksums:   []Checksum{{"SHA256", l.Digest.Hex}},
		Description: fmt.Sprintf("layer %d of the image, %s", i+1, l.Kind),
	}
	c.property("cairn:layer:kind", string(l.Kind))
	c.property("cairn:layer:diff-id", l.DiffID.String())
	c.property("cairn:layer:size", fmt.Sprint(l.Size))
	return c
}

func (c *Component) property(name, value string) {
	if value != "" {
		c.Properties = append(c.Properties, Property{name, value})
	}
}

func (b *builder) addSources() error {
	for _, s := range b.input.Sources {
		b.relate(0, GeneratedFrom, b.add(Component{
			ID:          "Source-" + s.Name,
			Kind:        KindSource,
			Name:        s.Name,
			Version:     s.SHA256.String(),
			Supplier:    b.author(),
			Purpose:     "SOURCE",
			PURL:        sourcePURL(s),
			Checksums:   []Checksum{{"SHA256", s.SHA256.Hex()}},
			Description: "what the image was made from; not part of it",
		}))
	}
	return nil
}
