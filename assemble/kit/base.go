package kit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
)

// parseBases reads the base images, which the settings name, and holds them
// against the lock.
func (k *Kit) parseBases(part []byte) error {
	names := k.Settings.Bases
	if len(names) == 0 && part == nil {
		return nil
	}
	z, err := gzip.NewReader(bytes.NewReader(part))
	if err != nil {
		return fmt.Errorf("base images: %w", cut(err))
	}
	list, err := members(z, maxBases)
	if err != nil {
		return fmt.Errorf("base images: %w", err)
	}
	files := map[string][]byte{}
	for _, m := range list {
		files[m.name] = m.b
	}
	for i, n := range names {
		if slices.ContainsFunc(names[:i], func(o BaseName) bool { return o.Arch == n.Arch }) {
			return fmt.Errorf("base image (%.20s): stands twice", n.Arch)
		}
		if err := k.addBase(n, files); err != nil {
			return fmt.Errorf("base image (%.20s): %w", n.Arch, err)
		}
	}
	if len(files) > 0 {
		return fmt.Errorf("base images: %d files that belong to none", len(files))
	}
	return nil
}

// addBase puts a base image together from files, and removes them from there.
func (k *Kit) addBase(n BaseName, files map[string][]byte) error {
	arch, ok := config.ParseArch(n.Arch)
	if !ok || arch.APK != n.Arch || !slices.Contains(k.Settings.Architectures, n.Arch) {
		return errors.New("not an architecture of the image")
	}
	p := baseimage.Pieces{Name: n.Name}
	for _, f := range []struct {
		name string
		to   *[]byte
	}{{baseManifest, &p.Manifest}, {baseConfig, &p.Config}, {basePackages, &p.Packages}, {baseFiles, &p.Files}} {
		name := n.Arch + "/" + f.name
		if *f.to, ok = files[name]; !ok {
			return fmt.Errorf("%s: missing", f.name)
		}
		delete(files, name)
	}
	base, err := baseimage.FromPieces(p, arch)
	if err != nil {
		return err
	}
	if base.Digest != n.Digest {
		return fmt.Errorf("manifest %s, expected %s", base.Digest, n.Digest)
	}
	k.Bases = append(k.Bases, Base{Arch: n.Arch, Image: base})
	return k.checkBase(n.Arch, base)
}

// checkBase holds a base image against the lock. apko's locks know of none.
func (k *Kit) checkBase(arch string, base *baseimage.Base) error {
	if k.Lock.Cairn == nil {
		return nil
	}
	l := k.Lock.Base(arch)
	switch {
	case l == nil:
		return errors.New("the lock has none")
	case l.Image.String() != base.Digest.String():
		return fmt.Errorf("manifest %s, the lock has %s", base.Digest, l.Image)
	case l.Index != base.Index:
		return fmt.Errorf("list of packages %s, the lock has %s", base.Index, l.Index)
	case !l.Files.IsZero() && l.Files != base.FilesDigest():
		return fmt.Errorf("list of files %s, the lock has %s", base.FilesDigest(), l.Files)
	}
	return nil
}

// Base returns the base image of an architecture (apk's spelling); nil when there
// is none.
func (k *Kit) Base(arch string) *baseimage.Base {
	for i := range k.Bases {
		if k.Bases[i].Arch == arch {
			return k.Bases[i].Image
		}
	}
	return nil
}

// addBases takes the base images, and makes sure that a reader will take them too.
func (k *Kit) addBases(list []Base) error {
	for _, b := range list {
		arch, _ := config.ParseArch(b.Arch)
		p, err := b.Image.Pieces()
		if err == nil {
			_, err = baseimage.FromPieces(p, arch)
		}
		if err != nil {
			return fmt.Errorf("kit: base image (%s): %w", b.Arch, err)
		}
	}
	k.Bases = list
	return nil
}
