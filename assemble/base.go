package assemble

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
)

// errNoCompat refuses apko's layer on a base: apko does not look at the base's
// files, so that its layer hides some of them, the installed database too.
var errNoCompat = errors.New("apko's layers cannot be reproduced on a base image: expected no --compat")

// bases are the base images of a configuration by architecture (apk's spelling);
// nil when it has none.
type bases map[string]*baseimage.Base

// openBases reads the base images of all architectures. What unpacking them gives
// is kept in st, where there is one.
func openBases(ctx context.Context, cfg *config.Config, st *store.Store) (bases, error) {
	at, err := cfg.BaseImage()
	if at == nil || err != nil {
		return nil, err
	}
	all := bases{}
	for _, arch := range cfg.Architectures() {
		base, err := baseimage.Open(ctx, baseimage.Source{Image: at.Image, Packages: at.APKIndex, Store: st}, arch)
		var wrong *baseimage.Error
		if errors.As(err, &wrong) && ctx.Err() == nil {
			return nil, cfg.BaseImageError(wrong.Part, err)
		}
		if err != nil {
			return nil, err
		}
		all[arch.APK] = base
	}
	return all, nil
}

// basesFrom are base images at hand, one for each architecture.
func basesFrom(given map[string]*baseimage.Base, cfg *config.Config) (bases, error) {
	if cfg.Contents.BaseImage == nil {
		return nil, nil
	}
	all := bases{}
	for _, arch := range cfg.Architectures() {
		if given[arch.APK] == nil {
			return nil, fmt.Errorf("base image (%s): %w", arch.APK, errNoBase)
		}
		all[arch.APK] = given[arch.APK]
	}
	return all, nil
}

var errNoBase = errors.New("not at hand")

// describe adds the bases to a request.
func (all bases) describe(r *packages.Request) {
	if all == nil {
		return
	}
	r.Held = map[string][]*apk.Package{}
	for _, arch := range r.Architectures {
		r.Held[arch] = []*apk.Package{}
		for i := range all[arch].Installed {
			r.Held[arch] = append(r.Held[arch], &all[arch].Installed[i].Package)
		}
		r.Record.Base = append(r.Record.Base, all.record(arch))
	}
}

// WithBase returns a lock that knows the base image of the configuration: l, or,
// where apko wrote it and the configuration has a base image, a copy.
func WithBase(ctx context.Context, l *lock.Lock, cfg *config.Config) (*lock.Lock, error) {
	if l.Cairn != nil || cfg.Contents.BaseImage == nil {
		return l, nil
	}
	all, err := openBases(ctx, cfg, nil)
	if err != nil {
		return nil, err
	}
	r, err := request(cfg, all)
	with := *l
	with.Cairn = &lock.Cairn{Format: lock.FormatBase, Request: r.Record}
	return &with, err
}

// record is what a lock says of the base image of an architecture.
func (all bases) record(arch string) lock.Base {
	base := all[arch]
	out := lock.Base{Architecture: arch, Index: base.Index, Files: base.FilesDigest(), Packages: []string{}}
	out.Image, _ = apk.ParseSHA256(base.Digest.String())
	for i := range base.Installed {
		p := &base.Installed[i].Package
		out.Packages = append(out.Packages, p.Name+"="+p.Version)
	}
	return out
}

// wants tells whether a request asks for something on an architecture that its
// base image does not have.
func wants(r packages.Request, arch string) bool {
	return slices.ContainsFunc(r.Packages, func(atom string) bool {
		d, err := apk.ParseDependency(atom)
		return err == nil && !d.Conflict && !slices.ContainsFunc(r.Held[arch], func(p *apk.Package) bool { return satisfies(p, &d) })
	})
}

func satisfies(p *apk.Package, d *apk.Dependency) bool {
	return d.MatchesPackage(p) ||
		slices.ContainsFunc(p.Provides, func(o apk.Dependency) bool { return o.Name == d.Name && d.Matches(o.Version) })
}

// lockedTwice lists the locked packages that the base image has: the lock was
// made for another base, or none. A lock that apko wrote does not say for which.
func lockedTwice(l *lock.Lock, r packages.Request) []string {
	var out []string
	for _, arch := range r.Architectures {
		held := map[string]*apk.Package{}
		for _, p := range r.Held[arch] {
			held[p.Name] = p
		}
		for _, p := range l.For(arch) {
			if h := held[p.Name]; h != nil {
				out = append(out, fmt.Sprintf("packages (%s): locked %s-%s, the base image holds %s", arch, p.Name, p.Version, h.ID()))
			}
		}
	}
	return out
}

// later is the later of a time and the base image's, cut to seconds.
func later(t time.Time, base *baseimage.Base) time.Time {
	if base == nil {
		return t
	}
	c, err := base.Image.ConfigFile()
	if err != nil || c.Created.Before(t) {
		return t
	}
	return c.Created.UTC().Truncate(time.Second)
}

// treeBase is what the tree is planned on.
func treeBase(base *baseimage.Base) *rootfs.Base {
	if base == nil {
		return nil
	}
	out := &rootfs.Base{
		Name: base.Name, Digest: base.Digest.String(), Root: base.Root,
		Receipt:   &store.Receipt{Entries: base.Entries, Contents: base.Contents},
		Installed: base.Installed, Database: base.Database, ReadFile: base.ReadFile,
	}
	for _, o := range base.Owners {
		out.Owners = append(out.Owners, rootfs.BaseOwner(o))
	}
	return out
}
