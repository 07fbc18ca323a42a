// Package evidencetest makes signed images for tests: a store in memory, keys,
// and an authority that issues certificates, timestamps and log entries. It is a
// test library and is never linked into the program.
//
//	store := evidencetest.NewStore()
//	image := store.Image("hello")
//	key := evidencetest.NewKey()
//	store.Sign(image, key.Legacy(evidencetest.Payload(image, "registry.example/app")))
package evidencetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/target"
)

// The media types that stores hold.
const (
	MediaSimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	MediaDSSE          = "application/vnd.dsse.envelope.v1+json"
	MediaBundle        = "application/vnd.dev.sigstore.bundle.v0.3+json"
)

// Layer is one layer of a .sig or .att manifest.
type Layer struct {
	MediaType   string
	Content     []byte
	Annotations map[string]string
}

// Store is a repository in memory. It implements evidence.Source.
type Store struct {
	mu        sync.Mutex
	blobs     map[v1.Hash][]byte
	types     map[v1.Hash]types.MediaType
	tags      map[string]v1.Descriptor
	layers    map[string][]v1.Descriptor // by tag
	referrers map[v1.Hash][]v1.Descriptor
	// Err, when set, is what every read fails with.
	Err error
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{blobs: map[v1.Hash][]byte{}, types: map[v1.Hash]types.MediaType{}, tags: map[string]v1.Descriptor{},
		layers: map[string][]v1.Descriptor{}, referrers: map[v1.Hash][]v1.Descriptor{}}
}

// Digest is the SHA-256 of b.
func Digest(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func (s *Store) put(b []byte, mt types.MediaType) v1.Descriptor {
	h := Digest(b)
	s.blobs[h], s.types[h] = b, mt
	return v1.Descriptor{MediaType: mt, Digest: h, Size: int64(len(b))}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// Image adds an image manifest that differs by name, and returns its digest.
func (s *Store) Image(name string) v1.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: []v1.Descriptor{},
		Config: s.put([]byte("{}"), types.OCIConfigJSON), Annotations: map[string]string{"name": name}}
	return s.put(mustJSON(m), types.OCIManifestSchema1).Digest
}

// Sign adds a layer to the image's .sig manifest, Attest to its .att manifest.
func (s *Store) Sign(image v1.Hash, l Layer) { s.tagged(image, "sig", l) }

// Attest adds a layer to the image's .att manifest.
func (s *Store) Attest(image v1.Hash, l Layer) { s.tagged(image, "att", l) }

func (s *Store) tagged(image v1.Hash, suffix string, l Layer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag := fmt.Sprintf("%s-%s.%s", image.Algorithm, image.Hex, suffix)
	d := s.put(l.Content, types.MediaType(l.MediaType))
	d.Annotations = l.Annotations
	s.layers[tag] = append(s.layers[tag], d)
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: s.put([]byte("{}"), types.OCIConfigJSON), Layers: s.layers[tag]}
	s.tags[tag] = s.put(mustJSON(m), types.OCIManifestSchema1)
}

// Refer adds a referrer whose one layer is content, such as a bundle.
func (s *Store) Refer(image v1.Hash, mediaType string, content []byte) v1.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := struct {
		v1.Manifest
		ArtifactType string `json:"artifactType"`
	}{v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: s.put([]byte("{}"), "application/vnd.oci.empty.v1+json"),
		Layers: []v1.Descriptor{s.put(content, types.MediaType(mediaType))}, Subject: &v1.Descriptor{Digest: image}}, mediaType}
	d := s.put(mustJSON(m), types.OCIManifestSchema1)
	d.ArtifactType = mediaType
	s.referrers[image] = append(s.referrers[image], d)
	return d.Digest
}

// List adds a descriptor to the referrers of an image, whatever it names.
func (s *Store) List(image v1.Hash, d v1.Descriptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.referrers[image] = append(s.referrers[image], d)
}

// CopyEvidence attaches everything of one image to another as it is.
func (s *Store) CopyEvidence(from, to v1.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, suffix := range []string{".sig", ".att"} {
		if d, ok := s.tags["sha256-"+from.Hex+suffix]; ok {
			s.tags["sha256-"+to.Hex+suffix] = d
		}
	}
	s.referrers[to] = append(s.referrers[to], s.referrers[from]...)
}

// Manifest implements evidence.Source.
func (s *Store) Manifest(_ context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err != nil {
		return nil, "", s.Err
	}
	b, ok := s.blobs[h]
	if !ok {
		return nil, "", fmt.Errorf("manifest %s: %w", h, target.ErrNotFound)
	}
	return b, s.types[h], nil
}

// Blob implements evidence.Source.
func (s *Store) Blob(ctx context.Context, d v1.Descriptor, _ int64) ([]byte, error) {
	b, _, err := s.Manifest(ctx, d.Digest)
	return b, err
}

// Referrers implements evidence.Source.
func (s *Store) Referrers(_ context.Context, h v1.Hash) ([]v1.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.referrers[h], s.Err
}

// Tagged implements evidence.Source.
func (s *Store) Tagged(_ context.Context, tag string) (v1.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Err != nil {
		return v1.Descriptor{}, s.Err
	}
	d, ok := s.tags[tag]
	if !ok {
		return d, fmt.Errorf("tag %s: %w", tag, target.ErrNotFound)
	}
	return d, nil
}
