package cosign

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
)

// fulcioCertificate is what Fulcio says about the key, and for how long.
type fulcioCertificate struct {
	der     []byte
	leaf    *x509.Certificate
	leafPEM []byte
	chain   []byte // PEM: intermediates and root
	subject string
	issuer  string // of the identity token
}

// GetCertificate gives the one certificate to every signature.
func (c *fulcioCertificate) GetCertificate(context.Context, sign.Keypair, *sign.CertificateProviderOptions) ([]byte, error) {
	if now := time.Now(); now.After(c.leaf.NotAfter) {
		return nil, fmt.Errorf("the certificate expired at %s, before everything was signed", c.leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return c.der, nil
}

// requestCertificate asks Fulcio for a certificate and, where there is a
// trusted root, checks it as verifiers will: chain, and the timestamp of the
// certificate transparency log.
func requestCertificate(ctx context.Context, c *Config, k *keypair) (*fulcioCertificate, error) {
	if _, err := parseToken(c.Token, time.Now()); err != nil {
		return nil, err
	}
	keeper := &chainKeeper{bound: bound{ctx, c.Transport}}
	fulcio := sign.NewFulcio(&sign.FulcioOptions{BaseURL: strings.TrimSuffix(c.Services.Fulcio, "/"), Retries: 2, Transport: keeper})
	der, err := fulcio.GetCertificate(ctx, k, &sign.CertificateProviderOptions{IDToken: c.Token})
	if err != nil {
		return nil, hideToken(serviceError(ctx, fmt.Errorf("fulcio %s: %w", c.Services.Fulcio, err)), c.Token)
	}
	cert, err := newCertificate(der, keeper.chain())
	if err != nil {
		return nil, fmt.Errorf("%w: fulcio %s: %w", ErrService, c.Services.Fulcio, err)
	}
	if c.Trust != nil {
		if err := cert.check(c.Trust); err != nil {
			return nil, fmt.Errorf("fulcio %s: certificate: %w: %w", c.Services.Fulcio, ErrSelfCheck, err)
		}
	}
	return cert, nil
}

// hideToken makes sure that no service's answer carries the token into a log.
func hideToken(err error, token string) error {
	if !strings.Contains(err.Error(), token) {
		return err
	}
	return fmt.Errorf("%w: an answer that repeats the token, and is not shown", ErrService)
}

func newCertificate(der, chain []byte) (*fulcioCertificate, error) {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	summary, err := certificate.SummarizeCertificate(leaf)
	if err != nil {
		return nil, err
	}
	leafPEM, err := cryptoutils.MarshalCertificateToPEM(leaf)
	if err != nil {
		return nil, err
	}
	return &fulcioCertificate{der: der, leaf: leaf, leafPEM: leafPEM, chain: chain, subject: summary.SubjectAlternativeName, issuer: summary.Issuer}, nil
}

func (c *fulcioCertificate) check(trust root.TrustedMaterial) error {
	chains, err := verify.VerifyLeafCertificate(c.leaf.NotBefore, c.leaf, trust)
	if err != nil {
		return fmt.Errorf("not of an authority of the trusted root: %w", err)
	}
	if len(trust.CTLogs()) == 0 {
		return nil
	}
	if err := verify.VerifySignedCertificateTimestamp(chains, 1, trust); err != nil {
		return fmt.Errorf("signed certificate timestamp: %w", err)
	}
	return nil
}

// chainKeeper remembers the chain in Fulcio's answer, of which sigstore-go
// returns the first certificate only; legacy signatures carry the rest.
type chainKeeper struct {
	bound
	mu   sync.Mutex
	body []byte
}

func (k *chainKeeper) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := k.bound.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if body, ok := resp.Body.(memoryBody); ok {
		k.body = body.content
	}
	return resp, nil
}

// chain returns the certificates after the first, in PEM.
func (k *chainKeeper) chain() []byte {
	type chain struct {
		Chain struct{ Certificates []string }
	}
	var answer struct {
		SignedCertificateEmbeddedSct chain
		SignedCertificateDetachedSct chain
	}
	if json.Unmarshal(k.body, &answer) != nil {
		return nil
	}
	list := answer.SignedCertificateEmbeddedSct.Chain.Certificates
	if len(list) == 0 {
		list = answer.SignedCertificateDetachedSct.Chain.Certificates
	}
	var out []byte
	for i, c := range list {
		if block, _ := pem.Decode([]byte(c)); i > 0 && block != nil {
			out = append(out, pem.EncodeToMemory(block)...)
		}
	}
	return out
}
