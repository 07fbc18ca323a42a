package kit

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Artifact is a kit as it is stored: a manifest and the blobs it names.
type Artifact struct {
	Manifest   []byte
	Descriptor v1.Descriptor // of the manifest, with its artifact type
	Blobs      []Blob        // each digest once
}

// Blob is one blob of an artifact.
type Blob struct {
	Digest v1.Hash
	Bytes  []byte
}

// manifest is an OCI 1.1 image manifest; go-containerregistry's has no
// artifactType.
type manifest struct {
	SchemaVersion int64           `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	ArtifactType  string          `json:"artifactType"`
	Config        v1.Descriptor   `json:"config"`
	Layers        []v1.Descriptor `json:"layers"`
	Subject       *v1.Descriptor  `json:"subject"`
}

// emptyJSON is the content of a configuration that says nothing (OCI image
// specification 1.1, "Guidance for an Empty Descriptor").
var emptyJSON = []byte("{}")

// Artifact returns the kit as an OCI artifact. Equal kits give equal bytes.
func (k *Kit) Artifact() (*Artifact, error) {
	a := &Artifact{}
	m := manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: ArtifactType,
		Subject: &v1.Descriptor{MediaType: k.Subject.MediaType, Digest: k.Subject.Digest, Size: k.Subject.Size}}
	m.Config = a.add(TypeEmpty, emptyJSON)
	parts, err := k.parts()
	if err != nil {
		return nil, fmt.Errorf("kit: %w", err)
	}
	for _, p := range parts {
		d := a.add(p.mediaType, p.bytes)
		d.Annotations = p.annotations
		m.Layers = append(m.Layers, d)
	}
	if a.Manifest, err = json.Marshal(&m); err != nil {
		return nil, fmt.Errorf("kit: %w", err)
	}
	a.Descriptor = describe(types.OCIManifestSchema1, a.Manifest)
	a.Descriptor.ArtifactType = ArtifactType
	return a, nil
}

func (a *Artifact) add(mediaType types.MediaType, b []byte) v1.Descriptor {
	d := describe(mediaType, b)
	for i := range a.Blobs {
		if a.Blobs[i].Digest == d.Digest {
			return d
		}
	}
	a.Blobs = append(a.Blobs, Blob{d.Digest, b})
	return d
}

func describe(mediaType types.MediaType, b []byte) v1.Descriptor {
	return v1.Descriptor{MediaType: mediaType, Size: int64(len(b)),
		Digest: v1.Hash{Algorithm: "sha256", Hex: apk.SHA256(sha256.Sum256(b)).Hex()}}
}

// part is one layer of the artifact.
type part struct {
	mediaType   types.MediaType
	bytes       []byte
	annotations map[string]string
}

func (k *Kit) parts() ([]part, error) {
	settings, err := json.Marshal(&k.Settings)
	if err != nil {
		return nil, err
	}
	locked, err := k.Lock.Marshal()
	if err != nil {
		return nil, err
	}
	var files, apps, keys, heads, receipts archive
	for i := range k.Files {
		if k.Files[i].Role == RoleApp {
			apps.addOnce(k.Files[i].SHA256.Hex(), k.Files[i].Bytes)
			continue
		}
		files.addOnce(k.Files[i].SHA256.Hex(), k.Files[i].Bytes)
	}
	for _, key := range k.Keys {
		keys.add(key.Fingerprint.Hex()+"/"+key.Name, key.PEM())
	}
	for i := range k.Packages {
		p := &k.Packages[i]
		heads.add(p.path()+".head", p.Head())
		receipts.add(p.path()+".receipt", p.Receipt.Marshal())
	}
	out := []part{{mediaType: TypeSettings, bytes: settings}, {mediaType: TypeLock, bytes: locked}}
	for _, t := range []struct {
		mediaType types.MediaType
		a         *archive
	}{{TypeFiles, &files}, {TypeKeys, &keys}, {TypeHeads, &heads}, {TypeReceipts, &receipts}} {
		b, err := t.a.finish()
		if err != nil {
			return nil, err
		}
		out = append(out, part{mediaType: t.mediaType, bytes: b})
	}
	zipped, err := compress(out[len(out)-1].bytes)
	if err != nil {
		return nil, err
	}
	out[len(out)-1].bytes = zipped
	if out, err = k.basePart(out); err != nil {
		return nil, err
	}
	if len(apps.names) > 0 {
		b, err := apps.zipped()
		if err != nil {
			return nil, err
		}
		out = append(out, part{mediaType: TypeApp, bytes: b})
	}
	for _, ix := range k.Indexes {
		out = append(out, part{TypeIndex, ix.Raw, map[string]string{AnnotationIndexURL: ix.URL, AnnotationIndexArch: ix.Arch}})
	}
	return out, nil
}

// The files of a base image in its archive, below the name of its architecture.
const (
	baseManifest = "manifest.json"
	baseConfig   = "config.json"
	basePackages = "APKINDEX"
	baseFiles    = "files"
)

// basePart adds the part with the base images, where there are some.
func (k *Kit) basePart(out []part) ([]part, error) {
	if len(k.Bases) == 0 {
		return out, nil
	}
	var a archive
	for _, b := range k.Bases {
		p, err := b.Image.Pieces()
		if err != nil {
			return nil, err
		}
		a.add(b.Arch+"/"+baseManifest, p.Manifest)
		a.add(b.Arch+"/"+baseConfig, p.Config)
		a.add(b.Arch+"/"+basePackages, p.Packages)
		a.add(b.Arch+"/"+baseFiles, p.Files)
	}
	b, err := a.zipped()
	return append(out, part{mediaType: TypeBase, bytes: b}), err
}

// path is the name of a package in the archives of a kit.
func (p *Package) path() string { return p.Arch + "/" + p.Receipt.ID() }

// archive is a tar whose bytes depend on the names and contents alone.
type archive struct {
	b     bytes.Buffer
	w     *tar.Writer
	names map[string]bool
	err   error
}

func (a *archive) add(name string, b []byte) {
	if a.w == nil {
		a.w, a.names = tar.NewWriter(&a.b), map[string]bool{}
	}
	if a.err != nil {
		return
	}
	a.names[name] = true
	a.err = a.w.WriteHeader(&tar.Header{Name: name, Size: int64(len(b)), Mode: 0o644, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)})
	if a.err == nil {
		_, a.err = a.w.Write(b)
	}
}

func (a *archive) addOnce(name string, b []byte) {
	if !a.names[name] {
		a.add(name, b)
	}
}

func (a *archive) finish() ([]byte, error) {
	if a.w == nil {
		a.w = tar.NewWriter(&a.b)
	}
	if a.err == nil {
		a.err = a.w.Close()
	}
	return a.b.Bytes(), a.err
}

// zipped is the whole archive, compressed.
func (a *archive) zipped() ([]byte, error) {
	b, err := a.finish()
	if err != nil {
		return nil, err
	}
	return compress(b)
}

func compress(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, 6)
	if err != nil {
		return nil, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, err
	}
	err = z.Close()
	return out.Bytes(), err
}
