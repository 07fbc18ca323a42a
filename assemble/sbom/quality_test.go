package sbom

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// quality holds what a scorer looks at, the same for both formats.
type quality struct {
	spec, version, timestamp, namespace, primary string
	authors, tools, supplier                     bool
	dataLicense                                  bool
	components                                   []measured
	relations                                    int
	complete                                     bool
}

type measured struct {
	id, name, version, supplier, purl, cpe, license, purpose, checksum, download string
	dependsOrContained                                                           bool
}

func qualityOfSPDX(t *testing.T, g *Graph) quality {
	doc := checkSPDX(t, spdxOf(t, g))
	q := quality{spec: "SPDX", version: doc.SPDXVersion, timestamp: doc.CreationInfo.Created, namespace: doc.DocumentNamespace, dataLicense: doc.DataLicense == "CC0-1.0"}
	for _, c := range doc.CreationInfo.Creators {
		q.tools = q.tools || c.CreatorType == "Tool" && strings.Contains(c.Creator, "-")
		q.authors = q.authors || c.CreatorType == "Organization"
	}
	linked := map[string]bool{}
	for _, r := range doc.Relationships {
		linked[string(r.RefA.ElementRefID)], linked[string(r.RefB.ElementRefID)] = true, true
		if r.Relationship == "DESCRIBES" {
			q.primary = string(r.RefB.ElementRefID)
		}
		q.relations++
	}
	for _, p := range doc.Packages {
		m := measured{
			id: string(p.PackageSPDXIdentifier), name: p.PackageName, version: p.PackageVersion, supplier: p.PackageSupplier.Supplier,
			license: p.PackageLicenseDeclared, purpose: p.PrimaryPackagePurpose, download: p.PackageDownloadLocation,
			dependsOrContained: linked[string(p.PackageSPDXIdentifier)],
		}
		for _, r := range p.PackageExternalReferences {
			switch r.RefType {
			case "purl":
				m.purl = r.Locator
			case "cpe23Type", "cpe22Type":
				m.cpe = r.Locator
			}
		}
		if len(p.PackageChecksums) > 0 {
			m.checksum = string(p.PackageChecksums[0].Algorithm)
		}
		if m.id == q.primary {
			q.supplier = m.supplier != noAssertion
		}
		q.components = append(q.components, m)
	}
	q.complete = true // SPDX: no NOASSERTION relationship target is ever written
	return q
}

func qualityOfCycloneDX(t *testing.T, g *Graph) quality {
	bom := checkCycloneDX(t, cdxOf(t, g))
	q := quality{
		spec: bom.BOMFormat, version: bom.SpecVersion.String(), timestamp: bom.Metadata.Timestamp, namespace: bom.SerialNumber,
		primary: bom.Metadata.Component.BOMRef, authors: bom.Metadata.Authors != nil, supplier: bom.Metadata.Supplier != nil,
		tools: (*bom.Metadata.Tools.Components)[0].Version != "", dataLicense: true,
		complete: (*bom.Compositions)[0].Aggregate == cdx.CompositionAggregateComplete,
	}
	linked := map[string]bool{}
	for _, d := range *bom.Dependencies {
		if d.Dependencies == nil {
			continue
		}
		for _, to := range *d.Dependencies {
			linked[d.Ref], linked[to] = true, true
			q.relations++
		}
	}
	for _, c := range append([]cdx.Component{*bom.Metadata.Component}, *bom.Components...) {
		m := measured{id: c.BOMRef, name: c.Name, version: c.Version, purl: c.PackageURL, cpe: c.CPE, purpose: string(c.Type), dependsOrContained: linked[c.BOMRef], license: noAssertion, download: noAssertion}
		if c.Supplier != nil {
			m.supplier = c.Supplier.Name
		}
		if c.Licenses != nil {
			m.license = "declared"
		}
		if c.Hashes != nil {
			m.checksum = string((*c.Hashes)[0].Algorithm)
		}
		q.components = append(q.components, m)
	}
	return q
}

// The seven minimum elements of an SBOM (NTIA, July 2021), for every component.
func TestNTIAMinimumElements(t *testing.T) {
	g := testGraph(t)
	for _, q := range []quality{qualityOfSPDX(t, g), qualityOfCycloneDX(t, g)} {
		if !q.authors || !q.tools {
			t.Errorf("%s: no author", q.spec)
		}
		if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(q.timestamp) {
			t.Errorf("%s: timestamp %q", q.spec, q.timestamp)
		}
		for _, c := range q.components {
			if c.supplier == "" || c.supplier == noAssertion {
				t.Errorf("%s: %s: no supplier", q.spec, c.id)
			}
			if c.name == "" || c.version == "" {
				t.Errorf("%s: %s: name %q, version %q", q.spec, c.id, c.name, c.version)
			}
			if c.purl == "" && c.cpe == "" {
				t.Errorf("%s: %s: no unique identifier", q.spec, c.id)
			}
			if !c.dependsOrContained {
				t.Errorf("%s: %s: stands in no relationship", q.spec, c.id)
			}
		}
	}
}

// checks are those of sbomqs (docs/reference/quality-checks.md of
// github.com/interlynk-io/sbomqs), each a share of components or 0 or 1.
func checks(q quality, packagesOnly []measured) map[string]float64 {
	yes := func(ok bool) float64 {
		if ok {
			return 1
		}
		return 0
	}
	share := func(of []measured, ok func(measured) bool) float64 {
		n := 0
		for _, m := range of {
			if ok(m) {
				n++
			}
		}
		return float64(n) / float64(len(of))
	}
	licensed := func(m measured) bool { return m.license != "" && m.license != noAssertion }
	all := q.components
	ids := map[string]bool{}
	for _, m := range all {
		ids[m.id] = true
	}
	return map[string]float64{
		"ntia: comp_with_name":                   share(all, func(m measured) bool { return m.name != "" }),
		"ntia: comp_with_supplier":               share(all, func(m measured) bool { return m.supplier != "" && m.supplier != noAssertion }),
		"ntia: comp_with_uniq_ids":               yes(len(ids) == len(all)),
		"ntia: comp_with_version":                share(all, func(m measured) bool { return m.version != "" }),
		"ntia: sbom_authors":                     yes(q.authors),
		"ntia: sbom_creation_timestamp":          yes(q.timestamp != ""),
		"ntia: sbom_dependencies":                yes(q.relations > 0),
		"structural: sbom_spec":                  yes(q.spec == "SPDX" || q.spec == "CycloneDX"),
		"structural: sbom_spec_version":          yes(q.version == "SPDX-2.3" || q.version == "1.6"),
		"structural: sbom_parsable":              1, // or we would not be here
		"structural: spec_compliant":             yes(q.namespace != ""),
		"structural: sbom_with_uri":              yes(strings.Contains(q.namespace, ":")),
		"semantic: required_fields":              share(all, func(m measured) bool { return m.id != "" && m.name != "" }),
		"semantic: comp_with_licenses":           share(packagesOnly, licensed),
		"semantic: comp_with_checksums":          share(packagesOnly, func(m measured) bool { return m.checksum != "" }),
		"semantic: comp_with_sha256":             share(packagesOnly, func(m measured) bool { return strings.ReplaceAll(m.checksum, "-", "") == "SHA256" }),
		"quality: comp_valid_licenses":           share(packagesOnly, licensed),
		"quality: comp_no_deprecated_license":    share(packagesOnly, func(m measured) bool { return m.license != "GPL-2.0" && m.license != "GPL-3.0" }),
		"quality: comp_with_primary_purpose":     share(all, func(m measured) bool { return m.purpose != "" }),
		"quality: comp_with_purl_or_cpe":         share(all, func(m measured) bool { return m.purl != "" || m.cpe != "" }),
		"quality: comp_with_purl":                share(all, func(m measured) bool { return m.purl != "" }),
		"quality: sbom_with_creator_and_version": yes(q.tools),
		"quality: sbom_with_primary_component":   yes(q.primary != ""),
		"quality: sbom_build_process":            yes(q.tools),
		"quality: primary_has_supplier":          yes(q.supplier),
		"quality: sbom_completeness_declared":    yes(q.complete),
		"sharing: sbom_sharable":                 yes(q.dataLicense),
	}
}

func TestQualityScore(t *testing.T) {
	inputs := map[string]Input{"test image": testInput(t)}
	t.Run("real", func(t *testing.T) { inputs["Alpine with SSH"] = bootInput(t, "ssh") })
	for name, in := range inputs {
		g, err := New(in)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range []quality{qualityOfSPDX(t, g), qualityOfCycloneDX(t, g)} {
			var packages []measured
			for _, m := range q.components {
				if regexp.MustCompile(`^Package-.*-r\d+$`).MatchString(m.id) {
					packages = append(packages, m)
				}
			}
			sum, n := 0.0, 0
			var low []string
			for check, score := range checks(q, packages) {
				sum, n = sum+score, n+1
				if score < 1 {
					low = append(low, fmt.Sprintf("%s %.2f", check, score))
				}
			}
			score := 10 * sum / float64(n)
			t.Logf("%s, %s: %.2f of 10 by %d checks; below 1: %v", name, q.spec, score, n, low)
			if score < 9 || n < 25 {
				t.Errorf("%s, %s: score %.2f by %d checks, want at least 9 by 25", name, q.spec, score, n)
			}
		}
	}
}
