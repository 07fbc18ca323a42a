package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"
)

// material is keys and certificates in PEM form, made once.
var material = sync.OnceValue(func() (m struct{ pkix, pkcs1, ec, private, cert, damagedKey, damagedCert string }) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	block := func(kind string, der []byte, err error) string {
		must(err)
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	m.pkix = block("PUBLIC KEY", der, err)
	m.damagedKey = block("PUBLIC KEY", der[:len(der)/2], nil)
	m.pkcs1 = block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&key.PublicKey), nil)
	der, err = x509.MarshalPKIXPublicKey(&elliptical.PublicKey)
	m.ec = block("PUBLIC KEY", der, err)
	m.private = block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Unix(1<<31, 0)}
	der, err = x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	m.cert = block("CERTIFICATE", der, err)
	m.damagedCert = block("CERTIFICATE", der[:len(der)/2], nil)
	return m
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// literal writes a text as a YAML block below a key.
func literal(text string) string {
	return "|\n        " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n        ") + "\n"
}

func TestInlineKeys(t *testing.T) {
	m := material()
	for _, tc := range []struct{ name, key, want string }{
		{"PKIX", m.pkix, ""},
		{"PKCS 1", m.pkcs1, ""},
		{"elliptic curve", m.ec, "found a *ecdsa.PublicKey, expected an RSA public key"},
		{"private", m.private, "found a private key, expected the public one"},
		{"damaged", m.damagedKey, "found a damaged key, expected an RSA public key"},
		{"damaged PKCS 1", strings.NewReplacer("BEGIN PUBLIC", "BEGIN RSA PUBLIC", "END PUBLIC", "END RSA PUBLIC").Replace(m.damagedKey), "found a damaged key, expected an RSA public key"},
		{"two", m.pkix + m.pkix, "found several PEM blocks, expected one"},
		{"certificate", m.cert, `found a PEM block "CERTIFICATE", expected "PUBLIC KEY"`},
	} {
		for _, list := range []string{"contents:\n  keyring:\n    - ", "keyrings:\n  https://a.example:\n    - "} {
			c, err := LoadBytes("image.yaml", []byte(list+literal(tc.key)), in(nil))
			switch {
			case tc.want == "" && err != nil:
				t.Errorf("%s: %v", tc.name, err)
			case tc.want == "":
				roundTrip(t, tc.name, c)
			case err == nil || !strings.HasSuffix(err.Error(), ": invalid key location: "+tc.want):
				t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
			}
		}
	}
}

// TestRuntimeKeyring follows apko: PKIX only, since apko writes it so.
func TestRuntimeKeyring(t *testing.T) {
	m := material()
	for _, tc := range []struct{ name, key, want string }{
		{"PKIX", m.pkix, ""},
		{"PKCS 1", m.pkcs1, `found a PEM block "RSA PUBLIC KEY", expected "PUBLIC KEY"`},
		{"elliptic curve", m.ec, "found a *ecdsa.PublicKey, expected an RSA public key"},
		{"two", m.pkix + m.pkix, "found several PEM blocks, expected one"},
	} {
		text := "contents:\n  runtime_keyring:\n    - name: a.rsa.pub\n      content: " + literal(tc.key)
		_, err := LoadBytes("image.yaml", []byte(text), in(nil))
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || err.Error() != "image.yaml:4:16: contents.runtime_keyring[0].content: invalid key: "+tc.want):
			t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
		}
	}
	entry := "    - name: a.rsa.pub\n      content: " + literal(m.pkix)
	_, err := LoadBytes("image.yaml", []byte("contents:\n  runtime_keyring:\n"+entry+entry), in(nil))
	if err == nil || !strings.HasSuffix(err.Error(), `: contents.runtime_keyring[1].name: duplicate: found "a.rsa.pub" again, first at image.yaml:3:13`) {
		t.Errorf("twice: %v", err)
	}
}

func TestCertificates(t *testing.T) {
	m := material()
	entry := func(name, cert string) string {
		return "    - name: " + name + "\n      content: " + literal(cert)
	}
	for _, tc := range []struct{ name, entries, want string }{
		{"one", entry("a", m.cert), ""},
		{"other name", entry("a", m.cert) + entry("b", m.cert), ""},
		{"text around", entry("a", "# comment\n"+m.cert+"after\n"), ""},
		{"two in one", entry("a", m.cert+m.cert), "certificates.additional[0].content: invalid certificate: found several PEM blocks, expected one"},
		{"key", entry("a", m.pkix), `certificates.additional[0].content: invalid certificate: found a PEM block "PUBLIC KEY", expected "CERTIFICATE"`},
		{"damaged", entry("a", m.damagedCert), "certificates.additional[0].content: invalid certificate: found a damaged certificate: malformed certificate"},
		{"same twice", entry("a", m.cert) + entry("a", m.cert), `certificates.additional[1].name: duplicate: found "a" again, first at image.yaml:3:13`},
		{"name", entry("a/b", m.cert), `certificates.additional[0].name: impossible value: found "a/b", expected letters, digits, "_", "-" and ".", not starting with "."`},
	} {
		_, err := LoadBytes("image.yaml", []byte("certificates:\n  additional:\n"+tc.entries), in(nil))
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (err == nil || !strings.HasSuffix(err.Error(), ": "+tc.want)):
			t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
		}
	}
}
