package policy

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Anchors are read; what they repeat is checked where it is used.
func TestAliases(t *testing.T) {
	dir := policyDir(t)
	const good = `
version: 1
images:
  - match: ["a/**"]
    signers: &team {keys: [{file: cosign.pub}]}
    trust: &trust {log: 0}
  - match: ["b/**"]
    signers: *team
    trust: *trust
`
	p, err := Parse("p.yaml", []byte(good), dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Entries) != 2 || len(p.Entries[1].signers) != 1 {
		t.Errorf("found %+v", p.Entries)
	}
	for text, want := range map[string]string{
		"version: 1\nimages: &a [*a]":                        "images[0]: wrong type: found a list, expected a mapping",
		"version: 1\nimages: &a {match: *a}":                 "wrong type: found a mapping, expected a list",
		"? [1]\n: 2":                                         "wrong type: found a list as a key, expected text",
		"version: 1\nimages: [{match: [1], allow: true}]":    "images[0].match[0]: wrong type: found number 1, expected text",
		"version: 1\nimages: [{match: [a], allow: \"yes\"}]": `images[0].allow: wrong type: found "yes", expected true or false`,
		"version: 99999999999999999999\nimages: []":          "version: wrong type: found number 99999999999999999999, expected a whole number",
		"version: ~\nimages: []":                             "version: wrong type: found nothing, expected a whole number",
	} {
		_, err := Parse("p.yaml", []byte(text), dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: found %v", text, err)
		}
	}
}

// A document that is small on disk and huge in memory ends at the limit.
func TestManyValues(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: 1\nimages:\n  - allow: true\n    match: &l0 [a, a, a, a, a, a, a, a, a, a]\n")
	for range 6000 {
		b.WriteString("  - {allow: true, match: *l0}\n")
	}
	_, err := Parse("p.yaml", []byte(b.String()), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "too large: expected at most 50000 values with aliases expanded") {
		t.Errorf("found %.200v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := policyDir(t)
	if _, err := Load(filepath.Join(dir, "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("found %v", err)
	}
	path := filepath.Join(dir, "large.yaml")
	if err := os.WriteFile(path, make([]byte, maxPolicySize+1), 0o644); err != nil {
		t.Fatal(err)
	}
	var list *Errors
	if _, err := Load(path); !errors.As(err, &list) || !strings.HasSuffix(err.Error(), "large.yaml:1:1: policy: too large: expected at most 1048576 bytes") {
		t.Errorf("found %v", err)
	}
	path = filepath.Join(dir, "good.yaml")
	if err := os.WriteFile(path, []byte(entry("    maxAge: 1h\n    trust: {root: root.json}\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "duplicate key") {
		t.Errorf("found %v", err)
	}
}

func TestManyProblemsAreShortened(t *testing.T) {
	e := &Errors{}
	for range 150 {
		e.Problems = append(e.Problems, Problem{File: "p", Line: 1, Column: 1, Problem: "x"})
	}
	if text := e.Error(); !strings.HasSuffix(text, "\n… and 50 more problems") || strings.Count(text, "\n") != 100 {
		t.Errorf("found %d lines", strings.Count(text, "\n"))
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"ghcr.io/a/*", "ghcr.io/a/b", true}, {"ghcr.io/a/*", "ghcr.io/a/b/c", false}, {"ghcr.io/a/**", "ghcr.io/a/b/c", true},
		{"ghcr.io/a*/x", "ghcr.io/abc/x", true}, {"ghcr.io/a", "ghcrxio/a", false}, {"**", "anything/at:all", true}, {"**", "", true},
		{"*", "a/b", false}, {"a.b", "a.b\n", false}, {"*.example/app", "x.example/app", true}, {"*.example/app", "evil/x.example/app", false},
	} {
		p, err := newPattern(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.match(c.name); got != c.want {
			t.Errorf("%s %q: found %v", c.pattern, c.name, got)
		}
	}
	for _, bad := range []string{"", "a/***"} {
		if _, err := newPattern(bad); err == nil {
			t.Errorf("%q: accepted", bad)
		}
	}
}

func TestDirect(t *testing.T) {
	w := newWorld(t)
	key, err := verify.NewKey(w.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	id, err := verify.NewIdentity(issuer, alice, "")
	if err != nil {
		t.Fatal(err)
	}
	keySigner := []verify.Signer{{Name: "release", Key: key}}
	for _, c := range []struct {
		r    Requirements
		want string
	}{
		{Requirements{Threshold: 1}, "signers: found none, expected at least one key or identity"},
		{Requirements{Signers: keySigner}, "threshold: found 0, expected 1 or more"},
		{Requirements{Signers: []verify.Signer{{Identity: id}}, Threshold: 1}, "identity: there is no trusted root to check certificates with"},
		{Requirements{Signers: keySigner, Threshold: 1, Trust: verify.Trust{Log: 1}}, "trust: a log, timestamps or certificate timestamps are required: there is no trusted root to check them with"},
	} {
		if _, err := Direct(c.r); err == nil || err.Error() != c.want {
			t.Errorf("found %v, expected %s", err, c.want)
		}
	}
	e, err := Direct(Requirements{Signers: []verify.Signer{{Name: "alice", Identity: id}}, Threshold: 1, MaxAge: 10 * time.Minute,
		Children: true, Trust: verify.NewTrust(w.authority.Root(false))})
	if err != nil {
		t.Fatal(err)
	}
	if !e.NeedsChildren() || e.Allow() {
		t.Errorf("found %+v", e)
	}
	w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true, Age: 30 * time.Minute}))
	v, err := e.Evaluate(context.Background(), w.input(t, w.image))
	if err != nil {
		t.Fatal(err)
	}
	if want := "maxAge: 0 of 1 signers signed within 10m0s"; v.Reason() != want {
		t.Errorf("found %q", v.Reason())
	}
}

// An entry that lets images in unseen reads nothing.
func TestAllow(t *testing.T) {
	w := newWorld(t)
	p := w.policy(t, "version: 1\nimages: [{match: [\"**\"], allow: true}]")
	v, err := p.For(repo).Evaluate(context.Background(), w.input(t, w.image))
	if err != nil || v.Outcome != verify.Passed || len(v.Rules) != 1 || v.Rules[0].Rule != "allow" {
		t.Errorf("found %+v %v", v, err)
	}
}

// Attesters attest and do not sign.
func TestAttestersDoNotSign(t *testing.T) {
	w := newWorld(t)
	const text = `
version: 1
images:
  - match: ["**"]
    signers: {keys: [{name: release, file: cosign.pub}]}
    attesters: {keys: [{name: scanner, file: other.pub}]}
    trust: {log: 0}
    vulnerabilities: {maxSeverity: low}
`
	w.bundle(w.other.Bundle(w.signature))
	w.bundle(w.other.Bundle(scan(w.image, grype())))
	refused(t, w.verdict(t, text), "signers: found 0 of 1;")
	w.bundle(w.key.Bundle(w.signature))
	passed(t, w.verdict(t, text))
}
