package sbom

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// checkSPDX holds a document to the rules of SPDX 2.3's JSON schema and text,
// and reads it with the reference implementation.
func checkSPDX(t testing.TB, raw []byte) *v2_3.Document {
	t.Helper()
	for _, problem := range spdxProblems(raw) {
		t.Error("SPDX: ", problem)
	}
	doc, err := spdxjson.Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("SPDX: tools-golang: %v", err)
	}
	return doc
}

var (
	spdxIDPattern = regexp.MustCompile(`^SPDXRef-[A-Za-z0-9.-]+$`)
	hexPattern    = regexp.MustCompile(`^[0-9a-f]+$`)
)

// spdxProblems decodes strictly into the types that cairn writes with (their
// members are a subset of the schema's) and checks what a schema cannot say.
func spdxProblems(raw []byte) (problems []string) {
	bad := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	var d struct {
		Version   string                 `json:"spdxVersion"`
		License   string                 `json:"dataLicense"`
		ID        string                 `json:"SPDXID"`
		Name      string                 `json:"name"`
		Namespace string                 `json:"documentNamespace"`
		Creation  spdxCreation           `json:"creationInfo"`
		Describes []string               `json:"documentDescribes"`
		External  []spdxExternalDocument `json:"externalDocumentRefs"`
		Packages  []spdxPackage          `json:"packages"`
		Files     []spdxFileJSON         `json:"files"`
		Extracted []spdxLicense          `json:"hasExtractedLicensingInfos"`
		Relations []spdxRelationship     `json:"relationships"`
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return []string{err.Error()}
	}
	if d.Version != "SPDX-2.3" || d.License != "CC0-1.0" || d.ID != spdxDocument || d.Name == "" || len(d.Describes) != 1 {
		bad("head: %q %q %q %q %v", d.Version, d.License, d.ID, d.Name, d.Describes)
	}
	if !regexp.MustCompile(`^https://[^ #]+-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(d.Namespace) {
		bad("namespace %q", d.Namespace)
	}
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(d.Creation.Created) || len(d.Creation.Creators) == 0 {
		bad("creation %+v", d.Creation)
	}
	ids := map[string]bool{d.ID: true}
	id := func(s string) {
		if !spdxIDPattern.MatchString(s) {
			bad("identifier %q", s)
		}
		if ids[s] {
			bad("identifier %s twice", s)
		}
		ids[s] = true
	}
	extracted := map[string]bool{}
	for _, l := range d.Extracted {
		if l.Text == "" || !strings.HasPrefix(l.ID, "LicenseRef-") || extracted[l.ID] {
			bad("licence %+v", l)
		}
		extracted[l.ID] = true
	}
	license := func(s string) {
		for _, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == '(' || r == ')' }) {
			if strings.HasPrefix(word, "LicenseRef-") && !extracted[word] {
				bad("licence %s without text", word)
			}
		}
		if s != noAssertion && (licenseSet{}).expression(s) != s {
			bad("licence expression %q", s)
		}
	}
	checksums := func(of string, list []spdxChecksum) {
		for _, c := range list {
			if n := checksumLengths()[c.Algorithm]; n != len(c.Value) || !hexPattern.MatchString(c.Value) {
				bad("%s: checksum %+v", of, c)
			}
		}
	}
	files := map[string]string{} // element → SHA-1
	for _, f := range d.Files {
		id(f.SPDXID)
		checksums(f.Name, f.Checksums)
		if !strings.HasPrefix(f.Name, "./") || len(f.Checksums) != 2 || f.Checksums[0].Algorithm != "SHA1" {
			bad("file %+v", f)
			continue
		}
		files[f.SPDXID] = f.Checksums[0].Value
	}
	for _, p := range d.Packages {
		id(p.SPDXID)
		checksums(p.Name, p.Checksums)
		license(p.LicenseDeclared)
		license(p.LicenseConcluded)
		if p.Name == "" || p.Download == "" || p.Supplier == "" || p.FilesAnalyzed != (p.Verification != nil) {
			bad("package %+v", p)
		}
		if p.Purpose != "" && purpose(p.Purpose) != p.Purpose {
			bad("package %s: purpose %q", p.Name, p.Purpose)
		}
		for _, r := range p.References {
			if !slices.Contains([]string{"SECURITY", "PACKAGE-MANAGER", "PERSISTENT-ID", "OTHER"}, r.Category) || r.Type == "" || r.Locator == "" || strings.Contains(r.Locator, " ") {
				bad("package %s: reference %+v", p.Name, r)
			}
		}
	}
	external := map[string]bool{}
	for _, e := range d.External {
		external[e.ID] = true
		checksums(e.ID, []spdxChecksum{e.Checksum})
	}
	contained := map[string]string{}
	seen := map[spdxRelationship]bool{}
	sha1s := map[string][]string{}
	for _, r := range d.Relations {
		if seen[r] {
			bad("relationship twice: %+v", r)
		}
		seen[r] = true
		doc, _, isExternal := strings.Cut(r.To, ":")
		if !ids[r.From] || !ids[r.To] && !(isExternal && external[doc]) {
			bad("relationship to nothing: %+v", r)
		}
		if r.Type != "DESCRIBES" && !relationTypes()[RelationType(r.Type)] {
			bad("relationship type %q", r.Type)
		}
		if sum, ok := files[r.To]; ok && r.Type == "CONTAINS" {
			if contained[r.To] != "" {
				bad("file %s in %s and in %s", r.To, contained[r.To], r.From)
			}
			contained[r.To] = r.From
			sha1s[r.From] = append(sha1s[r.From], sum)
		}
	}
	for f := range files {
		if contained[f] == "" {
			bad("file %s in no package", f)
		}
	}
	for _, p := range d.Packages {
		if p.Verification != nil && p.Verification.Value != verificationCode(sha1s[p.SPDXID]) {
			bad("package %s: verification code %s", p.Name, p.Verification.Value)
		}
	}
	return problems
}

// checkCycloneDX reads a document with the reference implementation, holds it
// to the schema where that is at hand, and checks the references.
func checkCycloneDX(t testing.TB, raw []byte) *cdx.BOM {
	t.Helper()
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(raw), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatalf("CycloneDX: %v", err)
	}
	for _, problem := range cdxSchemaProblems(t, raw) {
		t.Error("CycloneDX: schema: ", problem)
	}
	if bom.SpecVersion != cdx.SpecVersion1_6 || !regexp.MustCompile(`^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`).MatchString(bom.SerialNumber) {
		t.Errorf("CycloneDX: version %v, serial number %q", bom.SpecVersion, bom.SerialNumber)
	}
	refs := map[string]bool{}
	eachComponent(bom, func(c *cdx.Component) {
		if refs[c.BOMRef] || c.BOMRef == "" {
			t.Errorf("CycloneDX: reference %q is missing or used twice", c.BOMRef)
		}
		refs[c.BOMRef] = true
	})
	if bom.Dependencies == nil {
		t.Fatal("CycloneDX: no dependencies")
	}
	for _, d := range *bom.Dependencies {
		if !refs[d.Ref] {
			t.Errorf("CycloneDX: dependencies of %q, which is not there", d.Ref)
		}
		if d.Dependencies == nil {
			continue
		}
		for _, to := range *d.Dependencies {
			if !refs[to] {
				t.Errorf("CycloneDX: %s depends on %q, which is not there", d.Ref, to)
			}
		}
	}
	return bom
}

// eachComponent walks all components, the root and nested ones included.
func eachComponent(bom *cdx.BOM, f func(*cdx.Component)) {
	var walk func(list *[]cdx.Component)
	walk = func(list *[]cdx.Component) {
		if list == nil {
			return
		}
		for i := range *list {
			f(&(*list)[i])
			walk((*list)[i].Components)
		}
	}
	f(bom.Metadata.Component)
	walk(bom.Components)
}
