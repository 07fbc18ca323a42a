//go:build e2e

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// verifies runs cairn verify and returns the exit code with the output.
func verifies(t *testing.T, args ...string) (int, string) {
	var out bytes.Buffer
	code := run(t.Context(), append([]string{"verify"}, args...), streams{strings.NewReader(""), &out, &out})
	return code, out.String()
}

// TestSigstoreVerify: what cairn and cosign 2 and 3 sign without a key, with the
// real Fulcio, Rekor 2 and timestamp authority, verifies with the trusted root,
// the log, the certificate log and the time; another identity, another issuer
// and a certificate log that did not promise are refused.
func TestSigstoreVerify(t *testing.T) {
	d := deploy(t)
	token := d.issuer.token(t, jose.RS256, e2eIdentity)
	t.Setenv("CAIRN_ID_TOKEN", token)
	services := []string{"--identity-token", token, "--signing-config", d.config, "--trusted-root", d.root, "-y"}
	writers := map[string]func(image string){
		"cairn": func(image string) {
			mustCairn(t, "sign", "--keyless", "--signing-config", d.config, "--trusted-root", d.root, image)
		},
		"cosign2": func(image string) {
			mustReference(t, "cosign2", append(append([]string{"sign", "--new-bundle-format", "--recursive"}, services...), image)...)
		},
		"cosign3": func(image string) {
			mustReference(t, "cosign3", append(append([]string{"sign", "--recursive"}, services...), image)...)
		},
	}
	for kind, host := range registries(t) {
		for name, write := range writers {
			t.Run(kind+" "+name, func(t *testing.T) {
				repo := host + "/verify-" + name
				image := repo + "@" + pushIndex(t, repo)[0].String()
				who := func(identity, issuer, root string) []string {
					return []string{"--identity", identity, "--issuer", issuer, "--trusted-root", root, "--timestamps", "1", "--children", "--max-age", "10m", image}
				}
				if code, out := verifies(t, who(e2eIdentity, d.issuer.url, d.root)...); code != exitMissing {
					t.Errorf("unsigned: found exit code %d\n%s", code, out)
				}
				write(image)
				if code, out := verifies(t, who(e2eIdentity, d.issuer.url, d.root)...); code != exitOK || !strings.Contains(out, "pass  log: required 1 transparency log") {
					t.Errorf("found exit code %d\n%s", code, out)
				}
				for what, args := range map[string][]string{
					"signed by " + e2eIdentity:    who("other@example.test", d.issuer.url, d.root),
					"(issuer " + d.issuer.url:     who(e2eIdentity, "https://evil.example", d.root),
					"certificate log (SCT): only": who(e2eIdentity, d.issuer.url, d.strangeCT),
				} {
					if code, out := verifies(t, args...); code != exitUnverified || !strings.Contains(out, what) {
						t.Errorf("found exit code %d, expected %q in\n%s", code, what, out)
					}
				}
			})
		}
	}
}
