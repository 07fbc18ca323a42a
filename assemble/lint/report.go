package lint

import (
	"encoding/json"
	"io"
	"strings"
)

// Report is the result for all images of a subject or configuration.
type Report struct {
	Version   int       `json:"version"` // of this form: 1
	Name      string    `json:"name"`
	Digest    string    `json:"digest,omitempty"` // of an image
	Platforms []*Result `json:"platforms"`
	Errors    int       `json:"errors"`
	Warnings  int       `json:"warnings"`
	Notes     int       `json:"notes"`
	Ignored   int       `json:"ignored"`
}

// NewReport counts results.
func NewReport(name, digest string, results []*Result) *Report {
	r := &Report{Version: 1, Name: name, Digest: digest, Platforms: results}
	for _, x := range results {
		r.Errors += x.Count(Error)
		r.Warnings += x.Count(Warning)
		r.Notes += x.Count(Note)
		r.Ignored += len(x.Ignored)
	}
	return r
}

// AtLeast counts the findings of a severity and of those above it.
func (r *Report) AtLeast(s Severity) int {
	switch s {
	case Error:
		return r.Errors
	case Warning:
		return r.Errors + r.Warnings
	}
	return r.Errors + r.Warnings + r.Notes
}

// Complete tells whether everything was looked at.
func (r *Report) Complete() bool {
	for _, x := range r.Platforms {
		if len(x.NotLookedAt) > 0 {
			return false
		}
	}
	return true
}

// Unused are the entries of Options.Ignore that silenced nothing on any
// platform.
func (r *Report) Unused() []string {
	var out []string
	count := map[string]int{}
	for _, x := range r.Platforms {
		for _, u := range x.Unused {
			if count[u]++; count[u] == len(r.Platforms) {
				out = append(out, u)
			}
		}
	}
	return out
}

// The parts of SARIF 2.1.0 (OASIS) that are written.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name    string      `json:"name"`
		Version string      `json:"version,omitempty"`
		Rules   []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID            string             `json:"id"`
		Short         sarifText          `json:"shortDescription"`
		Full          sarifText          `json:"fullDescription"`
		Configuration sarifConfiguration `json:"defaultConfiguration"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifResult struct {
		RuleID       string             `json:"ruleId"`
		RuleIndex    int                `json:"ruleIndex"`
		Level        string             `json:"level"`
		Message      sarifText          `json:"message"`
		Locations    []sarifLocation    `json:"locations"`
		Suppressions []sarifSuppression `json:"suppressions,omitempty"`
	}
	sarifLocation struct {
		Physical *sarifPhysical `json:"physicalLocation,omitempty"`
		Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
		Region   *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI string `json:"uri"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
	sarifLogical struct {
		Name string `json:"fullyQualifiedName"`
		Kind string `json:"kind"`
	}
	sarifSuppression struct {
		Kind string `json:"kind"`
	}
)

// WriteSARIF writes the report in SARIF 2.1.0, for code scanning services. A
// finding is placed in the configuration where a key is to blame, else in the
// image; findings that are ignored are there as suppressed.
func (r *Report) WriteSARIF(w io.Writer, version string) error {
	run := sarifRun{Tool: sarifTool{sarifDriver{Name: "cairn lint", Version: version}}, Results: []sarifResult{}}
	index := map[string]int{}
	for i, rule := range Rules() {
		index[rule.Name] = i
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: rule.Name, Short: sarifText{rule.Finds},
			Full: sarifText{sentence(rule.Finds) + " " + sentence(rule.Reason)}, Configuration: sarifConfiguration{string(rule.Severity)}})
	}
	for _, p := range r.Platforms {
		for _, list := range []struct {
			findings []Finding
			ignored  bool
		}{{p.Findings, false}, {p.Ignored, true}} {
			for i := range list.findings {
				f := &list.findings[i]
				x := sarifResult{RuleID: f.Rule, RuleIndex: index[f.Rule], Level: string(f.Severity), Message: sarifText{f.text(p.Platform)},
					Locations: []sarifLocation{r.location(f)}}
				if list.ignored {
					x.Suppressions = []sarifSuppression{{"external"}}
				}
				run.Results = append(run.Results, x)
			}
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}})
}

func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] + "." }

// text is the message with what SARIF has no field for.
func (f *Finding) text(platform string) string {
	var b strings.Builder
	if f.Path != "" {
		b.WriteString(f.Path + ": ")
	}
	b.WriteString(f.Message)
	if f.Package != "" {
		b.WriteString(" (package " + f.Package + ")")
	}
	for _, p := range f.Paths {
		b.WriteString("\n" + p)
	}
	b.WriteString("\non " + platform)
	return b.String()
}

func (r *Report) location(f *Finding) sarifLocation {
	var out sarifLocation
	switch {
	case f.File != "":
		out.Physical = &sarifPhysical{Artifact: sarifArtifact{uri(f.File)}, Region: &sarifRegion{f.Line, f.Column}}
	case f.Path != "":
		out.Physical = &sarifPhysical{Artifact: sarifArtifact{uri(strings.TrimPrefix(f.Path, "/"))}}
	}
	name := r.Name
	if f.Path != "" {
		name += f.Path
	}
	out.Logical = []sarifLogical{{Name: name, Kind: "resource"}}
	return out
}

// uri spells a path as a relative reference (RFC 3986).
func uri(p string) string {
	var b strings.Builder
	for _, c := range []byte(p) {
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
