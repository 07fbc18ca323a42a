package certs

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var created = time.Unix(1700000000, 0)

// certificate makes a self-signed certificate, the same for the same name.
func certificate(t testing.TB, name string) []byte {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	key := ed25519.NewKeyFromSeed(seed[:])
	tpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: created, NotAfter: created.AddDate(9, 0, 0), IsCA: true}
	der, err := x509.CreateCertificate(nil, tpl, tpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func fingerprint(t *testing.T, text []byte) string {
	t.Helper()
	block, _ := pem.Decode(text)
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:])
}

func TestParse(t *testing.T) {
	a := certificate(t, "a")
	withText := append([]byte("# Corp root\nSubject: CN=a\n"), a...)
	withText = append(withText, "\ntrailing text\n"...)
	withHeaders := bytes.Replace(a, []byte("CERTIFICATE-----\n"), []byte("CERTIFICATE-----\nX-Note: hi\n\n"), 1)
	for name, text := range map[string][]byte{"plain": a, "text around": withText, "headers": withHeaders, "CRLF": bytes.ReplaceAll(a, []byte("\n"), []byte("\r\n"))} {
		c, err := Parse(text)
		if err != nil || !bytes.Equal(c.PEM(), a) || c.Fingerprint != fingerprint(t, a) {
			t.Errorf("%s: %v, %s", name, err, c.PEM())
		}
	}
}

func TestParseErrors(t *testing.T) {
	a, b := certificate(t, "a"), certificate(t, "b")
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")})
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")})
	for want, text := range map[string][]byte{
		"0 certificates, expected one: not one certificate in PEM":                nil,
		"0 certificates, expected one: not one certificate in PEM ":               []byte("hello"),
		"2 certificates, expected one: not one certificate in PEM":                append(bytes.Clone(a), b...),
		`block "PRIVATE KEY", expected CERTIFICATE: not one certificate in PEM`:   append(bytes.Clone(a), key...),
		"certificate 1: x509: malformed certificate (not one certificate in PEM)": junk,
		"damaged PEM block: not one certificate in PEM":                           a[:len(a)-5],
		"damaged PEM block: not one certificate in PEM ":                          append(bytes.Clone(a), b[:60]...),
	} {
		_, err := Parse(text)
		if err == nil || err.Error() != strings.TrimSpace(want) || !errors.Is(err, ErrCertificate) {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func update(t *testing.T, in Input) []File {
	t.Helper()
	in.Created = created
	files, err := Update(in)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestUpdate(t *testing.T) {
	a, b, c, d := certificate(t, "a"), certificate(t, "b"), certificate(t, "c"), certificate(t, "d")
	bundle := append([]byte("# Mozilla\n"), d...)
	got := update(t, Input{
		Additional: []Named{{"corp", append([]byte("text\n"), a...)}},
		Provided:   []File{{Path: Dir + "/z.crt", Content: c}, {Path: Dir + "/b.pem", Content: append(bytes.Clone(b), d...)}},
		Bundles:    []File{{Path: BundlePaths()[0], Content: bundle}, {Path: BundlePaths()[1]}},
	})
	nl := []byte("\n")
	want := []File{
		{Path: Dir + "/corp-" + fingerprint(t, a) + ".crt", Content: a, Mode: 0o644},
		{Path: "etc/ssl/certs/ca-certificates.crt", Content: bytes.Join([][]byte{bundle, a, nl, b, nl, c, nl}, nil)},
		{Path: "var/lib/ecs/deps/execute-command/certs/tls-ca-bundle.pem", Content: bytes.Join([][]byte{a, nl, b, nl, d, nl, c, nl}, nil)},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestUpdateNothing(t *testing.T) {
	in := Input{Bundles: []File{{Path: "x", Content: []byte("not PEM at all")}}, Truststores: []File{{Path: "y", Content: []byte("not JKS")}}}
	if got := update(t, in); got != nil {
		t.Errorf("%v", got)
	}
	a := certificate(t, "a")
	in = Input{Provided: []File{{Path: Dir + "/a.crt", Content: a}}, Bundles: []File{{Path: "x", Content: a}}}
	if got := update(t, in); got != nil {
		t.Errorf("a certificate that is there: %v", got)
	}
}

// apko appends to a bundle that ends without a newline and so joins two lines
// into one that no reader accepts.
func TestApkoDefect_BundleWithoutLastNewline(t *testing.T) {
	a, b := certificate(t, "a"), certificate(t, "b")
	got := update(t, Input{Additional: []Named{{"b", b}}, Bundles: []File{{Path: "x", Content: bytes.TrimSpace(a)}}})
	if list, err := ParseAll(got[1].Content); err != nil || len(list) != 2 {
		t.Errorf("%d certificates, %v\n%s", len(list), err, got[1].Content)
	}
}

// The bundle that was passed in is not written to, however large its capacity.
func TestUpdateLeavesItsInput(t *testing.T) {
	a, b := certificate(t, "a"), certificate(t, "b")
	bundle := append(make([]byte, 0, 8192), a...)
	update(t, Input{Additional: []Named{{"b", b}}, Bundles: []File{{Path: "x", Content: bundle}}})
	if rest := bundle[len(bundle):cap(bundle)]; bytes.Contains(rest, []byte("BEGIN")) {
		t.Error("the input's spare room was written to")
	}
}

func TestUpdateErrors(t *testing.T) {
	a := certificate(t, "a")
	const name = `: expected letters, digits, "_", "-" and ".", not at the beginning`
	for want, in := range map[string]Input{
		`certificate name ""` + name:                                                                                 {Additional: []Named{{"", a}}},
		`certificate name "../x"` + name:                                                                             {Additional: []Named{{"../x", a}}},
		`certificate name "a/b"` + name:                                                                              {Additional: []Named{{"a/b", a}}},
		`certificate name ".hidden"` + name:                                                                          {Additional: []Named{{".hidden", a}}},
		`certificate name "a\nb"` + name:                                                                             {Additional: []Named{{"a\nb", a}}},
		`certificate "x": 0 certificates, expected one: not one certificate in PEM`:                                  {Additional: []Named{{"x", nil}}},
		`certificate "x": 2 certificates, expected one: not one certificate in PEM`:                                  {Additional: []Named{{"x", append(bytes.Clone(a), a...)}}},
		Dir + `/x.pem: block "PUBLIC KEY", expected CERTIFICATE: not one certificate in PEM`:                         {Provided: []File{{Path: Dir + "/x.pem", Content: []byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n")}}},
		`truststore cacerts: PKCS #12: damaged, encrypted as a whole, or not in DER: not a readable Java truststore`: {Additional: []Named{{"x", a}}, Truststores: []File{{Path: "cacerts", Content: []byte{0x30, 0x82}}}},
	} {
		files, err := Update(in)
		if files != nil || err == nil || err.Error() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
}

func TestIsProvided(t *testing.T) {
	for p, want := range map[string]bool{Dir + "/a.crt": true, Dir + "/x/a.pem": true, Dir + "/README": false, "etc/ssl/a.crt": false, Dir + ".crt": false} {
		if IsProvided(p) != want {
			t.Errorf("%s: %v", p, !want)
		}
	}
}

func FuzzParseAll(f *testing.F) {
	f.Add(certificate(f, "a"))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	f.Add([]byte("-----BEGIN X-----\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := ParseAll(text)
		if err != nil {
			if !errors.Is(err, ErrCertificate) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		for _, c := range list {
			again, err := Parse(c.PEM())
			if err != nil || again.Fingerprint != c.Fingerprint {
				t.Errorf("written certificate: %v", err)
			}
		}
	})
}
