package cosign

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/cairn-dev/cairn/sign/keys"
)

// Config says who signs and what attests to the signature.
type Config struct {
	// Key signs. Without a key, Token is exchanged for a certificate for a key
	// that lives as long as the Signer.
	Key *keys.Key
	// Token is an OpenID Connect identity token.
	Token string
	// Services are used for every signature; nil for none at all.
	Services *Services
	// Trust, where it is given, is what everything is verified against before
	// it is written. Without it, signatures are verified with the key alone.
	Trust root.TrustedMaterial
	// Transport makes the requests to Fulcio and to the timestamp authority;
	// nil for the default.
	Transport http.RoundTripper
	// Again signs also what is signed already by the same signer.
	Again bool
}

// Signer signs any number of statements as one identity.
type Signer struct {
	config   Config
	keypair  *keypair
	verifier signature.Verifier
	cert     *fulcioCertificate // nil with a key
}

// New prepares a signer. Without a key this is when the certificate is asked
// for, once: all statements share it.
func New(ctx context.Context, c Config) (*Signer, error) {
	if c.Services == nil {
		c.Services = &Services{}
	}
	s := &Signer{config: c}
	key := c.Key
	if key == nil {
		if err := c.Services.checkKeyless(); err != nil {
			return nil, err
		}
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		if key, err = keys.FromSigner(private); err != nil {
			return nil, err
		}
	}
	if key.Algorithm().GetKeyType() == signature.ED25519 && len(c.Services.Logs) > 0 {
		return nil, fmt.Errorf("%w: an Ed25519 key signs messages, and transparency logs are told digests\nhint: an ECDSA key, or --no-log", keys.ErrKey)
	}
	var err error
	if s.keypair, err = newKeypair(key); err != nil {
		return nil, err
	}
	if s.verifier, err = signature.LoadVerifierFromAlgorithmDetails(key.Public(), key.Algorithm()); err != nil {
		return nil, err
	}
	if c.Key == nil {
		s.cert, err = requestCertificate(ctx, &c, s.keypair)
	}
	return s, err
}

// Identity describes the signer: the fingerprint of its key, or the subject and
// the issuer of its certificate.
func (s *Signer) Identity() string {
	if s.cert == nil {
		return "key SHA256:" + s.keypair.hint
	}
	return s.cert.subject + " (" + s.cert.issuer + ")"
}

// keypair is a key as sigstore-go wants it.
type keypair struct {
	key  *keys.Key
	pem  string
	hint string
}

func newKeypair(k *keys.Key) (*keypair, error) {
	pem, err := keys.MarshalPublic(k.Public())
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(der)
	return &keypair{key: k, pem: string(pem), hint: base64.StdEncoding.EncodeToString(sum[:])}, nil
}

func (k *keypair) GetHashAlgorithm() protocommon.HashAlgorithm {
	if h := k.key.Algorithm().GetProtoHashType(); h != protocommon.HashAlgorithm_HASH_ALGORITHM_UNSPECIFIED {
		return h
	}
	return protocommon.HashAlgorithm_SHA2_256
}

func (k *keypair) GetSigningAlgorithm() protocommon.PublicKeyDetails {
	return k.key.Algorithm().GetSignatureAlgorithm()
}

func (k *keypair) GetKeyAlgorithm() string {
	switch k.key.Algorithm().GetKeyType() {
	case signature.RSA:
		return "RSA"
	case signature.ED25519:
		return "ED25519"
	}
	return "ECDSA"
}

func (k *keypair) GetHint() []byte                  { return []byte(k.hint) }
func (k *keypair) GetPublicKey() crypto.PublicKey   { return k.key.Public() }
func (k *keypair) GetPublicKeyPem() (string, error) { return k.pem, nil }

// SignData returns the signature and the digest that was signed; for Ed25519,
// which signs messages, the SHA-256 that transparency logs are told.
func (k *keypair) SignData(ctx context.Context, data []byte) ([]byte, []byte, error) {
	sig, err := k.key.Sign(ctx, data)
	if err != nil {
		return nil, nil, err
	}
	h := k.key.Algorithm().GetHashType()
	if h == 0 {
		h = crypto.SHA256
	}
	hash := h.New()
	hash.Write(data)
	return sig, hash.Sum(nil), nil
}

// bundleOptions are those of every signature: the certificate, the logs and the
// timestamp authorities.
func (s *Signer) bundleOptions(ctx context.Context) sign.BundleOptions {
	o := sign.BundleOptions{Context: ctx}
	if s.cert != nil {
		o.CertificateProvider = s.cert
	}
	for _, log := range s.config.Services.Logs {
		o.TransparencyLogs = append(o.TransparencyLogs, sign.NewRekor(&sign.RekorOptions{
			BaseURL: log.URL, Version: log.Version, Timeout: 60 * time.Second, Retries: 2,
		}))
	}
	o.TimestampAuthorities = s.authorities(ctx)
	return o
}

func (s *Signer) authorities(ctx context.Context) []*sign.TimestampAuthority {
	var out []*sign.TimestampAuthority
	for _, url := range s.config.Services.Timestamps {
		out = append(out, sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
			URL: url, Retries: 2, Transport: bound{ctx, s.config.Transport},
		}))
	}
	return out
}

// maxAnswer bounds what a certificate or timestamp authority answers, in bytes.
const maxAnswer = 1 << 20

// bound makes requests that end with a context, and whose answers are whole:
// sigstore-go makes them without one, and reads the last of several failures
// after closing it.
type bound struct {
	ctx  context.Context
	base http.RoundTripper
}

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	base := b.base
	if base == nil {
		base = http.DefaultTransport
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	defer context.AfterFunc(b.ctx, func() { cancel(context.Cause(b.ctx)) })()
	resp, err := base.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	resp.Body = memoryBody{bytes.NewReader(body), body}
	return resp, nil
}

// memoryBody can be read after it was closed.
type memoryBody struct {
	*bytes.Reader
	content []byte
}

func (memoryBody) Close() error { return nil }

// serviceError gives the failure of a service its class.
func serviceError(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	return fmt.Errorf("%w: %w", ErrService, err)
}
