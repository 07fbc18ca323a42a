package sbom

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/rootfs"
)

func TestGraphComponents(t *testing.T) {
	g := testGraph(t)
	var got []string
	for _, c := range g.Components {
		got = append(got, fmt.Sprintf("%s %s paths=%d files=%d bytes=%d", c.Kind, strings.TrimSuffix(c.Name, c.Version), c.Paths, c.Files, c.Bytes))
	}
	want := []string{
		"image registry.example.org/team/hello paths=0 files=0 bytes=0",
		"os alpine paths=0 files=0 bytes=0",
		"layer layer  paths=0 files=0 bytes=0",
		"layer layer  paths=0 files=0 bytes=0",
		"layer layer  paths=0 files=0 bytes=0",
		"package alpine-release paths=2 files=1 bytes=134",
		"package musl paths=3 files=1 bytes=9",
		"package hello paths=2 files=1 bytes=10",
		"package ca-certificates-bundle paths=0 files=0 bytes=0",
		"config accounts paths=1 files=1 bytes=15",
		"config certificates.additional[0] paths=0 files=0 bytes=0",
		"config files[0] paths=1 files=1 bytes=8",
		"generator base paths=1 files=1 bytes=0",
		"generator ca-certificates paths=1 files=1 bytes=6",
		"generator installed-db paths=1 files=1 bytes=8",
		"upstream hello paths=0 files=0 bytes=0",
		"source image.yaml paths=0 files=0 bytes=0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGraphRelationships(t *testing.T) {
	g := testGraph(t)
	short := func(id string) string {
		if i := strings.IndexByte(id, '-'); i > 0 && len(id) > 60 {
			return id[:i+5]
		}
		return id
	}
	var got []string
	for _, r := range g.Relationships {
		got = append(got, fmt.Sprintf("%s %s %s", short(r.From), r.Type, short(r.To)))
	}
	l1, l2, l3 := "Layer-"+hashOf("l1").Hex[:4], "Layer-"+hashOf("l2").Hex[:4], "Layer-"+hashOf("l3").Hex[:4]
	img := "Image-" + hashOf("image").Hex[:4]
	want := []string{
		img + " CONTAINS OperatingSystem",
		img + " CONTAINS " + l1, img + " CONTAINS " + l2, img + " CONTAINS " + l3,
		img + " DEPENDS_ON Package-hello-2.12-r1",
		img + " GENERATED_FROM Source-image.yaml",
		l1 + " CONTAINS Package-musl-1.2.4-r2",
		l2 + " CONTAINS Package-alpine-release-3.19.1-r0",
		l2 + " CONTAINS Package-hello-2.12-r1",
		l3 + " CONTAINS Package-ca-certificates-bundle-20230506-r0",
		l3 + " CONTAINS Config-accounts",
		l3 + " CONTAINS Config-certificates.additional-0-",
		l3 + " CONTAINS Config-files-0-",
		l3 + " CONTAINS Generated-base",
		l3 + " CONTAINS Generated-ca-certificates",
		l3 + " CONTAINS Generated-installed-db",
		"Package-hello-2.12-r1 DEPENDS_ON Package-musl-1.2.4-r2",
		"Package-hello-2.12-r1 GENERATED_FROM Package-hello-2.12-r1-Source",
		"Config-accounts GENERATED_FROM Package-alpine-release-3.19.1-r0",
		"Generated-ca-certificates GENERATED_FROM Package-ca-certificates-bundle-20230506-r0",
		"Generated-ca-certificates GENERATED_FROM Config-certificates.additional-0-",
		"Generated-installed-db GENERATED_FROM Package-musl-1.2.4-r2",
		"Generated-installed-db GENERATED_FROM Package-hello-2.12-r1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGraphPackageFacts(t *testing.T) {
	g := testGraph(t)
	sum := func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) }
	hello := *find(t, g, "hello")
	hello.Properties = nil
	want := Component{
		ID: "Package-hello-2.12-r1", Kind: KindPackage, Name: "hello", Version: "2.12-r1",
		Supplier:   Party{Name: "Hello Makers"},
		Originator: Party{Person: true, Name: "A. Person", Email: "person@example.org"},
		License:    "GPL-3.0-or-later AND LicenseRef-custom",
		Copyright:  "Copyright 2022 Free Software Foundation",
		PURL:       "pkg:apk/alpine/hello@2.12-r1?arch=x86_64&distro=alpine-3.19.1&origin=hello-src",
		CPEs:       []string{"cpe:2.3:a:gnu:hello:2.12:*:*:*:*:*:*:*"},
		Checksums:  []Checksum{{"SHA256", sum("hello")}},
		Filename:   "hello-2.12-r1.apk",
		Download:   "https://dl-cdn.alpinelinux.org/alpine/v3.19/main/x86_64/hello-2.12-r1.apk",
		Homepage:   "https://example.org/hello", Description: "hello for tests", Purpose: "INSTALL",
		SourceInfo: "built from package definition: hello-src at c0ffee",
		Paths:      2, Files: 1, Bytes: 10,
	}
	if diff := cmp.Diff(want, hello); diff != "" {
		t.Error(diff)
	}
	if got := find(t, g, "musl").Supplier; got != (Party{Name: "Alpine Linux"}) {
		t.Errorf("musl is supplied by %v", got)
	}
	source := g.Component("Package-hello-2.12-r1-Source")
	if source == nil || source.PURL != "pkg:generic/hello@2.12" || source.License != "GPL-3.0-or-later AND LicenseRef-doc" || source.Supplier.Name != "GNU" || len(source.Checksums) != 1 {
		t.Errorf("upstream source is %+v", source)
	}
	var refs []string
	for _, l := range g.Licenses {
		refs = append(refs, l.ID+": "+l.Text)
	}
	wantRefs := []string{`LicenseRef-custom: The package declares its licence as "custom".`, "LicenseRef-doc: do as you like with the manual"}
	if diff := cmp.Diff(wantRefs, refs); diff != "" {
		t.Error(diff)
	}
}

func TestGraphOwner(t *testing.T) {
	g := testGraph(t)
	for path, want := range map[string]string{
		"usr/bin/hi": "hello", "etc": "alpine-release", "etc/motd": "files[0]", "lib/apk/db/installed": "installed-db",
	} {
		if c := g.Owner(path); c == nil || c.Name != want {
			t.Errorf("%s belongs to %v, want %s", path, c, want)
		}
	}
	if c := g.Owner("no/such"); c != nil {
		t.Errorf("no/such belongs to %s", c.ID)
	}
	if g.Component("no-such") != nil {
		t.Error("found a component that is not there")
	}
}

func TestGraphGeneratedVersionFollowsContent(t *testing.T) {
	a := testGraph(t)
	in := testInput(t)
	for i := range in.Tree.Entries {
		if in.Tree.Entries[i].Path == "etc/motd" {
			in.Tree.Entries[i].Content = []byte("WELCOME\n")
		}
	}
	b, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	if va, vb := find(t, a, "files[0]").Version, find(t, b, "files[0]").Version; va == vb {
		t.Error("other content, same version")
	}
	if va, vb := find(t, a, "accounts").Version, find(t, b, "accounts").Version; va != vb {
		t.Errorf("same content, versions %s and %s", va, vb)
	}
}

func TestGraphSupplierOfTheImage(t *testing.T) {
	for _, test := range []struct {
		author      string
		annotations map[string]string
		want        string
	}{
		{"Org", map[string]string{annotationVendor: "V"}, "Organization: Org"},
		{"", map[string]string{annotationVendor: "V", annotationAuthors: "A"}, "Organization: V"},
		{"", map[string]string{annotationAuthors: "A B <a@b.org>"}, "Person: A B (a@b.org)"},
		{"", nil, "NOASSERTION"},
	} {
		in := testInput(t)
		in.Author, in.Image.Annotations = test.author, test.annotations
		g, err := New(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := g.Image().Supplier.String(); got != test.want {
			t.Errorf("author %q, annotations %v: supplier %q, want %q", test.author, test.annotations, got, test.want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(*Input)
		want string
	}{
		{"no tree", func(in *Input) { in.Tree = nil }, "sbom: no tree"},
		{"no digest", func(in *Input) { in.Image.Digest.Hex = "" }, "sbom: no image digest"},
		{"no time", func(in *Input) { in.Image.Created = time.Time{} }, "sbom: no creation time"},
		{"layer of nothing", func(in *Input) { in.Image.Layers[0].Packages = []int{9} }, "sbom: layer 0: package 9 of 4"},
	} {
		in := testInput(t)
		test.edit(&in)
		if _, err := New(in); err == nil || err.Error() != test.want {
			t.Errorf("%s: %v, want %s", test.name, err, test.want)
		}
	}
}

func TestGraphWithoutSystem(t *testing.T) {
	in := testInput(t)
	in.Tree.Packages[0].Receipt.Contents = nil
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	if got := find(t, g, "musl").PURL; got != "pkg:apk/musl@1.2.4-r2?arch=x86_64&origin=musl" {
		t.Errorf("purl without a distribution: %s", got)
	}
	if got := find(t, g, "musl").Supplier.String(); got != "Person: A. Person (person@example.org)" {
		t.Errorf("supplier without a distribution: %s", got)
	}
}

func TestUnsatisfiedDependencyIsNoted(t *testing.T) {
	in := testInput(t)
	in.Tree.Packages[1].Receipt.Package.Depends = deps(t, "nowhere>1")
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(g.Component("Package-musl-1.2.4-r2").spdxComment(), "cairn:apk:unsatisfied=nowhere>1") {
		t.Error("the dependency that nobody satisfies is not noted")
	}
}

func TestSatisfying(t *testing.T) {
	all := []rootfs.Package{
		pkg(t, "a", "1.0-r0", "", "x=2 virtual"),
		pkg(t, "b", "2.0-r0", "", "x=3 a=9 virtual"),
	}
	b := builder{all: all}
	for _, test := range []struct {
		dep  string
		want []int
	}{
		{"a", []int{0}}, {"a>1.5", []int{1}}, {"a=9", []int{1}}, {"x", []int{0, 1}}, {"x>2", []int{1}}, {"x<1", nil},
		{"virtual", []int{0, 1}}, {"virtual=1", nil}, {"zzz", nil}, {"b~2", []int{1}},
	} {
		d := deps(t, test.dep)[0]
		if got := satisfying(d, all, b.providers()[d.Name]); !cmp.Equal(got, test.want) {
			t.Errorf("%s: satisfied by %v, want %v", test.dep, got, test.want)
		}
	}
}
