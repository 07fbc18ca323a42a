package lock

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Marshal returns the canonical text: two-space indentation, keys in the order
// of the types, no HTML escapes, a newline at the end. Equal locks give equal
// bytes. Cairn.Digest is computed, whatever it was.
func (l *Lock) Marshal() ([]byte, error) {
	c := *l
	c.Contents.Keyring = notNil(c.Contents.Keyring)
	c.Contents.BuildRepositories = notNil(c.Contents.BuildRepositories)
	c.Contents.RuntimeRepositories = notNil(c.Contents.RuntimeRepositories)
	c.Contents.Repositories = notNil(c.Contents.Repositories)
	c.Contents.Packages = notNil(c.Contents.Packages)
	if l.Cairn != nil {
		own := *l.Cairn
		c.Cairn = &own
		var err error
		if own.Digest, err = c.digest(); err != nil {
			return nil, err
		}
	}
	return c.encode("  ")
}

func (l *Lock) encode(indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(l); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	return b.Bytes(), nil
}

// digest is the value for Cairn.Digest.
func (l *Lock) digest() (apk.SHA256, error) {
	own := *l.Cairn
	own.Digest = apk.SHA256{}
	c := *l
	c.Cairn = &own
	b, err := c.encode("")
	return sha256.Sum256(bytes.TrimRight(b, "\n")), err
}

// notNil makes an absent list an empty one, which apko's reader expects.
func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// Checksum spells a SHA-256 the way apko's lock does.
func Checksum(d apk.SHA256) string {
	return "sha256-" + base64.StdEncoding.EncodeToString(d[:])
}

// ControlChecksum spells a SHA-1 the way apko's lock does.
func ControlChecksum(d apk.SHA1) string {
	return "sha1-" + base64.StdEncoding.EncodeToString(d[:])
}

// ParseChecksum reads what [Checksum] wrote.
func ParseChecksum(s string) (apk.SHA256, error) {
	var d apk.SHA256
	rest, ok := strings.CutPrefix(s, "sha256-")
	b, err := base64.StdEncoding.DecodeString(rest)
	if !ok || err != nil || len(b) != len(d) {
		return d, fmt.Errorf("found %.60q, expected \"sha256-\" and 44 base64 characters", s)
	}
	copy(d[:], b)
	return d, nil
}

// Bytes spells the range of size bytes at offset, empty for none.
func Bytes(offset, size int64) string {
	if size == 0 {
		return ""
	}
	return fmt.Sprintf("bytes=%d-%d", offset, offset+size-1)
}
