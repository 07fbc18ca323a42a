package verify_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/verify"
)

const subject = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func sample() *verify.Verdict {
	v := &verify.Verdict{Image: "registry.example/app:1", Digest: subject, Policy: "ghcr.io/acme/**"}
	v.Add("signers", subject, "1 signer of release", "release", "")
	v.Add("sbom", "sha256:ff", "an SBOM", "none", "no SBOM is attached\nat all")
	v.Evidence = append(v.Evidence,
		verify.Checked{Where: "referrer sha256:aa…", Format: evidence.FormatBundle, Kind: verify.KindSignature, Signer: "release", Identity: "sha256:bb",
			Times: []time.Time{time.Unix(1700000000, 0).UTC()}, Statement: &verify.Statement{PredicateType: verify.PredicateSignature}}.Row(subject),
		verify.Checked{Where: "sha256-01….sig layer 1", Format: evidence.FormatLegacy, Kind: verify.KindSignature, Err: errors.New("signed with another key")}.Row(subject))
	v.Findings = append(v.Findings, evidence.Finding{Where: "referrer sha256:cc…", Problem: "malformed bundle: <x>"})
	v.Close()
	return v
}

// The JSON form is an interface: a change of it needs a line in the changelog.
func TestVerdictJSON(t *testing.T) {
	const want = `{
  "image": "registry.example/app:1",
  "digest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  "policy": "ghcr.io/acme/**",
  "outcome": "failed",
  "rules": [
    {
      "rule": "signers",
      "required": "1 signer of release",
      "found": "release",
      "passed": true
    },
    {
      "rule": "sbom",
      "subject": "sha256:ff",
      "required": "an SBOM",
      "found": "none",
      "passed": false,
      "why": "no SBOM is attached\nat all"
    }
  ],
  "evidence": [
    {
      "where": "referrer sha256:aa…",
      "subject": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
      "format": "bundle",
      "kind": "signature",
      "predicateType": "https://sigstore.dev/cosign/sign/v1",
      "signer": "release",
      "identity": "sha256:bb",
      "signedAt": "2023-11-14T22:13:20Z",
      "counts": true
    },
    {
      "where": "sha256-01….sig layer 1",
      "subject": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
      "format": "legacy",
      "kind": "signature",
      "counts": false,
      "why": "signed with another key"
    }
  ],
  "findings": [
    {
      "where": "referrer sha256:cc…",
      "problem": "malformed bundle: <x>"
    }
  ]
}
`
	var b strings.Builder
	if err := sample().WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("found\n%s", b.String())
	}
}

func TestVerdictText(t *testing.T) {
	const want = `registry.example/app:1
sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
policy ghcr.io/acme/**
pass  signers: required 1 signer of release; found release
FAIL  sbom of sha256:ff: required an SBOM; found none
      no SBOM is attached
      at all
note  sha256-01….sig layer 1 does not count: signed with another key
note  referrer sha256:cc…: malformed bundle: <x>
failed
`
	var b strings.Builder
	if err := sample().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if b.String() != want {
		t.Errorf("found\n%s", b.String())
	}
}

func TestOutcomes(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(v *verify.Verdict)
		want verify.Outcome
	}{
		{"no rule", func(*verify.Verdict) {}, verify.Failed},
		{"passed", func(v *verify.Verdict) { v.Add("signers", "", "", "", "") }, verify.Passed},
		{"nothing attached", func(v *verify.Verdict) { v.Add("signers", "", "", "", "none") }, verify.Missing},
		{"something attached", func(v *verify.Verdict) {
			v.Add("signers", "", "", "", "none")
			v.Evidence = []verify.Evidence{{}}
		}, verify.Failed},
		{"garbage attached", func(v *verify.Verdict) {
			v.Add("signers", "", "", "", "none")
			v.Findings = []evidence.Finding{{}}
		}, verify.Failed},
		{"another rule", func(v *verify.Verdict) { v.Add("signers", "", "", "", ""); v.Add("sbom", "", "", "", "none") }, verify.Failed},
	} {
		v := &verify.Verdict{}
		c.make(v)
		v.Close()
		if v.Outcome != c.want {
			t.Errorf("%s: found %s", c.name, v.Outcome)
		}
	}
}
