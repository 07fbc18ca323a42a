package verify

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/sign/evidence"
)

// Outcome is the one word of a verdict.
type Outcome string

// The outcomes.
const (
	// Passed: every rule passed.
	Passed Outcome = "passed"
	// Failed: a rule failed.
	Failed Outcome = "failed"
	// Missing: a rule failed and nothing at all is attached to the image.
	Missing Outcome = "missing"
)

// Verdict says, rule by rule, what was required of an image, what was found,
// and why it passed or failed. Its JSON form is stable: fields may be added,
// none changes its meaning.
type Verdict struct {
	// Image is the reference as it was given, Digest what it was resolved to.
	Image  string `json:"image"`
	Digest string `json:"digest"`
	// Policy names the policy and the entry of it that applied.
	Policy  string  `json:"policy,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Until is the time after which an age that the policy limits is exceeded: a
	// verdict that passed may not be used later. Zero when no age is limited.
	Until time.Time `json:"until,omitzero"`
	// Rules are in the order they were looked at.
	Rules []Rule `json:"rules"`
	// Evidence lists everything that is attached, and what it counts for.
	Evidence []Evidence `json:"evidence"`
	// Findings are attached things that could not be used.
	Findings []evidence.Finding `json:"findings"`
}

// Rule is one requirement and its outcome.
type Rule struct {
	// Rule is the name: "signers", "sbom", …
	Rule string `json:"rule"`
	// Subject is the digest that it was applied to when that is not the
	// verdict's: a child of an index.
	Subject string `json:"subject,omitempty"`
	// Required and Found say what was expected and what there is.
	Required string `json:"required"`
	Found    string `json:"found"`
	Passed   bool   `json:"passed"`
	// Why is the reason of a failure; empty when the rule passed.
	Why string `json:"why,omitempty"`
}

// Evidence is one row about something that is attached.
type Evidence struct {
	Where         string          `json:"where"`
	Subject       string          `json:"subject"`
	Format        evidence.Format `json:"format"`
	Kind          Kind            `json:"kind,omitempty"`
	PredicateType string          `json:"predicateType,omitempty"`
	Signer        string          `json:"signer,omitempty"`
	Identity      string          `json:"identity,omitempty"`
	// SignedAt is the earliest signed time in RFC 3339.
	SignedAt string `json:"signedAt,omitempty"`
	// Counts says whether it was accepted, Why why not.
	Counts bool   `json:"counts"`
	Why    string `json:"why,omitempty"`
}

// Row makes the verdict's row about checked evidence.
func (c Checked) Row(subject string) Evidence {
	e := Evidence{Where: c.Where, Subject: subject, Format: c.Format, Kind: c.Kind, Counts: c.Err == nil}
	if c.Err != nil {
		e.Why = c.Err.Error()
		return e
	}
	e.Signer, e.Identity = c.Signer, c.Identity
	if t := c.SignedAt(); !t.IsZero() {
		e.SignedAt = t.Format(time.RFC3339)
	}
	if c.Statement != nil {
		e.PredicateType = c.Statement.PredicateType
	}
	return e
}

// Add records a rule's outcome; why is empty when it passed.
func (v *Verdict) Add(rule, subject, required, found, why string) {
	if subject == v.Digest {
		subject = ""
	}
	v.Rules = append(v.Rules, Rule{Rule: rule, Subject: subject, Required: required, Found: found, Passed: why == "", Why: why})
}

// Ends says that something the verdict rests on is too old after t.
func (v *Verdict) Ends(t time.Time) {
	if v.Until.IsZero() || t.Before(v.Until) {
		v.Until = t.UTC()
	}
}

// Close sets the outcome from the rules. A verdict without rules fails.
func (v *Verdict) Close() {
	v.Outcome = Passed
	if len(v.Rules) == 0 {
		v.Outcome = Failed
	}
	for _, r := range v.Rules {
		if !r.Passed {
			v.Outcome = Failed
		}
	}
	if v.Outcome == Failed && len(v.Evidence) == 0 && len(v.Findings) == 0 && v.fails("signers") {
		v.Outcome = Missing
	}
	if v.Evidence == nil {
		v.Evidence = []Evidence{}
	}
	if v.Findings == nil {
		v.Findings = []evidence.Finding{}
	}
}

func (v *Verdict) fails(rule string) bool {
	for _, r := range v.Rules {
		if r.Rule == rule && !r.Passed {
			return true
		}
	}
	return false
}

// Reason is the failures in one line each, for a message of denial.
func (v *Verdict) Reason() string {
	var lines []string
	for _, r := range v.Rules {
		if !r.Passed {
			lines = append(lines, r.Rule+subjectSuffix(r.Subject)+": "+r.Why)
		}
	}
	return strings.Join(lines, "\n")
}

func subjectSuffix(subject string) string {
	if subject == "" {
		return ""
	}
	return " of " + subject
}

// WriteText writes the verdict for people.
func (v *Verdict) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", v.Image, v.Digest)
	if v.Policy != "" {
		fmt.Fprintf(&b, "policy %s\n", v.Policy)
	}
	for _, r := range v.Rules {
		mark := "pass"
		if !r.Passed {
			mark = "FAIL"
		}
		fmt.Fprintf(&b, "%s  %s%s: required %s; found %s\n", mark, r.Rule, subjectSuffix(r.Subject), r.Required, r.Found)
		if r.Why != "" {
			fmt.Fprintf(&b, "      %s\n", strings.ReplaceAll(r.Why, "\n", "\n      "))
		}
	}
	for _, e := range v.Evidence {
		if !e.Counts {
			fmt.Fprintf(&b, "note  %s does not count: %s\n", e.Where, e.Why)
		}
	}
	for _, f := range v.Findings {
		fmt.Fprintf(&b, "note  %s\n", f)
	}
	fmt.Fprintf(&b, "%s\n", v.Outcome)
	_, err := io.WriteString(w, b.String())
	return err
}

// WriteJSON writes the verdict for programs.
func (v *Verdict) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
