package policy

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/verify"
)

// The tests below are defects of cosign 2.6.5 and traps of its interface that
// were seen when it was measured; each must be out of reach here.

func refused(t *testing.T, v *verify.Verdict, part string) {
	t.Helper()
	if v.Outcome == verify.Passed {
		t.Fatal("passed")
	}
	if !strings.Contains(v.Reason(), part) {
		t.Errorf("found %q, expected %q in it", v.Reason(), part)
	}
}

func passed(t *testing.T, v *verify.Verdict) {
	t.Helper()
	if v.Outcome != verify.Passed {
		t.Errorf("found %s: %s", v.Outcome, v.Reason())
	}
}

// A timestamp of an untrusted authority made cosign index an empty list in a
// goroutine of its own, which ended the whole process. A forged .sig is enough.
func TestCosignDefect_UntrustedTimestampEndsTheProcess(t *testing.T) {
	w := newWorld(t)
	w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, evidencetest.Options{Timestamp: true, TSA: w.rogue}))
	refused(t, w.verdict(t, timestampPolicy), "signed time: threshold not met")

	w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, evidencetest.Options{Timestamp: true}))
	passed(t, w.verdict(t, timestampPolicy)) // and the bad one does not hide a good one
}

// "This key attested anything" passed as "this key signed the image".
func TestCosignDefect_AttestationCountsAsSignature(t *testing.T) {
	w := newWorld(t)
	w.bundle(w.key.Bundle(w.custom))
	w.store.Attest(w.image, w.key.LegacyAttestation(w.custom))
	w.store.Sign(w.image, w.key.LegacyAttestation(w.custom))
	refused(t, w.verdict(t, keyPolicy), "an attestation is none (3 attestations found)")
}

// Any parsable bundle hid every legacy signature, and every legacy attestation.
func TestCosignDefect_BundleHidesLegacy(t *testing.T) {
	w := newWorld(t)
	w.store.Sign(w.image, w.key.Legacy(w.payload))
	w.store.Attest(w.image, w.key.LegacyAttestation(provenance(w.image, "local")))
	w.bundle(w.other.Bundle(w.signature))
	w.bundle(w.other.Bundle(provenance(w.image, "evil")))
	passed(t, w.verdict(t, provenancePolicy))
}

// A legacy attestation with a signature in a bundle, which no mode of cosign
// verifies.
func TestCosignDefect_MixedFormats(t *testing.T) {
	w := newWorld(t)
	w.bundle(w.key.Bundle(w.signature))
	w.store.Attest(w.image, w.key.LegacyAttestation(provenance(w.image, "local")))
	passed(t, w.verdict(t, provenancePolicy))
}

// Required timestamps were not required of legacy signatures.
func TestCosignDefect_TimestampRequirementIgnored(t *testing.T) {
	for name, o := range map[string]evidencetest.Options{"with log": {Log: true}, "without log": {}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, o))
			refused(t, w.verdict(t, timestampPolicy), "signed time: threshold not met for verified signed timestamps: 0 < 1")
		})
	}
}

// "Existence in the transparency log was verified" was printed where no log was
// looked at. The verdict says what was not looked at.
func TestCosignDefect_ClaimsALogThatWasNotRead(t *testing.T) {
	w := newWorld(t)
	w.bundle(w.key.Bundle(w.signature))
	var b strings.Builder
	if err := w.verdict(t, keyPolicy).WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "pass  log: required nothing: only keys are trusted; found no log was looked at") {
		t.Errorf("found\n%s", b.String())
	}
}

// Unless a caller remembered to ask for it, the digest was not compared at all.
func TestCosignDefect_DigestNotCompared(t *testing.T) {
	for name, attach := range map[string]func(w *world){
		"legacy": func(w *world) {
			old := w.store.Image("old")
			w.store.Sign(w.image, w.key.Legacy(evidencetest.Payload(old, repo)))
		},
		"bundle": func(w *world) {
			w.bundle(w.key.Bundle(evidencetest.Statement(w.store.Image("old"), "", evidencetest.PredicateSignature, nil)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			attach(w)
			refused(t, w.verdict(t, keyPolicy), "not "+w.image.String())
		})
	}
}

// No identity meant any identity, an empty part of one anything.
func TestCosignDefect_EmptyIdentityMeansAnybody(t *testing.T) {
	w := newWorld(t)
	for _, signers := range []string{"{}", "{identities: []}", `{identities: [{issuer: "", subject: a}]}`,
		`{identities: [{issuer: "https://i", subject: ""}]}`, `{identities: [{issuer: "https://i", subjectPattern: ".*"}]}`} {
		text := "version: 1\nimages:\n  - match: [\"**\"]\n    signers: " + signers + "\n    trust: {root: root.json}\n"
		var list *Errors
		if _, err := Parse("p.yaml", []byte(text), w.dir); !errors.As(err, &list) {
			t.Errorf("%s: found %v", signers, err)
		}
	}
	if _, err := Direct(Requirements{Threshold: 1}); err == nil {
		t.Error("requirements without a signer are accepted")
	}
}

// A bundle supported one identity only.
func TestCosignDefect_OneIdentityOnly(t *testing.T) {
	w := newWorld(t)
	w.bundle(w.authority.Bundle(alice, issuer, w.signature, logged))
	w.bundle(w.authority.Bundle("bob@example.test", issuer, w.signature, logged))
	text := strings.Replace(patternPolicy, "signers: {", "signers: {threshold: 2, ", 1)
	passed(t, w.verdict(t, text))
	text = strings.Replace(text, "identities: [", `identities: [{issuer: "https://issuer.example.test", subject: carol@example.test}, `, 1)
	passed(t, w.verdict(t, text))
}

// Patterns matched anywhere in the identity.
func TestCosignDefect_UnanchoredPattern(t *testing.T) {
	w := newWorld(t)
	for _, subject := range []string{"alice@example.test.evil.org", "evil+alice@example.test"} {
		w.bundle(w.authority.Bundle(subject, issuer, w.signature, logged))
	}
	refused(t, w.verdict(t, strings.Replace(patternPolicy, "[a-z]+@example.test", "alice@example.test", 1)), "found 0 of 1")
}

// Bundles that could not be parsed were left out without a word.
func TestCosignDefect_UnparsableBundleSwallowed(t *testing.T) {
	w := newWorld(t)
	w.bundle([]byte("{}"))
	w.store.Sign(w.image, w.key.Legacy(w.payload))
	v := w.verdict(t, keyPolicy)
	passed(t, v)
	if len(v.Findings) != 1 || !strings.Contains(v.Findings[0].String(), "malformed bundle") {
		t.Errorf("found %v", v.Findings)
	}
}

// Going without a log was a default away.
func TestCosignDefect_LogOptionalBySilence(t *testing.T) {
	w := newWorld(t)
	text := strings.Replace(keyPolicy, "    trust: {log: 0}\n", "", 1)
	if _, err := Parse("p.yaml", []byte(text), w.dir); err == nil || !strings.Contains(err.Error(), "no trusted root") {
		t.Errorf("found %v", err)
	}
}

// An image of another repository, with its signature, verified under a new name.
func TestCosignDefect_ReplayIntoAnotherRepository(t *testing.T) {
	w := newWorld(t)
	w.store.Sign(w.image, w.key.Legacy(w.payload))
	in := w.input(t, w.image)
	in.Reference, in.Repository = "evil.example/renamed:1", "evil.example/renamed"
	v, err := w.policy(t, samePolicy).For(in.Repository).Evaluate(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	refused(t, v, "signature is for registry.example/team/app, expected evil.example/renamed")
}

// An old image with a good signature stays good for ever, unless its age counts.
func TestCosignDefect_NothingExpires(t *testing.T) {
	w := newWorld(t)
	w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, evidencetest.Options{Log: true, Age: 50 * time.Minute}))
	refused(t, w.verdict(t, strings.TrimRight(identityPolicy, "\n")+"\n    maxAge: 10m\n"), "maxAge: 0 of 1")
}

// A thousand referrers of somebody else cost little and hide nothing at the tags.
func TestCosignDefect_DenialByReferrers(t *testing.T) {
	w := newWorld(t)
	for range 1000 {
		w.bundle(w.other.Bundle(w.signature))
	}
	w.store.Sign(w.image, w.key.Legacy(w.payload))
	v := w.verdict(t, keyPolicy)
	passed(t, v)
	if n := len(v.Evidence); n != 65 {
		t.Errorf("%d pieces were looked at, expected 65", n)
	}
}
