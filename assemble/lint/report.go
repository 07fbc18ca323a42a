package lint

import (
	"io"
	"strings"

	"github.com/cairn-dev/cairn/assemble/sarif"
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

// WriteSARIF writes the report in SARIF 2.1.0, for code scanning services. A
// finding is placed in the configuration where a key is to blame, else in the
// image; findings that are ignored are there as suppressed.
func (r *Report) WriteSARIF(w io.Writer, version string) error {
	d := sarif.Driver{Name: "cairn lint", Version: version}
	for _, rule := range Rules() {
		d.Rules = append(d.Rules, sarif.Rule{ID: rule.Name, Short: sarif.Text{Text: rule.Finds},
			Full: &sarif.Text{Text: sentence(rule.Finds) + " " + sentence(rule.Reason)}, Configuration: &sarif.Configuration{Level: string(rule.Severity)}})
	}
	var results []sarif.Result
	for _, p := range r.Platforms {
		for _, list := range []struct {
			findings []Finding
			ignored  bool
		}{{p.Findings, false}, {p.Ignored, true}} {
			for i := range list.findings {
				f := &list.findings[i]
				x := sarif.Result{RuleID: f.Rule, Level: string(f.Severity), Message: sarif.Text{Text: f.text(p.Platform)}, Locations: []sarif.Location{r.location(f)}}
				if list.ignored {
					x.Suppressions = []sarif.Suppression{{Kind: "external"}}
				}
				results = append(results, x)
			}
		}
	}
	return sarif.Write(w, d, results)
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

func (r *Report) location(f *Finding) sarif.Location {
	var out sarif.Location
	switch {
	case f.File != "":
		out.Physical = &sarif.Physical{Artifact: sarif.Artifact{URI: sarif.URI(f.File)}, Region: &sarif.Region{StartLine: f.Line, StartColumn: f.Column}}
	case f.Path != "":
		out.Physical = &sarif.Physical{Artifact: sarif.Artifact{URI: sarif.URI(strings.TrimPrefix(f.Path, "/"))}}
	}
	out.Logical = []sarif.Logical{{Name: r.Name + f.Path, Kind: "resource"}}
	return out
}
