package policy

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/sign/verify"
)

// vexStatement is what of an OpenVEX statement (openvex.dev, 0.2.0 and 0.0.1)
// decides whether a finding matters.
type vexStatement struct {
	names    []string // of the vulnerability, with its aliases
	status   string
	at       time.Time
	products []vexProduct
}

// vexProduct is what a statement is about.
type vexProduct struct {
	vexComponent
	subcomponents []vexComponent
}

// vexComponent is a product or a part of one: everything that it may be known by.
type vexComponent struct {
	ids    []string // IRIs and package URLs
	sha256 string
}

// vexStatements are those of all documents.
type vexStatements []vexStatement

// vexImage is the image that statements must be about.
type vexImage struct {
	repository string // "" for a layout
	digests    []v1.Hash
}

// readVEX collects the statements of accepted documents. A document that cannot
// be read says nothing, so nothing is excused by it.
func readVEX(list []verify.Checked) vexStatements {
	var out vexStatements
	for _, c := range list {
		var doc struct {
			Timestamp  string `json:"timestamp"`
			Statements []struct {
				Vulnerability json.RawMessage   `json:"vulnerability"`
				Status        string            `json:"status"`
				Timestamp     string            `json:"timestamp"`
				Products      []json.RawMessage `json:"products"`
				Subcomponents []json.RawMessage `json:"subcomponents"` // 0.0.1
			} `json:"statements"`
		}
		if json.Unmarshal(c.Statement.Predicate, &doc) != nil {
			continue
		}
		for _, s := range doc.Statements {
			st := vexStatement{names: vexNames(s.Vulnerability), status: s.Status, at: vexTime(s.Timestamp, doc.Timestamp)}
			everywhere := components(s.Subcomponents)
			for _, raw := range s.Products {
				c, parts := component(raw)
				st.products = append(st.products, vexProduct{c, append(components(parts), everywhere...)})
			}
			out = append(out, st)
		}
	}
	return out
}

// vexTime is the time of a statement, that of its document when it has none.
func vexTime(texts ...string) time.Time {
	for _, text := range texts {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// vexNames reads a vulnerability: a text in OpenVEX 0.0.1, an object later.
func vexNames(raw json.RawMessage) []string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []string{text}
	}
	var o struct {
		Name    string   `json:"name"`
		Aliases []string `json:"aliases"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return nil
	}
	return append([]string{o.Name}, o.Aliases...)
}

func components(list []json.RawMessage) []vexComponent {
	var out []vexComponent
	for _, raw := range list {
		c, _ := component(raw)
		out = append(out, c)
	}
	return out
}

// component reads a product or subcomponent: a text in 0.0.1, an object later. It
// returns the parts of a product as they stand there.
func component(raw json.RawMessage) (c vexComponent, parts []json.RawMessage) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return vexComponent{ids: []string{text}}, nil
	}
	var o struct {
		ID            string            `json:"@id"`
		Identifiers   map[string]string `json:"identifiers"`
		Hashes        map[string]string `json:"hashes"`
		Subcomponents []json.RawMessage `json:"subcomponents"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return vexComponent{}, nil
	}
	return vexComponent{[]string{o.ID, o.Identifiers["purl"]}, strings.ToLower(o.Hashes["sha-256"])}, o.Subcomponents
}

// excuse reports whether the latest statement about the finding says that it does
// not matter.
func (list vexStatements) excuse(f finding, image vexImage) bool {
	excused := false
	var latest time.Time
	for _, s := range list {
		if !slices.Contains(s.names, f.id) || !s.about(f, image) || s.at.Before(latest) {
			continue
		}
		latest, excused = s.at, s.status == "not_affected" || s.status == "fixed"
	}
	return excused
}

// about reports whether a statement is about the finding in the image. One
// without products is about what its document is attached to, which is the image.
func (s *vexStatement) about(f finding, image vexImage) bool {
	if len(s.products) == 0 {
		return true
	}
	return slices.ContainsFunc(s.products, func(p vexProduct) bool {
		if !p.is(image) {
			return p.has(f)
		}
		return len(p.subcomponents) == 0 || slices.ContainsFunc(p.subcomponents, func(c vexComponent) bool { return c.has(f) })
	})
}

// is reports whether the component is the image: one of its digests, or its
// repository in whatever version.
func (c *vexComponent) is(image vexImage) bool {
	for _, d := range image.digests {
		if c.sha256 == d.Hex {
			return true
		}
		for _, id := range c.ids {
			if strings.Contains(strings.ReplaceAll(strings.ToLower(id), "%3a", ":"), "@"+d.String()) {
				return true
			}
		}
	}
	return slices.ContainsFunc(c.ids, func(id string) bool {
		p, err := packageurl.FromString(id)
		if err != nil || p.Type != packageurl.TypeOCI || p.Version != "" || image.repository == "" {
			return false
		}
		at := p.Qualifiers.Map()["repository_url"]
		return at != "" && (Repository(at) == Repository(image.repository) || Repository(at+"/"+p.Name) == Repository(image.repository))
	})
}

// has reports whether the component is the package of the finding, in whatever
// version when it names none.
func (c *vexComponent) has(f finding) bool {
	have, err := packageurl.FromString(f.purl)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.ids, func(id string) bool {
		p, err := packageurl.FromString(id)
		return err == nil && p.Type == have.Type && p.Namespace == have.Namespace && p.Name == have.Name &&
			(p.Version == "" || p.Version == have.Version)
	})
}
