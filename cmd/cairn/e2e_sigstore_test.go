//go:build e2e

package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	ct "github.com/google/certificate-transparency-go"
	"github.com/google/certificate-transparency-go/tls"
	ctx509 "github.com/google/certificate-transparency-go/x509"
)

// Signing without a key with the real Fulcio, Rekor 2 and timestamp authority on
// loopback. `make e2e-sigstore` builds them and runs this; see e2e/sigstore.sh.
// What has to be there besides, an OpenID Connect issuer and a certificate
// transparency log, is below.

// issuer signs identity tokens.
type issuer struct {
	url  string
	keys map[jose.SignatureAlgorithm]crypto.Signer
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{keys: map[jose.SignatureAlgorithm]crypto.Signer{jose.RS256: r, jose.ES256: e}}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{
			"issuer": i.url, "jwks_uri": i.url + "/keys", "authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token",
			"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		var set jose.JSONWebKeySet
		for alg, k := range i.keys {
			set.Keys = append(set.Keys, jose.JSONWebKey{Key: k.Public(), KeyID: string(alg), Algorithm: string(alg), Use: "sig"})
		}
		json.NewEncoder(w).Encode(set)
	})
	h := httptest.NewServer(mux)
	t.Cleanup(h.Close)
	i.url = h.URL
	return i
}

func (i *issuer) token(t *testing.T, alg jose.SignatureAlgorithm, subject string) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: jose.JSONWebKey{Key: i.keys[alg], KeyID: string(alg)}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": i.url, "aud": "sigstore", "sub": subject, "email": subject, "email_verified": true,
		"iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(),
	})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// ctLog promises to log certificates (RFC 6962) and logs none.
type ctLog struct{ key *ecdsa.PrivateKey }

func (l *ctLog) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer, err := l.promise(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	json.NewEncoder(w).Encode(answer)
}

func (l *ctLog) promise(body io.Reader) (*ct.AddChainResponse, error) {
	var req ct.AddChainRequest
	if err := json.NewDecoder(body).Decode(&req); err != nil {
		return nil, err
	}
	var chain []*ctx509.Certificate
	for _, der := range req.Chain {
		c, err := ctx509.ParseCertificate(der)
		if ctx509.IsFatal(err) {
			return nil, err
		}
		chain = append(chain, c)
	}
	now := uint64(time.Now().UnixMilli())
	leaf, err := ct.MerkleTreeLeafFromChain(chain, ct.PrecertLogEntryType, now)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(l.key.Public())
	if err != nil {
		return nil, err
	}
	sct := ct.SignedCertificateTimestamp{SCTVersion: ct.V1, LogID: ct.LogID{KeyID: sha256.Sum256(der)}, Timestamp: now}
	input, err := ct.SerializeSCTSignatureInput(sct, ct.LogEntry{Leaf: *leaf})
	if err != nil {
		return nil, err
	}
	signed, err := tls.CreateSignature(*l.key, tls.SHA256, input)
	if err != nil {
		return nil, err
	}
	signature, err := tls.Marshal(signed)
	return &ct.AddChainResponse{SCTVersion: ct.V1, ID: sct.LogID.KeyID[:], Timestamp: now, Signature: signature}, err
}

// deployment is a whole Sigstore on loopback.
type deployment struct {
	issuer       *issuer
	config, root string // files
	strangeCT    string // a trusted root with another certificate log
}

func newECKey(t *testing.T, dir, name string) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, filepath.Join(dir, name+".key"), "PRIVATE KEY", private)
	writePEM(t, filepath.Join(dir, name+".pub"), "PUBLIC KEY", public)
	return k
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func fetch(t *testing.T, url, path string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v\n%s", url, resp.Status, err, b)
	}
	if bytes.HasPrefix(b, []byte("{")) { // Fulcio's trust bundle
		var bundle struct {
			Chains []struct{ Certificates []string }
		}
		if err := json.Unmarshal(b, &bundle); err != nil || len(bundle.Chains) == 0 {
			t.Fatalf("%s: %s, %v", url, b, err)
		}
		b = []byte(strings.Join(bundle.Chains[0].Certificates, "\n"))
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func deploy(t *testing.T) *deployment {
	t.Helper()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	address := func() string { return "127.0.0.1:" + freePort(t) }
	port := func(addr string) string { return strings.TrimPrefix(addr, "127.0.0.1:") }
	d := &deployment{issuer: newIssuer(t), config: in("signing-config.json"), root: in("root.json"), strangeCT: in("strange.json")}

	log := httptest.NewServer(&ctLog{newECKey(t, dir, "ct")})
	t.Cleanup(log.Close)
	newECKey(t, dir, "strange")
	newECKey(t, dir, "rekor")
	yaml := fmt.Sprintf("oidc-issuers:\n  %s:\n    issuer-url: %s\n    client-id: sigstore\n    type: email\n", d.issuer.url, d.issuer.url)
	if err := os.WriteFile(in("fulcio.yaml"), []byte(yaml), 0o644); err != nil {
		t.Fatal(err)
	}
	fulcio, rekor, tsa := address(), address(), address()
	serve(t, fulcio, "fulcio", "serve", "--host", "127.0.0.1", "--port", port(fulcio), "--grpc-host", "127.0.0.1", "--grpc-port", freePort(t),
		"--metrics-port", freePort(t), "--ca", "ephemeralca", "--config-path", in("fulcio.yaml"), "--ct-log-url", log.URL, "--ct-log-public-key-path", in("ct.pub"))
	serve(t, rekor, "rekor2", "serve", "--http-port", port(rekor), "--grpc-port", freePort(t), "--http-metrics-port", freePort(t),
		"--hostname", "rekor.local", "--signer-filepath", in("rekor.key"), "--storage-dir", in("tiles"), "--checkpoint-interval", "1s")
	serve(t, tsa, "tsa", "serve", "--host", "127.0.0.1", "--port", port(tsa), "--timestamp-signer", "memory", "--disable-ntp-monitoring")

	fetch(t, "http://"+fulcio+"/api/v2/trustBundle", in("fulcio.pem"))
	fetch(t, "http://"+tsa+"/api/v1/timestamp/certchain", in("tsa.pem"))
	since := "start-time=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	for ctKey, out := range map[string]string{"ct.pub": d.root, "strange.pub": d.strangeCT} {
		mustReference(t, "cosign3", "trusted-root", "create", "--out", out,
			"--fulcio=url=http://"+fulcio+",certificate-chain="+in("fulcio.pem"),
			"--rekor=url=https://rekor.local,public-key="+in("rekor.pub")+","+since+",origin=rekor.local",
			"--ctfe=url="+log.URL+",public-key="+in(ctKey)+","+since,
			"--tsa=url=http://"+tsa+"/api/v1/timestamp,certificate-chain="+in("tsa.pem"))
	}
	service := ",operator=test," + since
	mustReference(t, "cosign3", "signing-config", "create", "--out", d.config,
		"--fulcio=url=http://"+fulcio+",api-version=1"+service,
		"--rekor=url=http://"+rekor+",api-version=2"+service, "--rekor-config=ANY",
		"--oidc-provider=url="+d.issuer.url+",api-version=1"+service,
		"--tsa=url=http://"+tsa+"/api/v1/timestamp,api-version=1"+service, "--tsa-config=ANY")
	return d
}

const e2eIdentity = "builder@example.test"

func TestSigstoreKeyless(t *testing.T) {
	d := deploy(t)
	_, _, _, predicate := keyFiles(t)
	t.Setenv("CAIRN_ID_TOKEN", d.issuer.token(t, jose.ES256, e2eIdentity)) // which cosign takes for a file name
	who := []string{"--certificate-identity", e2eIdentity, "--certificate-oidc-issuer", d.issuer.url, "--trusted-root", d.root, "--use-signed-timestamps"}
	for kind, host := range registries(t) {
		t.Run(kind, func(t *testing.T) {
			repo := host + "/app"
			digests := pushIndex(t, repo)
			image := repo + "@" + digests[0].String()
			flags := []string{"--keyless", "--signing-config", d.config, "--trusted-root", d.root, image}
			start := time.Now()
			mustCairn(t, append([]string{"sign"}, flags...)...)
			t.Logf("signed an index and two images in both formats in %s", time.Since(start).Round(time.Millisecond))
			mustCairn(t, append([]string{"attest", "--type", e2eType, "--predicate", predicate}, flags...)...)
			for _, program := range []string{"cosign2", "cosign3"} {
				for _, digest := range digests {
					mustReference(t, program, append(append([]string{"verify"}, who...), repo+"@"+digest.String())...)
				}
				mustReference(t, program, append(append([]string{"verify-attestation", "--type", e2eType}, who...), image)...)
				if out, err := reference(t, program, append(append([]string{"verify"}, replaced(who, e2eIdentity, "other@example.test")...), image)...); err == nil {
					t.Errorf("%s: another identity verifies:\n%s", program, out)
				}
			}
			// The legacy format has no room for entries of Rekor 2.
			legacy := append([]string{"--new-bundle-format=false", "--insecure-ignore-tlog"}, who...)
			mustReference(t, "cosign3", append(append([]string{"verify"}, legacy...), image)...)
			mustReference(t, "cosign3", append(append([]string{"verify-attestation", "--type", e2eType}, legacy...), image)...)
			// A second run recognises the first, whose key is gone.
			if out := mustCairn(t, append([]string{"sign"}, flags...)...); strings.Contains(out, "written") {
				t.Errorf("signed again:\n%s", out)
			}
		})
	}
}

// A certificate whose promise is not of the trusted certificate log is refused
// before anything is written.
func TestSigstoreWrongSCT(t *testing.T) {
	d := deploy(t)
	t.Setenv("CAIRN_ID_TOKEN", d.issuer.token(t, jose.ES256, e2eIdentity)) // which cosign takes for a file name
	repo := registries(t)["referrers"] + "/app"
	image := repo + "@" + pushIndex(t, repo)[0].String()
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"sign", "--keyless", "--signing-config", d.config, "--trusted-root", d.strangeCT, image}, streams{strings.NewReader(""), &out, &errs})
	if code != exitUnverified || !strings.Contains(errs.String(), "signed certificate timestamp") {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
	if tree := mustReference(t, "cosign3", "tree", image); strings.Contains(tree, "sha256-") {
		t.Errorf("something was written:\n%s", tree)
	}
}

// What the reference clients sign with the same services, cairn recognises as
// the same identity's.
func TestSigstoreRecognisesCosign(t *testing.T) {
	d := deploy(t)
	token := d.issuer.token(t, jose.RS256, e2eIdentity)
	repo := registries(t)["tags"] + "/app"
	image := repo + "@" + pushIndex(t, repo)[0].String()
	mustReference(t, "cosign3", "sign", "--recursive", "--identity-token", token, "--signing-config", d.config, "--trusted-root", d.root, "-y", image)
	t.Setenv("CAIRN_ID_TOKEN", token)
	out := mustCairn(t, "sign", "--keyless", "--signing-config", d.config, "--trusted-root", d.root, "--signature-format", "bundle", image)
	if strings.Contains(out, "written") {
		t.Errorf("signed again:\n%s", out)
	}
}

func replaced(list []string, old, by string) []string {
	var out []string
	for _, s := range list {
		if s == old {
			s = by
		}
		out = append(out, s)
	}
	return out
}
