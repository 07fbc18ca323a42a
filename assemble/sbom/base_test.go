package sbom

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// onBase is the test image on a base with a package and two files, one of which
// is nobody's.
func onBase(t testing.TB) Input {
	t.Helper()
	in := testInput(t)
	own := apk.Package{Name: "low", Version: "1-r0", Arch: "x86_64", Origin: "low", License: "MIT"}
	doc := strings.NewReplacer("hello-2.12-r1", "low-1-r0", `"name": "hello", "versionInfo": "2.12-r1"`, `"name": "low", "versionInfo": "1-r0"`).Replace(embeddedHello)
	base := &rootfs.Base{
		Name: "registry.example.org/team/base:1", Digest: hashOf("base").String(),
		Receipt: &store.Receipt{
			Entries: []apk.Entry{
				{Path: "opt", Type: apk.TypeDir, Mode: 0o755},
				{Path: "opt/low", Type: apk.TypeFile, Size: 3, SHA256: digestOf([]byte("low")).sha256, SHA1: digestOf([]byte("low")).sha1},
				{Path: "opt/mine", Type: apk.TypeFile, Size: 4, SHA256: digestOf([]byte("mine")).sha256, SHA1: digestOf([]byte("mine")).sha1},
				{Path: "opt/sbom", Type: apk.TypeFile, Size: 1, SHA256: digestOf([]byte("s")).sha256, SHA1: digestOf([]byte("s")).sha1},
			},
			Contents: map[string][]byte{"opt/low": []byte("low"), "var/lib/db/sbom/low-1-r0.spdx.json": []byte(doc)},
		},
		Installed: []apk.InstalledPackage{{Package: own}},
		Owners:    []rootfs.BaseOwner{{}, {Known: true}, {}, {Known: true}},
	}
	base.Receipt.Entries[3].Path = "var/lib/db/sbom/low-1-r0.spdx.json"
	in.Tree.Base = base
	for i := range base.Receipt.Entries {
		e := rootfs.Entry{Entry: base.Receipt.Entries[i], Package: len(in.Tree.Packages), Member: i, Owner: rootfs.Owner{Kind: rootfs.OwnedByBase, Name: "image"}}
		if base.Owners[i].Known {
			e.Owner = rootfs.Owner{Kind: rootfs.OwnedByPackage, Name: "low"}
		}
		in.Tree.Entries = append(in.Tree.Entries, e)
	}
	slices.SortFunc(in.Tree.Entries, func(a, b rootfs.Entry) int { return rootfs.ComparePaths(a.Path, b.Path) })
	in.Image.Layers = append([]layer.Layer{{Kind: layer.Base, Digest: hashOf("l0"), DiffID: hashOf("d0"), Size: 5, MediaType: "application/vnd.oci.image.layer.v1.tar"}}, in.Image.Layers...)
	return in
}

func TestBase(t *testing.T) {
	g, err := New(onBase(t))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range g.Components[:7] {
		got = append(got, fmt.Sprintf("%s %s paths=%d files=%d bytes=%d", c.Kind, strings.TrimSuffix(c.Name, c.Version), c.Paths, c.Files, c.Bytes))
	}
	want := []string{
		"image registry.example.org/team/hello paths=0 files=0 bytes=0",
		"os alpine paths=0 files=0 bytes=0",
		"base registry.example.org/team/base paths=2 files=1 bytes=4",
		"layer layer  paths=0 files=0 bytes=0", "layer layer  paths=0 files=0 bytes=0",
		"layer layer  paths=0 files=0 bytes=0", "layer layer  paths=0 files=0 bytes=0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	base, low := find(t, g, "registry.example.org/team/base"), find(t, g, "low")
	if base.PURL != "pkg:oci/base@"+hashOf("base").String()+"?arch=amd64&repository_url=registry.example.org%2Fteam%2Fbase" || base.Version != hashOf("base").String() {
		t.Errorf("base %+v", base)
	}
	if low.Kind != KindPackage || low.Files != 2 || low.License != "MIT" || low.Supplier.Name != "Hello Makers" || len(low.CPEs) != 1 {
		t.Errorf("package of the base: %+v", low)
	}
	for _, r := range []Relationship{
		{g.Image().ID, Contains, base.ID}, {base.ID, Contains, low.ID},
		{base.ID, Contains, "Layer-" + hashOf("l0").Hex}, {g.Image().ID, Contains, "Layer-" + hashOf("l0").Hex},
	} {
		if !slices.Contains(g.Relationships, r) {
			t.Errorf("missing: %v", r)
		}
	}
	if purl := g.Component("Layer-" + hashOf("l0").Hex).PURL; purl != "pkg:oci/base@"+hashOf("l0").String()+"?mediaType=application%2Fvnd.oci.image.layer.v1.tar" {
		t.Errorf("layer of the base: %s", purl)
	}
	if o := g.Owner("opt/mine"); o == nil || o.ID != base.ID {
		t.Errorf("owner of a file that no package has: %+v", o)
	}
}

// TestBaseIsDerivedFrom: what was made from the base's own files says so.
func TestBaseIsDerivedFrom(t *testing.T) {
	in := onBase(t)
	in.Tree.Lookup("lib/apk/db/installed").Derived = []string{rootfs.BaseImage, "low"}
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	db := find(t, g, "installed-db")
	for _, to := range []string{"BaseImage-" + hashOf("base").Hex, "Package-low-1-r0"} {
		if !slices.Contains(g.Relationships, Relationship{db.ID, GeneratedFrom, to}) {
			t.Errorf("not generated from %s", to)
		}
	}
}

func TestBaseIncomplete(t *testing.T) {
	in := onBase(t)
	in.Tree.Lookup("opt/low").Owner.Name = "nobody"
	if _, err := New(in); err == nil || err.Error() != `sbom: SBOM is incomplete: opt/low: owned by package "nobody", which is not in the image` {
		t.Errorf("error %v", err)
	}
	in = onBase(t)
	in.Tree.Base = nil
	in.Tree.Lookup("opt/low").Owner = rootfs.Owner{Kind: rootfs.OwnedByBase, Name: "image"}
	if _, err := New(in); err == nil || !strings.HasSuffix(err.Error(), "nobody owns it") {
		t.Errorf("error %v", err)
	}
}

func TestBaseWithoutName(t *testing.T) {
	in := onBase(t)
	in.Tree.Base.Name = ""
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	if c := find(t, g, rootfs.BaseImage); c.PURL != "pkg:oci/base@"+hashOf("base").String()+"?arch=amd64" {
		t.Errorf("base %+v", c)
	}
	if !strings.Contains(string(cdxOf(t, g)), `"type":"container"`) && !strings.Contains(string(cdxOf(t, g)), `"type": "container"`) {
		t.Error("no container among the components")
	}
	spdxOf(t, g)
}

func TestRepositoryOf(t *testing.T) {
	for ref, want := range map[string]string{
		"": "", "example.org/a": "example.org/a", "example.org/a:1": "example.org/a", "localhost:5000/a": "localhost:5000/a",
		"localhost:5000/a:1": "localhost:5000/a", "example.org/a@sha256:0": "example.org/a", "example.org/a:1@sha256:0": "example.org/a",
	} {
		if got := repositoryOf(ref); got != want {
			t.Errorf("%s: %s, expected %s", ref, got, want)
		}
	}
}
