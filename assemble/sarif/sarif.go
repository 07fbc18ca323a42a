// Package sarif writes what was found in SARIF 2.1.0 (OASIS), the form that code
// scanning services read: as much of it as cairn has something to say for.
//
// It judges nothing: levels and places are the caller's.
//
//	err := sarif.Write(w, sarif.Driver{Name: "cairn lint", Version: "1.0", Rules: rules}, results)
package sarif

import (
	"encoding/json"
	"io"
	"strings"
)

// Driver is the tool with its rules.
type Driver struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Rules   []Rule `json:"rules"`
}

// Rule is a kind of finding.
type Rule struct {
	ID            string            `json:"id"`
	Short         Text              `json:"shortDescription"`
	Full          *Text             `json:"fullDescription,omitempty"`
	Configuration *Configuration    `json:"defaultConfiguration,omitempty"`
	Properties    map[string]string `json:"properties,omitempty"`
}

// Text is a message.
type Text struct {
	Text string `json:"text"`
}

// Configuration says how a rule counts where nothing else is said.
type Configuration struct {
	Level string `json:"level"` // error, warning, note
}

// Result is a finding.
type Result struct {
	RuleID       string        `json:"ruleId"`
	Level        string        `json:"level"` // error, warning, note
	Message      Text          `json:"message"`
	Locations    []Location    `json:"locations"`
	Suppressions []Suppression `json:"suppressions,omitempty"`
}

// Location is where a finding is: in a file, in something with a name, or both.
type Location struct {
	Physical *Physical `json:"physicalLocation,omitempty"`
	Logical  []Logical `json:"logicalLocations,omitempty"`
}

// Physical is a place in a file.
type Physical struct {
	Artifact Artifact `json:"artifactLocation"`
	Region   *Region  `json:"region,omitempty"`
}

// Artifact is a file.
type Artifact struct {
	URI string `json:"uri"` // see [URI]
}

// Region is a place in a text; lines and columns count from 1.
type Region struct {
	StartLine   int `json:"startLine"`
	StartColumn int `json:"startColumn,omitempty"`
}

// Logical is something with a name.
type Logical struct {
	Name string `json:"fullyQualifiedName"`
	Kind string `json:"kind"`
}

// Suppression says that a finding does not count.
type Suppression struct {
	Kind          string `json:"kind"` // external, inSource
	Justification string `json:"justification,omitempty"`
}

type (
	document struct {
		Schema  string `json:"$schema"`
		Version string `json:"version"`
		Runs    []run  `json:"runs"`
	}
	run struct {
		Tool    tool     `json:"tool"`
		Results []Result `json:"results"`
	}
	tool struct {
		Driver Driver `json:"driver"`
	}
)

// Write writes one run. The same findings give the same bytes.
func Write(w io.Writer, d Driver, results []Result) error {
	if d.Rules == nil {
		d.Rules = []Rule{}
	}
	if results == nil {
		results = []Result{} // the run was made and found nothing
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(document{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []run{{tool{d}, results}}})
}

// URI spells a path as a relative reference (RFC 3986).
func URI(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/@+", c) >= 0:
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
