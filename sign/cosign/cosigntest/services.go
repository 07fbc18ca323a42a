// Package cosigntest runs the services that signing talks to, on loopback and
// in memory: a certificate authority with Fulcio's interface, a transparency log
// with Rekor 1's, and a timestamp authority. They do what the real ones do, with
// keys of their own.
//
// It is for tests, and linked into no program.
//
//	s := cosigntest.Start(t)
//	config, trust := s.Files(t) // for --signing-config and --trusted-root
//	token := cosigntest.Token("ES256", "builder@example.test", time.Now().Add(time.Minute))
package cosigntest

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/digitorus/timestamp"
	"github.com/go-openapi/runtime"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"github.com/sigstore/sigstore/pkg/cryptoutils"

	// The log accepts these kinds of entries.
	_ "github.com/sigstore/rekor/pkg/types/dsse/v0.0.1"
	_ "github.com/sigstore/rekor/pkg/types/hashedrekord/v0.0.1"
)

// Issuer is the issuer of the tokens, and Subject the identity in them unless
// another one is asked for.
const (
	Issuer  = "https://issuer.example.test"
	Subject = "builder@example.test"
)

// Services are the running services.
type Services struct {
	URL string // of all of them
	// Certificates, Entries and Stamps count what was issued.
	Certificates, Entries, Stamps atomic.Int64
	// Deny, where it is set, answers requests whose path contains it with
	// an error that repeats the credentials.
	Deny atomic.Pointer[string]

	log       *ca.VirtualSigstore
	root      *x509.Certificate
	issuer    *x509.Certificate
	issuerKey crypto.Signer
	tsa       *x509.Certificate
	tsaChain  *x509.Certificate
	tsaKey    crypto.Signer
}

// Start runs the services until the test ends.
func Start(t testing.TB) *Services {
	t.Helper()
	s, err := newServices()
	if err != nil {
		t.Fatal(err)
	}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.URL = h.URL
	return s
}

func newServices() (*Services, error) {
	s := &Services{}
	var err error
	if s.log, err = ca.NewVirtualSigstore(); err != nil {
		return nil, err
	}
	var rootKey *ecdsa.PrivateKey
	if s.root, rootKey, err = ca.GenerateRootCa(); err != nil {
		return nil, err
	}
	issuer, issuerKey, err := ca.GenerateFulcioIntermediate(s.root, rootKey)
	if err != nil {
		return nil, err
	}
	s.issuer, s.issuerKey = issuer, issuerKey
	chain, chainKey, err := ca.GenerateTSAIntermediate(s.root, rootKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	s.tsaChain, s.tsaKey = chain, key
	s.tsa, err = ca.GenerateTSALeafCert(time.Now().Add(-5*time.Minute), key, chain, chainKey)
	return s, err
}

// ServeHTTP answers as the three services.
func (s *Services) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if deny := s.Deny.Load(); deny != nil && strings.Contains(r.URL.Path, *deny) {
		http.Error(w, "denied for "+r.Header.Get("Authorization"), http.StatusTeapot)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	switch r.URL.Path {
	case "/api/v2/signingCert":
		err = s.certificate(w, r, body)
	case "/api/v1/log/entries":
		err = s.entry(w, body)
	case "/api/v1/timestamp":
		err = s.stamp(w, body)
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// certificate is Fulcio's: it believes the token, as tests sign theirs with
// keys that nobody knows.
func (s *Services) certificate(w http.ResponseWriter, r *http.Request, body []byte) error {
	var req struct {
		PublicKeyRequest struct {
			PublicKey         struct{ Content string }
			ProofOfPossession []byte
		}
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return err
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(req.PublicKeyRequest.PublicKey.Content))
	if err != nil {
		return err
	}
	parts := strings.Split(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), ".")
	if len(parts) != 3 {
		return fmt.Errorf("a token of %d parts", len(parts))
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var claims struct{ Iss, Email string }
	if err := json.Unmarshal(raw, &claims); err != nil {
		return err
	}
	digest := sha256.Sum256([]byte(claims.Email))
	if key, ok := public.(*ecdsa.PublicKey); !ok || !ecdsa.VerifyASN1(key, digest[:], req.PublicKeyRequest.ProofOfPossession) {
		return fmt.Errorf("no proof of possession for %s", claims.Email)
	}
	leaf, err := s.issue(public, claims.Email, claims.Iss)
	if err != nil {
		return err
	}
	s.Certificates.Add(1)
	type chain struct {
		Certificates []string `json:"certificates"`
	}
	return json.NewEncoder(w).Encode(map[string]any{"signedCertificateEmbeddedSct": map[string]any{
		"chain": chain{[]string{pemOf(leaf), pemOf(s.issuer), pemOf(s.root)}},
	}})
}

func (s *Services) issue(public crypto.PublicKey, subject, issuer string) (*x509.Certificate, error) {
	from := time.Now().Add(-time.Minute)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), EmailAddresses: []string{subject},
		NotBefore: from, NotAfter: from.Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(issuer)}},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, s.issuer, public, s.issuerKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// entry is Rekor 1's: it verifies what it is sent, and signs a promise and a
// proof.
func (s *Services) entry(w http.ResponseWriter, body []byte) error {
	proposed, err := models.UnmarshalProposedEntry(bytes.NewReader(body), runtime.JSONConsumer())
	if err != nil {
		return err
	}
	impl, err := types.CreateVersionedEntry(proposed)
	if err != nil {
		return err
	}
	canonical, err := types.CanonicalizeEntry(context.Background(), impl)
	if err != nil {
		return err
	}
	index := s.Entries.Add(1) - 1
	anon, err := s.sealed(canonical, index)
	if err != nil {
		return err
	}
	uuid := hex.EncodeToString(sha256Of(canonical))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("ETag", uuid)
	w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
	w.WriteHeader(http.StatusCreated)
	return json.NewEncoder(w).Encode(models.LogEntry{uuid: *anon})
}

func (s *Services) sealed(canonical []byte, index int64) (*models.LogEntryAnon, error) {
	logID, err := s.log.RekorLogID()
	if err != nil {
		return nil, err
	}
	now := time.Now().Unix()
	payload := tlog.RekorPayload{Body: base64.StdEncoding.EncodeToString(canonical), IntegratedTime: now, LogIndex: index, LogID: logID}
	promise, err := s.log.RekorSignPayload(payload)
	if err != nil {
		return nil, err
	}
	proof, err := s.log.GetInclusionProof(canonical)
	if err != nil {
		return nil, err
	}
	return &models.LogEntryAnon{
		Body: payload.Body, IntegratedTime: &now, LogIndex: &index, LogID: &logID,
		Verification: &models.LogEntryAnonVerification{SignedEntryTimestamp: promise, InclusionProof: proof},
	}, nil
}

func sha256Of(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:]
}

// stamp is the timestamp authority's (RFC 3161 over HTTP).
func (s *Services) stamp(w http.ResponseWriter, body []byte) error {
	req, err := timestamp.ParseRequest(body)
	if err != nil {
		return err
	}
	t := timestamp.Timestamp{
		HashAlgorithm: req.HashAlgorithm, HashedMessage: req.HashedMessage, Nonce: req.Nonce,
		Time: time.Now(), Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	answer, err := t.CreateResponseWithOpts(s.tsa, s.tsaKey, crypto.SHA256)
	if err != nil {
		return err
	}
	s.Stamps.Add(1)
	w.Header().Set("Content-Type", "application/timestamp-reply")
	w.WriteHeader(http.StatusCreated)
	_, err = w.Write(answer)
	return err
}

// Trust is what verifiers of these services trust. With ct there is a
// certificate transparency log in it, of which no certificate has a promise.
func (s *Services) Trust(ct bool) (*root.TrustedRoot, error) {
	from := time.Now().Add(-time.Hour)
	logs := s.log.RekorLogs()
	for id, l := range logs {
		raw, err := hex.DecodeString(id)
		if err != nil {
			return nil, err
		}
		l.ID = raw
	}
	ctLogs := map[string]*root.TransparencyLog{}
	if ct {
		for id, l := range s.log.CTLogs() {
			raw, err := hex.DecodeString(id)
			if err != nil {
				return nil, err
			}
			l.ID, l.BaseURL, l.SignatureHashFunc = raw, "https://ct.example.test", crypto.SHA256
			ctLogs[id] = l
		}
	}
	return root.NewTrustedRoot(root.TrustedRootMediaType01,
		[]root.CertificateAuthority{&root.FulcioCertificateAuthority{Root: s.root, Intermediates: []*x509.Certificate{s.issuer}, URI: "https://fulcio.example.test", ValidityPeriodStart: from}},
		ctLogs,
		[]root.TimestampingAuthority{&root.SigstoreTimestampingAuthority{Root: s.root, Intermediates: []*x509.Certificate{s.tsaChain}, Leaf: s.tsa, URI: "https://tsa.example.test", ValidityPeriodStart: from}},
		logs)
}

// Config is a signing configuration that names the services of which kinds
// contains a letter: f(ulcio), r(ekor), t(imestamps).
func (s *Services) Config(kinds string) []byte {
	service := func(path string) []any {
		return []any{map[string]any{"url": s.URL + path, "majorApiVersion": 1, "validFor": map[string]string{"start": "2024-01-01T00:00:00Z"}, "operator": "test"}}
	}
	c := map[string]any{"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}
	if strings.Contains(kinds, "f") {
		c["caUrls"] = service("")
	}
	if strings.Contains(kinds, "r") {
		c["rekorTlogUrls"], c["rekorTlogConfig"] = service(""), map[string]string{"selector": "ANY"}
	}
	if strings.Contains(kinds, "t") {
		c["tsaUrls"], c["tsaConfig"] = service("/api/v1/timestamp"), map[string]string{"selector": "ANY"}
	}
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // maps of strings
	}
	return b
}

// Files writes a signing configuration for all services and the trusted root.
func (s *Services) Files(t testing.TB) (config, trust string) {
	t.Helper()
	dir := t.TempDir()
	r, err := s.Trust(false)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := r.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	config, trust = filepath.Join(dir, "signing-config.json"), filepath.Join(dir, "trusted-root.json")
	for path, content := range map[string][]byte{config: s.Config("frt"), trust: raw} {
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return config, trust
}

// Token makes an identity token. Its signature is no good: the services here
// do not look at it.
func Token(algorithm, subject string, expiry time.Time) string {
	part := func(v any) string {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // maps of strings and numbers
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	return part(map[string]string{"alg": algorithm, "typ": "JWT"}) + "." +
		part(map[string]any{"iss": Issuer, "sub": subject, "email": subject, "email_verified": true, "aud": "sigstore", "exp": expiry.Unix()}) + "." +
		base64.RawURLEncoding.EncodeToString([]byte("no signature"))
}
