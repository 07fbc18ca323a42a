package proof_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/proof"
)

// certificate is a new authority, as PEM.
func certificate(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Unix(1700000000, 0), NotAfter: time.Unix(4000000000, 0)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// TestRealPackages proves images of Alpine's own signed packages, in every
// layering, one with a bundle of certificates that is made from a package's.
func TestRealPackages(t *testing.T) {
	repo, err := filepath.Abs(apktest.Data(t, "alpine-3.19-boot"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(apktest.Data(t, "alpine-3.19", "keys"), "*.pub"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no keys: %v", err)
	}
	var keys []repository.Key
	for i := range files {
		b, err := os.ReadFile(files[i])
		if err != nil {
			t.Fatal(err)
		}
		k, err := repository.ParseKey(files[i], b)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
		if files[i], err = filepath.Abs(files[i]); err != nil {
			t.Fatal(err)
		}
	}
	head := "contents:\n  repositories: [" + repo + "]\n  keyring: [" + strings.Join(files, ", ") + "]\n  packages: [alpine-base, openssl, ca-certificates-bundle]\narchs: [x86_64]\n"
	pem := "certificates:\n  additional:\n    - name: ours\n      content: |\n        " + strings.ReplaceAll(strings.TrimSpace(certificate(t)), "\n", "\n        ") + "\n"
	for _, c := range []struct{ name, config string }{
		{"default", ""},
		{"packed", "layering: {strategy: package, budget: 6}\n"},
		{"origin", "layering: {strategy: origin, budget: 9}\n"},
		{"single", "layering: {strategy: single}\n"},
		{"certificates", pem},
		{"certificates, packed", pem + "layering: {strategy: package, budget: 3}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "image.yaml")
			if err := os.WriteFile(path, []byte(head+c.config), 0o644); err != nil {
				t.Fatal(err)
			}
			cfg, err := config.Load(path, config.Options{})
			if err != nil {
				t.Fatal(err)
			}
			ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache")})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.Close()
			out := filepath.Join(dir, "out") + "/"
			r, err := assemble.Build(t.Context(), ws, cfg, assemble.Options{Kit: true, Outputs: []string{out}})
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range []proof.Options{{Keys: keys, Lock: lockOf(t, r)}, {Keys: keys, Full: true}} {
				report, err := sign.Prove(t.Context(), out, sign.ProveOptions{Options: o, Configuration: cfg})
				if err != nil || report.Verdict != proof.Proved || report.Subject != r.Digest {
					t.Fatalf("full %v: %+v, %v", o.Full, report, err)
				}
			}
		})
	}
}
