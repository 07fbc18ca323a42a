package admission

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// writePair writes a certificate with a serial number, as of a time.
func writePair(t *testing.T, dir string, serial int64, at time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(serial)},
		&x509.Certificate{SerialNumber: big.NewInt(serial)}, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
}

func serial(t *testing.T, c *Certificate) int64 {
	t.Helper()
	c.checked = time.Time{} // as if a second had passed
	pair, err := c.Get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.Int64()
}

func TestCertificateIsReadAgain(t *testing.T) {
	dir, at := t.TempDir(), time.Now().Add(-time.Hour)
	files := []string{filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")}
	if _, err := LoadCertificate(files[0], files[1], slog.New(slog.DiscardHandler)); err == nil {
		t.Error("files that are not there are accepted")
	}
	writePair(t, dir, 1, at)
	c, err := LoadCertificate(files[0], files[1], slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if n := serial(t, c); n != 1 {
		t.Errorf("found certificate %d", n)
	}
	writePair(t, dir, 2, at.Add(time.Minute))
	if n := serial(t, c); n != 2 {
		t.Errorf("found certificate %d after it was renewed", n)
	}
	if err := os.WriteFile(files[0], []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if n := serial(t, c); n != 2 {
		t.Errorf("found certificate %d, expected the last good one", n)
	}
}
