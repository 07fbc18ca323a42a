// Package subject opens what people compare and look at: an image in a
// registry, in an OCI layout or in an archive, or a lock.
//
// It judges nothing and reads no layer: an image is its manifest and its
// configuration until somebody asks for more. Every byte that it hands out has
// the digest it was asked for by.
//
//	s, err := subject.Open(ctx, "registry.example/team/app:1", subject.Options{})
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	for _, img := range s.Images {
//		fmt.Println(img.PlatformText(), img.Digest)
//	}
package subject

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/lock"
)

// Kind says what a subject is.
type Kind string

// The kinds of subjects.
const (
	Registry Kind = "registry"
	Layout   Kind = "layout"
	Archive  Kind = "archive" // of a layout, or Docker's
	Lock     Kind = "lock"
)

// Options say how a subject is found and reached.
type Options struct {
	// Dir is the directory that relative paths are from; empty: the working
	// directory.
	Dir string
	// Target is for images in registries and layouts.
	Target target.Options
}

// Subject is an opened image or lock.
type Subject struct {
	// Name is the subject as it was given.
	Name string
	Kind Kind
	// Descriptor is that of the image or image index; zero for a lock.
	Descriptor v1.Descriptor
	// Annotations are those of the image index; nil for a single image.
	Annotations map[string]string
	// Images are the image, or those of the image index, in its order.
	Images []Image
	// Lock is set for a lock.
	Lock *lock.Lock

	target *target.Target
	opened *image.Opened
}

// Image is one image of a subject.
type Image struct {
	v1.Image
	Platform v1.Platform
	Digest   v1.Hash
	Manifest *v1.Manifest
	Config   *v1.ConfigFile
}

// PlatformText spells the platform without the system: amd64, arm/v7.
func (i *Image) PlatformText() string { return PlatformText(i.Platform) }

// PlatformText spells a platform without the system: amd64, arm/v7.
func PlatformText(p v1.Platform) string {
	if p.Variant == "" || p.Architecture == "arm64" && p.Variant == "v8" {
		return p.Architecture
	}
	return p.Architecture + "/" + p.Variant
}

// Local tells how a name is to be read, from its spelling and from what is on
// the disk: as a lock, a layout, an archive, or else as a name in a registry.
// The path is without a transport and a digest.
func Local(dir, name string) (kind Kind, path string) {
	base, _, _ := strings.Cut(name, "@sha256:")
	for _, prefix := range []string{"oci-archive:", "docker-archive:"} {
		if rest, ok := strings.CutPrefix(base, prefix); ok {
			return Archive, at(dir, rest)
		}
	}
	if rest, ok := strings.CutPrefix(base, "oci:"); ok {
		return Layout, at(dir, rest)
	}
	path = at(dir, base)
	fi, err := os.Stat(path)
	written := strings.HasPrefix(base, "/") || strings.HasPrefix(base, "./") || strings.HasPrefix(base, "../")
	switch {
	case err == nil && fi.IsDir(), strings.HasSuffix(base, "/"):
		return Layout, path
	case strings.HasSuffix(base, ".json"):
		return Lock, path
	case err == nil, strings.HasSuffix(strings.ToLower(base), ".tar"), written:
		return Archive, path
	}
	return Registry, ""
}

func at(dir, path string) string {
	if dir == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// Open opens a subject: host/repository:tag, repository@sha256:…, a directory
// with an OCI layout, an archive, or a lock (.json). Where a layout or an
// archive holds several images, @sha256:… after the path says which.
//
// The error wraps [target.ErrReference], [target.ErrNotFound],
// [target.ErrAmbiguous], [lock.ErrInvalid] and others of those packages.
func Open(ctx context.Context, name string, o Options) (*Subject, error) {
	kind, path := Local(o.Dir, name)
	s := &Subject{Name: name, Kind: kind}
	var err error
	switch kind {
	case Lock:
		s.Lock, err = lock.ReadFile(path)
	case Archive:
		err = s.openArchive(path)
	default:
		err = s.openTarget(ctx, path, o.Target)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the subject; its images cannot be read any more.
func (s *Subject) Close() {
	if s.opened != nil {
		_ = s.opened.Close() // was only read
	}
}

// Target returns where the image lies, with what refers to it; nil for
// archives and locks.
func (s *Subject) Target() *target.Target { return s.target }

func (s *Subject) openTarget(ctx context.Context, path string, o target.Options) error {
	name := s.Name
	if s.Kind == Layout {
		name = "oci:" + path
		if _, digest, ok := strings.Cut(s.Name, "@"); ok {
			name += "@" + digest
		}
	}
	ref, err := target.Parse(name)
	if err != nil {
		return err
	}
	if s.target, err = target.Open(ctx, ref, o); err != nil {
		return err
	}
	if s.Descriptor, err = s.target.Resolve(ctx); err != nil {
		return err
	}
	return s.below(ctx, s.Descriptor, nil, 0)
}

const maxDepth = 8

// below adds the images of a manifest.
func (s *Subject) below(ctx context.Context, d v1.Descriptor, p *v1.Platform, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: %w: image indexes nested more than %d deep", s.Name, target.ErrMalformed, maxDepth)
	}
	if !d.MediaType.IsIndex() {
		img, err := s.target.Image(ctx, d.Digest)
		if err != nil {
			return err
		}
		return s.add(img, p)
	}
	if depth == 0 {
		raw, _, err := s.target.Manifest(ctx, d.Digest)
		if err != nil {
			return err
		}
		if err := s.annotate(raw); err != nil {
			return err
		}
	}
	children, err := s.target.Children(ctx, d)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err := s.below(ctx, c, c.Platform, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// maxImages bounds the images of an index.
const maxImages = 256

// add reads manifest and configuration of an image.
func (s *Subject) add(img v1.Image, p *v1.Platform) (err error) {
	if len(s.Images) >= maxImages {
		return fmt.Errorf("%s: more than %d images: %w", s.Name, maxImages, target.ErrLimit)
	}
	out := Image{Image: img}
	if out.Digest, err = img.Digest(); err != nil {
		return err
	}
	if out.Manifest, err = img.Manifest(); err != nil {
		return fmt.Errorf("image %s: %w", out.Digest, err)
	}
	if out.Config, err = img.ConfigFile(); err != nil {
		return fmt.Errorf("image %s: configuration: %w", out.Digest, err)
	}
	if n, m := len(out.Config.RootFS.DiffIDs), len(out.Manifest.Layers); n != m {
		return fmt.Errorf("image %s: %d diff IDs for %d layers: %w", out.Digest, n, m, target.ErrMalformed)
	}
	out.Platform = v1.Platform{OS: out.Config.OS, Architecture: out.Config.Architecture, Variant: out.Config.Variant}
	if p != nil && p.Architecture != "" {
		out.Platform = *p
	}
	s.Images = append(s.Images, out)
	return nil
}

// KitLock returns the lock that an image index's rebuild kit holds, nil where
// there is no kit. Nobody vouches for it: it is a claim of whoever could write
// to the repository.
func (s *Subject) KitLock(ctx context.Context) (*lock.Lock, error) {
	if s.target == nil {
		return nil, nil
	}
	list, err := s.target.Referrers(ctx, s.Descriptor.Digest)
	if err != nil {
		return nil, err
	}
	for _, d := range list {
		if d.ArtifactType != kit.ArtifactType {
			continue
		}
		l, err := s.lockOf(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("rebuild kit %s: %w", d.Digest, err)
		}
		if l != nil {
			return l, nil
		}
	}
	return nil, nil
}

var errNoLock = errors.New("no lock in it")

func (s *Subject) lockOf(ctx context.Context, d v1.Descriptor) (*lock.Lock, error) {
	raw, _, err := s.target.Manifest(ctx, d.Digest)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	for _, part := range m.Layers {
		if part.MediaType != kit.TypeLock {
			continue
		}
		b, err := s.target.Blob(ctx, part, lock.MaxSize)
		if err != nil {
			return nil, err
		}
		return lock.Parse(b)
	}
	return nil, errNoLock
}
