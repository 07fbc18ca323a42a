package sbom

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// addPackages adds every package of the tree, whether or not it brings an SBOM.
func (b *builder) addPackages() error {
	b.all = slices.Concat(b.basePackages(), b.tree.Packages)
	for i := range b.all {
		p := &b.all[i]
		b.packages[p.Receipt.Package.Name] = b.add(b.packageComponent(p))
	}
	return nil
}

func (b *builder) packageComponent(p *rootfs.Package) Component {
	r, pkg := p.Receipt, &p.Receipt.Package
	c := Component{
		ID:          "Package-" + pkg.ID(),
		Kind:        KindPackage,
		Name:        pkg.Name,
		Version:     pkg.Version,
		Supplier:    b.system.supplier(p),
		Originator:  parsePerson(pkg.Maintainer),
		License:     b.licenses.expression(pkg.License),
		PURL:        packagePURL(pkg, &b.system),
		Filename:    pkg.Filename(),
		Download:    download(p),
		Homepage:    webURL(pkg.URL),
		Description: pkg.Description,
		Purpose:     "INSTALL",
		SourceInfo:  sourceInfo(pkg),
	}
	if !r.FileSHA256.IsZero() {
		c.Checksums = []Checksum{{"SHA256", r.FileSHA256.Hex()}}
	}
	if !pkg.Checksum.IsZero() {
		c.property("cairn:apk:control-sha1", pkg.Checksum.Hex())
	}
	if !r.DataHash.IsZero() {
		c.property("cairn:apk:data-sha256", r.DataHash.Hex())
	}
	c.property("cairn:apk:signature-key", r.SignatureKey)
	c.property("cairn:apk:origin", pkg.SourceName())
	c.property("cairn:apk:commit", pkg.Commit)
	if p.Slice != nil {
		c.property("cairn:apk:slices", strings.Join(p.Slice.Names, " "))
		c.Comment = "a part of the package only, the slices " + strings.Join(p.Slice.Names, ", ") + ": its other files are not in the image"
	}
	if pkg.BuildTime > 0 {
		c.property("cairn:apk:built", time.Unix(pkg.BuildTime, 0).UTC().Format(time.RFC3339))
	}
	return c
}

func sourceInfo(p *apk.Package) string {
	s := "built from package definition: " + p.SourceName()
	if p.Commit != "" {
		s += " at " + p.Commit
	}
	return s
}

// download is the package's URL in its repository. A local repository has
// none: its path means nothing elsewhere.
func download(p *rootfs.Package) string {
	u, err := url.Parse(p.Repository)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return ""
	}
	u.User = nil
	u = u.JoinPath(p.Receipt.Package.Arch, p.Receipt.Package.Filename())
	return u.String()
}

// depend links packages to those that satisfy their dependencies, and the
// image to what its configuration asks for.
func (b *builder) depend() error {
	providers := b.providers()
	for i := range b.all {
		p := &b.all[i]
		from := b.packages[p.Receipt.Package.Name]
		if p.Requested {
			b.relate(0, DependsOn, from)
		}
		for _, d := range p.Receipt.Package.Depends {
			if d.Conflict {
				continue
			}
			found := satisfying(d, b.all, providers[d.Name])
			for _, at := range found {
				b.relate(from, DependsOn, b.packages[b.all[at].Receipt.Package.Name])
			}
			if len(found) == 0 {
				b.Components[from].property("cairn:apk:unsatisfied", d.String())
			}
		}
	}
	return nil
}

// providers maps each name to the positions of the packages that are named so
// or provide it.
func (b *builder) providers() map[string][]int {
	m := map[string][]int{}
	for i := range b.all {
		p := &b.all[i].Receipt.Package
		m[p.Name] = append(m[p.Name], i)
		for _, d := range p.Provides {
			if l := m[d.Name]; len(l) == 0 || l[len(l)-1] != i {
				m[d.Name] = append(l, i)
			}
		}
	}
	return m
}

// satisfying picks, among providers, the package of that name, or else all
// that provide it in a version that will do.
func satisfying(d apk.Dependency, all []rootfs.Package, providers []int) []int {
	var found []int
	for _, i := range providers {
		p := &all[i].Receipt.Package
		if d.MatchesPackage(p) {
			return []int{i}
		}
		if slices.ContainsFunc(p.Provides, func(o apk.Dependency) bool { return o.Name == d.Name && d.Matches(o.Version) }) {
			found = append(found, i)
		}
	}
	return found
}

// cut shortens a text for a message.
func cut(s string) string {
	if len(s) > 80 {
		return strings.ToValidUTF8(s[:80], "") + "…"
	}
	return s
}
