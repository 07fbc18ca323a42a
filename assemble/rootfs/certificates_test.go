package rootfs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
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

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/generate/certs"
	"github.com/cairn-dev/cairn/packages/apk"
)

// newCertificate returns a self-signed certificate in PEM, and its fingerprint.
func newCertificate(t *testing.T, name string) (string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: epoch, NotAfter: epoch.Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), hex.EncodeToString(sum[:])
}

func withCertificates(c types.ImageCertificates) *config.Config {
	cfg := &config.Config{}
	cfg.Certificates = &c
	return cfg
}

func TestCertificates(t *testing.T) {
	corp, corpPrint := newCertificate(t, "corp")
	other, _ := newCertificate(t, "other")
	bundle := pkg("ca-1-r0", "etc/ssl/certs/ca-certificates.crt mode=444 is=old|", "etc/ssl/cert.pem -> certs/ca-certificates.crt")
	provider := pkg("extra-1-r0", "usr/local/share/ca-certificates/other.crt is="+strings.ReplaceAll(strings.ReplaceAll(other, "\n", "|"), " ", "\x01"),
		"usr/local/share/ca-certificates/README is=x")
	for i := range provider.Files {
		provider.Files[i].Content = strings.ReplaceAll(provider.Files[i].Content, "\x01", " ")
	}
	provider.Package.Provides = []apk.Dependency{{Name: "corp-certs", Op: apk.OpEqual, Version: "1"}}
	cfg := withCertificates(types.ImageCertificates{Additional: []types.AdditionalCertificateEntry{{Name: "corp", Content: corp}}, Providers: []string{"corp-certs", "nobody"}})
	tree := plan(t, input(t, cfg, bundle, provider))

	e := tree.Lookup("etc/ssl/certs/ca-certificates.crt")
	if got, want := string(e.Content), "old\n"+corp+"\n"+other+"\n"; got != want {
		t.Errorf("bundle:\n%s\nexpected\n%s", got, want)
	}
	if e.Mode != 0o444 || e.Owner != (Owner{OwnedByGenerator, "ca-certificates"}) || e.Package != 0 {
		t.Errorf("bundle: mode %o, owner %v, package %d", e.Mode, e.Owner, e.Package)
	}
	if diff := cmp.Diff([]string{"ca", "certificates.additional[0]", "extra"}, e.Derived); diff != "" {
		t.Errorf("bundle made from (-want +got)\n%s", diff)
	}
	file := tree.Lookup("usr/local/share/ca-certificates/corp-" + corpPrint + ".crt")
	if file == nil || string(file.Content) != corp || file.Owner.Name != "certificates.additional[0]" {
		t.Errorf("file of its own: %+v", file)
	}
	if got, want := content(t, tree, "etc/ssl/certs/.ca-certificates.crt.sha256"), e.SHA256.Hex()+"  ca-certificates.crt\n"; got != want {
		t.Errorf("checksum %q, expected %q", got, want)
	}
}

// The checksum beside a store is there without any certificates to add, and
// takes no reading.
func TestCertificateSums(t *testing.T) {
	in := input(t, nil, pkg("ca-1-r0", "etc/ssl/certs/ca-certificates.crt -> /usr/share/bundle", "usr/share/bundle is=x", "etc/ssl/certs/java/cacerts is=x"))
	in.ReadFiles = nil
	tree := plan(t, in)
	const sum = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
	for p, want := range map[string]string{"etc/ssl/certs/.ca-certificates.crt.sha256": sum + "  ca-certificates.crt\n", "etc/ssl/certs/java/.cacerts.sha256": sum + "  cacerts\n"} {
		if got := content(t, tree, p); got != want || tree.Lookup(p).Mode != 0o444 {
			t.Errorf("/%s: %q, expected %q", p, got, want)
		}
	}
}

func TestCertificateErrors(t *testing.T) {
	corp, _ := newCertificate(t, "corp")
	additional := []types.AdditionalCertificateEntry{{Name: "corp", Content: corp}}
	for _, c := range []struct {
		name  string
		cfg   types.ImageCertificates
		files []string
		is    error
		err   string
	}{
		{"no certificate", types.ImageCertificates{Additional: []types.AdditionalCertificateEntry{{Name: "x", Content: "text"}}}, nil, certs.ErrCertificate, "certificates: "},
		{"a truststore that is none", types.ImageCertificates{Additional: additional}, []string{"etc/ssl/certs/java/cacerts is=x"}, certs.ErrTruststore, "certificates: truststore etc/ssl/certs/java/cacerts: "},
		{"a bundle that is a directory", types.ImageCertificates{Additional: additional}, []string{"etc/ssl/certs/ca-certificates.crt/"}, ErrConfig, "certificates: /etc/ssl/certs/ca-certificates.crt: expected a regular file"},
		{"a directory in the way", types.ImageCertificates{Additional: additional}, []string{"usr/local/share/ca-certificates"}, ErrConfig, "certificates.additional[0]: usr/local/share/ca-certificates: not a directory"},
	} {
		_, err := Plan(context.Background(), input(t, withCertificates(c.cfg), pkg("a-1-r0", c.files...)))
		if err == nil || !strings.HasPrefix(err.Error(), c.err) || !errors.Is(err, c.is) || !errors.Is(err, ErrConfig) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.err)
		}
	}
}
