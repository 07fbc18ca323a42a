package sbom

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/rootfs"
)

// withEmbedded is the test image with another SBOM in hello.
func withEmbedded(t testing.TB, content string) Input {
	t.Helper()
	in := testInput(t)
	in.Tree.Packages[2].Receipt.Contents["var/lib/db/sbom/hello-2.12-r1.spdx.json"] = []byte(content)
	return in
}

func TestEmbeddedRefused(t *testing.T) {
	doc := func(packages, relationships, more string) string {
		return `{"spdxVersion":"SPDX-2.3","SPDXID":"SPDXRef-DOCUMENT"` + more + `,"packages":[` + packages + `],"relationships":[` + relationships + `]}`
	}
	const hello = `{"SPDXID":"SPDXRef-p","name":"hello","versionInfo":"2.12-r1"}`
	for _, test := range []struct{ name, in, want string }{
		{"empty", "", "JSON: EOF"},
		{"no JSON", "SPDXVersion: SPDX-2.2", "JSON: invalid character 'S' looking for beginning of value"},
		{"cut off", doc(hello, "", "")[:70], "JSON: unexpected EOF"},
		{"more behind it", doc(hello, "", "") + "{}", "JSON: something follows the document"},
		{"wrong type", `{"spdxVersion":3}`, "JSON: json: cannot unmarshal number into Go struct field embeddedDoc.spdxVersion of type string"},
		{"no version", `{"packages":[` + hello + `]}`, `spdxVersion "": expected SPDX-2.x`},
		{"CycloneDX", `{"bomFormat":"CycloneDX","specVersion":"1.5"}`, `spdxVersion "": expected SPDX-2.x`},
		{"SPDX 3", strings.Replace(doc(hello, "", ""), "SPDX-2.3", "SPDX-3.0", 1), `spdxVersion "SPDX-3.0": expected SPDX-2.x`},
		{"no package", doc("", "", ""), "no package in it"},
		{"no name", doc(`{"SPDXID":"SPDXRef-p"}`, "", ""), "package SPDXRef-p has no name"},
		{"no identifier", doc(`{"name":"hello"}`, "", ""), `package hello: identifier "" is missing or used twice`},
		{"same identifier", doc(hello+","+hello, "", ""), `package hello: identifier "SPDXRef-p" is missing or used twice`},
		{"relationship to nothing", doc(hello, `{"spdxElementId":"SPDXRef-p","relationshipType":"CONTAINS","relatedSpdxElement":"SPDXRef-q"}`, ""),
			`relationship CONTAINS refers to "SPDXRef-q", which is not in it`},
		{"describes nothing", doc(hello, "", `,"documentDescribes":["SPDXRef-q"]`), `describes "SPDXRef-q", which is not in it`},
		{"of another package", doc(`{"SPDXID":"SPDXRef-p","name":"goodbye","versionInfo":"2.12-r1"}`, "", ""), "describes no package hello 2.12-r1"},
		{"of another version", doc(`{"SPDXID":"SPDXRef-p","name":"hello","versionInfo":"2.11-r0"}`, "", ""), "describes no package hello 2.12-r1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(withEmbedded(t, test.in))
			want := "sbom: package hello-2.12-r1: var/lib/db/sbom/hello-2.12-r1.spdx.json: embedded SBOM cannot be read: " + test.want
			if err == nil || err.Error() != want {
				t.Fatalf("\ngot  %v\nwant %s", err, want)
			}
			var e *EmbeddedError
			if !errors.Is(err, ErrEmbedded) || !errors.As(err, &e) || e.Package != "hello-2.12-r1" {
				t.Errorf("%v is no EmbeddedError", err)
			}
		})
	}
}

// An unsafe choice leaves the broken document out, keeps the package, and says
// so where the package is described.
func TestAllowUnreadable(t *testing.T) {
	in := withEmbedded(t, "{")
	in.AllowUnreadable = true
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Unreadable, []string{"hello-2.12-r1"}) {
		t.Errorf("unreadable: %v", g.Unreadable)
	}
	for name, doc := range map[string][]byte{"SPDX": spdxOf(t, g), "CycloneDX": cdxOf(t, g)} {
		if !strings.Contains(string(doc), "embedded SBOM left out: JSON: unexpected EOF") {
			t.Errorf("%s does not say that something was left out", name)
		}
		if !strings.Contains(string(doc), "pkg:apk/alpine/hello@2.12-r1") {
			t.Errorf("%s does not list the package", name)
		}
	}
}

// Two packages may use the same identifiers and even the same licence
// identifier for different texts.
func TestEmbeddedIdentifiersDoNotMeet(t *testing.T) {
	in := testInput(t)
	other := strings.NewReplacer(`"hello"`, `"musl"`, "2.12-r1", "1.2.4-r2", `"2.12"`, `"1.2"`, "do as you like with the manual", "all rights reserved").Replace(embeddedHello)
	in.Tree.Packages[1].Receipt.Contents["var/lib/db/sbom/musl-1.2.4-r2.spdx.json"] = []byte(other)
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	a, b := g.Component("Package-musl-1.2.4-r2-Source"), g.Component("Package-hello-2.12-r1-Source")
	if a == nil || b == nil {
		t.Fatal("one of the two upstream components is missing")
	}
	if a.License == b.License {
		t.Errorf("different texts, same licence %s", a.License)
	}
	texts := map[string]string{}
	for _, l := range g.Licenses {
		texts[l.ID] = l.Text
	}
	if texts["LicenseRef-doc"] != "all rights reserved" || texts["LicenseRef-hello-2.12-r1-doc"] != "do as you like with the manual" {
		t.Errorf("licence texts: %v", texts)
	}
}

// Subpackages name the same source: it is one component.
func TestEmbeddedSharedSource(t *testing.T) {
	in := testInput(t)
	doc := strings.NewReplacer("SPDXRef-Package-hello-2.12-r1", "SPDXRef-Me", `"name": "hello", "versionInfo": "2.12-r1"`, `"name": "musl", "versionInfo": "1.2.4-r2"`).Replace(embeddedHello)
	in.Tree.Packages[1].Receipt.Contents["var/lib/db/sbom/musl-1.2.4-r2.spdx.json"] = []byte(doc)
	g, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	var sources, links int
	for _, c := range g.Components {
		if c.Kind == KindUpstream {
			sources++
		}
	}
	for _, r := range g.Relationships {
		if r.Type == GeneratedFrom && strings.HasPrefix(r.From, "Package-") {
			links++
		}
	}
	if sources != 1 || links != 2 {
		t.Errorf("%d components, %d links to it: want 1 and 2", sources, links)
	}
}

func TestEmbeddedValuesAreHeldToTheFormat(t *testing.T) {
	doc := `{"spdxVersion":"SPDX-2.2","packages":[
	 {"SPDXID":"SPDXRef-p","name":"hello","versionInfo":"2.12-r1","homepage":"javascript:x",
	  "externalRefs":[{"referenceCategory":"SECURITY","referenceType":"cpe23Type","referenceLocator":"not a cpe"},
	   {"referenceCategory":"WHATEVER","referenceType":"x","referenceLocator":"y"},
	   {"referenceCategory":"PERSISTENT_ID","referenceType":"gitoid","referenceLocator":"gitoid:blob:sha1:x"}]},
	 {"SPDXID":"SPDXRef-a_b:c","name":"odd","primaryPackagePurpose":"SOMETHING","downloadLocation":"https://u:p@example.org/x",
	  "checksums":[{"algorithm":"SHA256","checksumValue":"short"},{"algorithm":"ROT13","checksumValue":"aa"},{"algorithm":"SHA1","checksumValue":"DA39A3EE5E6B4B0D3255BFEF95601890AFD80709"}],
	  "externalRefs":[{"referenceCategory":"PACKAGE-MANAGER","referenceType":"purl","referenceLocator":"http://no.purl"}]}],
	 "relationships":[{"spdxElementId":"SPDXRef-p","relationshipType":"LOVES","relatedSpdxElement":"SPDXRef-a_b:c"}]}`
	g, err := New(withEmbedded(t, doc))
	if err != nil {
		t.Fatal(err)
	}
	odd := g.Component("Package-hello-2.12-r1-a-b-c")
	if odd == nil {
		t.Fatal("the component with the odd identifier is missing")
	}
	if odd.Purpose != "OTHER" || odd.PURL != "" || odd.Download != "https://example.org/x" ||
		!slices.Equal(odd.Checksums, []Checksum{{"SHA1", "da39a3ee5e6b4b0d3255bfef95601890afd80709"}}) {
		t.Errorf("taken over as %+v", odd)
	}
	hello := find(t, g, "hello")
	if len(hello.CPEs) != 0 || !slices.Equal(hello.References, []Reference{{"PERSISTENT-ID", "gitoid", "gitoid:blob:sha1:x"}}) {
		t.Errorf("references taken over: %v %v", hello.CPEs, hello.References)
	}
	for _, r := range g.Relationships {
		if r.Type == "LOVES" {
			t.Error("a relationship that SPDX does not know was taken over")
		}
	}
	checkSPDX(t, spdxOf(t, g))
	checkCycloneDX(t, cdxOf(t, g))
}

func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CAIRN_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("real data are not here: ", err)
	}
	return dir
}

// The SBOMs that melange put into real packages can all be read.
func TestEmbeddedReal(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(dataDir(t), "wolfi-built", "*.apk"))
	if err != nil || len(paths) == 0 {
		t.Skip("no built packages: ", err)
	}
	st := openStore(t)
	read := 0
	for _, path := range paths {
		r, err := ingest(t, st, path)
		if err != nil {
			t.Logf("%s: %v", filepath.Base(path), err)
			continue
		}
		for _, name := range embeddedPaths(r) {
			doc, err := parseEmbedded(r.Contents[name])
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if _, err := doc.self(r.Package.Name, r.Package.Version); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			read++
		}
	}
	if read < 8 {
		t.Errorf("%d embedded SBOMs read, expected at least 8", read)
	}
	t.Logf("%d embedded SBOMs read", read)
}

func FuzzEmbedded(f *testing.F) {
	f.Add([]byte(embeddedHello))
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"a","name":"hello","licenseDeclared":"((x"}]}`))
	f.Add([]byte(`{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"SPDXRef-OperatingSystem","name":"hello"},{"SPDXID":"b","name":"hello"}],"relationships":[{"spdxElementId":"b","relationshipType":"CONTAINS","relatedSpdxElement":"SPDXRef-OperatingSystem"}]}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		in := testInput(t)
		in.Tree.Packages = []rootfs.Package{in.Tree.Packages[0], in.Tree.Packages[1], in.Tree.Packages[2], in.Tree.Packages[3]}
		in.Tree.Packages[2].Receipt.Contents["var/lib/db/sbom/hello-2.12-r1.spdx.json"] = doc
		g, err := New(in)
		if err != nil {
			if !errors.Is(err, ErrEmbedded) {
				t.Errorf("%v: not an EmbeddedError", err)
			}
			return
		}
		checkSPDX(t, spdxOf(t, g))
		checkCycloneDX(t, cdxOf(t, g))
	})
}
