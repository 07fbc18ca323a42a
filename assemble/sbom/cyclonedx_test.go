package sbom

import (
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
)

func TestCycloneDXValid(t *testing.T) {
	g := testGraph(t)
	bom := checkCycloneDX(t, cdxOf(t, g))
	if bom.Metadata.Component.BOMRef != g.Image().ID || bom.Metadata.Component.Type != cdx.ComponentTypeContainer {
		t.Errorf("the document is about %s", bom.Metadata.Component.BOMRef)
	}
	if len(*bom.Components) != len(g.Components)-1 {
		t.Errorf("%d components, want %d", len(*bom.Components), len(g.Components)-1)
	}
	if got := bom.Metadata.Timestamp; got != "2024-02-03T04:05:06Z" {
		t.Errorf("timestamp %s", got)
	}
	files := map[string]string{} // file → owner
	for _, c := range *bom.Components {
		if c.Components == nil {
			continue
		}
		for _, f := range *c.Components {
			files[f.Name] = c.Name
			if f.Type != cdx.ComponentTypeFile || len(*f.Hashes) != 2 {
				t.Errorf("file %+v", f)
			}
		}
	}
	want := map[string]string{
		"/etc/motd": "files[0]", "/etc/os-release": "alpine-release", "/etc/passwd": "accounts",
		"/etc/ssl/certs/ca-certificates.crt": "ca-certificates", "/lib/apk/db/installed": "installed-db",
		"/lib/ld-musl-x86_64.so.1": "musl", "/lib/libc.musl-x86_64.so.1": "musl",
		"/usr/bin/hello": "hello", "/usr/bin/hi": "hello", "/var/empty": "base",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

func TestCycloneDXLicenses(t *testing.T) {
	for in, want := range map[string]string{
		"MIT": "id MIT", "GPL-2.0-only": "id GPL-2.0-only", "MIT AND ISC": "expression MIT AND ISC",
		"LicenseRef-x": "expression LicenseRef-x", "": "none",
		// On SPDX's list now, not on the closed one of CycloneDX 1.6.
		"HPND-UC-export-US": "expression HPND-UC-export-US",
	} {
		got := "none"
		if l := cdxLicenses(in); l != nil {
			got = "expression " + (*l)[0].Expression
			if (*l)[0].License != nil {
				got = "id " + (*l)[0].License.ID
			}
		}
		if got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// Every identifier that goes out as such is on the schema's closed list.
func TestCycloneDXKnowsLicenses(t *testing.T) {
	if schemaDir() == "" {
		t.Skip("the CycloneDX schemas are not here")
	}
	all, _ := knownLicenses()
	for _, id := range all {
		if !cdxKnows(id) {
			continue
		}
		doc := `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"x","licenses":[{"license":{"id":"` + id + `"}}]}]}`
		if p := cdxSchemaProblems(t, []byte(doc)); p != nil {
			t.Errorf("%s: %.200s", id, strings.Join(p, " "))
		}
	}
}

func TestCycloneDXHashes(t *testing.T) {
	in := []Checksum{{"SHA1", "a"}, {"SHA256", "b"}, {"SHA224", "c"}, {"SHA3-256", "d"}, {"MD5", "e"}, {"BLAKE2b-256", "f"}}
	want := []cdx.Hash{{Algorithm: cdx.HashAlgoSHA1, Value: "a"}, {Algorithm: cdx.HashAlgoSHA256, Value: "b"}, {Algorithm: cdx.HashAlgoSHA3_256, Value: "d"}, {Algorithm: cdx.HashAlgoMD5, Value: "e"}, {Algorithm: cdx.HashAlgoBlake2b_256, Value: "f"}}
	if diff := cmp.Diff(want, cdxHashes(in)); diff != "" {
		t.Error(diff)
	}
}

func TestIndexDocuments(t *testing.T) {
	amd := testGraph(t)
	in := testInput(t)
	in.Image.Arch, in.Image.Digest = "arm/v7", hashOf("arm image")
	arm, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	x, err := NewIndex(IndexInput{
		Name: "registry.example.org/team/hello", Tags: []string{"registry.example.org/team/hello:1"}, Digest: hashOf("index"),
		Created: testTime, Author: "Example Org", ToolVersion: "v1", Unsafe: []string{"no-signature"},
	}, []*Graph{amd, arm})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := WriteAll(dir, []*Graph{amd, arm}, x); err != nil {
		t.Fatal(err)
	}
	doc := checkSPDX(t, read(t, dir, "sbom-index.spdx.json"))
	bom := checkCycloneDX(t, read(t, dir, "sbom-index.cdx.json"))
	if len(doc.ExternalDocumentReferences) != 2 {
		t.Fatalf("%d external documents, want 2", len(doc.ExternalDocumentReferences))
	}
	for i, arch := range []string{"x86_64", "armv7"} {
		spdx, cyclone := read(t, dir, "sbom-"+arch+".spdx.json"), read(t, dir, "sbom-"+arch+".cdx.json")
		ref := doc.ExternalDocumentReferences[i]
		if !strings.Contains(string(spdx), ref.URI) || ref.Checksum.Value != digestOf(spdx).sha1.Hex() {
			t.Errorf("%s: the reference %+v is not to the document", arch, ref)
		}
		link := (*(*bom.Components)[i].ExternalReferences)[0]
		own := checkCycloneDX(t, cyclone)
		if link.URL != "urn:cdx:"+strings.TrimPrefix(own.SerialNumber, "urn:uuid:")+"/1" || (*link.Hashes)[0].Value != digestOf(cyclone).sha256.Hex() {
			t.Errorf("%s: the link %+v is not to the document", arch, link)
		}
	}
	if got := doc.Packages[0].PackageComment; !strings.Contains(got, "cairn:unsafe=no-signature") {
		t.Errorf("the unsafe choice is not in the index document: %q", got)
	}
	variants := 0
	for _, r := range doc.Relationships {
		if r.Relationship == "VARIANT_OF" && string(r.RefB.ElementRefID) == x.root.ID {
			variants++
		}
	}
	if variants != 2 {
		t.Errorf("%d variants of the index, want 2", variants)
	}
}

func TestNewIndexRefuses(t *testing.T) {
	g := []*Graph{testGraph(t)}
	for _, test := range []struct {
		in     IndexInput
		graphs []*Graph
		want   string
	}{
		{IndexInput{Created: testTime}, g, "sbom: index: no digest"},
		{IndexInput{Digest: hashOf("x")}, g, "sbom: index: no creation time"},
		{IndexInput{Digest: hashOf("x"), Created: testTime}, nil, "sbom: index: no images"},
	} {
		if _, err := NewIndex(test.in, test.graphs); err == nil || err.Error() != test.want {
			t.Errorf("%v, want %s", err, test.want)
		}
	}
}
