package repository

import (
	"bytes"
	"net/url"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// FuzzReadIndex feeds damaged index files: no crash, and nothing but the right
// content is ever accepted as signed.
func FuzzReadIndex(f *testing.F) {
	good := signedIndex(f)
	_, content, err := splitSignatures(good)
	if err != nil {
		f.Fatal(err)
	}
	keys := NewKeyring(testKey(f, "test.rsa.pub"))
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add(good[content:])
	f.Add([]byte("<html>"))
	f.Add(apktest.Repository{}.SignIndex([]byte("P:a\nV:1\np:b=1 !c\ni:d !e\nD:f~1\nX:y\n\n")))
	f.Fuzz(func(t *testing.T, b []byte) {
		limits := Limits{Index: 1 << 20, IndexInflated: 1 << 20}
		ix, err := ReadIndex(bytes.NewReader(b), ReadOptions{Keyring: keys, Limits: limits})
		if err == nil && !bytes.HasSuffix(b, good[content:]) {
			t.Fatal("accepted as signed")
		}
		if err != nil {
			ix, err = ReadIndex(bytes.NewReader(b), ReadOptions{UnsafeUnsigned: true, Limits: limits})
		}
		if err == nil {
			exercise(ix)
		}
	})
}

// FuzzParsedIndex feeds parsed files that are sealed right and wrong inside.
func FuzzParsedIndex(f *testing.F) {
	good := sealed(f, nil)
	f.Add(good[:len(good)-sealSize])
	f.Add(good[:headerSize])
	empty, err := newBuilder().finish([32]byte{}, 0, "", nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty[:len(empty)-sealSize])
	f.Fuzz(func(t *testing.T, body []byte) {
		b := append(bytes.Clone(body), seal(nil, body)...)
		table, err := openTable(b, nil)
		if err == nil {
			exercise(newIndex(table))
		}
	})
}

func FuzzJWKS(f *testing.F) {
	f.Add(jwks(f, jwkOf("test.rsa.pub"), map[string]string{"kty": "EC"}))
	f.Add([]byte(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}`))
	f.Add([]byte(`{"keys":[null,{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := ParseJWKS(b)
		if (err == nil) != (len(keys) > 0) {
			t.Fatalf("%d keys, %v", len(keys), err)
		}
		for _, k := range keys {
			if again, err := ParseKey(k.Name, k.PEM()); err != nil || again.Fingerprint != k.Fingerprint {
				t.Fatalf("%s: %v", k.Name, err)
			}
		}
	})
}

func FuzzReleases(f *testing.F) {
	f.Add([]byte(releasesJSON), "v3.19", "x86_64")
	f.Fuzz(func(t *testing.T, b []byte, branch, arch string) {
		if list, err := releaseKeys(b, branch, arch); err == nil && len(list) == 0 {
			t.Fatal("neither keys nor an error")
		}
	})
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine h login u password p\ndefault login a password \"b c\"\nmacdef m\nx\n\n# end")
	f.Add("machine h login u account a password #p")
	f.Fuzz(func(t *testing.T, s string) {
		cs, err := ParseNetrc(s)
		checkCredentials(t, cs, err)
	})
}

func FuzzHTTPAuth(f *testing.F) {
	f.Add("basic:h:8443:u:p,bearer:[::1]:1:t\nbasic:*:a:b:c")
	f.Fuzz(func(t *testing.T, s string) {
		cs, err := ParseHTTPAuth(s)
		checkCredentials(t, cs, err)
	})
}

// checkCredentials wants credentials that an HTTP header can carry.
func checkCredentials(t *testing.T, cs []Credential, err error) {
	t.Helper()
	if err != nil && len(cs) > 0 {
		t.Fatal("credentials and an error")
	}
	for _, c := range cs {
		if (c.User == "") == (c.Token == "") || strings.ContainsAny(c.header(), "\r\n\x00") {
			t.Fatalf("%+v", c)
		}
	}
}

func FuzzSource(f *testing.F) {
	f.Add("@edge https://user:pass@h:8080/alpine/v3.19/main?x=y#z", "x86_64")
	f.Add("file:///srv/%2e%2e/x", "noarch")
	f.Add("https://u:sec/ret@h/a", "a")
	f.Fuzz(func(t *testing.T, line, arch string) {
		s, err := ParseSource(line, arch)
		if err != nil {
			return
		}
		again, err := ParseSource(s.URL, arch)
		if err != nil || again.URL != s.URL {
			t.Fatalf("%q read again: %q, %v", s.URL, again.URL, err)
		}
		if u, err := url.Parse(s.IndexURL()); s.Remote() && (err != nil || !strings.HasSuffix(u.Path, "/"+IndexFile)) {
			t.Fatalf("%q: index %q, %v", line, s.IndexURL(), err)
		}
		if u, err := url.Parse(s.URL); err == nil && u.User != nil {
			if pw, _ := u.User.Password(); len(pw) > 8 && strings.Contains(s.Redacted(), pw) && strings.Count(line, pw) == 1 {
				t.Fatalf("%q: redacted %q", line, s.Redacted())
			}
		}
	})
}
