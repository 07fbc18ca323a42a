package sbom

import (
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
)

func TestApplication(t *testing.T) {
	in := testInput(t)
	tr := &tree{*in.Tree}
	for path, text := range map[string]string{
		"srv/app/lib/flask-3.1.0.dist-info/METADATA": "Name: Flask\nVersion: 3.1.0\n",
		"srv/app/old/flask-3.1.0.dist-info/METADATA": "Name: Flask\nVersion: 3.1.0\n",
		"srv/app/package-lock.json":                  `{"packages": {"node_modules/left-pad": {"version": "1.3.0"}}}`,
	} {
		tr.made(path, rootfs.OwnedByConfig, "app[0]", text)
		tr.Entries[len(tr.Entries)-1].App = 1
	}
	tr.sort()
	in.Tree = &tr.Tree
	in.Image.Layers = append(in.Image.Layers, layer.Layer{Kind: layer.App, App: 1, Digest: hashOf("l4"), DiffID: hashOf("d4"), Size: 40})
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	app, motd := find(t, g, "app[0]"), find(t, g, "files[0]")
	layers := map[string][]string{} // what each layer contains
	for _, r := range g.Relationships {
		if c := g.Component(r.From); c.Kind == KindLayer && r.Type == Contains {
			layers[c.Properties[0].Value] = append(layers[c.Properties[0].Value], r.To)
		}
	}
	if !slices.Equal(layers["app"], []string{app.ID}) || slices.Contains(layers["top"], app.ID) || !slices.Contains(layers["top"], motd.ID) {
		t.Errorf("found %v", layers)
	}
	var modules []string
	for _, r := range g.Relationships {
		if r.From == app.ID && r.Type == Contains {
			c := g.Component(r.To)
			var files []string
			for _, p := range c.Properties {
				files = append(files, p.Name+"="+p.Value)
			}
			modules = append(modules, c.PURL+" "+strings.Join(files, " "))
		}
	}
	if want := []string{
		"pkg:npm/left-pad@1.3.0 cairn:app:file=/srv/app/package-lock.json",
		"pkg:pypi/flask@3.1.0 cairn:app:file=/srv/app/lib/flask-3.1.0.dist-info/METADATA cairn:app:file=/srv/app/old/flask-3.1.0.dist-info/METADATA",
	}; !slices.Equal(modules, want) {
		t.Errorf("found %q", modules)
	}
	checkSPDX(t, spdxOf(t, g))
	checkCycloneDX(t, cdxOf(t, g))
	if err := g.Check(); err != nil {
		t.Error(err)
	}
}
