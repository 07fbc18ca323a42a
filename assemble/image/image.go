package image

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocitypes "github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/layer"
)

// The annotations that New writes besides the configured ones. The
// org.opencontainers names are those of the OCI image specification 1.1.
const (
	AnnotationCreated    = "org.opencontainers.image.created"
	AnnotationSource     = "org.opencontainers.image.source"
	AnnotationRevision   = "org.opencontainers.image.revision"
	AnnotationBaseName   = "org.opencontainers.image.base.name"
	AnnotationBaseDigest = "org.opencontainers.image.base.digest"
	// AnnotationUnsafe lists, sorted and separated by commas, the unsafe
	// choices that were made for this image.
	AnnotationUnsafe = "dev.cairn.unsafe"
)

// MaxLayers is the number of layers that every engine accepts (overlayfs'
// limit on lower directories, as Docker applies it).
const MaxLayers = 127

// Input is what an image is made from.
type Input struct {
	Layers []layer.Layer
	// Comments holds a line of history per layer ("musl-1.2.4-r2"); nil or as
	// long as Layers.
	Comments []string
	Arch     config.Architecture
	Settings Settings
	// Created is the time in the configuration, the history and the created
	// annotation, cut to seconds.
	Created time.Time
	Author  string
	// CreatedBy names the tool in each line of history; "cairn" when empty.
	CreatedBy string
	// HistoryAuthor is the author in each line of history; Author when empty.
	HistoryAuthor string
	// Unsafe names the unsafe choices the caller was told to make.
	Unsafe []string
	// Base is an image whose layers come below; nil for none. Its settings,
	// environment, labels, author and history hold where nothing here says
	// otherwise.
	Base v1.Image
}

// Image is a finished image. It implements [v1.Image] and is safe for
// concurrent use.
type Image struct {
	config, manifest []byte
	configHash, hash v1.Hash
	layers           []v1.Layer
	platform         v1.Platform
}

// New makes an image. Nothing is read from the layers: their digests are
// taken as given, and checked by the writers.
func New(in Input) (*Image, error) {
	if err := in.check(); err != nil {
		return nil, fmt.Errorf("image %s: %w", in.Arch, err)
	}
	m := &maker{Input: in, created: v1.Time{Time: in.Created.UTC().Truncate(time.Second)}}
	if err := m.base(); err != nil {
		return nil, fmt.Errorf("image %s: base: %w", in.Arch, err)
	}
	m.config.RootFS.Type = "layers"
	m.addLayers()
	m.configure()
	img, err := m.finish()
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", in.Arch, err)
	}
	return img, nil
}

func (in *Input) check() error {
	switch {
	case len(in.Layers) == 0:
		return errors.New("no layers")
	case in.Comments != nil && len(in.Comments) != len(in.Layers):
		return fmt.Errorf("%d comments for %d layers", len(in.Comments), len(in.Layers))
	case in.Arch == "":
		return errors.New("no architecture")
	case in.Created.IsZero():
		return errors.New("no creation time")
	}
	for i := range in.Layers {
		if err := check(&in.Layers[i]); err != nil {
			return fmt.Errorf("layer %d: %w", i, err)
		}
	}
	return nil
}

// maker carries an image under construction.
type maker struct {
	Input
	created v1.Time
	config  v1.ConfigFile
	layers  []v1.Layer
}

func (m *maker) base() error {
	if m.Base == nil {
		return nil
	}
	c, err := m.Base.ConfigFile()
	if err != nil {
		return err
	}
	m.config = *c.DeepCopy()
	layers, err := m.Base.Layers()
	if err != nil {
		return err
	}
	if len(layers) != len(m.config.RootFS.DiffIDs) {
		return fmt.Errorf("%d layers, but %d diff IDs", len(layers), len(m.config.RootFS.DiffIDs))
	}
	for _, l := range layers {
		if m.layers, err = appendOCI(m.layers, l); err != nil {
			return err
		}
	}
	return nil
}

// appendOCI appends a layer under OCI's media type where it had Docker's
// spelling of the same.
func appendOCI(layers []v1.Layer, l v1.Layer) ([]v1.Layer, error) {
	switch mt, err := l.MediaType(); {
	case err != nil:
		return nil, err
	case mt == ocitypes.DockerLayer:
		l = &retyped{l, ocitypes.OCILayer}
	case mt == ocitypes.DockerUncompressedLayer:
		l = &retyped{l, ocitypes.OCIUncompressedLayer}
	}
	return append(layers, l), nil
}

// retyped is a layer under another media type.
type retyped struct {
	v1.Layer
	mediaType ocitypes.MediaType
}

func (r *retyped) MediaType() (ocitypes.MediaType, error) { return r.mediaType, nil }

func (m *maker) addLayers() {
	by, author := cmp.Or(m.CreatedBy, "cairn"), cmp.Or(m.HistoryAuthor, m.Author)
	for i := range m.Layers {
		l := &fileLayer{m.Layers[i]}
		m.layers = append(m.layers, l)
		m.config.RootFS.DiffIDs = append(m.config.RootFS.DiffIDs, l.Layer.DiffID)
		h := v1.History{Author: author, Created: m.created, CreatedBy: by}
		if m.Comments != nil {
			h.Comment = m.Comments[i]
		}
		m.config.History = append(m.config.History, h)
	}
}

// configure fills in the configuration from the settings.
func (m *maker) configure() {
	p, c, s := m.Arch.ToOCIPlatform(), &m.config, &m.Settings
	c.OS, c.Architecture, c.Variant = p.OS, p.Architecture, cmp.Or(p.Variant, c.Variant)
	c.Author, c.Created = cmp.Or(m.Author, c.Author), m.created
	c.Config.Labels = m.labels()
	c.Config.Env = environment(c.Config.Env, s.Env)
	if s.Entrypoint != nil {
		c.Config.Entrypoint = slices.Clone(s.Entrypoint)
	}
	if s.Cmd != nil {
		c.Config.Cmd = slices.Clone(s.Cmd)
	}
	for _, v := range s.Volumes {
		if c.Config.Volumes == nil {
			c.Config.Volumes = map[string]struct{}{}
		}
		c.Config.Volumes[v] = struct{}{}
	}
	set(&c.Config.User, s.User)
	set(&c.Config.WorkingDir, s.WorkDir)
	set(&c.Config.StopSignal, s.StopSignal)
}

// environment is the base's with what is set besides; a variable that the base
// has is kept.
func environment(base, more []string) []string {
	out := slices.Clone(base)
	for _, v := range more {
		name, _, _ := strings.Cut(v, "=")
		if !slices.ContainsFunc(base, func(b string) bool { return strings.HasPrefix(b, name+"=") }) {
			out = append(out, v)
		}
	}
	return out
}

// labels are the base's and, before them, the annotations.
func (m *maker) labels() map[string]string {
	labels := m.annotations()
	for k, v := range m.config.Config.Labels {
		if k == AnnotationBaseName && m.Settings.BaseDigest != "" {
			continue // of the base's base
		}
		if _, ours := labels[k]; !ours {
			labels[k] = v
		}
	}
	return labels
}

func set(to *string, value string) {
	if value != "" {
		*to = value
	}
}

func (m *maker) annotations() map[string]string {
	a := annotations(&m.Settings, m.created.Time, m.Unsafe)
	if m.Settings.BaseName != "" {
		a[AnnotationBaseName] = m.Settings.BaseName
	}
	if m.Settings.BaseDigest != "" {
		a[AnnotationBaseDigest] = m.Settings.BaseDigest
	}
	return a
}

// annotations are those that an image and the index over it share.
func annotations(s *Settings, created time.Time, unsafe []string) map[string]string {
	a := maps.Clone(s.Annotations)
	if a == nil {
		a = map[string]string{}
	}
	if url, revision, ok := s.source(); ok {
		a[AnnotationSource], a[AnnotationRevision] = url, revision
	}
	a[AnnotationCreated] = created.Format(time.RFC3339)
	delete(a, AnnotationUnsafe) // never the user's to say
	if len(unsafe) > 0 {
		a[AnnotationUnsafe] = strings.Join(slices.Compact(slices.Sorted(slices.Values(unsafe))), ",")
	}
	return a
}

// finish spells everything out and computes the digests.
func (m *maker) finish() (*Image, error) {
	if len(m.layers) > MaxLayers {
		return nil, fmt.Errorf("%d layers: expected at most %d", len(m.layers), MaxLayers)
	}
	manifest := v1.Manifest{
		SchemaVersion: 2,
		MediaType:     ocitypes.OCIManifestSchema1,
		Annotations:   m.annotations(),
	}
	for _, l := range m.layers {
		d, err := describe(l)
		if err != nil {
			return nil, err
		}
		manifest.Layers = append(manifest.Layers, d)
	}
	img := &Image{layers: m.layers, platform: *m.Arch.ToOCIPlatform()}
	var err error
	if img.config, img.configHash, err = encode(&m.config); err != nil {
		return nil, err
	}
	manifest.Config = v1.Descriptor{MediaType: ocitypes.OCIConfigJSON, Size: int64(len(img.config)), Digest: img.configHash}
	img.manifest, img.hash, err = encode(&manifest)
	return img, err
}

// describe gives a layer's descriptor.
func describe(l v1.Layer) (v1.Descriptor, error) {
	mt, err := l.MediaType()
	if err != nil {
		return v1.Descriptor{}, err
	}
	size, err := l.Size()
	if err != nil {
		return v1.Descriptor{}, err
	}
	digest, err := l.Digest()
	return v1.Descriptor{MediaType: mt, Size: size, Digest: digest}, err
}

// encode gives the JSON of v and its digest. Map keys are sorted.
func encode(v any) ([]byte, v1.Hash, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, v1.Hash{}, err
	}
	h, _, err := v1.SHA256(bytes.NewReader(b))
	return b, h, err
}
