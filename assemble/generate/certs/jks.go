package certs

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrTruststore is wrapped by errors that say why a Java truststore cannot be
// extended.
var ErrTruststore = errors.New("not a readable Java truststore")

// The format is that of Sun's "JKS" provider: magic, version, number of entries,
// the entries, and a SHA-1 over the password, a constant, and all that comes
// before. Numbers are big endian; strings and certificates carry their length.
const (
	jksMagic    = 0xfeedfeed
	jksVersion  = 2
	tagKey      = 1
	tagTrusted  = 2
	jksHeader   = 12
	jksWhitener = "Mighty Aphrodite"
	// jksPassword is the one that every distribution uses; it protects nothing.
	jksPassword = "changeit"
	pkcs12Start = 0x30 // a SEQUENCE
)

// jksEntry is an entry with all its bytes; entries that we do not make are never
// taken apart further.
type jksEntry struct {
	alias string
	raw   []byte
}

// Truststore makes a Java truststore of the certificates of a bundle, each under
// its SHA-256. What Go's parser refuses and OpenSSL does not is trusted too; a
// bundle that is not certificates gives an error wrapping [ErrCertificate].
func Truststore(bundle []byte, created time.Time) ([]byte, error) {
	list, err := anchors(bundle)
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(list))
	for i, der := range list {
		sum := sha256.Sum256(der)
		entries[i] = entry{Certificate{DER: der}, hex.EncodeToString(sum[:])}
	}
	return appendJKS(writeJKS(nil), entries, created)
}

// appendTruststore adds the certificates as trusted entries to a store in
// either of Java's formats. With nothing to add the store is returned as it is,
// readable or not.
func appendTruststore(store []byte, list []entry, created time.Time) ([]byte, error) {
	switch {
	case len(list) == 0:
		return store, nil
	case len(store) > 0 && store[0] == pkcs12Start:
		return appendPKCS12(store, list)
	}
	return appendJKS(store, list, created)
}

// appendJKS gives the entries the creation time, and returns the store with its
// entries sorted by alias. An entry of the same alias is replaced.
func appendJKS(store []byte, list []entry, created time.Time) ([]byte, error) {
	entries, err := readJKS(store)
	if err != nil {
		return nil, err
	}
	byAlias := map[string][]byte{}
	for _, e := range entries {
		byAlias[e.alias] = e.raw
	}
	for _, e := range list {
		alias := strings.ToLower(e.alias)
		byAlias[alias] = trustedEntry(alias, e.DER, created)
	}
	entries = entries[:0]
	for alias, raw := range byAlias {
		entries = append(entries, jksEntry{alias, raw})
	}
	slices.SortFunc(entries, func(a, b jksEntry) int { return strings.Compare(a.alias, b.alias) })
	return writeJKS(entries), nil
}

func trustedEntry(alias string, der []byte, created time.Time) []byte {
	b := binary.BigEndian.AppendUint32(nil, tagTrusted)
	b = appendString(b, alias)
	b = binary.BigEndian.AppendUint64(b, uint64(created.UnixMilli()))
	b = appendString(b, "X.509")
	b = binary.BigEndian.AppendUint32(b, uint32(len(der)))
	return append(b, der...)
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

func writeJKS(entries []jksEntry) []byte {
	b := binary.BigEndian.AppendUint32(nil, jksMagic)
	b = binary.BigEndian.AppendUint32(b, jksVersion)
	b = binary.BigEndian.AppendUint32(b, uint32(len(entries)))
	for _, e := range entries {
		b = append(b, e.raw...)
	}
	sum := jksDigest(b)
	return append(b, sum[:]...)
}

func jksDigest(b []byte) [sha1.Size]byte {
	h := sha1.New()
	for _, c := range []byte(jksPassword) {
		h.Write([]byte{0, c}) // UTF-16
	}
	h.Write([]byte(jksWhitener))
	h.Write(b)
	return [sha1.Size]byte(h.Sum(nil))
}

// readJKS checks the digest first and then splits the entries.
func readJKS(b []byte) ([]jksEntry, error) {
	switch {
	case len(b) < jksHeader+sha1.Size:
		return nil, fmt.Errorf("%d bytes, expected at least %d: %w", len(b), jksHeader+sha1.Size, ErrTruststore)
	case binary.BigEndian.Uint32(b) != jksMagic:
		return nil, fmt.Errorf("starts with % x, expected fe ed fe ed (JKS) or 30 (PKCS #12): %w", b[:4], ErrTruststore)
	case binary.BigEndian.Uint32(b[4:]) != jksVersion:
		return nil, fmt.Errorf("version %d, expected %d: %w", binary.BigEndian.Uint32(b[4:]), jksVersion, ErrTruststore)
	}
	body := b[:len(b)-sha1.Size]
	if jksDigest(body) != [sha1.Size]byte(b[len(body):]) {
		return nil, fmt.Errorf("digest does not match (damaged, or a password other than %q): %w", jksPassword, ErrTruststore)
	}
	r := &jksReader{b: body, at: jksHeader}
	var out []jksEntry
	for n := binary.BigEndian.Uint32(b[8:]); n > 0; n-- {
		e, ok := r.entry()
		if !ok {
			return nil, fmt.Errorf("entry at offset %d is not readable: %w", r.at, ErrTruststore)
		}
		out = append(out, e)
	}
	if r.at != len(body) {
		return nil, fmt.Errorf("%d bytes after the last entry: %w", len(body)-r.at, ErrTruststore)
	}
	return out, nil
}

// jksReader walks over entries; fail is set when one reaches past the end.
type jksReader struct {
	b    []byte
	at   int
	fail bool
}

func (r *jksReader) take(n int) []byte {
	if n > len(r.b)-r.at {
		r.fail = true
		return make([]byte, 8)
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *jksReader) entry() (jksEntry, bool) {
	start := r.at
	tag := binary.BigEndian.Uint32(r.take(4))
	alias := string(r.take(int(binary.BigEndian.Uint16(r.take(2)))))
	r.take(8) // creation time
	switch tag {
	case tagTrusted:
		r.certificate()
	case tagKey:
		r.take(int(binary.BigEndian.Uint32(r.take(4))))
		for n := binary.BigEndian.Uint32(r.take(4)); n > 0 && !r.fail; n-- {
			r.certificate()
		}
	default:
		r.fail = true
	}
	if r.fail {
		r.at = start
		return jksEntry{}, false
	}
	return jksEntry{alias, r.b[start:r.at]}, true
}

func (r *jksReader) certificate() {
	r.take(int(binary.BigEndian.Uint16(r.take(2)))) // type
	r.take(int(binary.BigEndian.Uint32(r.take(4))))
}
