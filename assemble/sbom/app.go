package sbom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/sbom"
)

// appOwner is the owner of what an entry of app brings; app is [rootfs.Entry.App].
func appOwner(app int) rootfs.Owner {
	return rootfs.Owner{Kind: rootfs.OwnedByConfig, Name: fmt.Sprintf("app[%d]", app-1)}
}

// addModules adds what the files of applications say of modules in them: each once
// per application, with the files that say so.
func (b *builder) addModules() error {
	type key struct {
		app  int
		purl string
	}
	files := map[key][]string{}
	modules := map[key]sbom.Module{}
	for i := range b.tree.Entries {
		e := &b.tree.Entries[i]
		if e.App == 0 || e.Type != apk.TypeFile {
			continue
		}
		for _, m := range sbom.FileModules("/"+e.Path, e.Content) {
			k := key{e.App, m.PURL}
			modules[k] = m
			if !slices.Contains(files[k], m.Path) {
				files[k] = append(files[k], m.Path)
			}
		}
	}
	keys := make([]key, 0, len(modules))
	for k := range modules {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int { return cmp.Or(cmp.Compare(x.app, y.app), strings.Compare(x.purl, y.purl)) })
	for _, k := range keys {
		m := modules[k]
		c := Component{
			ID: "Module-" + m.Type + "-" + m.Name + "-" + m.Version, Kind: KindModule, Name: m.Name, Version: m.Version,
			PURL: m.PURL, Purpose: "LIBRARY", SourceInfo: "read from " + files[k][0],
		}
		for _, f := range files[k] {
			c.property("cairn:app:file", f)
		}
		owner, ok := b.owners[appOwner(k.app)]
		if !ok { // paths made all its files its own
			owner = 0
		}
		b.relate(owner, Contains, b.add(c))
	}
	return nil
}
