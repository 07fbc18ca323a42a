package repository

import (
	"archive/tar"
	"bytes"
	"crypto"
	"crypto/rsa"
	_ "crypto/sha1"
	_ "crypto/sha256"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// Bounds of the signature members: what a real index has is far below.
const (
	maxSignatureMembers = 16
	maxSignatures       = 64
	maxSignatureBytes   = 64 << 10 // inflated, per member
)

// signature is one ".SIGN.ALGORITHM.KEYNAME" file and what it may cover.
type signature struct {
	key       string
	algorithm string
	value     []byte
	from      int // first byte after the member that holds it
}

// hashes are the signature algorithms of apk-tools 2.14; DSA is not among ours.
func signatureHash(algorithm string) (crypto.Hash, bool) {
	switch algorithm {
	case "RSA":
		return crypto.SHA1, true
	case "RSA256":
		return crypto.SHA256, true
	case "RSA512":
		return crypto.SHA512, true
	}
	return 0, false
}

// splitSignatures reads the leading gzip members that hold signatures only.
// content is where the first other member begins.
func splitSignatures(b []byte) (sigs []signature, content int, err error) {
	for members := 0; ; members++ {
		end, files, err := signatureMember(b[content:])
		if err != nil {
			return nil, 0, err
		}
		if len(files) == 0 {
			return sigs, content, nil
		}
		if members == maxSignatureMembers || len(sigs)+len(files) > maxSignatures {
			return nil, 0, fmt.Errorf("%w: more than %d signature members or %d signatures", ErrLimit, maxSignatureMembers, maxSignatures)
		}
		content += end
		for i := range files {
			files[i].from = content
		}
		sigs = append(sigs, files...)
	}
}

// signatureMember reads one gzip member if its first file is a signature.
// Without signatures nothing is consumed.
func signatureMember(b []byte) (end int, sigs []signature, err error) {
	r := bytes.NewReader(b)
	z, err := gzip.NewReader(r)
	if err != nil {
		return 0, nil, gzipProblem(b, err)
	}
	z.Multistream(false)
	limited := newLimitReader(z, maxSignatureBytes)
	t := tar.NewReader(limited)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if len(sigs) == 0 && (err != nil || !strings.HasPrefix(h.Name, ".SIGN.")) {
			return 0, nil, nil // the content, whose problems are found later
		}
		if err != nil {
			return 0, nil, fmt.Errorf("signature member: %w", cutShort(err))
		}
		s, err := readSignature(h, t)
		if err != nil {
			return 0, nil, err
		}
		sigs = append(sigs, s)
	}
	if len(sigs) == 0 {
		return 0, nil, nil
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return 0, nil, fmt.Errorf("signature member: %w", cutShort(err))
	}
	return len(b) - r.Len(), sigs, nil
}

func readSignature(h *tar.Header, r io.Reader) (signature, error) {
	algorithm, key, ok := strings.Cut(strings.TrimPrefix(h.Name, ".SIGN."), ".")
	if !ok || h.Typeflag != tar.TypeReg || key == "" || strings.Contains(key, "/") || !strings.HasPrefix(h.Name, ".SIGN.") {
		return signature{}, fmt.Errorf("signature member: file %.100q: expected .SIGN.RSA256.KEYNAME", h.Name)
	}
	value, err := io.ReadAll(r)
	if err != nil {
		return signature{}, fmt.Errorf("signature %s: %w", h.Name, cutShort(err))
	}
	return signature{key: key, algorithm: algorithm, value: value}, nil
}

// gzipProblem explains why bytes are not gzip.
func gzipProblem(b []byte, err error) error {
	if errors.Is(err, gzip.ErrHeader) {
		return fmt.Errorf("not gzip: found %s", sniff(b))
	}
	return cutShort(err)
}

// cutShort names the commonest damage.
func cutShort(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("truncated: %w", io.ErrUnexpectedEOF)
	}
	return err
}

// verify finds a signature by a key of the keyring that fits.
//
// apk-tools starts to hash anew after each signature member, so that a signature
// covers what follows the last of them; a file that was signed a second time with
// the first signature in place has one that covers what follows its own member.
// Both cover all content, and either counts.
func verify(b []byte, sigs []signature, content int, keys *Keyring) (Signer, error) {
	if len(sigs) == 0 {
		return Signer{}, ErrUnsigned
	}
	digests := map[digestKey][]byte{}
	var wrong *SignatureError
	var unknown []string
	for _, s := range sigs {
		known := keys.Lookup(s.key)
		hash, ok := signatureHash(s.algorithm)
		if len(known) == 0 || !ok {
			unknown = append(unknown, foundName(s, len(known) > 0))
			continue
		}
		for _, k := range known {
			err := s.fits(b, content, k.Public, hash, digests)
			if err == nil {
				return Signer{Name: s.key, Fingerprint: k.Fingerprint, Algorithm: s.algorithm}, nil
			}
			wrong = &SignatureError{Key: k.Name, Algorithm: s.algorithm, Err: err}
		}
	}
	if wrong != nil {
		return Signer{}, wrong
	}
	slices.Sort(unknown)
	return Signer{}, &UnknownKeyError{Found: slices.Compact(unknown), Trusted: keys.Names()}
}

// foundName is how an unusable signature is named in a message.
func foundName(s signature, keyKnown bool) string {
	if keyKnown {
		return fmt.Sprintf("%s (unknown algorithm %.20q)", s.key, s.algorithm)
	}
	return fmt.Sprintf("%.200s", s.key)
}

type digestKey struct {
	hash crypto.Hash
	from int
}

func (s signature) fits(b []byte, content int, pub *rsa.PublicKey, hash crypto.Hash, digests map[digestKey][]byte) error {
	var err error
	for _, from := range [...]int{content, s.from} {
		k := digestKey{hash, from}
		if digests[k] == nil {
			h := hash.New()
			h.Write(b[from:])
			digests[k] = h.Sum(nil)
		}
		if err = rsa.VerifyPKCS1v15(pub, hash, digests[k], s.value); err == nil || from == s.from {
			break
		}
	}
	return err
}
