package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Opened is an image output, opened to look at what is in it. All that is read
// from it is checked against its digest.
type Opened struct {
	// Kind is what it is: Layout, OCIArchive or DockerArchive.
	Kind  Kind
	Roots []OpenedRoot // in the order of index.json
	store blobStore
}

// OpenedRoot is one manifest that the output lists.
type OpenedRoot struct {
	Root       // a v1.Image or a v1.ImageIndex
	Descriptor v1.Descriptor
	// Names are the references it is listed under, whole where the output has
	// them whole.
	Names []string
}

// OpenedImage is one image of an output.
type OpenedImage struct {
	v1.Image
	Platform v1.Platform
	Digest   v1.Hash
	Names    []string
}

// blobStore gives the files of a layout by their slashed names.
type blobStore interface {
	open(name string) (io.ReadCloser, error) // fs.ErrNotExist when there is none
	Close() error
}

// Open opens an OCI layout directory, an OCI archive or a docker archive; what
// it is is told from its content. The transports of [ParseOutput] may be
// written before the path.
func Open(path string) (*Opened, error) { return OpenIn("", path) }

// OpenIn is Open for a path that is relative to dir, or, when dir is empty, to
// the working directory.
func OpenIn(dir, path string) (*Opened, error) {
	bare := path
	for _, k := range []Kind{Layout, OCIArchive, DockerArchive} {
		if rest, ok := strings.CutPrefix(path, string(k)+":"); ok {
			bare = rest
		}
	}
	o, err := open(within(dir, bare))
	if err != nil {
		return nil, fmt.Errorf("image %s: %w", bare, err)
	}
	return o, nil
}

func open(path string) (*Opened, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	o := &Opened{Kind: Layout, store: dirStore(path)}
	if !fi.IsDir() {
		o.Kind = OCIArchive
		if o.store, err = openTar(path); err != nil {
			return nil, err
		}
	}
	if err := o.load(path); err != nil {
		o.store.Close()
		return nil, err
	}
	return o, nil
}

// Close closes the output; images opened from it cannot be read any more.
func (o *Opened) Close() error { return o.store.Close() }

func (o *Opened) load(path string) error {
	raw, err := o.file("index.json")
	if errors.Is(err, fs.ErrNotExist) && o.Kind != Layout {
		o.Kind = DockerArchive
		return o.loadDocker(path)
	}
	if err != nil {
		return err
	}
	if err := o.checkMark(); err != nil {
		return err
	}
	if _, err := o.file("manifest.json"); err == nil && o.Kind == OCIArchive {
		o.Kind = DockerArchive
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("index.json: %w", err)
	}
	for _, d := range m.Manifests {
		if err := o.addRoot(d); err != nil {
			return fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
	}
	return nil
}

func (o *Opened) checkMark() error {
	mark, err := o.file("oci-layout")
	if err != nil {
		return err
	}
	var l struct{ ImageLayoutVersion string }
	if json.Unmarshal(mark, &l) != nil || l.ImageLayoutVersion != "1.0.0" {
		return fmt.Errorf("oci-layout is %.60q: expected version 1.0.0", mark)
	}
	return nil
}

func (o *Opened) file(name string) ([]byte, error) {
	rc, err := o.store.open(name)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return readAll(rc, name, maxManifest)
}

func (o *Opened) addRoot(d v1.Descriptor) error {
	names := rootNames(&d)
	for i := range o.Roots {
		if o.Roots[i].Descriptor.Digest == d.Digest {
			o.Roots[i].Names = append(o.Roots[i].Names, names...)
			return nil
		}
	}
	var root Root
	var err error
	switch {
	case d.ArtifactType != "" && !types.MediaType(d.ArtifactType).IsConfig(), AttachedTag(d.Annotations[annotationRefName]):
		return nil // refers to an image, is none
	case d.MediaType.IsIndex():
		root, err = newOpenedIndex(o.store, d)
	case d.MediaType.IsImage():
		root, err = newOpenedImage(o.store, d)
	default:
		return nil // an artifact that is no image: not ours to show
	}
	if err == nil {
		o.Roots = append(o.Roots, OpenedRoot{Root: root, Descriptor: d, Names: names})
	}
	return err
}

// AttachedTag tells whether a tag names something by the digest of the image it
// belongs to, "sha256-<hex>" and perhaps a suffix: cosign's .sig, .att and .sbom,
// and the tag for referrers of the OCI distribution specification 1.1.
func AttachedTag(tag string) bool {
	hex, ok := strings.CutPrefix(tag, "sha256-")
	hex, suffix, dotted := strings.Cut(hex, ".")
	return ok && len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == "" &&
		(!dotted || suffix != "" && strings.Trim(suffix, "abcdefghijklmnopqrstuvwxyz") == "")
}

func rootNames(d *v1.Descriptor) []string {
	for _, key := range []string{annotationImageName, annotationRefName} {
		if name := d.Annotations[key]; name != "" {
			return []string{name}
		}
	}
	return nil
}

// Images lists every image once, those below indexes included, in the order in
// which they are found.
func (o *Opened) Images() ([]OpenedImage, error) {
	var out []OpenedImage
	for i := range o.Roots {
		c, err := gather(o.Roots[i].Root)
		if err != nil {
			return nil, err
		}
		for _, m := range c.members {
			if out, err = addImage(out, &m, o.Roots[i].Names); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func addImage(out []OpenedImage, m *member, names []string) ([]OpenedImage, error) {
	digest, err := m.image.Digest()
	if err != nil {
		return nil, err
	}
	for i := range out {
		if out[i].Digest == digest {
			out[i].Names = append(out[i].Names, names...)
			return out, nil
		}
	}
	p, err := m.platformOf()
	if err != nil {
		return nil, err
	}
	return append(out, OpenedImage{Image: m.image, Digest: digest, Platform: *p, Names: slices.Clone(names)}), nil
}

// dirStore is a layout directory.
type dirStore string

func (d dirStore) Close() error { return nil }

func (d dirStore) open(name string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(string(d), name))
	if err != nil {
		return nil, err
	}
	return f, nil
}

// readBlob reads a manifest or a configuration and checks it.
func readBlob(s blobStore, d *v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, fmt.Errorf("blob %s: %d bytes, expected at most %d", d.Digest, d.Size, limit)
	}
	rc, err := openBlob(s, d)
	if err != nil {
		return nil, err
	}
	defer rc.Close()
	return io.ReadAll(rc)
}

func openBlob(s blobStore, d *v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" || len(d.Digest.Hex) != 64 {
		return nil, fmt.Errorf("blob %.80q: expected a sha256 digest", d.Digest.String())
	}
	rc, err := s.open(blobName(d.Digest))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, err)
	}
	return verified(rc, d)
}

// mediaTypeOf prefers what a manifest says of itself.
func mediaTypeOf(inside, outside types.MediaType) types.MediaType {
	if inside != "" {
		return inside
	}
	return outside
}
