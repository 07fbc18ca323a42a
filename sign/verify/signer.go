package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

// Signer is somebody whose signature counts: exactly one of Key and Identity is
// set.
type Signer struct {
	// Name is for people; it need not be unique.
	Name     string
	Key      *Key
	Identity *Identity
}

func (s Signer) text() string {
	if s.Key != nil {
		return "key " + s.Key.Fingerprint[:min(len(s.Key.Fingerprint), 19)] + "…"
	}
	if s.Identity.pattern != nil {
		return fmt.Sprintf("%s (issuer %s)", s.Identity.pattern, s.Identity.Issuer)
	}
	return fmt.Sprintf("%s (issuer %s)", s.Identity.Subject, s.Identity.Issuer)
}

func expected(signers []Signer) string {
	if len(signers) == 0 {
		return "no signer"
	}
	var list []string
	for _, s := range signers {
		list = append(list, s.text())
	}
	return strings.Join(list, " or ")
}

// Key is a public key.
type Key struct {
	Public crypto.PublicKey
	// Fingerprint is "sha256:" and the hex SHA-256 of the key in PKIX DER.
	Fingerprint string
	verifier    signature.Verifier
}

// ParseKey reads a public key in PEM: PKIX, ECDSA, RSA (2048 bits or more) or
// Ed25519.
func ParseKey(text []byte) (*Key, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not a public key: found no PEM block")
	}
	if block.Type != "PUBLIC KEY" {
		return nil, fmt.Errorf("not a public key: found a PEM block %q, expected PUBLIC KEY", block.Type)
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not a public key: found more after the first one")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("not a public key: %w", err)
	}
	return NewKey(pub)
}

// NewKey makes a Key of a public key.
func NewKey(pub crypto.PublicKey) (*Key, error) {
	if r, ok := pub.(*rsa.PublicKey); ok && r.N.BitLen() < 2048 {
		return nil, fmt.Errorf("public key: RSA with %d bits, expected 2048 or more", r.N.BitLen())
	}
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	v, err := keyVerifiers(pub)
	if err != nil {
		return nil, fmt.Errorf("public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return &Key{Public: pub, Fingerprint: "sha256:" + hex.EncodeToString(sum[:]), verifier: v}, nil
}

// keyVerifiers verifies with each way that signers use for the type of key:
// Sigstore's default, and what cosign did before (SHA-256 with every curve,
// pure Ed25519, PKCS #1 v1.5).
func keyVerifiers(pub crypto.PublicKey) (signature.Verifier, error) {
	first, err := signature.LoadDefaultVerifier(pub)
	if err != nil {
		return nil, err
	}
	all := anyVerifier{first}
	var more signature.Verifier
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize > 256 {
			more, err = signature.LoadECDSAVerifier(k, crypto.SHA256)
		}
	case ed25519.PublicKey:
		more, err = signature.LoadDefaultVerifier(pub, options.WithED25519ph())
	}
	if err != nil {
		return nil, err
	}
	if more == nil {
		return first, nil
	}
	return append(all, more), nil
}

// anyVerifier accepts what one of its verifiers accepts; all have one key.
type anyVerifier []signature.Verifier

func (a anyVerifier) PublicKey(opts ...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return a[0].PublicKey(opts...)
}

func (a anyVerifier) VerifySignature(sig, message io.Reader, opts ...signature.VerifyOption) error {
	s, err := io.ReadAll(sig)
	if err != nil {
		return err
	}
	m, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	for _, v := range a {
		if err = v.VerifySignature(bytes.NewReader(s), bytes.NewReader(m), opts...); err == nil {
			return nil
		}
	}
	return err
}

// Identity is somebody to whom a certificate was issued. Make it with
// [NewIdentity].
type Identity struct {
	Issuer string
	// Subject is the certificate's subject alternative name; empty when there
	// is a pattern.
	Subject string
	pattern *regexp.Regexp
}

// NewIdentity takes the exact issuer, and the exact subject or a pattern (RE2)
// for the whole of it. A pattern is anchored at both ends whether it says so or
// not; one that matches everything is refused.
func NewIdentity(issuer, subject, pattern string) (*Identity, error) {
	switch {
	case issuer == "":
		return nil, errors.New("identity: issuer is missing")
	case strings.ContainsAny(issuer, "*|^$") || strings.Contains(issuer, ".+"):
		return nil, fmt.Errorf("identity: issuer %q looks like a pattern, expected the exact issuer", issuer)
	case subject == "" && pattern == "":
		return nil, errors.New("identity: subject is missing, exact or as a pattern")
	case subject != "" && pattern != "":
		return nil, errors.New("identity: found an exact subject and a pattern, expected one of them")
	case pattern == "":
		return &Identity{Issuer: issuer, Subject: subject}, nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return nil, fmt.Errorf("identity: pattern: %w", err)
	}
	p := regexp.MustCompile(`^(?:` + pattern + `)$`)
	if p.MatchString("") || p.MatchString("\x00 anybody at all") {
		return nil, fmt.Errorf("identity: pattern %q matches everybody", pattern)
	}
	return &Identity{Issuer: issuer, pattern: p}, nil
}

// Pattern is the anchored regular expression for the subject, empty when the
// subject is exact.
func (id *Identity) Pattern() string {
	if id.pattern == nil {
		return ""
	}
	return id.pattern.String()
}

func (id *Identity) matches(c *certificate.Summary) bool {
	if c.Issuer == "" || c.SubjectAlternativeName == "" || c.Issuer != id.Issuer {
		return false
	}
	if id.pattern != nil {
		return id.pattern.MatchString(c.SubjectAlternativeName)
	}
	return c.SubjectAlternativeName == id.Subject
}
