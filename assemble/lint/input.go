package lint

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/lock"
)

// OfImage reads an image of a subject.
func OfImage(ctx context.Context, s *subject.Subject, img *subject.Image) (Input, error) {
	tree, err := files.OfImage(ctx, img, files.Options{ELF: true, Keep: Keep})
	if err != nil {
		return Input{}, fmt.Errorf("%s: %s: %w", s.Name, img.PlatformText(), err)
	}
	c := &img.Config.Config
	in := Input{Name: s.Name, Tree: tree, Arch: img.Platform.Architecture, User: c.User, Env: c.Env, Annotations: map[string]string{}}
	for _, m := range []map[string]string{c.Labels, s.Annotations, img.Manifest.Annotations} {
		for k, v := range m {
			in.Annotations[k] = v
		}
	}
	if s.Kind == subject.Registry && s.Target() != nil {
		if _, pinned := s.Target().Ref().Digest(); !pinned {
			in.References = append(in.References, Reference{Name: s.Name, Minor: true,
				Mutable: fmt.Sprintf("a tag; what was looked at is %s", s.Descriptor.Digest)})
		}
	}
	return in, nil
}

// Planned is what [OfPlan] needs of a plan, as assemble.Planned has it.
type Planned struct {
	Arch config.Arch
	Tree *rootfs.Tree
	Base *baseimage.Base // nil for none
}

// OfPlan takes what a configuration would give. The lock is nil where there is
// none.
func OfPlan(ctx context.Context, cfg *config.Config, p Planned, r files.Reader, l *lock.Lock) (Input, error) {
	tree, err := files.OfPlan(ctx, p.Tree, r)
	if err != nil {
		return Input{}, err
	}
	tree.Platform = subject.PlatformText(v1.Platform{OS: p.Arch.OS, Architecture: p.Arch.Architecture, Variant: p.Arch.Variant})
	in := Input{Tree: tree, Arch: p.Arch.Architecture, User: p.Tree.User, Env: cfg.Env(), Annotations: cfg.ImageAnnotations(),
		NoShell: cfg.Lint.NoShell, Position: func(key string) (string, int, int) { return cfg.Position(config.Steps(key)...) }}
	if len(cfg.Sources) > 0 {
		in.Name = cfg.Sources[0].Name
	}
	if p.Base != nil {
		c, err := p.Base.Image.ConfigFile()
		if err != nil {
			return Input{}, fmt.Errorf("%s: base image: %w", in.Name, err)
		}
		in.User, in.Env = c.Config.User, c.Config.Env
	}
	if base := cfg.Contents.BaseImage; base != nil && (l == nil || l.Base(p.Arch.APK) == nil) {
		in.References = append(in.References, Reference{Name: base.Image, Key: "contents.baseimage.image", Mutable: "a base image that no lock pins"})
	}
	if l == nil {
		in.References = append(in.References, Reference{Name: in.Name, Minor: true, Mutable: "no lock: the packages are those that the repositories have now"})
	}
	return in, nil
}
