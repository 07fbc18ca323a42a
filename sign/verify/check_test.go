package verify_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/verify"
)

func items(t testing.TB, s *evidencetest.Store, image v1.Hash) []evidence.Item {
	t.Helper()
	set, err := evidence.Collect(context.Background(), s, image, evidence.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return set.Items
}

func engine(t testing.TB, trust verify.Trust) *verify.Engine {
	t.Helper()
	e, err := verify.New(trust)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func keySigner(t testing.TB, k *evidencetest.Key) []verify.Signer {
	t.Helper()
	key, err := verify.ParseKey(k.PEM())
	if err != nil {
		t.Fatal(err)
	}
	return []verify.Signer{{Name: "release", Key: key}}
}

func both(s []verify.Signer) verify.Accept { return verify.Accept{Signatures: s, Attestations: s} }

func signature(image v1.Hash) []byte {
	return evidencetest.Statement(image, "", verify.PredicateSignature, map[string]any{})
}

func TestCheckSaysWhoAndWhen(t *testing.T) {
	s, a := evidencetest.NewStore(), evidencetest.NewAuthority()
	image := s.Image("app")
	s.Refer(image, evidencetest.MediaBundle, a.Bundle("alice@example.test", "https://issuer", signature(image),
		evidencetest.Options{Log: true, Age: 30 * time.Minute}))
	id, err := verify.NewIdentity("https://issuer", "alice@example.test", "")
	if err != nil {
		t.Fatal(err)
	}
	got := engine(t, verify.NewTrust(a.Root(false))).Check(items(t, s, image)[0], image, both([]verify.Signer{{Name: "alice", Identity: id}}))
	if got.Err != nil {
		t.Fatal(got.Err)
	}
	if got.Signer != "alice" || got.Identity != "alice@example.test (issuer https://issuer)" || got.Kind != verify.KindSignature {
		t.Errorf("found %+v", got)
	}
	if age := time.Since(got.SignedAt()); age < 28*time.Minute || age > 31*time.Minute {
		t.Errorf("found a signed time %v ago, expected 29 minutes", age)
	}
}

// A key's timestamp is used when it can be trusted and does no harm when not.
func TestKeyWithTimestamp(t *testing.T) {
	s, a, rogue, key := evidencetest.NewStore(), evidencetest.NewAuthority(), evidencetest.NewAuthority(), evidencetest.NewKey()
	for _, c := range []struct {
		name  string
		tsa   *evidencetest.Authority
		timed bool
	}{{"trusted", a, true}, {"untrusted", rogue, false}} {
		t.Run(c.name, func(t *testing.T) {
			image := s.Image(c.name)
			l := key.Legacy(evidencetest.Payload(image, ""))
			sig, err := base64.StdEncoding.DecodeString(l.Annotations["dev.cosignproject.cosign/signature"])
			if err != nil {
				t.Fatal(err)
			}
			ts, err := c.tsa.TimestampResponse(sig)
			if err != nil {
				t.Fatal(err)
			}
			l.Annotations["dev.sigstore.cosign/rfc3161timestamp"] = `{"SignedRFC3161Timestamp":"` + base64.StdEncoding.EncodeToString(ts) + `"}`
			s.Sign(image, l)
			trust := verify.Trust{Root: a.Root(false)}
			got := engine(t, trust).Check(items(t, s, image)[0], image, both(keySigner(t, key)))
			if got.Err != nil {
				t.Fatal(got.Err)
			}
			if (len(got.Times) > 0) != c.timed {
				t.Errorf("found times %v", got.Times)
			}
			trust.Timestamps = 1
			if err := engine(t, trust).Check(items(t, s, image)[0], image, both(keySigner(t, key))).Err; (err == nil) != c.timed {
				t.Errorf("with a timestamp required: found %v", err)
			}
		})
	}
}

// A key whose signature must be in a log, and is not.
func TestKeyWithoutLog(t *testing.T) {
	s, a, key := evidencetest.NewStore(), evidencetest.NewAuthority(), evidencetest.NewKey()
	image := s.Image("app")
	s.Sign(image, key.Legacy(evidencetest.Payload(image, "")))
	got := engine(t, verify.NewTrust(a.Root(false))).Check(items(t, s, image)[0], image, both(keySigner(t, key)))
	if got.Err == nil || got.Err.Error() != "transparency log: not enough verified log entries from transparency log: 0 < 1" {
		t.Errorf("found %v", got.Err)
	}
}

func TestTrustThatCannotBeMet(t *testing.T) {
	for _, trust := range []verify.Trust{{Log: 1}, {Timestamps: 1}, {SCTs: 1}} {
		if _, err := verify.New(trust); err == nil {
			t.Errorf("%+v: accepted without a trusted root", trust)
		}
	}
}

// A panic in a verification is an error of that verification.
func TestPanicBecomesAnError(t *testing.T) {
	s := evidencetest.NewStore()
	image := s.Image("app")
	for _, item := range []evidence.Item{{}, {Legacy: &evidence.Legacy{}}, {Bundle: nil, Where: "x"}} {
		got := engine(t, verify.Trust{}).Check(item, image, verify.Accept{})
		if got.Err == nil {
			t.Errorf("%+v: accepted", item)
		}
	}
	if got := engine(t, verify.Trust{}).Check(evidence.Item{}, image, verify.Accept{}); !strings.HasPrefix(got.Err.Error(), "verifier gave up: ") {
		t.Errorf("found %v", got.Err)
	}
}

func TestIdentities(t *testing.T) {
	for _, c := range []struct{ issuer, subject, pattern, want string }{
		{"https://i", "a@b.c", "", ""},
		{"https://i", "", "https://github[.]com/acme/.*", ""},
		{"", "a@b.c", "", "identity: issuer is missing"},
		{".*", "a@b.c", "", `identity: issuer ".*" looks like a pattern, expected the exact issuer`},
		{"^https://i$", "a@b.c", "", `identity: issuer "^https://i$" looks like a pattern, expected the exact issuer`},
		{"https://i", "", "", "identity: subject is missing, exact or as a pattern"},
		{"https://i", "a@b.c", "a", "identity: found an exact subject and a pattern, expected one of them"},
		{"https://i", "", "(", "identity: pattern: error parsing regexp: missing closing ): `(`"},
		{"https://i", "", ".*", `identity: pattern ".*" matches everybody`},
		{"https://i", "", ".+", `identity: pattern ".+" matches everybody`},
		{"https://i", "", "a|", `identity: pattern "a|" matches everybody`},
	} {
		_, err := verify.NewIdentity(c.issuer, c.subject, c.pattern)
		if got := text(err); got != c.want {
			t.Errorf("%+v: found %q", c, got)
		}
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestKeys(t *testing.T) {
	pub := string(evidencetest.NewKey().PEM())
	for _, c := range []struct{ name, text, want string }{
		{"good", pub, ""},
		{"empty", "", "not a public key: found no PEM block"},
		{"two", pub + pub, "not a public key: found more after the first one"},
		{"private", "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n", `not a public key: found a PEM block "PRIVATE KEY", expected PUBLIC KEY`},
	} {
		if _, err := verify.ParseKey([]byte(c.text)); text(err) != c.want {
			t.Errorf("%s: found %v", c.name, err)
		}
	}
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err)
	}
	if _, err := verify.NewKey(weak.Public()); text(err) != "public key: RSA with 1024 bits, expected 2048 or more" {
		t.Errorf("found %v", err)
	}
}

// Every kind of key that cosign signs with, and P-384 with SHA-256 as older
// versions did.
func TestKindsOfKeys(t *testing.T) {
	image := evidencetest.NewStore().Image("app")
	payload := evidencetest.Payload(image, "")
	sum := sha256.Sum256(payload)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ecdsa.SignASN1(rand.Reader, p384, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	edPub, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		pub  any
		sig  []byte
	}{{"P-384 with SHA-256", p384.Public(), old}, {"Ed25519", edPub, ed25519.Sign(edKey, payload)}} {
		t.Run(c.name, func(t *testing.T) {
			key, err := verify.NewKey(c.pub)
			if err != nil {
				t.Fatal(err)
			}
			item := evidence.Item{Format: evidence.FormatLegacy, Legacy: &evidence.Legacy{Payload: payload, Signature: c.sig}}
			signers := []verify.Signer{{Key: key}}
			if got := engine(t, verify.Trust{}).Check(item, image, both(signers)); got.Err != nil {
				t.Error(got.Err)
			}
			item.Legacy.Signature = append([]byte{}, c.sig...)
			item.Legacy.Signature[len(c.sig)-1] ^= 1
			if got := engine(t, verify.Trust{}).Check(item, image, both(signers)); got.Err == nil {
				t.Error("an altered signature is accepted")
			}
		})
	}
}

func TestStatements(t *testing.T) {
	const good = `{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[]}`
	for _, c := range []struct{ raw, want string }{
		{good, ""},
		{strings.Replace(good, "v1", "v0.1", 1), ""},
		{strings.Replace(good, "v1", "v2", 1), `statement: type "https://in-toto.io/Statement/v2", expected https://in-toto.io/Statement/v1 or v0.1`},
		{`[]`, "statement: found no JSON object"},
		{good + "{}", "statement: found more after the JSON object"},
		{`{"_type":"x","_type":"y"}`, `statement: key "_type" repeats`},
		{strings.Replace(good, `"x"`, `""`, 1), "statement: predicateType is empty"},
		// Keys are told apart by case: this one has no predicateType.
		{strings.Replace(good, "predicateType", "PredicateType", 1), "statement: predicateType is missing"},
	} {
		if _, err := verify.ParseStatement([]byte(c.raw)); text(err) != c.want {
			t.Errorf("%s: found %v", c.raw, err)
		}
	}
}

func TestTrustedRootFiles(t *testing.T) {
	if _, err := verify.ReadTrustedRoot(t.TempDir() + "/none.json"); err == nil {
		t.Error("read a file that is not there")
	}
}

func FuzzStatement(f *testing.F) {
	f.Add([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicateType":"x","subject":[{"digest":{"sha256":"00"}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		st, err := verify.ParseStatement(raw)
		if err == nil && (st.PredicateType == "" || st.Type == "") {
			t.Errorf("%q: accepted", raw)
		}
	})
}

// A verification of everything that a signer attaches by default: legacy and
// bundle, signature and attestation, by an identity with log and timestamp.
func BenchmarkCheck(b *testing.B) {
	s, a := evidencetest.NewStore(), evidencetest.NewAuthority()
	image := s.Image("app")
	o := evidencetest.Options{Log: true, Timestamp: true}
	s.Sign(image, a.Legacy("alice@example.test", "https://issuer", evidencetest.Payload(image, ""), o))
	s.Refer(image, evidencetest.MediaBundle, a.Bundle("alice@example.test", "https://issuer", signature(image), o))
	s.Refer(image, evidencetest.MediaBundle, a.Bundle("alice@example.test", "https://issuer",
		evidencetest.Statement(image, "", verify.PredicateProvenance, map[string]any{}), o))
	id, err := verify.NewIdentity("https://issuer", "alice@example.test", "")
	if err != nil {
		b.Fatal(err)
	}
	e, accept := engine(b, verify.NewTrust(a.Root(false))), both([]verify.Signer{{Identity: id}})
	for b.Loop() {
		for _, item := range items(b, s, image) {
			if c := e.Check(item, image, accept); c.Err != nil {
				b.Fatal(c.Err)
			}
		}
	}
}
