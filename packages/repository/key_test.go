package repository

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestParseKeyForms(t *testing.T) {
	k := apktest.NewKey("test.rsa.pub")
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	want := Key{Name: "test.rsa.pub", Public: k.Public(), Fingerprint: sha256.Sum256(der)}
	for form, b := range map[string][]byte{
		"PKIX":        k.PublicPEM(),
		"PKCS #1":     pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(k.Public())),
		"text before": append([]byte("a comment\n"), k.PublicPEM()...),
		"own PEM":     want.PEM(),
	} {
		got, err := ParseKey("/etc/apk/keys/test.rsa.pub", b)
		if err != nil || got.Name != want.Name || got.Fingerprint != want.Fingerprint || !got.Public.Equal(want.Public) {
			t.Errorf("%s: %+v, %v", form, got, err)
		}
	}
}

func TestRealKeys(t *testing.T) {
	ring := alpineKeys(t)
	if ring.Len() != 17 {
		t.Errorf("%d keys, want 17", ring.Len())
	}
	sizes := map[int]int{}
	for _, k := range ring.Keys() {
		sizes[k.Public.N.BitLen()]++
	}
	if d := cmp.Diff(map[int]int{2048: 9, 4096: 8}, sizes); d != "" {
		t.Error(d)
	}
}

func TestParseKeyErrors(t *testing.T) {
	good := apktest.NewKey("test.rsa.pub")
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	huge := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 20000, 1), E: 65537}
	odd := &rsa.PublicKey{N: good.Public().N, E: 4}
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"k", nil, `key k: not PEM: expected "-----BEGIN PUBLIC KEY-----", found nothing`},
		{"k", []byte("<html>404</html>"), `key k: not PEM: expected "-----BEGIN PUBLIC KEY-----", found a web page`},
		{"k", []byte(`{"keys":[]}`), `key k: not PEM: expected "-----BEGIN PUBLIC KEY-----", found JSON`},
		{"k", []byte(" \n"), `key k: not PEM: expected "-----BEGIN PUBLIC KEY-----", found white space`},
		{"k", []byte("ssh-rsa AAAA"), `key k: not PEM: expected "-----BEGIN PUBLIC KEY-----", found "ssh-rsa AAAA"`},
		{"k", append(good.PublicPEM(), good.PublicPEM()...), "key k: several PEM blocks: expected one"},
		{"k", good.PrivatePEM(), "key k: is a private key: expected the public one (openssl rsa -pubout)"},
		{"k", pemBlock("CERTIFICATE", nil), `key k: PEM block "CERTIFICATE": expected "PUBLIC KEY"`},
		{"k", pemBlock("PUBLIC KEY", []byte("junk")), "key k: asn1: …"},
		{"k", pemBlock("PUBLIC KEY", ecDER), "key k: is a *ecdsa.PublicKey: expected an RSA key"},
		{"k", pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(small)), "key k: RSA key of 1024 bits: expected at least 2048"},
		{"k", pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(huge)), "key k: RSA key of 20001 bits: expected at most 16384"},
		{"k", pemBlock("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(odd)), "key k: RSA exponent 4: expected an odd number from 3 on"},
		{"", good.PublicPEM(), "key: no name"},
		{"a/..", good.PublicPEM(), "key: no name"},
	} {
		_, err := ParseKey(c.name, c.b)
		wantError(t, err, c.want)
	}
	if _, err := NewKey("k", nil); err == nil || err.Error() != "key k: no key" {
		t.Error(err)
	}
}

func TestKeyring(t *testing.T) {
	a, b := testKey(t, "a.rsa.pub"), testKey(t, "b.rsa.pub")
	impostor := b
	impostor.Name = "a.rsa.pub"
	nameless := testKey(t, "c.rsa.pub")
	nameless.AnyName = true
	bare := testKey(t, "proxy")
	r := NewKeyring(b, a, a, impostor, nameless, nameless, bare)
	if d := cmp.Diff([]string{"a.rsa.pub", "a.rsa.pub", "b.rsa.pub", "c.rsa.pub", "proxy"}, r.Names()); d != "" || r.Len() != 5 {
		t.Error(d)
	}
	fingerprints := func(ks []Key) (out []apk.SHA256) {
		for _, k := range ks {
			out = append(out, k.Fingerprint)
		}
		return out
	}
	for name, want := range map[string][]Key{
		"a.rsa.pub":     {a, impostor, nameless},
		"a":             {a, impostor, nameless},
		"proxy.rsa.pub": {bare, nameless},
		"unknown":       {nameless},
	} {
		if d := cmp.Diff(fingerprints(want), fingerprints(r.Lookup(name))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	var none *Keyring
	if none.Len() != 0 || none.Lookup("a") != nil || none.Names() != nil {
		t.Error("the nil keyring is not empty")
	}
}

func TestClientKeys(t *testing.T) {
	k := apktest.NewKey("test.rsa.pub")
	dir := t.TempDir()
	file := filepath.Join(dir, "test.rsa.pub")
	writeFile(t, file, k.PublicPEM())
	writeFile(t, filepath.Join(dir, "junk"), []byte("junk"))
	srv := serve(t, static(k.PublicPEM()))
	c := mustClient(t, fast(Options{Builtins: map[string]fs.FS{"demo": fstest.MapFS{"keys/demo.rsa.pub": {Data: k.PublicPEM()}}}}))
	for ref, name := range map[string]string{
		file:                               "test.rsa.pub",
		"file://" + file:                   "test.rsa.pub",
		"builtin://demo/keys/demo.rsa.pub": "demo.rsa.pub",
		srv.URL + "/keys/alpine-devel%40lists.rsa.pub": "alpine-devel@lists.rsa.pub",
		srv.URL + "/k.rsa.pub?token=x":                 "k.rsa.pub",
		string(k.PublicPEM()):                          "inline-" + testKey(t, "test.rsa.pub").Fingerprint.Hex()[:12] + ".rsa.pub",
	} {
		got, err := c.Key(ctx, ref)
		if err != nil || got.Name != name || !got.Public.Equal(k.Public()) || got.AnyName != strings.HasPrefix(name, "inline-") {
			t.Errorf("%s: %+v, %v", ref, got.Name, err)
		}
	}
	for ref, want := range map[string]string{
		dir + "/gone":                  "key " + dir + "/gone: no such file or directory (not found)",
		dir + "/junk":                  `key junk: not PEM: expected "-----BEGIN PUBLIC KEY-----", found "junk"`,
		"ftp://u:secret@h/k":           "key ftp://h/k: unknown scheme: expected https://, http://, file://, builtin://, a file name or PEM text",
		"file://k":                     "key file://k: expected file:///path",
		"builtin://demo/gone":          "key builtin://demo/gone: file does not exist (not found)",
		"builtin://other/k":            "key builtin://other/k: no builtin repository of this name: expected demo",
		"-----BEGIN PUBLIC KEY-----\n": `key (inline): not PEM: expected "-----BEGIN PUBLIC KEY-----", found "-----BEGIN PUBLI"`,
	} {
		_, err := c.Key(ctx, ref)
		wantError(t, err, want)
	}
	_, err := c.Keys(ctx, []string{file, dir + "/gone", "ftp://h/k"})
	wantError(t, err, "key "+dir+"/gone: …\nkey ftp://h/k: …")
	wantIs(t, err, ErrNotFound)
}

// apko stores the body of a 404 as a key (apko.md §3).
func TestApkoDefect_KeyURLStatusIsChecked(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(404)
		_, _ = w.Write(apktest.NewKey("test.rsa.pub").PublicPEM())
	})
	_, err := mustClient(t, fast(Options{CacheDir: t.TempDir()})).Key(ctx, srv.URL+"/k.rsa.pub")
	wantError(t, err, srv.URL+"/k.rsa.pub: server answered 404 Not Found")
	wantIs(t, err, ErrNotFound)
}

func TestSniff(t *testing.T) {
	for in, want := range map[string]string{
		"ADBd":                 "an APK v3 (ADB) file, which is not supported",
		"\x1f\x8b\x08":         "gzip data",
		"\x28\xb5\x2f\xfd\x00": "zstd data",
		"C:Q1abc":              "a plain APKINDEX",
		" <!DOCTYPE html>":     "a web page",
	} {
		if got := sniff([]byte(in)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
	if got := sniff(bytes.Repeat([]byte("x"), 99)); got != `"xxxxxxxxxxxxxxxx"` {
		t.Error(got)
	}
}
