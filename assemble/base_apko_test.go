package assemble

import (
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
)

// apkoBases are the images of apko's own base, in the order of its index.
func apkoBases(t *testing.T) []v1.Image {
	t.Helper()
	x, err := layout.ImageIndexFromPath("testdata/base_image")
	if err != nil {
		t.Fatal(err)
	}
	m, err := x.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var out []v1.Image
	for _, d := range m.Manifests {
		img, err := x.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, img)
	}
	return out
}

// TestApkoBaseImage: apko's own example of an image on a base, with its lock and
// without one.
func TestApkoBaseImage(t *testing.T) {
	f := newFixture(t)
	apkoTestdata(t)
	cfg, err := config.Load("testdata/image_on_top.apko.yaml", config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := lock.ReadFile("testdata/image_on_top.apko.lock.json")
	if err != nil {
		t.Fatal(err)
	}
	r := f.build(cfg, Options{SBOMDir: t.TempDir(), Version: "test"})
	if locked := f.build(cfg, Options{Lock: theirs}); locked.Digest != r.Digest {
		t.Errorf("with apko's lock: %s, without: %s", locked.Digest, r.Digest)
	}
	for i, base := range apkoBases(t) {
		img := r.Index.Images()[i]
		f.sameLayersBelow(base, img)
		f.checkOnTopOfApkoBase(base, img)
	}
	know, err := WithBase(t.Context(), theirs, cfg)
	if err != nil || know.Base("x86_64").Version("package-y") != "1.0.0-r0" || theirs.Cairn != nil {
		t.Errorf("lock with its base: %+v, %v", know, err)
	}
}

// checkOnTopOfApkoBase checks the files on top, and that the rest is the base's.
func (f *fixture) checkOnTopOfApkoBase(base, img v1.Image) {
	f.t.Helper()
	was, now := f.files(base), f.files(img)
	changed := []string{"etc/apk/repositories", "etc/apk/world", "etc/os-release", "lib/apk/db/installed"}
	for p, e := range was {
		if e.Type == apk.TypeFile && (e.SHA256 != now[p].SHA256) != slices.Contains(changed, p) {
			f.t.Errorf("%s: was %s, is %s", p, e.SHA256, now[p].SHA256)
		}
	}
	for p, e := range now {
		if _, old := was[p]; !old && (e.Type != apk.TypeFile || p != "var/lib/db/sbom/replayout-1.0.0-r0.spdx.json") {
			f.t.Errorf("%s: only on top", p)
		}
	}
	list, err := image.Installed(f.t.Context(), img)
	if err != nil {
		f.t.Fatal(err)
	}
	var ids []string
	for i := range list {
		ids = append(ids, list[i].ID())
	}
	if want := "package-x-1.0.0-r0 package-y-1.0.0-r0 pretend-baselayout-1.0.0-r0 replayout-1.0.0-r0"; strings.Join(ids, " ") != want {
		f.t.Errorf("installed %v, expected %s", ids, want)
	}
	if slices.ContainsFunc(list[2].Dirs[0].Files, func(file apk.InstalledFile) bool { return file.Name == "os-release" }) {
		f.t.Error("the file that replayout replaced is still listed at pretend-baselayout")
	}
	world, err := image.ReadFile(f.t.Context(), img, "etc/apk/world")
	if err != nil || string(world) != "package-y\nreplayout\n" {
		f.t.Errorf("world %q, %v", world, err)
	}
}
