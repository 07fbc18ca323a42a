package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
	"github.com/sigstore/sigstore/pkg/signature"
)

func block(t testing.TB, kind string, der []byte, err error) []byte {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func pkcs8(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return block(t, pemPKCS8, der, err)
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func rsaKey(t testing.TB, bits int) *rsa.PrivateKey {
	t.Helper()
	if bits < 1024 {
		t.Fatal("too small to be generated")
	}
	k, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// checkSigns signs with the key and verifies with Sigstore's library.
func checkSigns(t *testing.T, k *Key) {
	t.Helper()
	sig, err := k.Sign(t.Context(), []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := signature.LoadVerifierFromAlgorithmDetails(k.Public(), k.Algorithm())
	if err != nil {
		t.Fatal(err)
	}
	if err := v.VerifySignature(bytes.NewReader(sig), strings.NewReader("message")); err != nil {
		t.Error(err)
	}
	if err := v.VerifySignature(bytes.NewReader(sig), strings.NewReader("massage")); err == nil {
		t.Error("another message verifies")
	}
}

func TestGenerate(t *testing.T) {
	pair, err := Generate([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	b, rest := pem.Decode(pair.Private)
	if b == nil || b.Type != "ENCRYPTED SIGSTORE PRIVATE KEY" || len(rest) != 0 {
		t.Fatalf("%s", pair.Private)
	}
	der, err := encrypted.Decrypt(b.Bytes, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x509.ParsePKCS8PrivateKey(der); err != nil {
		t.Error(err)
	}
	k, err := Parse(pair.Private, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	public, err := ParsePublic(pair.Public)
	if err != nil || !k.Public().(*ecdsa.PublicKey).Equal(public) || k.Public().(*ecdsa.PublicKey).Curve != elliptic.P256() {
		t.Errorf("%v, %v", public, err)
	}
	checkSigns(t, k)
}

func TestParseKinds(t *testing.T) {
	p256, p384 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := rsaKey(t, 2048)
	sec1, err := x509.MarshalECPrivateKey(p256)
	sec1Block := block(t, pemEC, sec1, err)
	der, err := x509.MarshalPKCS8PrivateKey(ed)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := encrypted.Encrypt(der, nil)
	cosign1 := block(t, pemEncryptedCosign, sealed, err)
	for name, c := range map[string]struct {
		raw    []byte
		public crypto.PublicKey
		hash   crypto.Hash
	}{
		"P-256":                            {pkcs8(t, p256), p256.Public(), crypto.SHA256},
		"P-384":                            {pkcs8(t, p384), p384.Public(), crypto.SHA384},
		"SEC 1":                            {sec1Block, p256.Public(), crypto.SHA256},
		"Ed25519":                          {pkcs8(t, ed), ed.Public(), 0},
		"RSA":                              {pkcs8(t, r), r.Public(), crypto.SHA256},
		"PKCS 1":                           {block(t, pemPKCS1, x509.MarshalPKCS1PrivateKey(r), nil), r.Public(), crypto.SHA256},
		"cosign's first form, no password": {cosign1, ed.Public(), 0},
	} {
		k, err := Parse(c.raw, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !k.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(c.public) || k.Algorithm().GetHashType() != c.hash {
			t.Errorf("%s: %v, %v", name, k.Public(), k.Algorithm().GetHashType())
		}
		checkSigns(t, k)
		raw, err := MarshalPublic(c.public)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParsePublic(raw); err != nil {
			t.Errorf("%s: public: %v", name, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	pair, err := Generate([]byte("right"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		raw  []byte
		is   error
		want string
	}{
		{"wrong password", pair.Private, ErrPassword, "wrong password, or a damaged key: encrypted: decryption failed"},
		{"public", pair.Public, ErrKey, `not a usable key: a PEM block "PUBLIC KEY": expected a private key`},
		{"nothing", nil, ErrKey, "not a usable key: no PEM block in it: expected ENCRYPTED SIGSTORE PRIVATE KEY"},
		{"something else", []byte("-----BEGIN X-----\n-----END X-----\n"), ErrKey, `not a usable key: a PEM block "X": expected ENCRYPTED SIGSTORE PRIVATE KEY`},
		{"not encrypted data", []byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"), ErrPassword, ""},
		{"damaged", []byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), ErrKey, ""},
		{"weak RSA", pkcs8(t, rsaKey(t, 1024)), ErrKey, ""},
		{"odd RSA", pkcs8(t, rsaKey(t, 2056)), ErrKey, ""},
		{"unknown curve", pkcs8(t, ecKey(t, elliptic.P224())), ErrKey, ""},
	} {
		_, err := Parse(c.raw, []byte("wrong"))
		if !errors.Is(err, c.is) || c.want != "" && err.Error() != c.want {
			t.Errorf("%s: found %v\nwant %s", c.name, err, c.want)
		}
	}
	for name, raw := range map[string][]byte{
		"private": pair.Private, "nothing": nil, "damaged": []byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
	} {
		if k, err := ParsePublic(raw); !errors.Is(err, ErrKey) {
			t.Errorf("public, %s: %v, %v", name, k, err)
		}
	}
}

func environment(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1], true
			}
		}
		return "", false
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	pair, err := Generate([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.Write("release"); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]fs.FileMode{"release.key": 0o600, "release.pub": 0o644} {
		fi, err := os.Stat(name)
		if err != nil || fi.Mode() != mode {
			t.Errorf("%s: %v, %v", name, fi.Mode(), err)
		}
	}
	if err := os.WriteFile("password", []byte("secret\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ask := func(string) ([]byte, error) { return []byte("secret"), nil }
	for name, c := range map[string]struct {
		ref string
		o   Options
	}{
		"CAIRN_PASSWORD":          {"release.key", Options{LookupEnv: environment("CAIRN_PASSWORD", "secret")}},
		"COSIGN_PASSWORD":         {"release.key", Options{LookupEnv: environment("COSIGN_PASSWORD", "secret")}},
		"both: ours":              {"release.key", Options{LookupEnv: environment("COSIGN_PASSWORD", "x", "CAIRN_PASSWORD", "secret")}},
		"file before environment": {"release.key", Options{LookupEnv: environment("CAIRN_PASSWORD", "x"), PasswordFile: "password"}},
		"prompt":                  {"release.key", Options{Prompt: ask}},
		"key in the environment":  {"env://K", Options{LookupEnv: environment("K", string(pair.Private)), Prompt: ask}},
	} {
		k, err := Load(t.Context(), c.ref, c.o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		checkSigns(t, k)
	}
	public, err := LoadPublic(t.Context(), "release.pub", Options{})
	if err != nil || public == nil {
		t.Error(err)
	}
}

func TestLoadErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	pair, err := Generate(nil)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte, mode fs.FileMode) {
		if err := os.WriteFile(name, content, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(name, mode); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	write("k", pair.Private, 0o600)
	write("world", pair.Private, 0o644)
	write("group", pair.Private, 0o640)
	write("huge", make([]byte, maxKey+1), 0o600)
	write("pass", []byte("x"), 0o666)
	for _, c := range []struct {
		ref  string
		o    Options
		is   error
		want string
	}{
		{"world", Options{}, ErrExposed, "key world: readable by others: mode 0644: expected 0600\nhint: chmod 600 world"},
		{"group", Options{}, ErrExposed, "key group: readable by others: mode 0640: expected 0600\nhint: chmod 600 group"},
		{"k", Options{PasswordFile: "pass"}, ErrExposed, "key k: password file: readable by others: mode 0666: expected 0600\nhint: chmod 600 pass"},
		{"k", Options{PasswordFile: "absent"}, fs.ErrNotExist, "key k: password file: open absent: no such file or directory"},
		{"k", Options{}, ErrPassword, "key k: password: none given, and no terminal to ask at\nhint: set CAIRN_PASSWORD, or name a file with --password-file"},
		{"k", Options{LookupEnv: environment("CAIRN_PASSWORD", "x")}, ErrPassword, "key k: wrong password, or a damaged key: encrypted: decryption failed"},
		{"absent", Options{}, fs.ErrNotExist, "key absent: open absent: no such file or directory"},
		{"huge", Options{}, ErrKey, "key huge: not a usable key: more than 65536 bytes"},
		{".", Options{}, ErrKey, "key .: not a usable key: a directory"},
		{"", Options{}, ErrKey, "key : not a usable key: no reference: expected a file, env://VARIABLE or scheme://…"},
		{"env://NONE", Options{}, ErrKey, "key env://NONE: not a usable key: the environment has no variable NONE"},
		{"nokms://x", Options{}, ErrKey, "key nokms://x: not a usable key: no program sigstore-kms-nokms on PATH\nhint: keys in a service are used through Sigstore's plugins, which are programs of their own"},
	} {
		_, err := Load(t.Context(), c.ref, c.o)
		if !errors.Is(err, c.is) || err.Error() != c.want {
			t.Errorf("%s: found %v\nwant %s", c.ref, err, c.want)
		}
	}
	_, err = LoadPublic(t.Context(), "k", Options{})
	if err == nil || !strings.HasSuffix(err.Error(), "\nhint: this is the private key; cairn key public prints the public one") {
		t.Error(err)
	}
}

func TestNewPassword(t *testing.T) {
	var asked []string
	answers := func(list ...string) func(string) ([]byte, error) {
		return func(prompt string) ([]byte, error) {
			asked = append(asked, prompt)
			a := list[0]
			list = list[1:]
			return []byte(a), nil
		}
	}
	o := Options{Prompt: answers("a", "a")}
	if p, err := o.NewPassword("Password"); err != nil || string(p) != "a" || !cmp.Equal(asked, []string{"Password", "Password again"}) {
		t.Errorf("%q, %v, %v", p, err, asked)
	}
	o = Options{Prompt: answers("a", "b")}
	if _, err := o.NewPassword("Password"); !errors.Is(err, ErrPassword) || err.Error() != "password: the two entries differ" {
		t.Error(err)
	}
	for _, name := range passwordVariables {
		asked = nil
		o = Options{LookupEnv: environment(name, ""), Prompt: answers()}
		if p, err := o.NewPassword("Password"); err != nil || len(p) != 0 || asked != nil {
			t.Errorf("%s set and empty: %q, %v, %v", name, p, err, asked)
		}
	}
}

func TestWriteReplacesNothing(t *testing.T) {
	for _, taken := range []string{"x.key", "x.pub"} {
		t.Chdir(t.TempDir())
		if err := os.WriteFile(taken, []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
		err := (&Pair{Private: []byte("a"), Public: []byte("b")}).Write("x")
		if want := "key " + taken + ": file already exists\nhint: keys are not replaced; --output names others"; !errors.Is(err, fs.ErrExist) || err.Error() != want {
			t.Errorf("found %v\nwant %s", err, want)
		}
		if left, _ := filepath.Glob("*"); len(left) != 1 {
			t.Errorf("left: %v", left)
		}
	}
	err := (&Pair{}).Write(filepath.Join(t.TempDir(), "absent", "x"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// No key file makes the parser panic.
func FuzzParse(f *testing.F) {
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\neyJrZGYiOnt9fQ==\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if k, err := Parse(raw, nil); err == nil && k.Public() == nil {
			t.Error("a key without a public half")
		}
		if _, err := ParsePublic(raw); err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("%v", err)
		}
	})
}
