package apk

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
)

// SHA1 is a SHA-1 digest. The format forces it on us (control checksums, file
// checksums); nothing of cairn's own relies on it alone.
type SHA1 [20]byte

// SHA256 is a SHA-256 digest.
type SHA256 [32]byte

// IsZero reports whether no digest is set.
func (s SHA1) IsZero() bool { return s == SHA1{} }

// Hex returns the digest in lower-case hexadecimal.
func (s SHA1) Hex() string { return hex.EncodeToString(s[:]) }

// String returns apk's spelling, "Q1" and base64.
func (s SHA1) String() string { return "Q1" + base64.StdEncoding.EncodeToString(s[:]) }

// ParseSHA1 reads apk's spelling "Q1…" or 40 hexadecimal digits.
func ParseSHA1(s string) (SHA1, error) {
	var d SHA1
	var b []byte
	var err error
	if rest, ok := strings.CutPrefix(s, "Q1"); ok {
		b, err = base64.StdEncoding.DecodeString(rest)
	} else {
		b, err = hex.DecodeString(s)
	}
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("checksum %.64q: expected \"Q1\" and 28 base64 characters or 40 hexadecimal digits", s)
	}
	copy(d[:], b)
	return d, nil
}

// IsZero reports whether no digest is set.
func (s SHA256) IsZero() bool { return s == SHA256{} }

// Hex returns the digest in lower-case hexadecimal.
func (s SHA256) Hex() string { return hex.EncodeToString(s[:]) }

// String returns the OCI spelling "sha256:<hex>".
func (s SHA256) String() string { return "sha256:" + s.Hex() }

// ParseSHA256 reads 64 hexadecimal digits, with or without "sha256:".
func ParseSHA256(s string) (SHA256, error) {
	var d SHA256
	b, err := hex.DecodeString(strings.TrimPrefix(s, "sha256:"))
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("sha256 digest %.80q: expected 64 hexadecimal digits", s)
	}
	copy(d[:], b)
	return d, nil
}

// MarshalText spells the digest as String does; the zero digest is empty.
func (s SHA256) MarshalText() ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *SHA256) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*s = SHA256{}
		return nil
	}
	*s, err = ParseSHA256(string(b))
	return err
}

// MarshalText spells the digest as String does; the zero digest is empty.
func (s SHA1) MarshalText() ([]byte, error) {
	if s.IsZero() {
		return nil, nil
	}
	return []byte(s.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (s *SHA1) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*s = SHA1{}
		return nil
	}
	*s, err = ParseSHA1(string(b))
	return err
}
