package provenance

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
)

// cutTag splits "@tag URL".
func cutTag(s string) (tag, url string, ok bool) {
	if !strings.HasPrefix(s, "@") {
		return "", "", false
	}
	return strings.Cut(s, " ")
}

// dependencies are everything that went into the image or decided what does:
// packages, indexes, keys, files, the base image, the sources' revision.
func dependencies(in *Input) ([]resource, error) {
	l := in.Result.Lock
	ring, err := lockedKeys(l)
	if err != nil {
		return nil, err
	}
	var out []resource
	for i := range in.Result.Packages {
		r, err := packageResource(&in.Result.Packages[i], l, ring)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if l.Cairn != nil {
		for i := range l.Cairn.Indexes {
			out = append(out, indexResource(&l.Cairn.Indexes[i]))
		}
		for i := range l.Cairn.Request.Base {
			out = append(out, baseResource(in, &l.Cairn.Request.Base[i]))
		}
	}
	for _, k := range ring.Keys() {
		out = append(out, keyResource(&k, l))
	}
	return append(append(out, files(in)...), revision(in)...), nil
}

// lockedKeys are the keys of a lock that has them.
func lockedKeys(l *lock.Lock) (*repository.Keyring, error) {
	ring := repository.NewKeyring()
	for _, k := range l.Contents.Keyring {
		if k.Content == "" {
			continue
		}
		key, err := repository.ParseKey(k.Name, []byte(k.Content))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
		}
		ring.Add(key)
	}
	return ring, nil
}

func packageResource(p *assemble.Package, l *lock.Lock, ring *repository.Keyring) (resource, error) {
	r := p.Receipt
	locked := find(l, p)
	if locked == nil {
		return resource{}, fmt.Errorf("%w: package %s (%s): not in the lock", ErrIncomplete, r.ID(), p.Arch)
	}
	annotations := map[string]any{
		"kind": "package", "architecture": p.Arch, "controlSha1": r.Package.Checksum.Hex(), "dataSha256": r.DataHash.Hex(),
		"receiptSha256": r.Digest().Hex(),
	}
	if r.Package.Origin != "" {
		annotations["origin"] = r.Package.Origin
	}
	from, _ := packages.RepositoryOf(locked)
	if from != "" {
		annotations["repository"] = from
	}
	if key, ok := kit.SignedBy(&kit.Package{Arch: p.Arch, Receipt: r}, ring); ok {
		annotations["signedBy"], annotations["signingKeySha256"] = key.Name, key.Fingerprint.Hex()
	} else if ix := indexOf(l, from, p.Arch); ix != nil && !ix.Key.IsZero() {
		annotations["listedIn"], annotations["signedBy"], annotations["signingKeySha256"] = ix.URL, ix.KeyName, ix.Key.Hex()
	}
	return resource{Name: r.ID(), URI: p.PURL, Digest: digestSet{"sha256": r.FileSHA256.Hex()}, DownloadLocation: uri(locked.URL), Annotations: annotations}, nil
}

func find(l *lock.Lock, p *assemble.Package) *lock.Package {
	for i := range l.Contents.Packages {
		if c := &l.Contents.Packages[i]; c.Architecture == p.Arch && c.Name == p.Receipt.Package.Name {
			return c
		}
	}
	return nil
}

// indexOf finds the index that lists the packages of a repository.
func indexOf(l *lock.Lock, from, arch string) *lock.Index {
	if l.Cairn == nil || from == "" {
		return nil
	}
	for i := range l.Cairn.Indexes {
		if ix := &l.Cairn.Indexes[i]; ix.Architecture == arch && ix.URL == from+"/"+arch+"/"+repository.IndexFile {
			return ix
		}
	}
	return nil
}

func indexResource(ix *lock.Index) resource {
	annotations := map[string]any{"kind": "index", "architecture": ix.Architecture}
	if ix.Newest != 0 {
		annotations["newestBuildTime"] = ix.Newest
	}
	if !ix.Key.IsZero() {
		annotations["signedBy"], annotations["signingKeySha256"] = ix.KeyName, ix.Key.Hex()
	}
	return resource{Name: repository.IndexFile, URI: uri(ix.URL), Digest: digestSet{"sha256": ix.SHA256.Hex()}, Annotations: annotations}
}

func baseResource(in *Input, b *lock.Base) resource {
	name := "base image"
	if base := in.Config.Contents.BaseImage; base != nil {
		name = base.Image
	}
	return resource{Name: name, Digest: digestSet{"sha256": b.Image.Hex()},
		Annotations: map[string]any{"kind": "base image", "architecture": b.Architecture, "indexSha256": b.Index.Hex()}}
}

func keyResource(k *repository.Key, l *lock.Lock) resource {
	r := resource{Name: k.Name, Digest: sum(k.PEM()), Annotations: map[string]any{"kind": "key", "keySha256": k.Fingerprint.Hex()}}
	for _, known := range l.Contents.Keyring {
		if repository.KeyName(known.Name) == k.Name && known.URL != "" {
			r.URI = uri(known.URL)
		}
	}
	return r
}

// files are the configuration, what it includes, the files it puts into the image,
// and the definitions of slices.
func files(in *Input) []resource {
	var out []resource
	for i := range in.Config.Sources {
		s := &in.Config.Sources[i]
		kind := "include"
		if i == 0 {
			kind = "configuration"
		}
		out = append(out, resource{Name: path.Base(s.Path), Digest: sum(s.Text), Annotations: map[string]any{"kind": kind, "path": s.Path}})
	}
	for i := range in.Config.Files {
		f := &in.Config.Files[i]
		annotations := map[string]any{"kind": "inline file", "imagePath": f.Path}
		if f.Opened != "" {
			annotations["kind"], annotations["path"] = "file", f.Opened
		}
		out = append(out, resource{Name: path.Base(f.Path), Digest: sum(f.Bytes), Annotations: annotations})
	}
	for _, f := range in.Config.SliceFiles() {
		out = append(out, resource{Name: path.Base(f.Path), Digest: sum(f.Bytes), Annotations: map[string]any{"kind": "slice definitions", "path": f.Path}})
	}
	for i := range in.Config.App {
		a := &in.Config.App[i]
		out = append(out, resource{Name: path.Base(a.Path), Digest: digestSet{"sha256": a.Tree.Digest().Hex()},
			Annotations: map[string]any{"kind": "application", "path": a.Opened, "imagePath": a.Path}})
	}
	return out
}

var gitRevision = regexp.MustCompile(`^(.+)@([0-9a-f]{40})$`)

// revision is the commit that the configuration is from, as far as cairn was
// told or found out.
func revision(in *Input) []resource {
	m := gitRevision.FindStringSubmatch(in.Config.VCSUrl)
	if m == nil {
		return nil
	}
	return []resource{{URI: m[1], Digest: digestSet{"gitCommit": m[2]}, Annotations: map[string]any{"kind": "source"}}}
}

// uri spells a local path as a URI, which the field must be.
func uri(s string) string {
	if strings.HasPrefix(s, "/") {
		return "file://" + s
	}
	return s
}
