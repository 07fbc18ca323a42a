package sign

import (
	"os"
	"path/filepath"
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
