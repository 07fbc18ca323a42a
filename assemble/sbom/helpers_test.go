package sbom

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

var testTime = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

func hashOf(s string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256([]byte(s)))}
}

func deps(t testing.TB, list string) []apk.Dependency {
	t.Helper()
	d, err := apk.ParseDependencies(list)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pkg makes a package with one file.
func pkg(t testing.TB, name, version, depends, provides string) rootfs.Package {
	t.Helper()
	return rootfs.Package{
		Repository: "https://user:secret@dl-cdn.alpinelinux.org/alpine/v3.19/main",
		Receipt: &store.Receipt{
			Package: apk.Package{
				Name: name, Version: version, Arch: "x86_64", License: "MIT", URL: "https://example.org/" + name,
				Description: name + " for tests", Maintainer: "A. Person <person@example.org>",
				Depends: deps(t, depends), Provides: deps(t, provides), Checksum: sha1.Sum([]byte(name)),
				Commit: "c0ffee", BuildTime: testTime.Unix(),
			},
			SignatureKey: "alpine-devel@lists.alpinelinux.org-6165ee59.rsa.pub",
			FileSHA256:   sha256.Sum256([]byte(name)),
			DataHash:     sha256.Sum256([]byte("data " + name)),
			Contents:     map[string][]byte{},
		},
	}
}

// tree collects entries for a test.
type tree struct{ rootfs.Tree }

func (t *tree) dir(path, owner string) {
	t.Entries = append(t.Entries, rootfs.Entry{
		Entry: apk.Entry{Path: path, Type: apk.TypeDir, Mode: 0o755}, Owner: packageOwner(owner), Package: -1,
	})
}

func packageOwner(name string) rootfs.Owner {
	return rootfs.Owner{Kind: rootfs.OwnedByPackage, Name: name}
}

// file adds a file of a package, known by digest only.
func (t *tree) file(path, owner, content string) {
	t.Entries = append(t.Entries, rootfs.Entry{
		Entry: apk.Entry{
			Path: path, Type: apk.TypeFile, Mode: 0o644, Size: int64(len(content)),
			SHA256: sha256.Sum256([]byte(content)), SHA1: sha1.Sum([]byte(content)),
		},
		Owner: packageOwner(owner),
	})
}

func (t *tree) link(typ apk.EntryType, path, owner, target string) {
	t.Entries = append(t.Entries, rootfs.Entry{
		Entry: apk.Entry{Path: path, Type: typ, Mode: 0o777, Link: target}, Owner: packageOwner(owner),
	})
}

// made adds a file that is in no package.
func (t *tree) made(path string, kind rootfs.OwnerKind, name, content string, derived ...string) {
	t.Entries = append(t.Entries, rootfs.Entry{
		Entry: apk.Entry{Path: path, Type: apk.TypeFile, Mode: 0o644, Size: int64(len(content))},
		Owner: rootfs.Owner{Kind: kind, Name: name}, Package: -1, Content: []byte(content), Derived: derived,
	})
}

func (t *tree) sort() {
	slices.SortFunc(t.Entries, func(a, b rootfs.Entry) int { return bytes.Compare([]byte(a.Path), []byte(b.Path)) })
}

const osRelease = "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.19.1\nHOME_URL=\"https://alpinelinux.org/\"\nCPE_NAME='cpe:/o:alpinelinux:alpine_linux:3.19.1'\n"

// testInput is a small complete image: four packages, one with an embedded
// SBOM, an inline file, and generated files.
func testInput(t testing.TB) Input {
	t.Helper()
	tr := &tree{rootfs.Tree{Arch: "x86_64"}}
	release := pkg(t, "alpine-release", "3.19.1-r0", "", "")
	release.Receipt.Contents["etc/os-release"] = []byte(osRelease)
	musl := pkg(t, "musl", "1.2.4-r2", "", "so:libc.musl-x86_64.so.1=1")
	musl.Receipt.Package.Origin = "musl"
	hello := pkg(t, "hello", "2.12-r1", "so:libc.musl-x86_64.so.1 !goodbye", "cmd:hello=2.12-r1")
	hello.Requested = true
	hello.Receipt.Package.Origin = "hello-src"
	hello.Receipt.Package.License = "GPL-3.0-or-later AND custom"
	hello.Receipt.Contents["var/lib/db/sbom/hello-2.12-r1.spdx.json"] = []byte(embeddedHello)
	certs := pkg(t, "ca-certificates-bundle", "20230506-r0", "", "")
	tr.Packages = []rootfs.Package{release, musl, hello, certs}

	tr.dir("etc", "alpine-release")
	tr.file("etc/os-release", "alpine-release", osRelease)
	tr.dir("lib", "musl")
	tr.file("lib/ld-musl-x86_64.so.1", "musl", "musl code")
	tr.link(apk.TypeSymlink, "lib/libc.musl-x86_64.so.1", "musl", "ld-musl-x86_64.so.1")
	tr.file("usr/bin/hello", "hello", "hello code")
	tr.link(apk.TypeHardlink, "usr/bin/hi", "hello", "usr/bin/hello")
	tr.made("etc/motd", rootfs.OwnedByConfig, "files[0]", "welcome\n")
	tr.made("etc/passwd", rootfs.OwnedByConfig, "accounts", "root:x:0:0::/:\n", "alpine-release")
	tr.made("etc/ssl/certs/ca-certificates.crt", rootfs.OwnedByGenerator, "ca-certificates", "CERTS\n", "ca-certificates-bundle", "certificates.additional[0]")
	tr.made("lib/apk/db/installed", rootfs.OwnedByGenerator, "installed-db", "P:hello\n", "hello", "musl")
	tr.made("var/empty", rootfs.OwnedByGenerator, "base", "")
	for i := range tr.Entries {
		if tr.Entries[i].Path == "etc/os-release" {
			tr.Entries[i].Member = -1
		}
	}
	tr.sort()
	return Input{
		Tree: &tr.Tree,
		Image: Image{
			Name: "registry.example.org/team/hello", Tags: []string{"registry.example.org/team/hello:1"},
			Digest: hashOf("image"), Arch: "amd64", Created: testTime,
			Annotations: map[string]string{"org.opencontainers.image.licenses": "Apache-2.0"},
			Layers: []layer.Layer{
				{Kind: layer.Verbatim, Packages: []int{1}, Digest: hashOf("l1"), DiffID: hashOf("d1"), Size: 10},
				{Kind: layer.Packed, Packages: []int{0, 2}, Digest: hashOf("l2"), DiffID: hashOf("d2"), Size: 20},
				{Kind: layer.Top, Digest: hashOf("l3"), DiffID: hashOf("d3"), Size: 30},
			},
		},
		Sources:     []Source{{Name: "image.yaml", SHA256: sha256.Sum256([]byte("yaml")), Size: 4}},
		Author:      "Example Org",
		ToolVersion: "v1.2.3",
	}
}

const embeddedHello = `{
 "SPDXID": "SPDXRef-DOCUMENT", "name": "apk-hello-2.12-r1", "spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0",
 "documentNamespace": "https://example.org/hello", "documentDescribes": ["SPDXRef-Package-hello-2.12-r1"],
 "creationInfo": {"created": "2023-01-01T00:00:00Z", "creators": ["Tool: melange"]},
 "packages": [
  {"SPDXID": "SPDXRef-OperatingSystem", "name": "alpine", "downloadLocation": "NOASSERTION", "primaryPackagePurpose": "OPERATING-SYSTEM"},
  {"SPDXID": "SPDXRef-Package-hello-2.12-r1", "name": "hello", "versionInfo": "2.12-r1", "downloadLocation": "NOASSERTION",
   "supplier": "Organization: Hello Makers", "copyrightText": "Copyright 2022 Free Software Foundation",
   "externalRefs": [
     {"referenceCategory": "SECURITY", "referenceType": "cpe23Type", "referenceLocator": "cpe:2.3:a:gnu:hello:2.12:*:*:*:*:*:*:*"},
     {"referenceCategory": "PACKAGE_MANAGER", "referenceType": "purl", "referenceLocator": "pkg:apk/other/hello@2.12-r1"}]},
  {"SPDXID": "SPDXRef-Source", "name": "hello", "versionInfo": "2.12", "downloadLocation": "https://ftp.gnu.org/gnu/hello/hello-2.12.tar.gz",
   "supplier": "Organization: GNU", "licenseDeclared": "GPL-3.0-or-later AND LicenseRef-doc", "primaryPackagePurpose": "SOURCE",
   "checksums": [{"algorithm": "SHA256", "checksumValue": "cf04af86dc085268c5f4470fbae49b18afbc221b78096aab842d934a76bad0ab"}],
   "externalRefs": [{"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": "pkg:generic/hello@2.12"}]}],
 "files": [{"SPDXID": "SPDXRef-File-hello", "fileName": "/usr/bin/hello"}],
 "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-doc", "extractedText": "do as you like with the manual", "name": "Manual"}],
 "relationships": [
  {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-Package-hello-2.12-r1"},
  {"spdxElementId": "SPDXRef-Package-hello-2.12-r1", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-File-hello"},
  {"spdxElementId": "SPDXRef-Package-hello-2.12-r1", "relationshipType": "GENERATED_FROM", "relatedSpdxElement": "SPDXRef-Source"}]
}`

func testGraph(t testing.TB) *Graph {
	t.Helper()
	g, err := New(testInput(t))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func spdxOf(t testing.TB, g *Graph) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := g.WriteSPDX(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func cdxOf(t testing.TB, g *Graph) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := g.WriteCycloneDX(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func find(t testing.TB, g *Graph, name string) *Component {
	t.Helper()
	for i := range g.Components {
		if c := &g.Components[i]; c.Name == name && c.Kind != KindUpstream {
			return c
		}
	}
	t.Fatalf("no component %s", name)
	return nil
}
