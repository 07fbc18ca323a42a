package sbom

import (
	"context"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk"
)

// The whole way on real packages: planned tree, real layers, image, unpacked
// again. What is found in the image is exactly what the SBOM says is in it,
// with every strategy of layering.
func TestSBOMOfARealImageIsTheImage(t *testing.T) {
	tree, st := bootTree(t, "ssh")
	for _, options := range []layer.Options{{}, {Budget: 4}, {Strategy: layer.Single}, {Strategy: layer.PerOrigin, Budget: 10}} {
		t.Run(string(options.Strategy), func(t *testing.T) {
			plan, err := layer.New(tree, options)
			if err != nil {
				t.Fatal(err)
			}
			layers, err := plan.Write(context.Background(), st)
			if err != nil {
				t.Fatal(err)
			}
			img, err := image.New(image.Input{Layers: layers, Arch: "amd64", Created: testTime})
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(img); err != nil {
				t.Fatal(err)
			}
			digest, err := img.Digest()
			if err != nil {
				t.Fatal(err)
			}
			g, err := New(Input{Tree: tree, Image: Image{Digest: digest, Arch: "amd64", Created: testTime, Layers: layers}})
			if err != nil {
				t.Fatal(err)
			}
			found, err := image.Files(context.Background(), img)
			if err != nil {
				t.Fatal(err)
			}
			if err := g.CheckEntries(found); err != nil {
				t.Error(err)
			}
			installed, err := image.Installed(context.Background(), img)
			if err != nil {
				t.Fatal(err)
			}
			if len(installed) != len(tree.Packages) {
				t.Errorf("%d packages installed, %d in the tree", len(installed), len(tree.Packages))
			}
			if len(found) > 0 {
				found[len(found)/2].SHA256 = apk.SHA256{1}
				found = append(found, apk.Entry{Path: "unknown", Type: apk.TypeFile})
			}
			if g.CheckEntries(found) == nil {
				t.Error("a file that nobody knows is not noticed")
			}
			t.Logf("%d layers, %d paths, %d packages", len(layers), len(found)-1, len(installed))
		})
	}
}
