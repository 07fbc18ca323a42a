package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/image"
)

// refName is the annotation that tags a manifest in index.json.
const refName = "org.opencontainers.image.ref.name"

// layoutBackend is the backend of an OCI layout directory. index.json is read anew for
// every question, as others may write.
type layoutBackend struct {
	ref    Ref
	limits Limits
}

func openLayout(ref Ref, o *Options) (*layoutBackend, error) {
	l := &layoutBackend{ref: ref, limits: o.Limits}
	err := image.CheckLayout(ref.layout)
	if o.Create {
		err = image.CheckLayoutDir(ref.layout)
	}
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		return nil, fmt.Errorf("%s: %w", ref.name(), err)
	}
	return l, nil
}

// index reads index.json.
func (l *layoutBackend) index() (*v1.IndexManifest, error) {
	raw, err := l.file("index.json")
	if err != nil {
		return nil, err
	}
	m, err := parseIndex(raw)
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	return m, nil
}

func (l *layoutBackend) file(name string) ([]byte, error) {
	f, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readLimited(f, l.limits.Manifest)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// open opens a regular file of the layout: a pipe would wait for ever.
func (l *layoutBackend) open(name string) (*os.File, error) {
	path := filepath.Join(l.ref.layout, name)
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: %w", path, ErrMalformed)
	}
	return os.Open(path)
}

func blobFile(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

func (l *layoutBackend) manifest(_ context.Context, digest v1.Hash) ([]byte, types.MediaType, error) {
	raw, err := l.file(blobFile(digest))
	if err != nil {
		return nil, "", err
	}
	h, err := parseHeader(raw)
	if err != nil {
		return nil, "", err
	}
	mt := h.MediaType
	if mt == "" {
		mt = types.OCIManifestSchema1
		if h.Manifests != nil {
			mt = types.OCIImageIndex
		}
	}
	return raw, mt, nil
}

func (l *layoutBackend) blob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	return l.open(blobFile(d.Digest))
}

func (l *layoutBackend) tagged(_ context.Context, tag string) (v1.Descriptor, error) {
	m, err := l.index()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, d := range m.Manifests {
		if d.Annotations[refName] == tag {
			return l.plain(d)
		}
	}
	return v1.Descriptor{}, ErrNotFound
}

// plain describes a manifest by what it is, not by what index.json says.
func (l *layoutBackend) plain(d v1.Descriptor) (v1.Descriptor, error) {
	raw, mt, err := l.manifest(context.Background(), d.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if got := hashOf(raw); got != d.Digest {
		return v1.Descriptor{}, fmt.Errorf("blob %s: found %s: %w", d.Digest, got, ErrMismatch)
	}
	return describe(mt, raw, nil), nil
}

func (l *layoutBackend) resolve(ctx context.Context) (v1.Descriptor, error) {
	if digest, ok := l.ref.Digest(); ok {
		return l.plain(v1.Descriptor{Digest: digest})
	}
	roots, err := l.roots(ctx)
	if err != nil {
		return v1.Descriptor{}, err
	}
	switch len(roots) {
	case 1:
		return roots[0], nil
	case 0:
		return v1.Descriptor{}, fmt.Errorf("no image in the layout: %w", ErrNotFound)
	}
	var names []string
	for _, d := range roots {
		names = append(names, d.Digest.String())
	}
	return v1.Descriptor{}, fmt.Errorf("%w: %s\nhint: name one with @sha256:…", ErrAmbiguous, strings.Join(names, ", "))
}

// roots lists the images that index.json lists and that are neither attached to
// another one nor part of one.
func (l *layoutBackend) roots(ctx context.Context) ([]v1.Descriptor, error) {
	m, err := l.index()
	if err != nil {
		return nil, err
	}
	var roots []v1.Descriptor
	children := map[v1.Hash]bool{}
	for _, d := range m.Manifests {
		listed := func(r v1.Descriptor) bool { return r.Digest == d.Digest }
		if image.AttachedTag(d.Annotations[refName]) || slices.ContainsFunc(roots, listed) {
			continue
		}
		raw, mt, err := l.manifest(ctx, d.Digest)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if got := hashOf(raw); got != d.Digest {
			return nil, fmt.Errorf("manifest %s: found %s: %w", d.Digest, got, ErrMismatch)
		}
		h, err := parseHeader(raw)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if h.Subject != nil || h.ArtifactType != "" {
			continue
		}
		for _, c := range h.Manifests {
			children[c.Digest] = true
		}
		roots = append(roots, describe(mt, raw, nil))
	}
	return slices.DeleteFunc(roots, func(d v1.Descriptor) bool { return children[d.Digest] }), nil
}

// referrers looks at every manifest that index.json lists for its subject, and
// at the referrers tag, which regclient keeps in layouts too.
func (l *layoutBackend) referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error) {
	m, err := l.index()
	if err != nil {
		return nil, err
	}
	list := lister{limit: l.limits.Referrers}
	for _, d := range m.Manifests {
		found, err := l.referring(ctx, d, digest)
		if err != nil {
			return nil, fmt.Errorf("manifest %s: %w", d.Digest, err)
		}
		if err := list.add(found); err != nil {
			return nil, err
		}
	}
	return list.list, nil
}

// referring gives what d contributes to the referrers of digest. A manifest
// that is listed and not there refers to nothing.
func (l *layoutBackend) referring(ctx context.Context, d v1.Descriptor, digest v1.Hash) ([]v1.Descriptor, error) {
	raw, mt, err := l.manifest(ctx, d.Digest)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrMalformed) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := parseHeader(raw)
	if err != nil {
		return nil, err
	}
	if d.Annotations[refName] == referrersTag(digest) && mt.IsIndex() {
		m, err := parseIndex(raw)
		if err != nil {
			return nil, err
		}
		return m.Manifests, nil
	}
	if h.Subject == nil || h.Subject.Digest != digest {
		return nil, nil
	}
	r := describe(mt, raw, h.Annotations)
	r.ArtifactType = h.artifactType()
	return []v1.Descriptor{r}, nil
}

// store puts blobs and manifests into the layout. The last manifest is listed in
// index.json where it is not, and so are those with a subject.
func (l *layoutBackend) store(ctx context.Context, blobs []Blob, manifests []*checked) (Transfer, error) {
	var n Transfer
	var list []image.LayoutBlob
	for i := range blobs {
		b := &blobs[i]
		d := b.Descriptor
		if fi, err := os.Stat(filepath.Join(l.ref.layout, blobFile(d.Digest))); err == nil && fi.Size() == d.Size {
			n.Present.add(d.Size)
		} else {
			n.Uploaded.add(d.Size)
		}
		list = append(list, image.LayoutBlob{Digest: d.Digest, Size: d.Size, Open: func() (io.ReadCloser, error) {
			rc, err := b.open(ctx)
			if err != nil {
				return nil, fmt.Errorf("blob %s: %w", d.Digest, err)
			}
			return rc, nil
		}})
	}
	var listed []*checked
	for i, c := range manifests {
		list = append(list, image.LayoutBlob{Digest: c.desc.Digest, Size: c.desc.Size, Open: func() (io.ReadCloser, error) {
			return nopCloser(c.Manifest), nil
		}})
		if i == len(manifests)-1 || c.subject != nil {
			listed = append(listed, c)
		}
		n.Manifests++
	}
	err := image.ExtendLayout(ctx, l.ref.layout, list, func(have []v1.Descriptor) ([]v1.Descriptor, error) {
		for _, c := range listed {
			var err error
			if have, err = c.enter(have); err != nil {
				return nil, err
			}
		}
		return have, nil
	})
	return n, err
}

// tag lists a manifest under a tag, and no longer without one.
func (l *layoutBackend) tag(ctx context.Context, tag string, m Manifest) (v1.Hash, error) {
	c, err := Artifact{Manifest: m.Raw, MediaType: m.MediaType, Tag: tag}.check()
	if err != nil {
		return v1.Hash{}, err
	}
	var before v1.Hash
	err = image.AddToLayout(ctx, l.ref.layout, [][]byte{m.Raw}, func(have []v1.Descriptor) ([]v1.Descriptor, error) {
		kept := have[:0:0]
		for _, d := range have {
			if d.Annotations[refName] == tag {
				before = d.Digest
			}
			if d.Digest != c.desc.Digest || d.Annotations[refName] != "" && d.Annotations[refName] != tag {
				kept = append(kept, d)
			}
		}
		return c.enter(kept)
	})
	return before, err
}

// push adds the artifacts to the layout, whose index.json is replaced once and
// as a whole: all of them appear, or none.
func (l *layoutBackend) push(ctx context.Context, list []*checked) (int, error) {
	var blobs [][]byte
	for _, c := range list {
		blobs = append(append(blobs, c.Blobs...), c.Manifest)
	}
	err := image.AddToLayout(ctx, l.ref.layout, blobs, func(listed []v1.Descriptor) ([]v1.Descriptor, error) {
		for _, c := range list {
			var err error
			if listed, err = c.enter(listed); err != nil {
				return nil, err
			}
		}
		return listed, nil
	})
	if err != nil {
		return 0, err
	}
	return len(list), nil
}

// enter adds the artifact to the list of an index.json, once.
func (c *checked) enter(listed []v1.Descriptor) ([]v1.Descriptor, error) {
	if c.Tag == "" {
		if slices.ContainsFunc(listed, func(d v1.Descriptor) bool { return d.Digest == c.desc.Digest }) {
			return listed, nil
		}
		return append(listed, c.desc), nil
	}
	var before v1.Hash
	kept := listed[:0:0]
	for _, d := range listed {
		if d.Annotations[refName] == c.Tag {
			before = d.Digest
			continue
		}
		kept = append(kept, d)
	}
	if err := c.checkPrevious(before); err != nil {
		return nil, err
	}
	entry := c.desc
	entry.Annotations = map[string]string{refName: c.Tag}
	if kind := markSubject(kept, c.Tag); kind != "" {
		entry.Annotations[kindKey] = kind
	}
	return append(kept, entry), nil
}

// cosign has a form of its own for signed layouts: one image, whose entry in
// index.json has one annotation, and the entries of its signatures another.
const (
	kindKey   = "kind"
	kindImage = "dev.cosignproject.cosign/image"
	kindIndex = "dev.cosignproject.cosign/imageIndex"
)

var kindOfTag = map[string]string{
	".sig": "dev.cosignproject.cosign/sigs",
	".att": "dev.cosignproject.cosign/atts",
}

// markSubject gives the image that a .sig or .att tag belongs to cosign's
// annotation, and returns the one for the tag's own entry: only for the first
// image that is signed, as the form has room for one.
func markSubject(listed []v1.Descriptor, tag string) string {
	subject, suffix := tag, ""
	if i := strings.IndexByte(tag, '.'); i >= 0 {
		subject, suffix = tag[:i], tag[i:]
	}
	kind, ok := kindOfTag[suffix]
	if !ok {
		return ""
	}
	first := -1
	for i, d := range listed {
		if k := d.Annotations[kindKey]; k == kindImage || k == kindIndex {
			if referrersTag(d.Digest) != subject {
				return ""
			}
			return kind
		}
		if first < 0 && referrersTag(d.Digest) == subject {
			first = i
		}
	}
	if first < 0 {
		return "" // an image inside an index
	}
	annotations := maps.Clone(listed[first].Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[kindKey] = kindImage
	if listed[first].MediaType.IsIndex() {
		annotations[kindKey] = kindIndex
	}
	listed[first].Annotations = annotations
	return kind
}
