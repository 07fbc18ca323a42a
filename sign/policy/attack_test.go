package policy

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/verify"
)

const (
	repo   = "registry.example/team/app"
	alice  = "alice@example.test"
	issuer = "https://issuer.example.test"
)

// world is one image with what is attached to it, the keys around it and an
// authority.
type world struct {
	store             *evidencetest.Store
	image             v1.Hash
	key, other        *evidencetest.Key
	authority, rogue  *evidencetest.Authority
	payload           []byte
	signature, custom []byte // statements
	dir               string
}

func newWorld(t *testing.T) *world {
	w := &world{store: evidencetest.NewStore(), key: evidencetest.NewKey(), other: evidencetest.NewKey(),
		authority: evidencetest.NewAuthority(), rogue: evidencetest.NewAuthority(), dir: t.TempDir()}
	w.image = w.store.Image("app")
	w.payload = evidencetest.Payload(w.image, repo)
	w.signature = evidencetest.Statement(w.image, "", evidencetest.PredicateSignature, map[string]any{})
	w.custom = evidencetest.Statement(w.image, "", "https://example.test/scan-failed/v1", map[string]any{"ok": false})
	w.write(t, "cosign.pub", w.key.PEM())
	w.write(t, "other.pub", w.other.PEM())
	w.write(t, "apk.rsa.pub", apktest.NewKey("apk.rsa.pub").PublicPEM())
	w.write(t, "root.json", w.authority.RootJSON(false))
	w.write(t, "root-ct.json", w.authority.RootJSON(true))
	return w
}

func (w *world) write(t *testing.T, name string, content []byte) {
	if err := os.WriteFile(filepath.Join(w.dir, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// bundle attaches a bundle to the image.
func (w *world) bundle(raw []byte) { w.store.Refer(w.image, evidencetest.MediaBundle, raw) }

func (w *world) policy(t *testing.T, text string) *Policy {
	t.Helper()
	p, err := Parse("policy.yaml", []byte(text), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// input is what is known about an image of the store.
func (w *world) input(t *testing.T, images ...v1.Hash) Input {
	t.Helper()
	in := Input{Reference: repo + ":1", Repository: repo, Now: time.Now()}
	for _, h := range images {
		set, err := evidence.Collect(context.Background(), w.store, h, evidence.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		in.Subjects = append(in.Subjects, Subject{Digest: h, Image: true, Evidence: set})
	}
	return in
}

func (w *world) verdict(t *testing.T, text string) *verify.Verdict {
	t.Helper()
	v, err := w.policy(t, text).For(repo).Evaluate(context.Background(), w.input(t, w.image))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The policies of the table.
const (
	keyPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {keys: [{name: release, file: cosign.pub}]}
    trust: {log: 0}
`
	bothKeysPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {threshold: 2, keys: [{name: release, file: cosign.pub}, {name: second, file: other.pub}]}
    trust: {log: 0}
`
	identityPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {identities: [{issuer: "https://issuer.example.test", subject: alice@example.test}]}
    trust: {root: root.json}
`
	patternPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {identities: [{issuer: "https://issuer.example.test", subjectPattern: "[a-z]+@example.test"}]}
    trust: {root: root.json}
`
	timestampPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {identities: [{issuer: "https://issuer.example.test", subject: alice@example.test}]}
    trust: {root: root.json, log: 0, timestamps: 1}
`
	noLogPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {identities: [{issuer: "https://issuer.example.test", subject: alice@example.test}]}
    trust: {root: root.json, log: 0}
`
	sctPolicy = `
version: 1
images:
  - match: ["**"]
    signers: {identities: [{issuer: "https://issuer.example.test", subject: alice@example.test}]}
    trust: {root: root-ct.json}
`
	samePolicy = `
version: 1
images:
  - match: ["**"]
    signers: {keys: [{name: release, file: cosign.pub}], repository: same}
    trust: {log: 0}
`
	provenancePolicy = `
version: 1
images:
  - match: ["**"]
    signers: {keys: [{name: release, file: cosign.pub}]}
    trust: {log: 0}
    provenance: {builders: [local]}
`
)

var logged = evidencetest.Options{Log: true, Timestamp: true}

// attacks is what must be accepted and what must be refused, with the reason that
// the verdict gives.
var attacks = []struct {
	name   string
	policy string
	attach func(w *world)
	// reason is what the verdict says; empty when the image is let in. {key},
	// {other} and {image} stand for the fingerprints and the digest.
	reason  string
	outcome verify.Outcome
}{
	{"legacy by the key", keyPolicy, func(w *world) { w.store.Sign(w.image, w.key.Legacy(w.payload)) }, "", verify.Passed},
	{"bundle by the key", keyPolicy, func(w *world) { w.bundle(w.key.Bundle(w.signature)) }, "", verify.Passed},
	{"legacy by the identity", identityPolicy, func(w *world) {
		w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, logged))
	}, "", verify.Passed},
	{"bundle by the identity", identityPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, logged))
	}, "", verify.Passed},
	{"bundle with Rekor v2", identityPolicy, func(w *world) {
		w.bundle(w.authority.BundleV2(alice, issuer, w.signature))
	}, "", verify.Passed},
	{"timestamp instead of a log", timestampPolicy, func(w *world) {
		w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, evidencetest.Options{Timestamp: true}))
	}, "", verify.Passed},
	{"promise of the certificate log", sctPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true, SCT: true}))
	}, "", verify.Passed},
	{"an old certificate, in time by the log", identityPolicy, func(w *world) {
		w.store.Sign(w.image, w.authority.Legacy(alice, issuer, w.payload, evidencetest.Options{Log: true, Age: 50 * time.Minute}))
	}, "", verify.Passed},
	{"statement v0.1", keyPolicy, func(w *world) {
		w.bundle(w.key.Bundle([]byte(strings.Replace(string(w.signature), "Statement/v1", "Statement/v0.1", 1))))
	}, "", verify.Passed},

	{"nothing", keyPolicy, func(*world) {}, "signers: no signature is attached", verify.Missing},
	{"wrong key", keyPolicy, func(w *world) { w.store.Sign(w.image, w.other.Legacy(w.payload)) },
		"signers: found 0 of 1; {tag}.sig layer 1: signed with another key, expected key {key}…", verify.Failed},
	{"wrong key in a bundle", keyPolicy, func(w *world) { w.bundle(w.other.Bundle(w.signature)) },
		"signers: found 0 of 1; {referrer}: signed with another key, expected key {key}…", verify.Failed},
	{"wrong identity", identityPolicy, func(w *world) {
		w.store.Sign(w.image, w.authority.Legacy("mallory@example.test", issuer, w.payload, logged))
	}, "signers: found 0 of 1; {tag}.sig layer 1: signed by mallory@example.test (issuer https://issuer.example.test), " +
		"expected alice@example.test (issuer https://issuer.example.test)", verify.Failed},
	{"right name at another issuer", identityPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, "https://evil.example.test", w.signature, logged))
	}, "signers: found 0 of 1; {referrer}: signed by alice@example.test (issuer https://evil.example.test), expected alice@example.test (issuer https://issuer.example.test)", verify.Failed},
	{"a pattern is anchored", patternPolicy, func(w *world) {
		w.bundle(w.authority.Bundle("alice@example.test.evil.org", issuer, w.signature, logged))
	}, `signers: found 0 of 1; {referrer}: signed by alice@example.test.evil.org (issuer https://issuer.example.test), expected ^(?:[a-z]+@example.test)$ (issuer https://issuer.example.test)`, verify.Failed},
	{"moved tag: a signature of another image", keyPolicy, func(w *world) {
		old := w.store.Image("old")
		w.store.Sign(old, w.key.Legacy(evidencetest.Payload(old, repo)))
	}, "signers: no signature is attached", verify.Missing},
	{"altered manifest: the evidence of another image copied", keyPolicy, func(w *world) {
		old := w.store.Image("old")
		w.store.Sign(old, w.key.Legacy(evidencetest.Payload(old, repo)))
		w.store.CopyEvidence(old, w.image)
	}, "signers: found 0 of 1; {tag}.sig layer 1: signature is about {old}, not {image}", verify.Failed},
	{"a referrer of another image listed here", keyPolicy, func(w *world) {
		old := w.store.Image("old")
		w.store.Refer(old, evidencetest.MediaBundle, w.key.Bundle(evidencetest.Statement(old, "", evidencetest.PredicateSignature, nil)))
		w.store.CopyEvidence(old, w.image)
	}, "signers: found 0 of 1; what is attached cannot be used: {referrer}: its subject is {old}, not this image", verify.Failed},
	{"a bundle about another image", keyPolicy, func(w *world) {
		old := w.store.Image("old")
		w.bundle(w.key.Bundle(evidencetest.Statement(old, "", evidencetest.PredicateSignature, nil)))
	}, "signers: found 0 of 1; {referrer}: statement is about {old}, not {image}", verify.Failed},
	{"attestation posing as a signature", keyPolicy, func(w *world) { w.bundle(w.key.Bundle(w.custom)) },
		"signers: no signature is attached; an attestation is none (1 attestation found)", verify.Failed},
	{"attestation at the signature's tag", keyPolicy, func(w *world) { w.store.Sign(w.image, w.key.LegacyAttestation(w.custom)) },
		"signers: no signature is attached; an attestation is none (1 attestation found)", verify.Failed},
	{"bundle by another key beside a valid signature", keyPolicy, func(w *world) {
		w.bundle(w.other.Bundle(w.signature))
		w.store.Sign(w.image, w.key.Legacy(w.payload))
	}, "", verify.Passed},
	{"legacy by another key beside a valid bundle", keyPolicy, func(w *world) {
		w.store.Sign(w.image, w.other.Legacy(w.payload))
		w.bundle(w.key.Bundle(w.signature))
	}, "", verify.Passed},
	{"garbage bundle beside a valid one", keyPolicy, func(w *world) {
		w.bundle([]byte("{"))
		w.bundle(w.key.Bundle(w.signature))
	}, "", verify.Passed},
	{"garbage bundle alone", keyPolicy, func(w *world) { w.bundle([]byte(`{"mediaType":"x"}`)) },
		"signers: found 0 of 1; what is attached cannot be used: {referrer}: malformed bundle: unsupported media type: x", verify.Failed},
	{"replay into another repository", samePolicy, func(w *world) {
		w.store.Sign(w.image, w.key.Legacy(evidencetest.Payload(w.image, "registry.example/team/other")))
	}, "signers: found 0 of 1; {tag}.sig layer 1: signature is for registry.example/team/other, expected registry.example/team/app", verify.Failed},
	{"bundle that names no repository", samePolicy, func(w *world) { w.bundle(w.key.Bundle(w.signature)) },
		"signers: found 0 of 1; {referrer}: signature names no repository, expected registry.example/team/app", verify.Failed},
	{"the repository is named", samePolicy, func(w *world) {
		w.bundle(w.key.Bundle(evidencetest.Statement(w.image, repo+":1", evidencetest.PredicateSignature, nil)))
	}, "", verify.Passed},
	{"expired certificate without a time", noLogPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Age: 30 * time.Minute}))
	}, "signers: found 0 of 1; {referrer}: signed time: threshold not met for verified signed & log entry integrated timestamps: 0 < 1", verify.Failed},
	{"timestamp after the certificate expired", timestampPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Age: 30 * time.Minute, Timestamp: true}))
	}, "signers: found 0 of 1; {referrer}: certificate: not from a trusted authority, or not valid at the signed time: leaf certificate verification failed", verify.Failed},
	{"no log entry", identityPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Timestamp: true}))
	}, "signers: found 0 of 1; {referrer}: transparency log: not enough verified log entries from transparency log: 0 < 1", verify.Failed},
	{"another certificate authority", timestampPolicy, func(w *world) {
		w.bundle(w.rogue.Bundle(alice, issuer, w.signature, evidencetest.Options{Timestamp: true, TSA: w.authority}))
	}, "signers: found 0 of 1; {referrer}: certificate: not from a trusted authority, or not valid at the signed time: leaf certificate verification failed", verify.Failed},
	{"untrusted TSA", timestampPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Timestamp: true, TSA: w.rogue}))
	}, "signers: found 0 of 1; {referrer}: signed time: threshold not met for verified signed timestamps: 0 < 1; cannot verify signed timestamps: while verifying signature: x509: ECDSA verification failure", verify.Failed},
	{"wrong SCT", sctPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true, WrongSCT: true}))
	}, "signers: found 0 of 1; {referrer}: certificate log (SCT): only able to verify 0 SCT entries; cannot meet threshold of 1", verify.Failed},
	{"no SCT", sctPolicy, func(w *world) {
		w.bundle(w.authority.Bundle(alice, issuer, w.signature, evidencetest.Options{Log: true}))
	}, "signers: found 0 of 1; {referrer}: certificate log (SCT): only able to verify 0 SCT entries; cannot meet threshold of 1", verify.Failed},
	{"one key twice is one signer", bothKeysPolicy, func(w *world) {
		w.store.Sign(w.image, w.key.Legacy(w.payload))
		w.store.Sign(w.image, w.key.Legacy(w.payload))
		w.bundle(w.key.Bundle(w.signature))
	}, "signers: found 1 of 2", verify.Failed},
	{"two keys in two formats", bothKeysPolicy, func(w *world) {
		w.store.Sign(w.image, w.key.Legacy(w.payload))
		w.bundle(w.other.Bundle(w.signature))
	}, "", verify.Passed},
	{"swapped attestation", provenancePolicy, func(w *world) {
		old := w.store.Image("old")
		w.store.Sign(w.image, w.key.Legacy(w.payload))
		w.bundle(w.key.Bundle(provenance(old, "local")))
	}, "provenance: no SLSA provenance v1 counts; {referrer}: statement is about {old}, not {image}", verify.Failed},
	{"attestation by another key", provenancePolicy, func(w *world) {
		w.store.Sign(w.image, w.key.Legacy(w.payload))
		w.store.Attest(w.image, w.other.LegacyAttestation(provenance(w.image, "local")))
	}, "provenance: no SLSA provenance v1 counts; {tag}.att layer 1: signed with another key, expected key {key}…", verify.Failed},
	{"wrong predicate type", provenancePolicy, func(w *world) {
		w.store.Sign(w.image, w.key.Legacy(w.payload))
		w.bundle(w.key.Bundle(w.custom))
	}, "provenance: no SLSA provenance v1 is attached", verify.Failed},
	{"another payload type", keyPolicy, func(w *world) {
		w.bundle(w.key.BundleOf("application/json", w.signature))
	}, `signers: found 0 of 1; {referrer}: envelope: payload type "application/json", expected application/vnd.in-toto+json`, verify.Failed},
	{"a key that repeats", keyPolicy, func(w *world) {
		w.bundle(w.key.Bundle([]byte(strings.Replace(string(w.signature), `"predicateType"`, `"predicateType":"x","predicateType"`, 1))))
	}, `signers: found 0 of 1; {referrer}: statement: key "predicateType" repeats`, verify.Failed},
}

// TestAttacks runs the table.
func TestAttacks(t *testing.T) {
	for _, c := range attacks {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.attach(w)
			v := w.verdict(t, c.policy)
			if got, want := withoutLog(v.Reason()), w.expand(c.reason); got != want {
				t.Errorf("found reason\n%s\nexpected\n%s", got, want)
			}
			if v.Outcome != c.outcome {
				t.Errorf("found outcome %s, expected %s", v.Outcome, c.outcome)
			}
		})
	}
}

// withoutLog leaves out the rule that follows from "signers".
func withoutLog(reason string) string {
	reason, _, _ = strings.Cut(reason, "\nlog: no signature counts")
	return reason
}

// expand puts what differs from run to run into a reason.
func (w *world) expand(s string) string {
	key, _ := verify.NewKey(w.key.Public())
	referrer := ""
	if list, _ := w.store.Referrers(context.Background(), w.image); len(list) > 0 {
		referrer = "referrer sha256:" + list[0].Digest.Hex[:12] + "…"
	}
	return strings.NewReplacer("{key}", key.Fingerprint[:19], "{image}", w.image.String(), "{old}", w.store.Image("old").String(),
		"{tag}", "sha256-"+w.image.Hex[:12]+"…", "{referrer}", referrer).Replace(s)
}

func provenance(image v1.Hash, builder string) []byte {
	return evidencetest.Statement(image, "", verify.PredicateProvenance, map[string]any{
		"buildDefinition": map[string]any{"buildType": "https://example.test/build/v1", "externalParameters": map[string]any{}},
		"runDetails":      map[string]any{"builder": map[string]any{"id": builder}},
	})
}

// rogueKey is the public key of somebody else.
func (w *world) rogueKey() []byte { return evidencetest.NewKey().PEM() }
