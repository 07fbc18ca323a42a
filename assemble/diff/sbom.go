package diff

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Document is what an SBOM says: its components. It is a claim of whoever
// attached it.
type Document struct {
	Format     string // SPDX or CycloneDX, and the version
	Components []Component
}

// Component is one entry of an SBOM.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	License string `json:"license,omitempty"`
	PURL    string `json:"purl,omitempty"`
}

// SBOMChange is what differs between the SBOMs.
type SBOMChange struct {
	// From says what was compared: "installed database", or the formats of
	// attached SBOMs.
	From       string            `json:"from"`
	Components []ComponentChange `json:"components"`
	Licenses   []LicenseChange   `json:"licenses"`
}

// ComponentChange is a component that differs.
type ComponentChange struct {
	Name string     `json:"name"`
	Kind string     `json:"kind"` // added, removed, changed
	A    *Component `json:"a,omitempty"`
	B    *Component `json:"b,omitempty"`
}

// LicenseChange is a licence expression that only one side has, with the
// components that bring it.
type LicenseChange struct {
	License    string   `json:"license"`
	Kind       string   `json:"kind"` // added, removed
	Components []string `json:"components"`
}

// ErrDocument is wrapped by the errors of ParseDocument.
var ErrDocument = errors.New("not an SBOM")

// maxComponents bounds the components that are read of one document.
const maxComponents = 1 << 20

// ParseDocument reads the components of an SPDX 2 or CycloneDX document in
// JSON.
func ParseDocument(raw []byte) (*Document, error) {
	var probe struct {
		SPDXVersion string `json:"spdxVersion"`
		BOMFormat   string `json:"bomFormat"`
		SpecVersion string `json:"specVersion"`
	}
	if err := json.Unmarshal(raw, &probe); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	switch {
	case probe.SPDXVersion != "":
		return parseSPDX(raw, probe.SPDXVersion)
	case probe.BOMFormat == "CycloneDX":
		return parseCycloneDX(raw, probe.SpecVersion)
	}
	return nil, fmt.Errorf("%w: neither spdxVersion nor bomFormat: CycloneDX", ErrDocument)
}

func parseSPDX(raw []byte, version string) (*Document, error) {
	var doc struct {
		Packages []struct {
			Name         string
			VersionInfo  string
			License      string `json:"licenseDeclared"`
			Concluded    string `json:"licenseConcluded"`
			ExternalRefs []struct{ ReferenceType, ReferenceLocator string }
		}
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	out := &Document{Format: version}
	for i := range doc.Packages {
		p := &doc.Packages[i]
		c := Component{Name: p.Name, Version: p.VersionInfo, License: asserted(p.License)}
		if c.License == "" {
			c.License = asserted(p.Concluded)
		}
		for _, r := range p.ExternalRefs {
			if r.ReferenceType == "purl" && c.PURL == "" {
				c.PURL = r.ReferenceLocator
			}
		}
		if out.Components = append(out.Components, c); len(out.Components) > maxComponents {
			return nil, fmt.Errorf("%w: more than %d packages", ErrDocument, maxComponents)
		}
	}
	return out, nil
}

func asserted(license string) string {
	if license == "NOASSERTION" || license == "NONE" {
		return ""
	}
	return license
}

// cyclone is a component of CycloneDX, with those in it.
type cyclone struct {
	Type, Name, Version, PURL string
	Licenses                  []struct {
		Expression string
		License    struct{ ID, Name string }
	}
	Components []cyclone
}

// maxNested bounds how deep components are nested.
const maxNested = 32

func parseCycloneDX(raw []byte, version string) (*Document, error) {
	var doc struct{ Components []cyclone }
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	out := &Document{Format: "CycloneDX-" + version}
	return out, out.add(doc.Components, 0)
}

func (d *Document) add(list []cyclone, depth int) error {
	if depth > maxNested || len(d.Components)+len(list) > maxComponents {
		return fmt.Errorf("%w: more than %d components, or nested more than %d deep", ErrDocument, maxComponents, maxNested)
	}
	for i := range list {
		c := &list[i]
		if c.Type == "file" {
			continue // files are compared in the image itself
		}
		var licenses []string
		for _, l := range c.Licenses {
			licenses = append(licenses, cmp.Or(l.Expression, l.License.ID, l.License.Name))
		}
		d.Components = append(d.Components, Component{Name: c.Name, Version: c.Version, PURL: c.PURL, License: strings.Join(licenses, " AND ")})
		if err := d.add(c.Components, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// sbom compares attached SBOMs where both sides have one in the same format,
// and otherwise what the installed databases say.
func (c *comparison) sbom(ctx context.Context) error {
	if c.a.image == nil || c.b.image == nil {
		c.leaveOut("components and licences: a lock has no licences")
		return nil
	}
	from, a, b, err := c.documents(ctx)
	if err != nil {
		return err
	}
	if from == "" {
		if !c.a.hasDB || !c.b.hasDB {
			c.leaveOut("components and licences: no SBOM attached to both, no installed database in both")
			return nil
		}
		from, a, b = "installed database", c.a.components(), c.b.components()
	}
	c.out.SBOM = &SBOMChange{From: from, Components: componentChanges(a, b), Licenses: licenseChanges(a, b)}
	return nil
}

// documents finds a pair of attached documents of one format.
func (c *comparison) documents(ctx context.Context) (from string, a, b []Component, err error) {
	if c.options.Documents == nil {
		return "", nil, nil, nil
	}
	x, err := c.options.Documents(ctx, c.a.source.s, c.a.image.Digest)
	if err != nil {
		return "", nil, nil, err
	}
	y, err := c.options.Documents(ctx, c.b.source.s, c.b.image.Digest)
	if err != nil {
		return "", nil, nil, err
	}
	for _, d := range x {
		for _, e := range y {
			if d.Format == e.Format {
				return "attached " + d.Format + " documents (signatures not checked)", d.Components, e.Components, nil
			}
		}
	}
	return "", nil, nil, nil
}

func (s *side) components() []Component {
	var out []Component
	for i := range s.installed {
		p := &s.installed[i]
		out = append(out, Component{Name: p.Name, Version: p.Version, License: p.License})
	}
	return out
}

// key tells components apart; two of one name differ by their package URL.
func (c *Component) key() string {
	purl, _, _ := strings.Cut(c.PURL, "@")
	return c.Name + "\x00" + purl
}

func componentChanges(a, b []Component) []ComponentChange {
	out := []ComponentChange{}
	x, y := byKey(a), byKey(b)
	for k, list := range x {
		other := y[k]
		for i := range max(len(list), len(other)) {
			switch {
			case i >= len(other):
				out = append(out, ComponentChange{Name: list[i].Name, Kind: Removed, A: &list[i]})
			case i >= len(list):
				out = append(out, ComponentChange{Name: other[i].Name, Kind: Added, B: &other[i]})
			case list[i] != other[i]:
				out = append(out, ComponentChange{Name: list[i].Name, Kind: Changed, A: &list[i], B: &other[i]})
			}
		}
	}
	for k, list := range y {
		for i := range list {
			if x[k] == nil {
				out = append(out, ComponentChange{Name: list[i].Name, Kind: Added, B: &list[i]})
			}
		}
	}
	slices.SortFunc(out, func(p, q ComponentChange) int {
		return cmp.Or(slices.Index(kinds, p.Kind)-slices.Index(kinds, q.Kind), strings.Compare(p.sortKey(), q.sortKey()))
	})
	return out
}

func (c *ComponentChange) sortKey() string {
	either := c.A
	if either == nil {
		either = c.B
	}
	return either.Name + "\x00" + either.PURL + "\x00" + either.Version
}

// byKey groups components; equal ones count once.
func byKey(list []Component) map[string][]Component {
	out := map[string][]Component{}
	for _, c := range list {
		if k := c.key(); !slices.Contains(out[k], c) {
			out[k] = append(out[k], c)
		}
	}
	for _, l := range out {
		slices.SortFunc(l, func(x, y Component) int {
			return cmp.Or(strings.Compare(x.Version, y.Version), strings.Compare(x.PURL, y.PURL), strings.Compare(x.License, y.License))
		})
	}
	return out
}

func licenseChanges(a, b []Component) []LicenseChange {
	out := []LicenseChange{}
	x, y := byLicense(a), byLicense(b)
	for _, l := range slices.Sorted(maps.Keys(y)) {
		if x[l] == nil {
			out = append(out, LicenseChange{License: l, Kind: Added, Components: slices.Sorted(maps.Keys(y[l]))})
		}
	}
	for _, l := range slices.Sorted(maps.Keys(x)) {
		if y[l] == nil {
			out = append(out, LicenseChange{License: l, Kind: Removed, Components: slices.Sorted(maps.Keys(x[l]))})
		}
	}
	return out
}

func byLicense(list []Component) map[string]map[string]bool {
	out := map[string]map[string]bool{}
	for _, c := range list {
		if c.License == "" {
			continue
		}
		if out[c.License] == nil {
			out[c.License] = map[string]bool{}
		}
		out[c.License][c.Name] = true
	}
	return out
}
