package certs

import (
	"crypto/ed25519"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"
)

// attribute is a part of a subject with a value of any type.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type attributeSET []attribute

func text(kind int, tag int, s string) attribute {
	return attribute{asn1.ObjectIdentifier{2, 5, 4, kind}, asn1.RawValue{Tag: tag, Bytes: []byte(s)}}
}

// subjects are names in which every rule of the canonical form counts.
func subjects(t testing.TB) [][]byte {
	t.Helper()
	const country, organization, unit, common = 6, 10, 11, 3
	var out [][]byte
	for _, name := range [][]attributeSET{
		{},
		{{text(country, asn1.TagPrintableString, "CH")}, {text(common, asn1.TagUTF8String, "Root \t  CA  One ")}},
		{{text(common, asn1.TagUTF8String, "Främling ÄÖ  x")}},
		{{text(common, asn1.TagT61String, "Fr\xe4mling \xc4")}},
		{{text(common, asn1.TagIA5String, "  ")}},
		{{text(common, asn1.TagBMPString, "\x00N\x00e\x00t\x01\x50\x00 \x00 \x00C")}},
		{{text(common, 28, "\x00\x00\x00N\x00\x01\xf6\x00")}},
		{{text(common, asn1.TagNumericString, "1  2")}},
		{{text(unit, asn1.TagUTF8String, "zz"), text(common, asn1.TagUTF8String, "two"), text(organization, asn1.TagUTF8String, "a")}},
		{{text(common, asn1.TagUTF8String, "a\u00a0\u2003B")}},
		{{text(common, asn1.TagUTF8String, string(make([]byte, 300)))}},
	} {
		der, err := asn1.Marshal(name)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, der)
	}
	return out
}

// withSubject makes a certificate of the subject, in PEM.
func withSubject(t testing.TB, subject []byte) []byte {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), RawSubject: subject, NotBefore: created, NotAfter: created.AddDate(9, 0, 0)}
	der, err := x509.CreateCertificate(nil, tpl, &x509.Certificate{Subject: pkix.Name{CommonName: "issuer"}}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// The hashes are those that `openssl x509 -subject_hash` of OpenSSL 3.0 prints;
// where openssl is there, TestHashLinksAsOpenSSL asks it.
func TestSubjectHash(t *testing.T) {
	want := []uint32{0xeea339da, 0x6e6c156a, 0x18e4ebbf, 0x4e059e50, 0x5da78770, 0xdd2387f0, 0x1fd9e4f3, 0xda88b640, 0x9144cac4, 0xd8a0c400, 0xf5d41b03}
	for i, s := range subjects(t) {
		block, _ := pem.Decode(withSubject(t, s))
		got, err := SubjectHash(block.Bytes)
		if err != nil || i >= len(want) || got != want[i] {
			t.Errorf("subject %d: %08x, %v", i, got, err)
		}
	}
}

func TestSubjectHashErrors(t *testing.T) {
	set := func(members ...attribute) []byte {
		der, err := asn1.Marshal([]attributeSET{members})
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	const common = 3
	for name, s := range map[string][]byte{
		"UTF-8":           set(text(common, asn1.TagUTF8String, "\xff")),
		"half a BMP":      set(text(common, asn1.TagBMPString, "\x00a\x00")),
		"surrogate":       set(text(common, asn1.TagBMPString, "\xd8\x00")),
		"beyond Unicode":  set(text(common, 28, "\x7f\x00\x00\x00")),
		"not a set":       {0x30, 2, 5, 0},
		"empty attribute": {0x30, 4, 0x31, 2, 0x30, 0},
		"no value":        {0x30, 9, 0x31, 7, 0x30, 5, 6, 3, 85, 4, 3},
	} {
		der := certificateAround(s)
		if _, err := SubjectHash(der); !errors.Is(err, ErrCertificate) || err.Error() != "subject: malformed: not one certificate in PEM" {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := certificateAround(set())
	if _, err := SubjectHash(good); err != nil {
		t.Errorf("the frame itself: %v", err)
	}
	for n := range good {
		if _, err := SubjectHash(good[:n]); !errors.Is(err, ErrCertificate) {
			t.Errorf("cut to %d bytes: %v", n, err)
		}
	}
	if _, err := SubjectHash(append(good, 0)); err == nil || err.Error() != "malformed: not one certificate in PEM" {
		t.Errorf("a byte too many: %v", err)
	}
}

// certificateAround puts a subject between as little of a certificate as is
// looked at.
func certificateAround(subject []byte) []byte {
	tbs := append([]byte{0x02, 1, 1, 0x30, 0, 0x30, 0, 0x30, 0}, subject...)
	tbs = append([]byte{0x30, byte(len(tbs))}, tbs...)
	return append([]byte{0x30, byte(len(tbs))}, tbs...)
}

func FuzzSubjectHash(f *testing.F) {
	for _, s := range subjects(f) {
		block, _ := pem.Decode(withSubject(f, s))
		f.Add(block.Bytes)
	}
	f.Add(certificateAround([]byte{0x30, 0}))
	f.Fuzz(func(t *testing.T, der []byte) {
		if _, err := SubjectHash(der); err != nil && !errors.Is(err, ErrCertificate) {
			t.Errorf("error of another kind: %v", err)
		}
	})
}
