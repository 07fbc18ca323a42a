// Package sbom writes the SBOM that a package carries about itself, SPDX 2.3 in
// var/lib/db/sbom/NAME-VERSION.spdx.json, where scanners and
// [github.com/cairn-dev/cairn/assemble] look for it: the package with its files
// and their checksums, licence texts, what it was built from and with, and the
// modules that are compiled or installed into its files.
//
// It finds nothing out about sources or licences: the builder knows and says so.
// The SBOM of an image is assemble/sbom's.
//
//	doc, err := sbom.Generate(ctx, sbom.Input{Package: p, Tree: t, Namespace: "wolfi"})
//	if err != nil {
//		return err
//	}
//	t, err = t.With(sbom.Path(&p), doc)
//
// The bytes follow from the input: lists are sorted, the time is the build time,
// and the document's namespace is made of a digest over all its content, so that
// two different documents never share one.
package sbom

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

// Dir is where SBOMs lie in a package.
const Dir = "var/lib/db/sbom/"

// Path returns where the SBOM of a package lies in it.
func Path(p *apk.Package) string { return Dir + p.ID() + ".spdx.json" }

// Source is something that the package was made from: an archive, a git commit,
// the definition, a patch.
type Source struct {
	Name     string // as in "hello"
	Version  string
	Location string     // a URL; "" for what has none
	SHA256   apk.SHA256 // zero when it is not a file
	PURL     string     // "" without one
}

// Input is what a document is made of.
type Input struct {
	Package apk.Package
	// Tree must have been hashed. SBOMs in it are not listed.
	Tree *tree.Tree
	// Namespace is the name of the distribution in package URLs, "wolfi".
	Namespace string
	// Licenses are texts of licences by the identifiers LicenseRef-… that
	// Package.License uses.
	Licenses map[string]string
	Sources  []Source
	// Environment are the packages that were installed while it was built.
	Environment []apk.Package
}

// Generate returns the document.
func Generate(ctx context.Context, in Input) ([]byte, error) {
	modules, err := Modules(ctx, in.Tree)
	if err != nil {
		return nil, fmt.Errorf("SBOM of %s: %w", in.Package.ID(), err)
	}
	d := newDocument(&in)
	main := d.mainPackage(&in)
	d.files(&in, main)
	d.sources(&in, main)
	d.environment(&in, main)
	d.modules(modules, main)
	d.licences(&in)
	return d.encode()
}

// The JSON of SPDX 2.3, as far as it is written.
type (
	document struct {
		Version       string         `json:"spdxVersion"`
		SPDXID        string         `json:"SPDXID"`
		DataLicense   string         `json:"dataLicense"`
		Name          string         `json:"name"`
		Namespace     string         `json:"documentNamespace"`
		Creation      creation       `json:"creationInfo"`
		Describes     []string       `json:"documentDescribes"`
		Packages      []*spdxPackage `json:"packages"`
		Files         []file         `json:"files,omitempty"`
		Relationships []relationship `json:"relationships"`
		Licenses      []licence      `json:"hasExtractedLicensingInfos,omitempty"`
		used          map[string]int
	}
	creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	verification struct {
		Value string `json:"packageVerificationCodeValue"`
	}
	spdxPackage struct {
		SPDXID        string        `json:"SPDXID"`
		Name          string        `json:"name"`
		Version       string        `json:"versionInfo,omitempty"`
		Supplier      string        `json:"supplier,omitempty"`
		Download      string        `json:"downloadLocation"`
		FilesAnalyzed bool          `json:"filesAnalyzed"`
		Verification  *verification `json:"packageVerificationCode,omitempty"`
		Checksums     []checksum    `json:"checksums,omitempty"`
		Homepage      string        `json:"homepage,omitempty"`
		Concluded     string        `json:"licenseConcluded"`
		Declared      string        `json:"licenseDeclared"`
		Copyright     string        `json:"copyrightText"`
		Description   string        `json:"description,omitempty"`
		References    []reference   `json:"externalRefs,omitempty"`
		Purpose       string        `json:"primaryPackagePurpose,omitempty"`
	}
	file struct {
		SPDXID    string     `json:"SPDXID"`
		Name      string     `json:"fileName"`
		Checksums []checksum `json:"checksums"`
		Concluded string     `json:"licenseConcluded"`
		Copyright string     `json:"copyrightText"`
	}
	relationship struct {
		From string `json:"spdxElementId"`
		Type string `json:"relationshipType"`
		To   string `json:"relatedSpdxElement"`
	}
	licence struct {
		ID   string `json:"licenseId"`
		Text string `json:"extractedText"`
	}
)

const noAssertion = "NOASSERTION"

func newDocument(in *Input) *document {
	return &document{Version: "SPDX-2.3", SPDXID: "SPDXRef-DOCUMENT", DataLicense: "CC0-1.0", Name: "apk-" + in.Package.ID(),
		Creation: creation{time.Unix(in.Package.BuildTime, 0).UTC().Format(time.RFC3339), []string{"Tool: cairn"}},
		Packages: []*spdxPackage{}, Relationships: []relationship{}, used: map[string]int{}}
}

// id makes an identifier that is not used yet: letters, digits, "." and "-"
// stand for themselves, and what became equal is numbered.
func (d *document) id(parts ...string) string {
	var b strings.Builder
	b.WriteString("SPDXRef")
	for _, p := range parts {
		b.WriteByte('-')
		for _, c := range p {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-':
				b.WriteRune(c)
			default:
				b.WriteByte('-')
			}
		}
	}
	name := b.String()
	d.used[name]++
	if n := d.used[name]; n > 1 {
		return d.id(strings.TrimPrefix(name, "SPDXRef-"), strconv.Itoa(n))
	}
	return name
}

func (d *document) relate(from, kind, to string) {
	d.Relationships = append(d.Relationships, relationship{from, kind, to})
}

func (d *document) add(p *spdxPackage) *spdxPackage {
	p.Download = cmp.Or(p.Download, noAssertion)
	p.Concluded, p.Declared, p.Copyright = noAssertion, cmp.Or(p.Declared, noAssertion), noAssertion
	d.Packages = append(d.Packages, p)
	return p
}

func purl(locator string) []reference {
	if locator == "" {
		return nil
	}
	return []reference{{"PACKAGE-MANAGER", "purl", locator}}
}

func apkURL(namespace string, p *apk.Package) string {
	q := map[string]string{}
	if p.Arch != "" {
		q["arch"] = p.Arch
	}
	if namespace != "" {
		q["distro"] = namespace
	}
	return packageurl.NewPackageURL("apk", namespace, p.Name, p.Version, packageurl.QualifiersFromMap(q), "").ToString()
}

func (d *document) mainPackage(in *Input) *spdxPackage {
	p := &in.Package
	main := d.add(&spdxPackage{SPDXID: d.id("Package", "apk", p.ID()), Name: p.Name, Version: p.Version, Homepage: p.URL,
		Declared: p.License, Description: p.Description, References: purl(apkURL(in.Namespace, p)), Purpose: "APPLICATION"})
	if in.Namespace != "" {
		main.Supplier = "Organization: " + in.Namespace
	}
	d.Describes = []string{main.SPDXID}
	d.relate(d.SPDXID, "DESCRIBES", main.SPDXID)
	return main
}

// files lists the regular files and computes the verification code: the SHA-1 of
// the sorted SHA-1s (SPDX 2.3, 7.9).
func (d *document) files(in *Input, main *spdxPackage) {
	var sums []string
	for _, e := range in.Tree.Entries() {
		if e.Type != apk.TypeFile || strings.HasPrefix(e.Path, Dir) {
			continue
		}
		f := file{SPDXID: d.id("File", e.Path), Name: "./" + e.Path, Concluded: noAssertion, Copyright: noAssertion,
			Checksums: []checksum{{"SHA1", e.SHA1.Hex()}, {"SHA256", e.SHA256.Hex()}}}
		d.Files = append(d.Files, f)
		d.relate(main.SPDXID, "CONTAINS", f.SPDXID)
		sums = append(sums, e.SHA1.Hex())
	}
	if len(sums) == 0 {
		return
	}
	slices.Sort(sums)
	code := sha1.Sum([]byte(strings.Join(sums, "")))
	main.FilesAnalyzed, main.Verification = true, &verification{hex.EncodeToString(code[:])}
}

func (d *document) sources(in *Input, main *spdxPackage) {
	list := slices.Clone(in.Sources)
	slices.SortStableFunc(list, func(a, b Source) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Location, b.Location))
	})
	for _, s := range list {
		p := d.add(&spdxPackage{SPDXID: d.id("Source", s.Name, s.Version), Name: s.Name, Version: s.Version, Download: s.Location,
			References: purl(s.PURL), Purpose: "SOURCE"})
		if !s.SHA256.IsZero() {
			p.Checksums = []checksum{{"SHA256", s.SHA256.Hex()}}
		}
		d.relate(main.SPDXID, "GENERATED_FROM", p.SPDXID)
	}
}

func (d *document) environment(in *Input, main *spdxPackage) {
	list := slices.Clone(in.Environment)
	slices.SortStableFunc(list, func(a, b apk.Package) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version))
	})
	for i := range list {
		e := &list[i]
		p := d.add(&spdxPackage{SPDXID: d.id("Environment", e.ID()), Name: e.Name, Version: e.Version, Declared: e.License,
			References: purl(apkURL(in.Namespace, e)), Purpose: "INSTALL"})
		if !e.Checksum.IsZero() {
			p.Checksums = []checksum{{"SHA1", e.Checksum.Hex()}}
		}
		d.relate(p.SPDXID, "BUILD_DEPENDENCY_OF", main.SPDXID)
	}
}

// modules adds what is in the files, related to the file that has it.
func (d *document) modules(list []Module, main *spdxPackage) {
	files := map[string]string{}
	for _, f := range d.Files {
		files[f.Name] = f.SPDXID
	}
	made := map[string]string{}
	for _, m := range list {
		id := made[m.PURL]
		if id == "" {
			id = d.add(&spdxPackage{SPDXID: d.id("Module", m.Type, m.Name, m.Version), Name: m.Name, Version: m.Version,
				References: purl(m.PURL), Purpose: "LIBRARY"}).SPDXID
			made[m.PURL] = id
		}
		d.relate(cmp.Or(files["./"+m.Path], main.SPDXID), "CONTAINS", id)
	}
}

func (d *document) licences(in *Input) {
	for id, text := range in.Licenses {
		d.Licenses = append(d.Licenses, licence{id, text})
	}
	slices.SortFunc(d.Licenses, func(a, b licence) int { return strings.Compare(a.ID, b.ID) })
}

// encode fills in the namespace, which is made of everything else.
func (d *document) encode() ([]byte, error) {
	b, err := d.marshal()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	d.Namespace = "https://spdx.org/spdxdocs/cairn/" + d.Name + "-" + hex.EncodeToString(sum[:])
	return d.marshal()
}

func (d *document) marshal() ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(d)
	return out.Bytes(), err
}
