package quickview

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cairn-dev/cairn/assemble/advisory"
	"github.com/cairn-dev/cairn/assemble/sarif"
)

// letters are the columns of the table.
var letters = map[advisory.Severity]string{advisory.Critical: "C", advisory.High: "H", advisory.Medium: "M", advisory.Low: "L", advisory.Unknown: "?"}

// WriteText writes the view for people.
func (v *View) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "\t")
	for _, s := range advisory.Severities {
		fmt.Fprint(t, letters[s]+"\t")
	}
	fmt.Fprintln(t, "PACKAGES\tOF")
	for _, r := range v.Rows {
		fmt.Fprint(t, r.Name+"\t")
		for _, s := range advisory.Severities {
			if r.Counts == nil {
				fmt.Fprint(t, "-\t")
				continue
			}
			fmt.Fprintf(t, "%d\t", r.Counts[s])
		}
		if r.Counts == nil && r.Why != "" {
			fmt.Fprintf(t, "-\tnot known: %s\n", r.Why)
			continue
		}
		fmt.Fprintf(t, "%d\t%s\n", r.Packages, r.Subject)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, r := range v.Rows[1:] {
		for _, l := range []struct {
			what string
			list []string
		}{{"has not", r.Gone}, {"has besides", r.Came}} {
			if len(l.list) > 0 {
				fmt.Fprintf(w, "%s %s: %s\n", r.Name, l.what, strings.Join(l.list, ", "))
			}
		}
	}
	if len(v.Findings) > 0 {
		fmt.Fprintln(w)
		t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "VULNERABILITY\tSEVERITY\tPACKAGE\tFIXED IN")
		for i := range v.Findings {
			f := &v.Findings[i]
			fixed := f.Fixed
			if fixed == "" {
				fixed = "no fix"
			}
			fmt.Fprintf(t, "%s\t%s\t%s-%s\t%s\n", f.ID, f.Severity, f.Package.Name, f.Package.Version, fixed)
		}
		if err := t.Flush(); err != nil {
			return err
		}
	}
	for i := range v.Suppressed {
		f := &v.Suppressed[i]
		fmt.Fprintf(w, "does not count: %s in %s-%s: %s\n", f.ID, f.Package.Name, f.Package.Version, f.Excuse.String())
	}
	fmt.Fprintln(w)
	for _, line := range v.CoverageLines() {
		fmt.Fprintln(w, line)
	}
	_, err := fmt.Fprintln(w, string(v.Status))
	return err
}

// CoverageLines say what was looked at, by which feeds, and what was not.
func (v *View) CoverageLines() []string {
	c := &v.Coverage
	out := []string{fmt.Sprintf("%d of %d packages are of a distribution with a feed, which knows something of %d", c.Covered, c.Packages, c.Known)}
	if v.Unowned >= 0 {
		out = append(out, fmt.Sprintf("%d files are no package's", v.Unowned))
	}
	for _, f := range c.Feeds {
		line := fmt.Sprintf("feed %s: %d records for %s", f.Name, f.Records, strings.Join(f.Distros, ", "))
		if !f.Newest.IsZero() {
			line += ", the newest of " + f.Newest.Format(time.DateOnly)
		}
		out = append(out, line+fmt.Sprintf(" (%.19s)", f.SHA256))
	}
	for _, s := range c.NotLookedAt {
		out = append(out, "not looked at: "+s)
	}
	return out
}

// levels are SARIF's, and scores what code scanning services sort by.
var levels = map[advisory.Severity]string{advisory.Critical: "error", advisory.High: "error", advisory.Medium: "warning", advisory.Low: "note", advisory.Unknown: "warning"}
var scores = map[advisory.Severity]string{advisory.Critical: "9.5", advisory.High: "8.0", advisory.Medium: "5.5", advisory.Low: "2.0"}

// WriteSARIF writes the findings of the target in SARIF 2.1.0. What a VEX statement
// excuses is there as suppressed.
func (v *View) WriteSARIF(w io.Writer, version string) error {
	d := sarif.Driver{Name: "cairn quickview", Version: version}
	var results []sarif.Result
	seen := map[string]bool{}
	for _, list := range [][]advisory.Finding{v.Findings, v.Suppressed} {
		for i := range list {
			f := &list[i]
			if !seen[f.ID] {
				seen[f.ID] = true
				rule := sarif.Rule{ID: f.ID, Short: sarif.Text{Text: f.ID}}
				if f.Summary != "" {
					rule.Short.Text = f.Summary
				}
				if s := scores[f.Severity]; s != "" {
					rule.Properties = map[string]string{"security-severity": s}
				}
				d.Rules = append(d.Rules, rule)
			}
			text := fmt.Sprintf("%s affects %s-%s", f.ID, f.Package.Name, f.Package.Version)
			if f.Fixed != "" {
				text += ", fixed in " + f.Fixed
			}
			x := sarif.Result{RuleID: f.ID, Level: levels[f.Severity], Message: sarif.Text{Text: text},
				Locations: []sarif.Location{{Logical: []sarif.Logical{{Name: v.Rows[0].Subject + " " + f.Package.PURL, Kind: "package"}}}}}
			if f.Excuse != nil {
				x.Suppressions = []sarif.Suppression{{Kind: "external", Justification: f.Excuse.String()}}
			}
			results = append(results, x)
		}
	}
	return sarif.Write(w, d, results)
}
