package report

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/apk"
)

func (c *content) layers() {
	comments := c.img.Comments()
	for i := range c.img.Manifest.Layers {
		d := &c.img.Manifest.Layers[i]
		l := Layer{Position: i + 1, Digest: d.Digest.String(), DiffID: c.img.Config.RootFS.DiffIDs[i].String(), Size: d.Size,
			Inflated: c.listings[i].Inflated, Paths: len(c.listings[i].Entries), Parts: c.parts(c.listings[i])}
		if comments != nil {
			l.Comment = comments[i]
		}
		c.out.Layers = append(c.out.Layers, l)
	}
}

// parts are the packages with something in a layer. Directories of several
// packages are nobody's and count for none.
func (c *content) parts(l *image.Listing) []Part {
	by := map[string]*Part{}
	for i := range l.Entries {
		e := &l.Entries[i]
		owner := c.owners[e.Path]
		if e.Type == apk.TypeDir && owner == "" {
			continue
		}
		if by[owner] == nil {
			by[owner] = &Part{Package: owner}
		}
		by[owner].Bytes += e.Size
		by[owner].Paths++
	}
	out := []Part{}
	for _, p := range by {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Package, b.Package))
	})
	return out
}

func (c *content) packages() {
	where := map[string][]int{}
	for i := range c.out.Layers {
		for _, p := range c.out.Layers[i].Parts {
			where[p.Package] = append(where[p.Package], i+1)
		}
	}
	files := map[string]int{}
	for i := range c.out.Files {
		if c.out.Files[i].Type != string(apk.TypeDir) {
			files[c.out.Files[i].Package]++
		}
	}
	for i := range c.installed {
		p := &c.installed[i]
		out := Package{Name: p.Name, Version: p.Version, Arch: p.Arch, Origin: p.SourceName(), License: p.License, Description: p.Description,
			URL: p.URL, Maintainer: p.Maintainer, Size: p.InstalledSize, Files: files[p.Name], Layers: where[p.Name],
			Depends: []string{}, Needs: []string{}, NeededBy: []string{}}
		if out.Layers == nil {
			out.Layers = []int{}
		}
		for _, d := range p.Depends {
			out.Depends = append(out.Depends, d.String())
		}
		c.out.Packages = append(c.out.Packages, out)
	}
	c.dependencies()
	slices.SortFunc(c.out.Packages, func(a, b Package) int { return apk.CompareNames(a.Name, b.Name) })
}

// dependencies finds what meets each dependency.
func (c *content) dependencies() {
	providers := map[string][]int{} // positions in installed
	for i := range c.installed {
		providers[c.installed[i].Name] = append(providers[c.installed[i].Name], i)
		for _, p := range c.installed[i].Provides {
			providers[p.Name] = append(providers[p.Name], i)
		}
	}
	for i := range c.installed {
		needs := map[int]bool{}
		for _, d := range c.installed[i].Depends {
			for _, j := range providers[d.Name] {
				if j != i && !d.Conflict && meets(&c.installed[j].Package, d) {
					needs[j] = true
				}
			}
		}
		for _, j := range slices.Sorted(maps.Keys(needs)) {
			c.out.Packages[i].Needs = append(c.out.Packages[i].Needs, c.installed[j].Name)
			c.out.Packages[j].NeededBy = append(c.out.Packages[j].NeededBy, c.installed[i].Name)
		}
	}
}

func meets(p *apk.Package, d apk.Dependency) bool {
	if p.Name == d.Name && d.MatchesPackage(p) {
		return true
	}
	return slices.ContainsFunc(p.Provides, func(x apk.Dependency) bool { return x.Name == d.Name && d.Matches(x.Version) })
}

func (c *content) licenses() {
	by := map[string]*License{}
	for i := range c.out.Packages {
		p := &c.out.Packages[i]
		if by[p.License] == nil {
			by[p.License] = &License{License: p.License}
		}
		by[p.License].Packages = append(by[p.License].Packages, p.Name)
		by[p.License].Size += p.Size
	}
	for _, l := range by {
		c.out.Licenses = append(c.out.Licenses, *l)
	}
	slices.SortFunc(c.out.Licenses, func(a, b License) int {
		return cmp.Or(cmp.Compare(len(b.Packages), len(a.Packages)), strings.Compare(a.License, b.License))
	})
}

// settings are what the image says of itself, in the order people look for it.
func settings(img *subject.Image) []Setting {
	c := &img.Config.Config
	out := []Setting{}
	add := func(key, value string) {
		if value != "" {
			out = append(out, Setting{key, value})
		}
	}
	add("Entrypoint", subject.Words(c.Entrypoint))
	add("Command", subject.Words(c.Cmd))
	add("User", c.User)
	add("Working directory", c.WorkingDir)
	add("Stop signal", c.StopSignal)
	for _, e := range c.Env {
		add("Environment", e)
	}
	for _, v := range slices.Sorted(maps.Keys(c.Volumes)) {
		add("Volume", v)
	}
	for _, v := range slices.Sorted(maps.Keys(c.ExposedPorts)) {
		add("Port", v)
	}
	add("Author", img.Config.Author)
	for _, k := range slices.Sorted(maps.Keys(c.Labels)) {
		add("Label "+k, c.Labels[k])
	}
	for _, k := range slices.Sorted(maps.Keys(img.Manifest.Annotations)) {
		add("Annotation "+k, img.Manifest.Annotations[k])
	}
	return out
}
