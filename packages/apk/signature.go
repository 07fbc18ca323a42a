package apk

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1"   // crypto.SHA1 in Signature.Verify
	_ "crypto/sha256" // crypto.SHA256
	_ "crypto/sha512" // crypto.SHA512
	"errors"
	"fmt"
	"strings"
)

const signaturePrefix = ".SIGN."

// The errors of verification that callers tell apart.
var (
	// ErrSignature: the signature was not made over these bytes by this key.
	ErrSignature = errors.New("signature does not match")
	// ErrAlgorithm: the signature's algorithm is none of RSA, RSA256, RSA512.
	ErrAlgorithm = errors.New("signature algorithm is not supported")
)

// Signature is one signature file of a package or an index, the file
// ".SIGN.ALGORITHM.KEYNAME".
type Signature struct {
	Algorithm string // as written: RSA (SHA-1), RSA256, RSA512, DSA
	KeyName   string // file name of the public key: "alice-5f3c.rsa.pub"
	Bytes     []byte // PKCS#1 v1.5
}

// newSignature splits the file name. Key names are file names: one that could
// leave a key directory is refused.
func newSignature(name string, body []byte) (Signature, error) {
	rest := strings.TrimPrefix(name, signaturePrefix)
	algorithm, key, ok := strings.Cut(rest, ".")
	if !ok || algorithm == "" || key == "" || strings.ContainsAny(rest, "/\\\x00") || key == "." || key == ".." {
		return Signature{}, fmt.Errorf("signature file %.100q: expected .SIGN.ALGORITHM.KEYNAME: %w", name, ErrNotPackage)
	}
	return Signature{algorithm, key, body}, nil
}

// Hash returns the digest that the signature is over: SHA-1 for RSA, SHA-256 for
// RSA256, SHA-512 for RSA512. It returns 0 for DSA, which apk-tools has dropped
// too, and for unknown algorithms.
func (s Signature) Hash() crypto.Hash {
	switch s.Algorithm {
	case "RSA":
		return crypto.SHA1
	case "RSA256":
		return crypto.SHA256
	case "RSA512":
		return crypto.SHA512
	}
	return 0
}

// Verify checks that pub signed the given bytes: the compressed control section
// of a package, or all of an index after its signature members. The error wraps
// [ErrSignature] or [ErrAlgorithm].
func (s Signature) Verify(pub *rsa.PublicKey, signed []byte) error {
	hash := s.Hash()
	if hash == 0 {
		return s.unsupported()
	}
	h := hash.New()
	h.Write(signed)
	return s.VerifyDigest(pub, h.Sum(nil))
}

// VerifyDigest is Verify for callers that have hashed the signed bytes with
// s.Hash() themselves.
func (s Signature) VerifyDigest(pub *rsa.PublicKey, digest []byte) error {
	hash := s.Hash()
	if hash == 0 {
		return s.unsupported()
	}
	if err := rsa.VerifyPKCS1v15(pub, hash, digest, s.Bytes); err != nil {
		return fmt.Errorf("%s signature of key %s: %w", s.Algorithm, s.KeyName, ErrSignature)
	}
	return nil
}

func (s Signature) unsupported() error {
	return fmt.Errorf("signature of key %s: algorithm %q, expected RSA, RSA256 or RSA512: %w", s.KeyName, s.Algorithm, ErrAlgorithm)
}

// ReadSignatures returns the signature files of one or more raw signature
// members ([Head.Signature]; the first member of an index).
func ReadSignatures(members []byte) ([]Signature, error) {
	var out []Signature
	r := bufio.NewReader(bytes.NewReader(members))
	for range maxMembers {
		if _, err := r.Peek(1); err != nil {
			return out, nil
		}
		_, files, err := readMember(r, Limits{}.withDefaults())
		if err != nil {
			return nil, fmt.Errorf("signature section: %w", err)
		}
		for _, f := range files {
			s, err := newSignature(f.name, f.body)
			if err != nil {
				return nil, err
			}
			out = append(out, s)
		}
	}
	return nil, fmt.Errorf("signature section: more than %d members: %w", maxMembers, ErrNotPackage)
}

// VerifySignature checks that one of the signatures in sigMember (raw gzip, see
// [ReadSignatures]) is by pub over signed, and returns it. The key name is not
// looked at. With no valid signature the error is that of the last one that does
// not match, and wraps [ErrSignature], or [ErrAlgorithm] where none could be
// tried.
func VerifySignature(pub *rsa.PublicKey, sigMember, signed []byte) (Signature, error) {
	list, err := ReadSignatures(sigMember)
	if err != nil {
		return Signature{}, err
	}
	var failed error
	for _, s := range list {
		err := s.Verify(pub, signed)
		if err == nil {
			return s, nil
		}
		if failed == nil || errors.Is(err, ErrSignature) {
			failed = err
		}
	}
	if failed == nil {
		failed = fmt.Errorf("no signature: %w", ErrSignature)
	}
	return Signature{}, failed
}
