package target

import (
	"encoding/json"
	"fmt"
	"regexp"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// The empty configuration of artifacts (image specification 1.1, "Guidance for
// an Empty Descriptor").
const emptyConfigType types.MediaType = "application/vnd.oci.empty.v1+json"

var emptyConfig = []byte("{}")

// Artifact is a manifest with the blobs it needs.
type Artifact struct {
	// Manifest is stored as it is. Where it has a subject, the artifact is
	// listed among the referrers of that.
	Manifest  []byte
	MediaType types.MediaType
	// Blobs are the contents that are to be stored with it, found by their
	// digests. Blobs that the manifest names and that are not here must be in
	// the target already.
	Blobs [][]byte
	// Tag names the manifest; empty for none.
	Tag string
	// Previous, where it is not nil, is what the tag must name until now: the
	// zero hash for nothing. Otherwise ErrChanged is returned: somebody else
	// wrote meanwhile.
	Previous *v1.Hash
}

// Layer is one content of an artifact made by Refer.
type Layer struct {
	MediaType   types.MediaType
	Annotations map[string]string
	Content     []byte
}

// Refer makes an artifact that refers to subject: an OCI 1.1 image manifest
// with the empty configuration. The same input gives the same bytes.
func Refer(subject v1.Descriptor, artifactType string, annotations map[string]string, layers ...Layer) (Artifact, error) {
	return newArtifact(&v1.Descriptor{MediaType: subject.MediaType, Size: subject.Size, Digest: subject.Digest}, artifactType, annotations, nil, layers)
}

// Standalone makes an artifact that refers to nothing and is found by a tag: there
// are blobs of the target that it names, before the layers.
func Standalone(artifactType string, annotations map[string]string, there []v1.Descriptor, layers ...Layer) (Artifact, error) {
	return newArtifact(nil, artifactType, annotations, there, layers)
}

func newArtifact(subject *v1.Descriptor, artifactType string, annotations map[string]string, there []v1.Descriptor, layers []Layer) (Artifact, error) {
	m := manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  artifactType,
		Config:        describe(emptyConfigType, emptyConfig, nil),
		Layers:        append([]v1.Descriptor{}, there...),
		Subject:       subject,
		Annotations:   annotations,
	}
	a := Artifact{MediaType: m.MediaType, Blobs: [][]byte{emptyConfig}}
	for _, l := range layers {
		m.Layers = append(m.Layers, describe(l.MediaType, l.Content, l.Annotations))
		a.Blobs = append(a.Blobs, l.Content)
	}
	var err error
	a.Manifest, err = json.Marshal(m)
	return a, err
}

// manifest is v1.Manifest with artifactType, in the order of the
// specification.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Subject       *v1.Descriptor    `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

func describe(mt types.MediaType, content []byte, annotations map[string]string) v1.Descriptor {
	return v1.Descriptor{MediaType: mt, Size: int64(len(content)), Digest: hashOf(content), Annotations: annotations}
}

// checked is an artifact that may be pushed.
type checked struct {
	Artifact
	desc    v1.Descriptor // of the manifest, as a referrer is listed
	subject *v1.Descriptor
}

var tagForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`) })

// check refuses what would make a broken repository: a blob that the manifest
// does not name, a manifest that is none.
func (a Artifact) check() (*checked, error) {
	h, err := parseHeader(a.Manifest)
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if !a.MediaType.IsImage() && !a.MediaType.IsIndex() {
		return nil, fmt.Errorf("media type %q: expected that of a manifest: %w", a.MediaType, ErrMalformed)
	}
	if a.Tag != "" && !tagForm().MatchString(a.Tag) {
		return nil, fmt.Errorf("tag %.140q: %w", a.Tag, ErrMalformed)
	}
	if h.Subject != nil {
		if err := checkDescriptor(h.Subject); err != nil {
			return nil, fmt.Errorf("subject: %w", err)
		}
	}
	if err := a.checkBlobs(h); err != nil {
		return nil, err
	}
	c := &checked{Artifact: a, subject: h.Subject, desc: describe(a.MediaType, a.Manifest, nil)}
	if h.Subject != nil {
		c.desc.ArtifactType, c.desc.Annotations = h.artifactType(), h.Annotations
	}
	return c, nil
}

// checkPrevious compares what the tag names with what it was thought to name.
func (a Artifact) checkPrevious(found v1.Hash) error {
	if a.Previous == nil || found == *a.Previous || found == hashOf(a.Manifest) {
		return nil
	}
	return fmt.Errorf("tag %s: is %s now: %w", a.Tag, found, ErrChanged)
}

func (a Artifact) checkBlobs(h *header) error {
	named := map[v1.Hash]int64{}
	for _, d := range h.Layers {
		named[d.Digest] = d.Size
	}
	if h.Config != nil {
		named[h.Config.Digest] = h.Config.Size
	}
	for _, b := range a.Blobs {
		digest := hashOf(b)
		if size, ok := named[digest]; !ok || size != int64(len(b)) {
			return fmt.Errorf("blob %s of %d bytes: the manifest does not name it: %w", digest, len(b), ErrMalformed)
		}
	}
	return nil
}
