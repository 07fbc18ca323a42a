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

// ParseSHA1 reads apk's spellings "Q1" and base64 or "X1" and hexadecimal, or 40
// bare hexadecimal digits.
func ParseSHA1(s string) (SHA1, error) {
	var d SHA1
	if d.parse(s) {
		return d, nil
	}
	return SHA1{}, fmt.Errorf("checksum %.64q: expected \"Q1\" and 28 base64 characters or 40 hexadecimal digits", s)
}

// parse does not allocate: an index has one checksum per package, an installed
// database one per file.
func (s *SHA1) parse(text string) bool {
	var src [40]byte
	var dst [21]byte
	if len(text) == 30 && text[0] == 'Q' && text[1] == '1' {
		copy(src[:], text[2:])
		n, err := base64.StdEncoding.Decode(dst[:], src[:28])
		copy(s[:], dst[:])
		return err == nil && n == len(s)
	}
	if len(text) != 40 {
		text = strings.TrimPrefix(text, "X1")
	}
	if len(text) != 40 {
		return false
	}
	copy(src[:], text)
	_, err := hex.Decode(s[:], src[:])
	return err == nil
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
