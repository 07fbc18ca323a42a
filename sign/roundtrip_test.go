package sign

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/sign/cosign"
	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// signedWithoutAKey signs and attests a layout by an identity, in a format.
func signedWithoutAKey(t *testing.T, format string, noLog bool) (image, trust string) {
	t.Helper()
	config, trust := cosigntest.Start(t).Files(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(cosigntest.Token("ES256", cosigntest.Subject, time.Now().Add(time.Minute))), 0o600); err != nil {
		t.Fatal(err)
	}
	o := SignOptions{Image: inLayout(t, nested(t)), Keyless: true, Token: cosign.TokenSource{File: token}, Format: format,
		SigningConfig: config, TrustedRoot: trust, Repository: "registry.example/app", NoLog: noLog}
	if _, err := Attest(t.Context(), AttestOptions{SignOptions: o, SignImage: true, Attestations: []Attestation{
		{Type: "spdxjson", Predicate: []byte(`{"spdxVersion":"SPDX-2.3"}`), Children: true},
	}}); err != nil {
		t.Fatal(err)
	}
	return o.Image, trust
}

// What is signed here verifies here: every format, with the log and with
// timestamps alone, for the index and everything in it; and nobody else's
// identity will do.
func TestRoundTripWithoutAKey(t *testing.T) {
	for _, format := range []string{"both", "legacy", "bundle"} {
		for _, noLog := range []bool{false, true} {
			image, trust := signedWithoutAKey(t, format, noLog)
			log := "1"
			if noLog {
				log = "0"
			}
			text := func(subject string) string {
				return `
version: 1
images:
  - match: ["registry.example/app"]
    signers:
      identities: [{issuer: "` + cosigntest.Issuer + `", subject: "` + subject + `"}]
      repository: same
    trust: {root: "` + trust + `", sct: 0, log: ` + log + `, timestamps: 1}
    children: all
    sbom: {format: spdx}
    maxAge: 1h
`
			}
			check := func(subject string) *verify.Verdict {
				p, err := policy.Parse("p.yaml", []byte(text(subject)), t.TempDir())
				if err != nil {
					t.Fatal(err)
				}
				v, err := Verify(t.Context(), image, VerifyOptions{Policy: p, As: "registry.example/app"})
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
			if v := check(cosigntest.Subject); v.Outcome != verify.Passed {
				t.Errorf("%s, no log %v: %s", format, noLog, v.Reason())
			}
			v := check("mallory@example.test")
			if v.Outcome != verify.Failed || !strings.Contains(v.Reason(), "signed by "+cosigntest.Subject+" (issuer "+cosigntest.Issuer+"), expected mallory@example.test") {
				t.Errorf("%s, no log %v: somebody else: %s", format, noLog, v.Reason())
			}
		}
	}
}

// Annotations are signed in both formats, required by name and value, and make a
// signature another one.
func TestAnnotationsRoundTrip(t *testing.T) {
	for _, format := range []string{"legacy", "bundle", "both"} {
		key, options := keyFile(t)
		pem, err := os.ReadFile(strings.TrimSuffix(key, ".key") + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		public, err := verify.ParseKey(pem)
		if err != nil {
			t.Fatal(err)
		}
		o := SignOptions{Image: inLayout(t, nested(t)), Key: key, Keys: options, NoLog: true, Format: format}
		states := func() (out []string) {
			r, err := Sign(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			for _, oc := range r.Outcomes {
				out = append(out, string(oc.State))
			}
			return slices.Compact(out)
		}
		check := func(want map[string]string) *verify.Verdict {
			e, err := policy.Direct(policy.Requirements{Signers: []verify.Signer{{Name: "k", Key: public}}, Threshold: 1, Annotations: want})
			if err != nil {
				t.Fatal(err)
			}
			v, err := Verify(t.Context(), o.Image, VerifyOptions{Entry: e})
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		states()
		if v := check(map[string]string{"env": "prod"}); v.Outcome != verify.Failed || !strings.Contains(v.Reason(), "signature has no annotation env, expected env=prod") {
			t.Errorf("%s, unannotated: %s", format, v.Reason())
		}
		o.Annotations = map[string]string{"env": "prod", "by": "ci"}
		if got := states(); !slices.Equal(got, []string{"written"}) {
			t.Errorf("%s: %v, expected another signature", format, got)
		}
		if got := states(); !slices.Equal(got, []string{"present"}) {
			t.Errorf("%s: %v, expected the same signature", format, got)
		}
		for _, want := range []map[string]string{nil, {"env": "prod"}, {"env": "prod", "by": "ci"}} {
			if v := check(want); v.Outcome != verify.Passed {
				t.Errorf("%s %v: %s", format, want, v.Reason())
			}
		}
		if v := check(map[string]string{"env": "dev"}); v.Outcome != verify.Failed || !strings.Contains(v.Reason(), "signature has the annotation env=prod, expected env=dev") {
			t.Errorf("%s: %s", format, v.Reason())
		}
	}
}
