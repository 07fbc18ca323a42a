package subject

import (
	"bytes"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/target"
)

func (s *Subject) openArchive(path string) (err error) {
	if s.opened, err = image.Open(path); err != nil {
		return err
	}
	root, err := s.root()
	if err != nil {
		return err
	}
	s.Descriptor = root.Descriptor
	s.Descriptor.Annotations, s.Descriptor.Platform = nil, nil // of the list that it stands in
	return s.addRoot(root.Root, nil, 0)
}

// root picks the image that the name means.
func (s *Subject) root() (*image.OpenedRoot, error) {
	_, hex, given := strings.Cut(s.Name, "@sha256:")
	if given {
		digest, err := target.ParseDigest("sha256:" + hex)
		if err != nil {
			return nil, fmt.Errorf("image %.300q: %w: %w", s.Name, target.ErrReference, err)
		}
		return s.find(digest)
	}
	switch n := len(s.opened.Roots); n {
	case 1:
		return &s.opened.Roots[0], nil
	case 0:
		return nil, fmt.Errorf("%s: no image in it: %w", s.Name, target.ErrNotFound)
	}
	var list []string
	for i := range s.opened.Roots {
		list = append(list, strings.TrimSpace(s.opened.Roots[i].Descriptor.Digest.String()+" "+strings.Join(s.opened.Roots[i].Names, " ")))
	}
	return nil, fmt.Errorf("%s: %w:\n  %s\nhint: %s@sha256:… names one", s.Name, target.ErrAmbiguous, strings.Join(list, "\n  "), s.Name)
}

// find finds a root, or an image of one, by its digest.
func (s *Subject) find(digest v1.Hash) (*image.OpenedRoot, error) {
	for i := range s.opened.Roots {
		if s.opened.Roots[i].Descriptor.Digest == digest {
			return &s.opened.Roots[i], nil
		}
	}
	images, err := s.opened.Images()
	if err != nil {
		return nil, err
	}
	for _, img := range images {
		if img.Digest != digest {
			continue
		}
		d := v1.Descriptor{Digest: digest}
		if d.MediaType, err = img.MediaType(); err != nil {
			return nil, err
		}
		d.Size, err = img.Size()
		return &image.OpenedRoot{Root: img.Image, Descriptor: d}, err
	}
	return nil, fmt.Errorf("%s: %w", s.Name, target.ErrNotFound)
}

func (s *Subject) addRoot(r image.Root, p *v1.Platform, depth int) error {
	if img, ok := r.(v1.Image); ok {
		return s.add(img, p)
	}
	index, ok := r.(v1.ImageIndex)
	if !ok || depth > maxDepth {
		return fmt.Errorf("%s: %w: neither an image nor an image index, or one too deep in others", s.Name, target.ErrMalformed)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return err
	}
	if depth == 0 {
		s.Annotations = m.Annotations
	}
	for i := range m.Manifests {
		if err := s.addChild(index, &m.Manifests[i], depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *Subject) addChild(index v1.ImageIndex, d *v1.Descriptor, depth int) error {
	switch {
	case d.Annotations["vnd.docker.reference.type"] == "attestation-manifest":
		return nil
	case d.MediaType.IsIndex():
		child, err := index.ImageIndex(d.Digest)
		if err != nil {
			return err
		}
		return s.addRoot(child, nil, depth+1)
	case d.MediaType.IsImage():
		child, err := index.Image(d.Digest)
		if err != nil {
			return err
		}
		return s.add(child, d.Platform)
	}
	return nil // an artifact that is no image
}

// annotate takes the annotations of an image index.
func (s *Subject) annotate(raw []byte) error {
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return fmt.Errorf("%s: image index: %w: %w", s.Name, target.ErrMalformed, err)
	}
	s.Annotations = m.Annotations
	return nil
}

func parseManifest(raw []byte) (*v1.Manifest, error) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", target.ErrMalformed, err)
	}
	return m, nil
}
