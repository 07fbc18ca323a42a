package certs

import (
	"crypto/sha1"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The tags of string types that cryptobyte does not name (X.680, 8.4).
const (
	tagUniversalString = asn1.Tag(28)
	tagBMPString       = asn1.Tag(30)
)

// SubjectHash returns the hash under which OpenSSL 1.0 and later look up a
// certificate (in DER) by its subject: the first four bytes, little endian, of
// the SHA-1 of the subject in OpenSSL's canonical form (X509_NAME_hash_ex).
func SubjectHash(der []byte) (uint32, error) {
	name, err := subject(der)
	if err != nil {
		return 0, err
	}
	canonical, ok := canonicalName(name)
	if !ok {
		return 0, fmt.Errorf("subject: malformed: %w", ErrCertificate)
	}
	sum := sha1.Sum(canonical)
	return binary.LittleEndian.Uint32(sum[:]), nil
}

// canonicalName returns a Name's sets of attributes one after the other, without
// a header around them; strings are UTF-8, in lower case, with single spaces
// (crypto/x509/x_name.c of OpenSSL).
func canonicalName(name cryptobyte.String) ([]byte, bool) {
	var out cryptobyte.Builder
	for !name.Empty() {
		var set cryptobyte.String
		if !name.ReadASN1(&set, asn1.SET) {
			return nil, false
		}
		var attributes []string
		for !set.Empty() {
			a, ok := canonicalAttribute(&set)
			if !ok {
				return nil, false
			}
			attributes = append(attributes, string(a))
		}
		slices.Sort(attributes) // as DER wants the members of a set
		out.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes([]byte(strings.Join(attributes, ""))) })
	}
	b, err := out.Bytes()
	return b, err == nil
}

func canonicalAttribute(set *cryptobyte.String) ([]byte, bool) {
	var attribute, oid, value, content cryptobyte.String
	var tag asn1.Tag
	if !set.ReadASN1(&attribute, asn1.SEQUENCE) || !attribute.ReadASN1Element(&oid, asn1.OBJECT_IDENTIFIER) ||
		!attribute.ReadAnyASN1Element(&value, &tag) || !attribute.Empty() {
		return nil, false
	}
	raw := value
	if !value.ReadASN1(&content, tag) {
		return nil, false
	}
	text, isText, ok := decodeString(tag, content)
	if !ok {
		return nil, false
	}
	var out cryptobyte.Builder
	out.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(oid)
		if !isText {
			b.AddBytes(raw)
			return
		}
		b.AddASN1(asn1.UTF8String, func(b *cryptobyte.Builder) { b.AddBytes([]byte(foldString(text))) })
	})
	b, err := out.Bytes()
	return b, err == nil
}

// decodeString returns a string of one of the types that OpenSSL folds; text is
// false for a value of another type, which stays as it is.
func decodeString(tag asn1.Tag, b []byte) (s string, text, ok bool) {
	switch tag {
	case asn1.UTF8String:
		return string(b), true, utf8.Valid(b)
	case asn1.PrintableString, asn1.T61String, asn1.IA5String: // taken for Latin-1
		runes := make([]rune, len(b))
		for i, c := range b {
			runes[i] = rune(c)
		}
		return string(runes), true, true
	case tagBMPString:
		return decodeWide(b, 2)
	case tagUniversalString:
		return decodeWide(b, 4)
	}
	return "", false, true
}

// decodeWide reads characters of two or four bytes each, big endian.
func decodeWide(b []byte, width int) (s string, text, ok bool) {
	if len(b)%width != 0 {
		return "", true, false
	}
	var out []rune
	for ; len(b) > 0; b = b[width:] {
		r := rune(binary.BigEndian.Uint16(b))
		if width == 4 {
			r = rune(binary.BigEndian.Uint32(b))
		}
		if !utf8.ValidRune(r) {
			return "", true, false
		}
		out = append(out, r)
	}
	return string(out), true, true
}

// foldString drops white space at both ends, makes one space of each run of it
// within, and lowers the case, all in ASCII only.
func foldString(s string) string {
	space := func(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }
	s = strings.Join(strings.FieldsFunc(s, space), " ")
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}
