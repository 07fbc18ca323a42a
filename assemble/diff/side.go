package diff

import (
	"bytes"
	"context"
	"fmt"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
)

// source is one of the two subjects.
type source struct {
	s *subject.Subject
	// claimed is the lock that says where packages came from: the subject
	// itself, or the one in the image's rebuild kit.
	claimed *lock.Lock
}

func newSource(ctx context.Context, s *subject.Subject) (*source, error) {
	out := &source{s: s, claimed: s.Lock}
	if s.Lock == nil {
		l, err := s.KitLock(ctx)
		if err != nil {
			return nil, err
		}
		out.claimed = l
	}
	return out, nil
}

// side is one subject for one platform.
type side struct {
	source *source
	name   string         // of the platform
	image  *subject.Image // nil for a lock
	locked []lock.Package // of a lock
	known  []lock.Package // of the lock that says where packages came from

	listings  map[string]*image.Listing // by the layer's digest
	installed []apk.InstalledPackage    // nil without a database
	hasDB     bool
}

func (s *source) on(name string) *side {
	out := &side{source: s, name: name, listings: map[string]*image.Listing{}}
	if s.claimed != nil {
		for _, arch := range s.claimed.Architectures() {
			if platformOf(arch) == name {
				out.known = s.claimed.For(arch)
			}
		}
	}
	if s.s.Lock != nil {
		out.locked = out.known
		return out
	}
	for i := range s.s.Images {
		if s.s.Images[i].PlatformText() == name && out.image == nil {
			out.image = &s.s.Images[i]
		}
	}
	return out
}

func (s *side) there() bool { return s.image != nil || s.locked != nil }

func (s *side) digest() string {
	if s.image == nil {
		return ""
	}
	return s.image.Digest.String()
}

// layerDigests are those of the image's layers, bottom to top.
func (s *side) layerDigests() []string {
	var out []string
	for i := range s.image.Manifest.Layers {
		out = append(out, s.image.Manifest.Layers[i].Digest.String())
	}
	return out
}

// list reads a layer, once.
func (s *side) list(ctx context.Context, i int, read *Read) error {
	d := s.image.Manifest.Layers[i]
	if s.listings[d.Digest.String()] != nil {
		return nil
	}
	layers, err := s.image.Layers()
	if err != nil {
		return err
	}
	l, err := image.List(ctx, layers[i], subject.IsDatabase)
	if err != nil {
		return err
	}
	read.Layers++
	read.Bytes += d.Size
	s.listings[d.Digest.String()] = l
	return nil
}

// findDatabase takes the installed database from a layer that was read.
func (s *side) findDatabase(l *image.Listing) error {
	for _, name := range subject.Databases {
		content, ok := l.Kept[name]
		if !ok || s.hasDB {
			continue
		}
		installed, err := apk.ParseInstalled(bytes.NewReader(content))
		if err != nil {
			return fmt.Errorf("%s: %s: %w", s.source.s.Name, name, err)
		}
		s.installed, s.hasDB = installed, true
	}
	return nil
}
