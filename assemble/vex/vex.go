// Package vex reads OpenVEX documents and says which findings they excuse: that a
// vulnerability does not matter in a product, or that it is fixed there.
//
// Whose word a document is, is for the caller to know: one that is attached to an
// image counts when its signature does, one in a file because somebody named it.
//
//	statements := vex.Parse(document)
//	if statements.Excuse(vex.Finding{Names: []string{"CVE-2026-1"}, PURL: purl}, vex.Image{}) != nil { … }
//
// Format: OpenVEX 0.2.0 and 0.0.1 (https://openvex.dev).
package vex

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"
)

// Finding is a vulnerability in a package.
type Finding struct {
	Names []string // of the vulnerability, with its aliases
	PURL  string   // of the package; empty when it is not known
}

// Statement is what of an OpenVEX statement decides whether a finding matters.
type Statement struct {
	Status        string // not_affected, affected, fixed or under_investigation
	Justification string
	Impact        string // impact_statement
	Author        string // of the document

	names    []string // of the vulnerability, with its aliases
	at       time.Time
	products []product
}

// product is what a statement is about.
type product struct {
	item
	subcomponents []item
}

// item is a product or a part of one: everything that it may be known by.
type item struct {
	ids    []string // IRIs and package URLs
	sha256 string
}

// Statements are those of all documents.
type Statements []Statement

// Image is the image that statements must be about.
type Image struct {
	Repository string // "" for a layout
	Digests    []v1.Hash
}

// ErrDocument: not an OpenVEX document.
var ErrDocument = errors.New("not an OpenVEX document")

// Read reads a document that somebody chose: unlike for [Parse], one that says nothing
// is an error.
func Read(document []byte) (Statements, error) {
	var doc struct {
		Context    string            `json:"@context"`
		Statements []json.RawMessage `json:"statements"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDocument, err)
	}
	if !strings.HasPrefix(doc.Context, "https://openvex.dev/ns") || len(doc.Statements) == 0 {
		return nil, fmt.Errorf("%w: @context %.100q with %d statements, expected https://openvex.dev/ns and some", ErrDocument, doc.Context, len(doc.Statements))
	}
	return Parse(document), nil
}

// Parse collects the statements of documents. A document that cannot be read says
// nothing, so nothing is excused by it.
func Parse(documents ...[]byte) Statements {
	var out Statements
	for _, raw := range documents {
		var doc struct {
			Author     string `json:"author"`
			Timestamp  string `json:"timestamp"`
			Statements []struct {
				Vulnerability json.RawMessage   `json:"vulnerability"`
				Status        string            `json:"status"`
				Justification string            `json:"justification"`
				Impact        string            `json:"impact_statement"`
				Timestamp     string            `json:"timestamp"`
				Products      []json.RawMessage `json:"products"`
				Subcomponents []json.RawMessage `json:"subcomponents"` // 0.0.1
			} `json:"statements"`
		}
		if json.Unmarshal(raw, &doc) != nil {
			continue
		}
		for _, s := range doc.Statements {
			st := Statement{Status: s.Status, Justification: s.Justification, Impact: s.Impact, Author: doc.Author, names: namesOf(s.Vulnerability), at: timeOf(s.Timestamp, doc.Timestamp)}
			everywhere := components(s.Subcomponents)
			for _, raw := range s.Products {
				c, parts := component(raw)
				st.products = append(st.products, product{c, append(components(parts), everywhere...)})
			}
			out = append(out, st)
		}
	}
	return out
}

// timeOf is the time of a statement, that of its document when it has none.
func timeOf(texts ...string) time.Time {
	for _, text := range texts {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return t
		}
	}
	return time.Time{}
}

// namesOf reads a vulnerability: a text in OpenVEX 0.0.1, an object later.
func namesOf(raw json.RawMessage) []string {
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

func components(list []json.RawMessage) []item {
	var out []item
	for _, raw := range list {
		c, _ := component(raw)
		out = append(out, c)
	}
	return out
}

// component reads a product or subcomponent: a text in 0.0.1, an object later. It
// returns the parts of a product as they stand there.
func component(raw json.RawMessage) (c item, parts []json.RawMessage) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return item{ids: []string{text}}, nil
	}
	var o struct {
		ID            string            `json:"@id"`
		Identifiers   map[string]string `json:"identifiers"`
		Hashes        map[string]string `json:"hashes"`
		Subcomponents []json.RawMessage `json:"subcomponents"`
	}
	if json.Unmarshal(raw, &o) != nil {
		return item{}, nil
	}
	return item{[]string{o.ID, o.Identifiers["purl"]}, strings.ToLower(o.Hashes["sha-256"])}, o.Subcomponents
}

// Excuse returns the latest statement about the finding when it says that the finding
// does not matter, else nil.
func (list Statements) Excuse(f Finding, image Image) *Statement {
	var latest *Statement
	for i := range list {
		s := &list[i]
		if !slices.ContainsFunc(f.Names, func(n string) bool { return slices.Contains(s.names, n) }) || !s.about(f, image) || latest != nil && s.at.Before(latest.at) {
			continue
		}
		latest = s
	}
	if latest == nil || latest.Status != "not_affected" && latest.Status != "fixed" {
		return nil
	}
	return latest
}

// about reports whether a statement is about the finding in the image. One
// without products is about what its document is attached to, which is the image.
func (s *Statement) about(f Finding, image Image) bool {
	if len(s.products) == 0 {
		return true
	}
	return slices.ContainsFunc(s.products, func(p product) bool {
		if !p.is(image) {
			return p.has(f)
		}
		return len(p.subcomponents) == 0 || slices.ContainsFunc(p.subcomponents, func(c item) bool { return c.has(f) })
	})
}

// is reports whether the component is the image: one of its digests, or its
// repository in whatever version.
func (c *item) is(image Image) bool {
	for _, d := range image.Digests {
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
		if err != nil || p.Type != packageurl.TypeOCI || p.Version != "" || image.Repository == "" {
			return false
		}
		at := p.Qualifiers.Map()["repository_url"]
		return at != "" && (Repository(at) == Repository(image.Repository) || Repository(at+"/"+p.Name) == Repository(image.Repository))
	})
}

// has reports whether the component is the package of the finding, in whatever
// version when it names none.
func (c *item) has(f Finding) bool {
	have, err := packageurl.FromString(f.PURL)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(c.ids, func(id string) bool {
		p, err := packageurl.FromString(id)
		return err == nil && p.Type == have.Type && p.Namespace == have.Namespace && p.Name == have.Name &&
			(p.Version == "" || p.Version == have.Version)
	})
}

// Repository spells the repository of a reference in full; what is no reference stays
// as it is.
func Repository(s string) string {
	if r, err := name.ParseReference(s); err == nil {
		return r.Context().Name()
	}
	if r, err := name.NewRepository(s); err == nil {
		return r.Name()
	}
	return s
}
