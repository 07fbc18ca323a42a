package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/vex"
	"github.com/cairn-dev/cairn/sign/verify"
)

// severities from none to critical; a scanner's other words count as critical,
// so that nothing unknown passes.
var severities = []string{"none", "low", "medium", "high", "critical"}

func severity(word string) int {
	word = strings.ToLower(word)
	switch word {
	case "negligible", "info", "informational":
		word = "low"
	case "moderate":
		word = "medium"
	case "important":
		word = "high"
	}
	if i := slices.Index(severities, word); i >= 0 {
		return i
	}
	return len(severities) - 1
}

// finding is a vulnerability in a scan, and the package URL of what has it, where
// the scan says so.
type finding struct{ id, severity, purl string }

// vulnerabilities applies the rule to every image.
func (ev *evaluation) vulnerabilities(context.Context) error {
	f := ev.file.Vulnerabilities
	if f == nil {
		return nil
	}
	required := "a scan with nothing above " + f.MaxSeverity
	if f.MaxAge != "" {
		required += " and not older than " + f.MaxAge
	}
	for _, s := range ev.images() {
		have := newest(s.statements(verify.PredicateVuln))
		if len(have) == 0 {
			ev.verdict.Add("vulnerabilities", s.Digest.String(), required, "none", s.without("vulnerability scan"))
			continue
		}
		var reasons []string
		found := 0
		for _, c := range have {
			if why := ev.tooOld(c); why != "" {
				reasons = append(reasons, c.Where+": "+why)
			}
			list, err := scanFindings(c.Statement.Predicate)
			if err != nil {
				reasons = append(reasons, c.Where+": "+err.Error())
			}
			found += len(list)
			for _, v := range ev.unaccepted(s, list) {
				reasons = append(reasons, fmt.Sprintf("%s is %s", v.id, strings.ToLower(v.severity)))
			}
		}
		ev.verdict.Add("vulnerabilities", s.Digest.String(), required, plural(found, "finding"), some(reasons))
	}
	return nil
}

// newest keeps the scan with the latest signed time; where times are not known
// every scan counts, because none can be called outdated.
func newest(list []verify.Checked) []verify.Checked {
	if len(list) == 0 || slices.ContainsFunc(list, func(c verify.Checked) bool { return c.SignedAt().IsZero() }) {
		return list
	}
	return []verify.Checked{slices.MaxFunc(list, func(a, b verify.Checked) int { return a.SignedAt().Compare(b.SignedAt()) })}
}

func (ev *evaluation) tooOld(c verify.Checked) string {
	if ev.scanAge == 0 {
		return ""
	}
	at := c.SignedAt()
	switch {
	case at.IsZero():
		return "scan has no signed time"
	case ev.in.Now.Sub(at) > ev.scanAge:
		return "scan was signed " + at.Format(time.RFC3339)
	}
	ev.verdict.Ends(at.Add(ev.scanAge))
	return ""
}

// unaccepted are the findings above the threshold that neither the policy nor a
// VEX statement explains.
func (ev *evaluation) unaccepted(s checkedSubject, list []finding) []finding {
	f := ev.file.Vulnerabilities
	most := severity(f.MaxSeverity)
	var documents [][]byte
	for _, c := range s.statements(verify.PredicateOpenVEX) {
		documents = append(documents, c.Statement.Predicate)
	}
	explained := vex.Parse(documents...)
	image := vex.Image{Repository: ev.in.Repository, Digests: []v1.Hash{ev.in.Subjects[0].Digest, s.Digest}}
	var out []finding
	for _, v := range list {
		if severity(v.severity) > most && !slices.Contains(f.Ignore, v.id) && explained.Excuse(vex.Finding{Names: []string{v.id}, PURL: v.purl}, image) == nil {
			out = append(out, v)
		}
	}
	return out
}

// scanFindings reads the result in a vuln attestation: that of grype, of trivy,
// or the list of in-toto's vulns predicate.
func scanFindings(predicate json.RawMessage) ([]finding, error) {
	var p struct {
		Scanner struct {
			Result json.RawMessage `json:"result"`
		} `json:"scanner"`
	}
	if err := json.Unmarshal(predicate, &p); err != nil {
		return nil, fmt.Errorf("predicate: %w", err)
	}
	if string(p.Scanner.Result) == "null" || len(p.Scanner.Result) == 0 {
		return nil, errors.New("scan has no result")
	}
	if list, ok := scanList(p.Scanner.Result); ok {
		return list, nil
	}
	var r struct {
		Matches *[]struct {
			Vulnerability struct {
				ID       string `json:"id"`
				Severity string `json:"severity"`
			} `json:"vulnerability"`
			Artifact struct {
				PURL string `json:"purl"`
			} `json:"artifact"`
		} `json:"matches"`
		Results *[]struct {
			Vulnerabilities []struct {
				VulnerabilityID string
				Severity        string
				PkgIdentifier   struct{ PURL string }
			}
		}
	}
	if err := json.Unmarshal(p.Scanner.Result, &r); err != nil {
		return nil, fmt.Errorf("scan result: %w", err)
	}
	var out []finding
	switch {
	case r.Matches != nil:
		for _, m := range *r.Matches {
			out = append(out, finding{m.Vulnerability.ID, m.Vulnerability.Severity, m.Artifact.PURL})
		}
	case r.Results != nil:
		for _, t := range *r.Results {
			for _, v := range t.Vulnerabilities {
				out = append(out, finding{v.VulnerabilityID, v.Severity, v.PkgIdentifier.PURL})
			}
		}
	default:
		return nil, errors.New("scan result is neither grype's, trivy's nor a list")
	}
	return out, nil
}

// scanList reads in-toto's form: [{id, severity: [{method, score}]}], where a
// score is a word.
func scanList(raw json.RawMessage) ([]finding, bool) {
	var list []struct {
		ID       string `json:"id"`
		Severity []struct {
			Score string `json:"score"`
		} `json:"severity"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	out := []finding{}
	for _, v := range list {
		f := finding{id: v.ID, severity: "unknown"}
		for i, s := range v.Severity {
			if i == 0 || severity(s.Score) > severity(f.severity) {
				f.severity = s.Score
			}
		}
		out = append(out, f)
	}
	return out, true
}
