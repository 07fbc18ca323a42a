// Package keys makes and reads the keys that images are signed with: key pairs
// in files, as cosign makes them, and keys in a key management service.
//
// It does not sign images ([github.com/cairn-dev/cairn/sign/cosign] does), and
// the keys of APK packages are not its business.
//
//	pair, err := keys.Generate(password)
//	if err != nil {
//		return err
//	}
//	if err := pair.Write("release"); err != nil { // release.key, release.pub
//		return err
//	}
//	key, err := keys.Load(ctx, "release.key", keys.Options{LookupEnv: os.LookupEnv})
//
// Format: a private key is PKCS #8, encrypted with scrypt and NaCl's secretbox
// the way go-securesystemslib does it, in a PEM block "ENCRYPTED SIGSTORE
// PRIVATE KEY" (older: "ENCRYPTED COSIGN PRIVATE KEY"); a public key is PKIX in
// a PEM block "PUBLIC KEY". Both are what cosign reads and writes.
package keys

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/cryptoutils/goodkey"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/sigstore/sigstore/pkg/signature/options"
)

const (
	pemEncrypted       = "ENCRYPTED SIGSTORE PRIVATE KEY"
	pemEncryptedCosign = "ENCRYPTED COSIGN PRIVATE KEY"
	pemPKCS8           = "PRIVATE KEY"
	pemPKCS1           = "RSA PRIVATE KEY"
	pemEC              = "EC PRIVATE KEY"
)

var (
	// ErrKey: not a key that can be used.
	ErrKey = errors.New("not a usable key")
	// ErrPassword: no password, or not the right one.
	ErrPassword = errors.New("password")
	// ErrExposed: a private key that others can read.
	ErrExposed = errors.New("readable by others")
)

// Key signs.
type Key struct {
	public  crypto.PublicKey
	details signature.AlgorithmDetails
	signer  signature.Signer
}

// newKey wraps a signer, once its public key is known to be a good one.
func newKey(public crypto.PublicKey, signer signature.Signer) (*Key, error) {
	if err := checkPublic(public); err != nil {
		return nil, err
	}
	details, err := signature.GetDefaultAlgorithmDetails(public)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return &Key{public: public, details: details, signer: signer}, nil
}

// FromSigner makes a key of a private key in memory: ECDSA, Ed25519 or RSA.
func FromSigner(private crypto.Signer) (*Key, error) {
	details, err := signature.GetDefaultAlgorithmDetails(private.Public())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	signer, err := signature.LoadSignerFromAlgorithmDetails(private, details)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return newKey(private.Public(), signer)
}

// Public returns the public key: *ecdsa.PublicKey, ed25519.PublicKey or
// *rsa.PublicKey.
func (k *Key) Public() crypto.PublicKey { return k.public }

// Algorithm says how the key signs, in Sigstore's terms.
func (k *Key) Algorithm() signature.AlgorithmDetails { return k.details }

// Sign signs a message, which is hashed as the algorithm wants it: SHA-256 for
// P-256 and RSA, SHA-384 and SHA-512 for the larger curves, not at all for
// Ed25519.
func (k *Key) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return k.signer.SignMessage(bytes.NewReader(message), options.WithContext(ctx))
}

// checkPublic refuses what is too weak to mean anything: small RSA moduli,
// unknown curves.
func checkPublic(public crypto.PublicKey) error {
	if err := goodkey.ValidatePubKey(public); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	return nil
}

// Pair is a new key pair, in PEM.
type Pair struct {
	Private []byte // encrypted
	Public  []byte
}

// Generate makes an ECDSA key on P-256, encrypted with the password, which may
// be empty.
func Generate(password []byte) (*Pair, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	defer clear(der)
	sealed, err := encrypted.Encrypt(der, password)
	if err != nil {
		return nil, err
	}
	public, err := MarshalPublic(private.Public())
	if err != nil {
		return nil, err
	}
	return &Pair{
		Private: pem.EncodeToMemory(&pem.Block{Type: pemEncrypted, Bytes: sealed}),
		Public:  public,
	}, nil
}

// MarshalPublic spells a public key in PEM.
func MarshalPublic(public crypto.PublicKey) ([]byte, error) {
	return cryptoutils.MarshalPublicKeyToPEM(public)
}

// ParsePublic reads a public key in PEM.
func ParsePublic(raw []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM block in it: expected PUBLIC KEY", ErrKey)
	}
	if block.Type != "PUBLIC KEY" && block.Type != "RSA PUBLIC KEY" {
		return nil, fmt.Errorf("%w: a PEM block %q: expected PUBLIC KEY", ErrKey, block.Type)
	}
	public, err := cryptoutils.UnmarshalPEMToPublicKey(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return public, checkPublic(public)
}

// Encrypted reports whether a private key in PEM needs a password.
func Encrypted(raw []byte) bool {
	block, _ := pem.Decode(raw)
	return block != nil && (block.Type == pemEncrypted || block.Type == pemEncryptedCosign)
}

// Parse reads a private key in PEM: cosign's encrypted form, or PKCS #8, SEC 1
// or PKCS #1 without encryption, for which the password is not looked at.
func Parse(raw, password []byte) (*Key, error) {
	block, _ := pem.Decode(raw)
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM block in it: expected %s", ErrKey, pemEncrypted)
	}
	der := block.Bytes
	if Encrypted(raw) {
		var err error
		if der, err = encrypted.Decrypt(block.Bytes, password); err != nil {
			return nil, fmt.Errorf("wrong %w, or a damaged key: %w", ErrPassword, err)
		}
	}
	defer clear(der)
	private, err := parseDER(block.Type, der)
	if err != nil {
		return nil, err
	}
	return FromSigner(private)
}

func parseDER(kind string, der []byte) (crypto.Signer, error) {
	var private any
	var err error
	switch kind {
	case pemEncrypted, pemEncryptedCosign, pemPKCS8:
		private, err = x509.ParsePKCS8PrivateKey(der)
	case pemPKCS1:
		private, err = x509.ParsePKCS1PrivateKey(der)
	case pemEC:
		private, err = x509.ParseECPrivateKey(der)
	case "PUBLIC KEY", "CERTIFICATE":
		return nil, fmt.Errorf("%w: a PEM block %q: expected a private key", ErrKey, kind)
	default:
		return nil, fmt.Errorf("%w: a PEM block %q: expected %s", ErrKey, kind, pemEncrypted)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrKey, err)
	}
	switch k := private.(type) {
	case *ecdsa.PrivateKey:
		return k, nil
	case *rsa.PrivateKey:
		return k, nil
	case ed25519.PrivateKey:
		return k, nil
	}
	return nil, fmt.Errorf("%w: %T: expected ECDSA, Ed25519 or RSA", ErrKey, private)
}
