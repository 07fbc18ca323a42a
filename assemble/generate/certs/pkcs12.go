package certs

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	encoding "encoding/asn1"
	"encoding/binary"
	"fmt"
	"hash"
	"strings"
	"unicode/utf16"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// A PKCS #12 file (RFC 7292) is a list of safes, each encrypted or not, and a MAC
// over the list. Certificates are public: they are added as one more safe that
// is not encrypted, so that those that are there stay byte for byte, aliases and
// all, and nothing random is needed. Only the MAC is computed anew, with its own
// salt. Libraries that make truststores decrypt, lose the aliases and encrypt
// again.
var (
	oidData         = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}
	oidCertBag      = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3}
	oidX509         = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}
	oidFriendlyName = encoding.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 20}
	// oidTrustedUsage marks what Java trusts, and for what; anyExtendedKeyUsage
	// is for everything.
	oidTrustedUsage = encoding.ObjectIdentifier{2, 16, 840, 1, 113894, 746875, 1, 1}
	oidAnyUsage     = encoding.ObjectIdentifier{2, 5, 29, 37, 0}
)

const (
	// maxIterations of a MAC's key derivation is Java's limit.
	maxIterations = 5_000_000
	// macKeyID tells the key of a MAC from others made of the password (B.3).
	macKeyID = 3
)

var explicit = asn1.Tag(0).ContextSpecific().Constructed()

// macHashes are the hashes of MACs, by their algorithms.
var macHashes = map[string]func() hash.Hash{
	"1.3.14.3.2.26": sha1.New, "2.16.840.1.101.3.4.2.4": sha256.New224, "2.16.840.1.101.3.4.2.1": sha256.New,
	"2.16.840.1.101.3.4.2.2": sha512.New384, "2.16.840.1.101.3.4.2.3": sha512.New,
}

// pfx is a PKCS #12 file, taken apart as far as needed.
type pfx struct {
	safes []byte // AuthenticatedSafe, without its header
	mac   *pfxMAC
}

type pfxMAC struct {
	algorithm  []byte // AlgorithmIdentifier
	hash       func() hash.Hash
	salt       []byte
	iterations int
	digest     []byte
}

// appendPKCS12 adds the certificates as trusted entries. Adding the same again
// changes nothing.
func appendPKCS12(store []byte, list []entry) ([]byte, error) {
	p, err := readPFX(store)
	if err != nil {
		return nil, err
	}
	safe, err := trustedSafe(list)
	if err != nil {
		return nil, err
	}
	if bytes.HasSuffix(p.safes, safe) {
		return store, nil
	}
	p.safes = append(p.safes, safe...)
	return p.write()
}

// readPFX reads the frame and checks the MAC.
func readPFX(store []byte) (*pfx, error) {
	in, file, content, mac := cryptobyte.String(store), cryptobyte.String(nil), cryptobyte.String(nil), cryptobyte.String(nil)
	var version int
	var hasMAC bool
	if !in.ReadASN1(&file, asn1.SEQUENCE) || !in.Empty() || !file.ReadASN1Integer(&version) ||
		!readData(&file, &content) || !file.ReadOptionalASN1(&mac, &hasMAC, asn1.SEQUENCE) || !file.Empty() {
		return nil, fmt.Errorf("PKCS #12: damaged, encrypted as a whole, or not in DER: %w", ErrTruststore)
	}
	if version != 3 {
		return nil, fmt.Errorf("PKCS #12: version %d, expected 3: %w", version, ErrTruststore)
	}
	p := &pfx{}
	var safes cryptobyte.String
	inner := content
	if !inner.ReadASN1(&safes, asn1.SEQUENCE) || !inner.Empty() {
		return nil, fmt.Errorf("PKCS #12: list of safes: damaged: %w", ErrTruststore)
	}
	p.safes = bytes.Clone(safes)
	if !hasMAC {
		return p, nil
	}
	var err error
	if p.mac, err = readMAC(mac); err != nil {
		return nil, err
	}
	if !hmac.Equal(p.mac.sum(content), p.mac.digest) {
		return nil, fmt.Errorf("PKCS #12: MAC does not match (damaged, or a password other than %q): %w", jksPassword, ErrTruststore)
	}
	return p, nil
}

// readData reads a ContentInfo that holds data.
func readData(in, content *cryptobyte.String) bool {
	var info, tagged cryptobyte.String
	var kind encoding.ObjectIdentifier
	return in.ReadASN1(&info, asn1.SEQUENCE) && info.ReadASN1ObjectIdentifier(&kind) && kind.Equal(oidData) &&
		info.ReadASN1(&tagged, explicit) && info.Empty() && tagged.ReadASN1(content, asn1.OCTET_STRING) && tagged.Empty()
}

func readMAC(in cryptobyte.String) (*pfxMAC, error) {
	m := &pfxMAC{iterations: 1}
	var info, algorithm, parsed, digest, salt cryptobyte.String
	var name encoding.ObjectIdentifier
	ok := in.ReadASN1(&info, asn1.SEQUENCE) && info.ReadASN1Element(&algorithm, asn1.SEQUENCE) &&
		info.ReadASN1(&digest, asn1.OCTET_STRING) && info.Empty() && in.ReadASN1(&salt, asn1.OCTET_STRING) &&
		(in.Empty() || in.ReadASN1Integer(&m.iterations)) && in.Empty()
	m.algorithm, m.digest, m.salt = algorithm, digest, salt
	if !ok || !algorithm.ReadASN1(&parsed, asn1.SEQUENCE) || !parsed.ReadASN1ObjectIdentifier(&name) {
		return nil, fmt.Errorf("PKCS #12: MAC: damaged: %w", ErrTruststore)
	}
	if m.hash = macHashes[name.String()]; m.hash == nil {
		return nil, fmt.Errorf("PKCS #12: MAC: algorithm %s, expected SHA-1 or SHA-2: %w", name, ErrTruststore)
	}
	if m.iterations < 1 || m.iterations > maxIterations {
		return nil, fmt.Errorf("PKCS #12: MAC: %d iterations, expected 1 to %d: %w", m.iterations, maxIterations, ErrTruststore)
	}
	return m, nil
}

// sum is the MAC of a list of safes: an HMAC whose key is one block of the key
// derivation of RFC 7292, B.2.
func (m *pfxMAC) sum(content []byte) []byte {
	h := m.hash()
	block := h.BlockSize()
	h.Write(bytes.Repeat([]byte{macKeyID}, block))
	h.Write(fill(m.salt, block))
	h.Write(fill(append(bmpString(jksPassword), 0, 0), block))
	key := h.Sum(nil)
	for range m.iterations - 1 {
		h.Reset()
		h.Write(key)
		key = h.Sum(key[:0])
	}
	mac := hmac.New(m.hash, key)
	mac.Write(content)
	return mac.Sum(nil)
}

// fill repeats b up to a multiple of block bytes.
func fill(b []byte, block int) []byte {
	size := (len(b) + block - 1) / block * block
	if size == 0 {
		return nil
	}
	return bytes.Repeat(b, size/len(b)+1)[:size]
}

func bmpString(s string) []byte {
	var out []byte
	for _, u := range utf16.Encode([]rune(s)) {
		out = binary.BigEndian.AppendUint16(out, u)
	}
	return out
}

func (p *pfx) write() ([]byte, error) {
	var list cryptobyte.Builder
	list.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(p.safes) })
	content, err := list.Bytes()
	if err != nil {
		return nil, fmt.Errorf("PKCS #12: %w", err)
	}
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Int64(3)
		addData(b, content)
		if p.mac != nil {
			p.mac.add(b, content)
		}
	})
	return out.Bytes()
}

func (m *pfxMAC) add(b *cryptobyte.Builder, content []byte) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddBytes(m.algorithm)
			b.AddASN1OctetString(m.sum(content))
		})
		b.AddASN1OctetString(m.salt)
		if m.iterations != 1 { // DER leaves out defaults
			b.AddASN1Int64(int64(m.iterations))
		}
	})
}

// addData adds a ContentInfo that holds data.
func addData(b *cryptobyte.Builder, content []byte) {
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidData)
		b.AddASN1(explicit, func(b *cryptobyte.Builder) { b.AddASN1OctetString(content) })
	})
}

// trustedSafe is a safe, not encrypted, with a certificate bag for each entry.
func trustedSafe(list []entry) ([]byte, error) {
	var bags, out cryptobyte.Builder
	bags.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, e := range list {
			addCertBag(b, e)
		}
	})
	content, err := bags.Bytes()
	if err != nil {
		return nil, fmt.Errorf("PKCS #12: %w", err)
	}
	addData(&out, content)
	return out.Bytes()
}

func addCertBag(b *cryptobyte.Builder, e entry) {
	attribute := func(b *cryptobyte.Builder, name encoding.ObjectIdentifier, value func(*cryptobyte.Builder)) {
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1ObjectIdentifier(name)
			b.AddASN1(asn1.SET, value)
		})
	}
	b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oidCertBag)
		b.AddASN1(explicit, func(b *cryptobyte.Builder) {
			b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidX509)
				b.AddASN1(explicit, func(b *cryptobyte.Builder) { b.AddASN1OctetString(e.DER) })
			})
		})
		b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { // the shorter attribute first: aliases are long
			attribute(b, oidTrustedUsage, func(b *cryptobyte.Builder) { b.AddASN1ObjectIdentifier(oidAnyUsage) })
			attribute(b, oidFriendlyName, func(b *cryptobyte.Builder) {
				b.AddASN1(tagBMPString, func(b *cryptobyte.Builder) { b.AddBytes(bmpString(strings.ToLower(e.alias))) })
			})
		})
	})
}
