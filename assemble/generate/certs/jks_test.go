package certs

import (
	"bytes"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pavlo-v-chernykh/keystore-go/v4"
)

// oracle returns what keystore-go makes of the certificates (the format's other
// implementation; apko uses it).
func oracle(t testing.TB, certs map[string][]byte) []byte {
	t.Helper()
	ks := keystore.New(keystore.WithOrderedAliases())
	for alias, der := range certs {
		e := keystore.TrustedCertificateEntry{CreationTime: created, Certificate: keystore.Certificate{Type: "X.509", Content: der}}
		if err := ks.SetTrustedCertificateEntry(alias, e); err != nil {
			t.Fatal(err)
		}
	}
	var b bytes.Buffer
	if err := ks.Store(&b, []byte("changeit")); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func der(t testing.TB, name string) []byte {
	block, _ := pem.Decode(certificate(t, name))
	return block.Bytes
}

func TestTruststoreEqualsKeystoreGo(t *testing.T) {
	store := oracle(t, map[string][]byte{"mozilla": der(t, "m"), "zzz": der(t, "z")})
	list := []entry{{Certificate{DER: der(t, "a")}, "Corp-1"}, {Certificate{DER: der(t, "b")}, "pkg-2"}}
	got, err := appendTruststore(store, list, created)
	if err != nil {
		t.Fatal(err)
	}
	want := oracle(t, map[string][]byte{"mozilla": der(t, "m"), "zzz": der(t, "z"), "corp-1": der(t, "a"), "pkg-2": der(t, "b")})
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes, keystore-go writes %d", len(got), len(want))
	}
	again, err := appendTruststore(got, list, created)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("a second time: %d bytes, %v", len(again), err)
	}
}

// A private key in the store is carried along as it is.
func TestTruststoreKeepsKeys(t *testing.T) {
	ks := keystore.New(keystore.WithOrderedAliases())
	chain := []keystore.Certificate{{Type: "X.509", Content: der(t, "k1")}, {Type: "X.509", Content: der(t, "k2")}}
	if err := ks.SetPrivateKeyEntry("key", keystore.PrivateKeyEntry{CreationTime: created, PrivateKey: []byte("secret"), CertificateChain: chain}, []byte("changeit")); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := ks.Store(&b, []byte("changeit")); err != nil {
		t.Fatal(err)
	}
	got, err := appendTruststore(b.Bytes(), []entry{{Certificate{DER: der(t, "a")}, "a"}}, created)
	if err != nil {
		t.Fatal(err)
	}
	back := keystore.New()
	if err := back.Load(bytes.NewReader(got), []byte("changeit")); err != nil {
		t.Fatal(err)
	}
	key, err := back.GetPrivateKeyEntry("key", []byte("changeit"))
	if err != nil || string(key.PrivateKey) != "secret" || len(key.CertificateChain) != 2 || !back.IsTrustedCertificateEntry("a") {
		t.Errorf("%+v, %v", key, err)
	}
}

func TestTruststoreErrors(t *testing.T) {
	good := oracle(t, map[string][]byte{"a": der(t, "a")})
	resigned := func(b []byte) []byte {
		body := b[:len(b)-20]
		sum := jksDigest(body)
		return append(bytes.Clone(body), sum[:]...)
	}
	change := func(at int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[at:], b)
		return resigned(out)
	}
	flipped := bytes.Clone(good)
	flipped[100] ^= 1
	for want, store := range map[string][]byte{
		"PKCS #12: damaged, encrypted as a whole, or not in DER: ":                {0x30, 0x82, 1, 2},
		"0 bytes, expected at least 32: ":                                         {},
		"starts with ce ce ce ce, expected fe ed fe ed (JKS) or 30 (PKCS #12): ":  change(0, 0xce, 0xce, 0xce, 0xce),
		"version 1, expected 2: ":                                                 change(4, 0, 0, 0, 1),
		`digest does not match (damaged, or a password other than "changeit"): `:  flipped,
		`digest does not match (damaged, or a password other than "changeit"):  `: good[:len(good)-1],
		"entry at offset 12 is not readable: ":                                    change(12, 0, 0, 0, 9),
		"entry at offset 12 is not readable:  ":                                   change(16, 0xff, 0xff),
		"entry at offset 12 is not readable:   ":                                  change(12+4+3+8+7, 0xff, 0xff, 0xff, 0xff),
		"entry at offset 12 is not readable:    ":                                 change(12, 0, 0, 0, 1),
		"324 bytes after the last entry: ":                                        resigned(append(good[:len(good)-20:len(good)-20], make([]byte, 344)...)),
	} {
		_, err := appendTruststore(store, []entry{{Certificate{DER: der(t, "b")}, "b"}}, created)
		if full := strings.TrimSpace(want) + " " + ErrTruststore.Error(); err == nil || err.Error() != full || !errors.Is(err, ErrTruststore) {
			t.Errorf("got %v\nwant %s", err, full)
		}
	}
	// More entries than there are, up to four billion: no memory is taken for them.
	many := bytes.Clone(good)
	binary.BigEndian.PutUint32(many[8:], 1<<32-1)
	if _, err := readJKS(resigned(many)); err == nil {
		t.Error("a wrong number of entries is accepted")
	}
}

// Java itself reads what we wrote: into a store of this machine when it has one.
func TestKeytoolReadsTheTruststore(t *testing.T) {
	keytool, err := exec.LookPath("keytool")
	if err != nil {
		t.Skip("no keytool on this machine")
	}
	store, err := os.ReadFile("/etc/ssl/certs/java/cacerts")
	if err != nil || !bytes.HasPrefix(store, []byte{0xfe, 0xed, 0xfe, 0xed}) {
		store = oracle(t, map[string][]byte{"mozilla": der(t, "m")})
	}
	before, err := readJKS(store)
	if err != nil {
		t.Fatal(err)
	}
	got, err := appendTruststore(store, []entry{{Certificate{DER: der(t, "corp")}, "corp"}}, created)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "cacerts")
	if err := os.WriteFile(name, got, 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(keytool, "-J-Duser.language=en", "-list", "-keystore", name, "-storepass", "changeit").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "corp, ") || strings.Count(string(out), "trustedCertEntry") != len(before)+1 {
		t.Errorf("%v: %d entries before\n%.2000s", err, len(before), out)
	}
}

func FuzzTruststore(f *testing.F) {
	f.Add(oracle(f, map[string][]byte{"a": der(f, "a")}))
	f.Add([]byte{0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 0})
	list := []entry{{Certificate{DER: der(f, "b")}, "b"}}
	f.Fuzz(func(t *testing.T, b []byte) {
		sum := jksDigest(b)
		store := append(bytes.Clone(b), sum[:]...) // past the digest, so that the entries are reached
		got, err := appendTruststore(store, list, time.UnixMilli(1))
		if err != nil {
			if !errors.Is(err, ErrTruststore) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		again, err := appendTruststore(got, list, time.UnixMilli(1))
		if err != nil || !bytes.Equal(again, got) {
			t.Errorf("what was written is read differently: %v", err)
		}
	})
}
