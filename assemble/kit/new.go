package kit

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
)

// Input is what a kit is made from.
type Input struct {
	Subject v1.Descriptor // the image index
	Config  *config.Config
	Lock    *lock.Lock
	// Packages are those of the lock, for the architectures of the
	// configuration.
	Packages []Package
	// Bases are the base images of the configuration's architectures.
	Bases []Base
	// Keys are beside those in the lock.
	Keys []repository.Key
	// RawIndex returns an index file; [repository.ErrNotFound] when it cannot
	// be had, which the kit then says.
	RawIndex func(ctx context.Context, ix lock.Index) ([]byte, error)

	Version string // of the program
	Created time.Time
	Author  string
	Compat  string
	Weights map[string]float64
	Unsafe  Unsafe
}

// ErrBaseImage: the configuration has a base image, and it is not at hand.
var ErrBaseImage = errors.New("contents.baseimage: the base image is not at hand")

// ErrCredentials: a kit is published, and would publish them too.
var ErrCredentials = errors.New("holds credentials, which a kit would publish")

// New makes the kit of an image.
func New(ctx context.Context, in Input) (*Kit, error) {
	if in.Config.Contents.BaseImage != nil && len(in.Bases) != len(in.Config.Architectures()) {
		return nil, fmt.Errorf("kit: %w", ErrBaseImage)
	}
	if err := noCredentials(in.Config); err != nil {
		return nil, fmt.Errorf("kit: %w", err)
	}
	k := &Kit{Subject: in.Subject, Lock: in.Lock, Settings: settings(in)}
	if err := k.addBases(in.Bases); err != nil {
		return nil, err
	}
	if err := k.addPackages(in.Packages); err != nil {
		return nil, err
	}
	if err := k.addFiles(in.Config); err != nil {
		return nil, err
	}
	if err := k.addKeys(in); err != nil {
		return nil, err
	}
	if err := k.addIndexes(ctx, in); err != nil {
		return nil, err
	}
	return k, nil
}

func settings(in Input) Settings {
	s := Settings{
		Format: Format, Cairn: in.Version, IncludePaths: in.Config.IncludePaths(), VCSURL: in.Config.VCSUrl,
		Created: in.Created, Author: in.Author, Compat: in.Compat, Weights: maps.Clone(in.Weights), Unsafe: in.Unsafe,
	}
	for _, o := range in.Config.Applied() {
		own := Overrides{Repositories: o.Repositories, BuildRepositories: o.BuildRepositories, Keyring: o.Keyring,
			Packages: o.Packages, Annotations: o.Annotations, VCSURL: o.VCSURL}
		if !own.empty() {
			s.Overrides = append(s.Overrides, own)
		}
	}
	for _, a := range in.Config.Architectures() {
		s.Architectures = append(s.Architectures, a.APK)
	}
	for _, b := range in.Bases {
		s.Bases = append(s.Bases, BaseName{Arch: b.Arch, Name: b.Image.Name, Digest: b.Image.Digest})
	}
	return s
}

func (o *Overrides) empty() bool {
	return len(o.Repositories)+len(o.BuildRepositories)+len(o.Keyring)+len(o.Packages)+len(o.Annotations) == 0 && o.VCSURL == ""
}

// noCredentials refuses what would be published with the configuration.
func noCredentials(c *config.Config) error {
	urls := slices.Concat(c.Contents.BuildRepositories, c.Contents.Repositories, c.Contents.RuntimeOnlyRepositories, c.Contents.Keyring)
	for _, url := range slices.Sorted(maps.Keys(c.Keyrings)) {
		urls = append(append(urls, url), c.Keyrings[url]...)
	}
	for _, u := range urls {
		if strings.HasPrefix(u, "@") {
			_, u, _ = strings.Cut(u, " ")
		}
		if !strings.Contains(u, "-----BEGIN") && repository.Redact(u) != u {
			return fmt.Errorf("%s: %w\nhint: give them in HTTP_AUTH or a netrc file", repository.Redact(u), ErrCredentials)
		}
	}
	return nil
}

// addPackages takes the packages in the order of the lock.
func (k *Kit) addPackages(list []Package) error {
	at := map[string]*Package{}
	for i := range list {
		p := &list[i]
		at[p.Arch+" "+p.Receipt.Package.Checksum.String()] = p
	}
	for _, l := range k.locked() {
		p := at[l.Architecture+" "+l.Checksum.String()]
		if p == nil {
			return fmt.Errorf("kit: package %s-%s (%s): no receipt", l.Name, l.Version, l.Architecture)
		}
		k.Packages = append(k.Packages, *p)
	}
	return nil
}

// Digests are the SHA-256 of the files that a kit of this configuration has, the
// configuration itself first.
func Digests(c *config.Config) ([]apk.SHA256, error) {
	var k Kit
	if err := k.addFiles(c); err != nil {
		return nil, err
	}
	var out []apk.SHA256
	for i := range k.Files {
		out = append(out, k.Files[i].SHA256)
	}
	return out, nil
}

// addFiles takes the configuration and what it was made from. A file that is
// read twice stands once.
func (k *Kit) addFiles(c *config.Config) error {
	seen := map[string]bool{}
	add := func(path string, role Role, b []byte) {
		key := path
		if role == RoleApp { // its path is in the image
			key = "\x00" + path
		}
		if !seen[key] {
			seen[key] = true
			k.Files = append(k.Files, File{Name{Path: path, Role: role, SHA256: sha256.Sum256(b), Size: int64(len(b))}, b})
		}
	}
	for i, s := range c.Sources {
		role := RoleInclude
		if i == 0 {
			role = RoleConfig
		}
		add(s.Path, role, s.Text)
	}
	for i := range c.Files {
		if f := &c.Files[i]; f.Opened != "" {
			add(f.Opened, RoleFile, f.Bytes)
		}
	}
	for _, f := range c.SliceFiles() {
		add(f.Path, RoleFile, f.Bytes)
	}
	for i := range c.App {
		if a := &c.App[i]; a.Tree != nil {
			add(a.Path, RoleApp, a.Tree.Archive())
		}
	}
	if len(k.Files) == 0 {
		return errors.New("kit: the configuration is from no file")
	}
	k.Settings.Config = k.Files[0].Path
	for i := range k.Files {
		k.Settings.Files = append(k.Settings.Files, k.Files[i].Name)
	}
	return nil
}

// addKeys takes the keys of the lock and those given.
func (k *Kit) addKeys(in Input) error {
	ring := repository.NewKeyring(in.Keys...)
	for _, key := range in.Lock.Contents.Keyring {
		if key.Content == "" {
			continue
		}
		parsed, err := repository.ParseKey(key.Name, []byte(key.Content))
		if err != nil {
			return fmt.Errorf("kit: keyring: %w", err)
		}
		ring.Add(parsed)
	}
	k.Keys = ring.Keys()
	return nil
}

// addIndexes takes the indexes that packages need to be proved.
func (k *Kit) addIndexes(ctx context.Context, in Input) error {
	if in.Lock.Cairn == nil {
		return nil // apko's locks name no indexes
	}
	need := k.unsigned()
	for _, ix := range in.Lock.Cairn.Indexes {
		if !need[indexKey{ix.URL, ix.Architecture}] {
			continue
		}
		raw, err := in.RawIndex(ctx, ix)
		switch {
		case errors.Is(err, repository.ErrNotFound):
			k.Settings.MissingIndexes = append(k.Settings.MissingIndexes, ix)
		case err != nil:
			return fmt.Errorf("kit: %w", err)
		default:
			k.Indexes = append(k.Indexes, Index{URL: ix.URL, Arch: ix.Architecture, Raw: raw})
		}
	}
	slices.SortFunc(k.Indexes, func(a, b Index) int { return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.Arch, b.Arch)) })
	return nil
}

type indexKey struct{ url, arch string }

// unsigned lists the indexes of packages without a signature of their own by one
// of the kit's keys.
func (k *Kit) unsigned() map[indexKey]bool {
	ring := repository.NewKeyring(k.Keys...)
	need := map[indexKey]bool{}
	at := map[string]int{}
	for i := range k.Lock.Contents.Packages {
		p := &k.Lock.Contents.Packages[i]
		at[p.Architecture+" "+p.Name] = i
	}
	for i := range k.Packages {
		p := &k.Packages[i]
		n, ok := at[p.Arch+" "+p.Receipt.Package.Name]
		if _, signed := SignedBy(p, ring); signed || !ok {
			continue
		}
		if url, ok := packages.RepositoryOf(&k.Lock.Contents.Packages[n]); ok {
			need[indexKey{url + "/" + p.Arch + "/" + repository.IndexFile, p.Arch}] = true
		}
	}
	return need
}

// SignedBy returns the key of the keyring that signed a package's control
// section; false when none did.
func SignedBy(p *Package, ring *repository.Keyring) (repository.Key, bool) {
	if len(p.Receipt.Signature) == 0 {
		return repository.Key{}, false
	}
	list, err := apk.ReadSignatures(p.Receipt.Signature)
	if err != nil {
		return repository.Key{}, false
	}
	for _, s := range list {
		for _, key := range ring.Lookup(s.KeyName) {
			if s.Verify(key.Public, p.Receipt.Control) == nil {
				return key, true
			}
		}
	}
	return repository.Key{}, false
}
