package certs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"
)

// The stores in testdata are keytool's, with the certificates m and z as
// Mozilla-m and Mozilla-z: that of Java 17 (AES and HMAC with SHA-256), one with
// -Dkeystore.pkcs12.legacy (RC2 and SHA-1), and one as Java 18 and later bring
// theirs, without password.
var keytoolStores = []string{"java17", "legacy", "passwordless"}

func keytoolStore(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name+".p12"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func corp(t testing.TB) []entry {
	var list []entry
	for _, name := range []string{"a", "b"} {
		text := certificate(t, name)
		c, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, entry{c, "Corp-" + name + "-" + c.Fingerprint})
	}
	return list
}

func TestPKCS12(t *testing.T) {
	list := corp(t)
	for _, name := range keytoolStores {
		store := keytoolStore(t, name)
		was, err := readPFX(store)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if again, err := was.write(); err != nil || !bytes.Equal(again, store) {
			t.Errorf("%s: written again it is different, %v", name, err)
		}
		got, err := appendTruststore(store, list, created)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		is, err := readPFX(got)
		if err != nil || !bytes.HasPrefix(is.safes, was.safes) || (is.mac == nil) != (name == "passwordless") {
			t.Errorf("%s: what was there is not any more, %v", name, err)
		}
		for _, e := range list {
			if !bytes.Contains(is.safes[len(was.safes):], e.DER) || !bytes.Contains(is.safes, bmpString(strings.ToLower(e.alias))) {
				t.Errorf("%s: %s is not there", name, e.alias)
			}
		}
		if again, err := appendTruststore(got, list, created); err != nil || !bytes.Equal(again, got) {
			t.Errorf("%s: a second time: %d bytes, %v", name, len(again), err)
		}
	}
}

// Java itself reads what we wrote.
func TestKeytoolReadsPKCS12(t *testing.T) {
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("no keytool on this machine")
	}
	list := corp(t)
	for _, store := range keytoolStores {
		got, err := appendTruststore(keytoolStore(t, store), list, created)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "cacerts")
		write(t, name, got)
		out, err := exec.Command(keytool, "-J-Duser.language=en", "-list", "-storetype", "PKCS12", "-keystore", name, "-storepass", "changeit").CombinedOutput()
		if err != nil || strings.Count(string(out), "trustedCertEntry") != 4 {
			t.Errorf("%s: %v\n%s", store, err, out)
		}
		for _, want := range []string{"mozilla-m, ", "mozilla-z, ", strings.ToLower(list[0].alias) + ", ", strings.ToLower(list[1].alias) + ", "} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%s: no %s\n%s", store, want, out)
			}
		}
		sum, _ := hex.DecodeString(list[1].Fingerprint)
		var colons []string
		for _, b := range sum {
			colons = append(colons, strings.ToUpper(hex.EncodeToString([]byte{b})))
		}
		if !strings.Contains(string(out), strings.Join(colons, ":")) {
			t.Errorf("%s: no fingerprint %s\n%s", store, list[1].Fingerprint, out)
		}
	}
}

// RFC 7292 has no test vectors; the MACs of keytool's stores are some. The salt
// and the password may be longer than a block, or empty.
func TestFill(t *testing.T) {
	for in, want := range map[string]string{"": "", "abc": "abca", "abcd": "abcd", "abcde": "abcdeabc"} {
		if got := string(fill([]byte(in), 4)); got != want {
			t.Errorf("%q: %q, expected %q", in, got, want)
		}
	}
}

func TestPKCS12Errors(t *testing.T) {
	good := keytoolStore(t, "java17")
	changed := func(from, to string) []byte {
		if strings.Count(string(good), from) != 1 || len(from) != len(to) {
			t.Fatalf("% x: found %d times", from, strings.Count(string(good), from))
		}
		return []byte(strings.Replace(string(good), from, to, 1))
	}
	p, err := readPFX(good)
	if err != nil {
		t.Fatal(err)
	}
	salt := string(p.mac.salt)
	iterations := salt + "\x02\x02\x27\x10"
	notList := func() []byte {
		var b cryptobyte.Builder
		b.AddASN1(asn1.SEQUENCE, func(b *cryptobyte.Builder) {
			b.AddASN1Int64(3)
			addData(b, []byte("text"))
		})
		return b.BytesOrPanic()
	}
	for want, store := range map[string][]byte{
		"damaged, encrypted as a whole, or not in DER":                      good[:len(good)-1],
		"damaged, encrypted as a whole, or not in DER ":                     append(slices.Clone(good), 0),
		"damaged, encrypted as a whole, or not in DER  ":                    bytes.Replace(good, []byte("\x01\x07\x01"), []byte("\x01\x07\x02"), 1), // signed data
		"version 4, expected 3":                                             changed("\x02\x01\x03\x30\x82", "\x02\x01\x04\x30\x82"),
		"list of safes: damaged":                                            notList(),
		`MAC does not match (damaged, or a password other than "changeit")`: changed(salt, strings.Repeat("x", len(salt))),
		"MAC: damaged": changed(iterations, salt+"\x04\x02\x27\x10"),
		"MAC: -32768 iterations, expected 1 to 5000000":                  changed(iterations, salt+"\x02\x02\x80\x00"),
		"MAC: algorithm 2.16.840.1.101.3.4.2.9, expected SHA-1 or SHA-2": changed("\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04", "\x60\x86\x48\x01\x65\x03\x04\x02\x09\x05\x00\x04"),
	} {
		_, err := appendTruststore(store, corp(t), created)
		if full := "PKCS #12: " + strings.TrimSpace(want) + ": " + ErrTruststore.Error(); err == nil || err.Error() != full || !errors.Is(err, ErrTruststore) {
			t.Errorf("got %v\nwant %s", err, full)
		}
	}
}

func FuzzPKCS12(f *testing.F) {
	for _, name := range keytoolStores {
		f.Add(keytoolStore(f, name))
	}
	list := corp(f)
	f.Fuzz(func(t *testing.T, store []byte) {
		got, err := appendPKCS12(store, list)
		if err != nil {
			if !errors.Is(err, ErrTruststore) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		again, err := appendPKCS12(got, list)
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("what was written is read differently: %v", err)
		}
	})
}
