package image

import (
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The annotations that name a manifest in a layout's index.json: the OCI one,
// by which skopeo and umoci find it, and containerd's, from which modern
// engines take the name on load.
const (
	annotationRefName   = "org.opencontainers.image.ref.name"
	annotationImageName = "io.containerd.image.name"
)

// names says under which references an output holds what.
type names struct {
	index  []v1.Descriptor // of index.json
	docker []dockerEntry   // of manifest.json; nil without one
	all    []Ref
}

// dockerEntry is one image of a docker archive's manifest.json.
type dockerEntry struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func (n *names) tags() []string {
	var out []string
	for _, r := range n.all {
		out = append(out, r.Familiar())
	}
	return out
}

// name applies the tags. A docker archive of several architectures gets one
// more name per architecture, "hello:latest-arm_v7", because engines without
// the containerd image store know no image indexes.
func (c *content) name(tags []Ref, kind Kind) (*names, error) {
	n := &names{all: slices.Clone(tags)}
	root := c.root
	if len(c.members) == 1 && root.MediaType.IsImage() {
		p, err := c.members[0].platformOf()
		if err != nil {
			return nil, err
		}
		root.Platform = p
	}
	n.add(root, tags)
	if kind != DockerArchive {
		return n, nil
	}
	for _, m := range c.members {
		refs, err := memberTags(tags, &m, len(c.members) > 1)
		if err != nil {
			return nil, err
		}
		if err := n.addDocker(&m, refs); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// add lists a manifest in index.json, once per reference. The short name is
// the tag alone, unless two references share it.
func (n *names) add(d v1.Descriptor, refs []Ref) {
	if len(refs) == 0 {
		n.index = append(n.index, d)
		return
	}
	for _, r := range refs {
		short := r.Tag
		for _, other := range refs {
			if other != r && other.Tag == r.Tag {
				short = r.String()
			}
		}
		named := d
		named.Annotations = map[string]string{annotationRefName: short, annotationImageName: r.String()}
		n.index = append(n.index, named)
	}
}

// memberTags gives the references of one image of a docker archive.
func memberTags(tags []Ref, m *member, several bool) ([]Ref, error) {
	if !several {
		return tags, nil
	}
	suffix, err := m.suffix()
	if err != nil {
		return nil, err
	}
	var out []Ref
	for _, t := range tags {
		r := t.WithSuffix(suffix)
		if len(r.Tag) > maxTag {
			return nil, fmt.Errorf("tag %q: %d characters with the architecture added: expected at most %d", r.Tag, len(r.Tag), maxTag)
		}
		out = append(out, r)
	}
	return out, nil
}

// suffix tells the images of an index apart: by architecture and variant, or
// by digest where the index says neither.
func (m *member) suffix() (string, error) {
	p, err := m.platformOf()
	if err != nil {
		return "", err
	}
	if p.Architecture == "" {
		d, err := m.image.Digest()
		return d.Hex[:12], err
	}
	s := p.Architecture
	if p.Variant != "" {
		s += "_" + p.Variant
	}
	return s, nil
}

func (n *names) addDocker(m *member, refs []Ref) error {
	config, err := m.image.ConfigName()
	if err != nil {
		return err
	}
	e := dockerEntry{Config: blobName(config)}
	for _, r := range refs {
		e.RepoTags = append(e.RepoTags, r.Familiar())
		if !slices.Contains(n.all, r) {
			n.all = append(n.all, r)
		}
	}
	layers, err := m.image.Layers()
	if err != nil {
		return err
	}
	for _, l := range layers {
		d, err := l.Digest()
		if err != nil {
			return err
		}
		e.Layers = append(e.Layers, blobName(d))
	}
	n.docker = append(n.docker, e)
	return n.nameMember(m, refs)
}

// nameMember lists an image of an index in index.json too, where it has
// references of its own.
func (n *names) nameMember(m *member, refs []Ref) error {
	if m.platform == nil || len(refs) == 0 || slices.ContainsFunc(n.index, func(d v1.Descriptor) bool {
		return d.Annotations[annotationImageName] == refs[0].String()
	}) {
		return nil
	}
	d, err := descriptor(m.image)
	d.Platform = m.platform
	n.add(d, refs)
	return err
}

// platformOf returns the platform that an index or else the image's own
// configuration gives, an empty one when neither gives any.
func (m *member) platformOf() (*v1.Platform, error) {
	if m.platform != nil {
		return m.platform, nil
	}
	c, err := m.image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if p := c.Platform(); p != nil {
		return p, nil
	}
	return &v1.Platform{}, nil
}

// blobName is the place of a blob in a layout.
func blobName(h v1.Hash) string { return "blobs/" + h.Algorithm + "/" + h.Hex }

func indexJSON(manifests []v1.Descriptor) ([]byte, error) {
	b, _, err := encode(&v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: manifests})
	return b, err
}
