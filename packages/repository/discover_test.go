package repository

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func keyNames(ks []Key) (out []string) {
	for _, k := range ks {
		out = append(out, k.Name)
	}
	return out
}

func TestAlpineBranch(t *testing.T) {
	for u, want := range map[string]string{
		"https://dl-cdn.alpinelinux.org/alpine/v3.19/main": "v3.19",
		"http://mirror.example/pub/alpine/edge/testing/":   "edge",
		"https://h/alpine/latest-stable/community":         "latest-stable",
		"https://u:p@h:8080/alpine/v3.20/community":        "v3.20",
		"https://h/alpine/v3.19/releases":                  "",
		"https://h/alpine/v3/main":                         "",
		"https://h/alpine/3.19/main":                       "",
		"https://h/alpine/v3.19":                           "",
		"https://h/v3.19/main":                             "",
		"https://h/notalpine/v3.19/main":                   "",
		"https://h/alpine/v3.19/main/x86_64":               "",
		"https://packages.wolfi.dev/os":                    "",
		"https://h/alpine/v3.%zz/main":                     "",
	} {
		got, ok := alpineBranch(u)
		if got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v", u, got, ok)
		}
	}
}

// alpineSite is a server with releases.json and the keys.
func alpineSite(t *testing.T, releases string) *recorder {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		name, isKey := strings.CutPrefix(r.URL.Path, "/keys/")
		switch {
		case r.URL.Path == "/releases.json":
			_, _ = w.Write([]byte(strings.ReplaceAll(releases, "BASE", "http://"+r.Host)))
		case isKey && strings.HasPrefix(name, "alpine@"):
			_, _ = w.Write(apktest.NewKey(name).PublicPEM())
		case isKey && name == "junk":
			_, _ = w.Write([]byte("<html>"))
		default:
			http.NotFound(w, r)
		}
	})
}

const releasesJSON = `{"latest_stable": "v3.20", "release_branches": [
 {"rel_branch": "v3.19", "keys": {
   "x86_64": [
     {"url": "BASE/keys/alpine%20new.rsa.pub"},
     {"url": "BASE/keys/alpine%40old.rsa.pub", "deprecated_since": "2024-01-01"},
     {"url": "BASE/keys/alpine%40next.rsa.pub", "deprecated_since": null}],
   "badkey": [{"url": "BASE/keys/junk"}],
   "nokey": [{"url": "BASE/keys/gone.rsa.pub"}],
   "plain": [{"url": "http://elsewhere.example/k.rsa.pub"}],
   "baddate": [{"url": "BASE/keys/alpine@new.rsa.pub", "deprecated_since": "soon"}]}},
 {"rel_branch": "v3.20", "keys": {"x86_64": [{"url": "BASE/keys/alpine@new.rsa.pub"}]}}]}`

func TestDiscoverAlpine(t *testing.T) {
	srv := alpineSite(t, releasesJSON)
	day := func(s string) func() time.Time {
		return func() time.Time {
			d, err := time.Parse("2006-01-02", s)
			if err != nil {
				t.Error(err)
			}
			return d
		}
	}
	for _, c := range []struct {
		url, arch, now string
		want           []string
		err            string
	}{
		{"https://h/alpine/v3.19/main", "x86_64", "2024-01-02", []string{"alpine@new.rsa.pub", "alpine@next.rsa.pub"}, ""},
		{"http://h/alpine/v3.19/main", "x86_64", "2023-12-31", []string{"alpine@new.rsa.pub", "alpine@old.rsa.pub", "alpine@next.rsa.pub"}, ""},
		{"https://h/alpine/latest-stable/community", "x86_64", "2024-01-02", []string{"alpine@new.rsa.pub"}, ""},
		{"https://h/alpine/v3.99/main", "x86_64", "2024-01-02", nil, "BASE/releases.json: no branch v3.99"},
		{"https://h/alpine/v3.19/main", "mips", "2024-01-02", nil, "BASE/releases.json: no keys for mips in branch v3.19"},
		{"https://h/alpine/v3.19/main", "badkey", "2024-01-02", nil, `BASE/keys/junk: key junk: not PEM: expected "-----BEGIN PUBLIC KEY-----", found a web page`},
		{"https://h/alpine/v3.19/main", "nokey", "2024-01-02", nil, "BASE/keys/gone.rsa.pub: server answered 404 Not Found"},
		{"https://h/alpine/v3.19/main", "plain", "2024-01-02", nil, "BASE/releases.json points to http://elsewhere.example/k.rsa.pub: expected https://"},
		{"https://h/alpine/v3.19/main", "baddate", "2024-01-02", nil, `key BASE/keys/alpine@new.rsa.pub: deprecated_since "soon": expected YYYY-MM-DD`},
	} {
		cl := mustClient(t, fast(Options{AlpineReleasesURL: srv.URL + "/releases.json", Now: day(c.now)}))
		got, err := cl.Discover(ctx, Source{URL: c.url, Arch: c.arch})
		if c.err != "" {
			wantError(t, err, "key discovery for "+c.url+": "+strings.ReplaceAll(c.err, "BASE", srv.URL))
			continue
		}
		if d := cmp.Diff(c.want, keyNames(got)); d != "" || err != nil {
			t.Errorf("%s: %v %s", c.url, err, d)
		}
	}
}

func TestDiscoverAlpineBadDocument(t *testing.T) {
	for body, want := range map[string]string{
		"<html>": "found a web page: invalid character '<' looking for beginning of value",
		"{":      "found JSON: unexpected end of JSON input",
		"[]":     "found JSON: json: cannot unmarshal array …",
	} {
		srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) })
		cl := mustClient(t, fast(Options{AlpineReleasesURL: srv.URL + "/r", CacheDir: t.TempDir()}))
		_, err := cl.Discover(ctx, Source{URL: "https://h/alpine/v3.19/main", Arch: "x86_64"})
		wantError(t, err, "key discovery for https://h/alpine/v3.19/main: "+srv.URL+"/r: "+want)
		if info, err := cl.CacheInfo(); err != nil || info.URLs != 0 {
			t.Errorf("the bad document was kept: %+v, %v", info, err)
		}
	}
}

// jwkOf is a key as a JSON Web Key.
func jwkOf(name string) map[string]string {
	k := apktest.NewKey(name).Public()
	return map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": strings.TrimSuffix(name, ".rsa.pub"),
		"n": base64.RawURLEncoding.EncodeToString(k.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
}

func jwks(t testing.TB, keys ...map[string]string) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func with(m map[string]string, k, v string) map[string]string { m[k] = v; return m }

func TestParseJWKS(t *testing.T) {
	got, err := ParseJWKS(jwks(t, jwkOf("test.rsa.pub"), map[string]string{"kty": "EC"}, with(jwkOf("a.rsa.pub"), "use", "enc"), with(jwkOf("b.rsa.pub"), "use", "")))
	if d := cmp.Diff([]string{"test.rsa.pub", "b.rsa.pub"}, keyNames(got)); d != "" || err != nil {
		t.Fatal(err, d)
	}
	if got[0].Fingerprint != testKey(t, "test.rsa.pub").Fingerprint {
		t.Error("another key")
	}
	many := make([]map[string]string, maxJWKS+1)
	for _, c := range []struct {
		b    []byte
		want string
	}{
		{[]byte("<html>"), "key set: found a web page: invalid character '<' looking for beginning of value"},
		{[]byte("{}"), "key set: no RSA signing key (found: nothing else)"},
		{jwks(t, map[string]string{"kty": "EC", "use": "sig"}, with(jwkOf("a.rsa.pub"), "use", "enc")), `key set: no RSA signing key (found: "EC sig", "RSA enc", nothing else)`},
		{jwks(t, with(jwkOf("a.rsa.pub"), "kid", "")), `key set: key 1: kid "": expected a file name`},
		{jwks(t, with(jwkOf("a.rsa.pub"), "kid", "../x")), `key set: key 1: kid "../x": expected a file name`},
		{jwks(t, with(jwkOf("a.rsa.pub"), "n", "!")), "key set: key 1: a: modulus: illegal base64 data at input byte 0"},
		{jwks(t, with(jwkOf("a.rsa.pub"), "e", "!")), "key set: key 1: a: exponent: illegal base64 data at input byte 0"},
		{jwks(t, with(jwkOf("a.rsa.pub"), "e", "AQAAAAAB")), "key set: key 1: a: exponent of 41 bits: expected at most 31"},
		{jwks(t, with(jwkOf("a.rsa.pub"), "e", "")), "key set: key 1: key a.rsa.pub: RSA exponent 0: expected an odd number from 3 on"},
		{jwks(t, with(jwkOf("a.rsa.pub"), "n", "AQAB")), "key set: key 1: key a.rsa.pub: RSA key of 17 bits: expected at least 2048"},
		{jwks(t, many...), "key set: 257 keys: at most 256 expected"},
	} {
		_, err := ParseJWKS(c.b)
		wantError(t, err, c.want)
	}
}

// configured is a repository with apk-configuration, a key set and an index.
func configured(t *testing.T, configuration string, set []byte) *recorder {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/repo/apk-configuration":
			if configuration == "" {
				http.NotFound(w, r)
				return
			}
			_, _ = w.Write([]byte(strings.ReplaceAll(configuration, "BASE", "http://"+r.Host)))
		case "/jwks":
			_, _ = w.Write(set)
		default:
			static(signedIndex(t))(w, r)
		}
	})
}

func TestDiscoverConfiguration(t *testing.T) {
	set := jwks(t, jwkOf("test.rsa.pub"))
	for _, c := range []struct {
		name, configuration string
		set                 []byte
		want                []string
		err                 string
	}{
		{"well", `{"jwks_uri": "BASE/jwks"}`, set, []string{"test.rsa.pub"}, ""},
		{"no configuration", "", nil, nil, ""},
		{"not JSON", "<html>", set, nil, "apk-configuration: found a web page: invalid …"},
		{"no URI", "{}", set, nil, "apk-configuration: no jwks_uri"},
		{"plain http elsewhere", `{"jwks_uri": "http://elsewhere.example/jwks"}`, set, nil, "apk-configuration: BASE/repo/apk-configuration points to http://elsewhere.example/jwks: expected https://"},
		{"file", `{"jwks_uri": "file:///etc/passwd"}`, set, nil, "apk-configuration: BASE/repo/apk-configuration points to file:///etc/passwd: expected https://"},
		{"no keys", `{"jwks_uri": "BASE/jwks"}`, []byte("{}"), nil, "BASE/jwks: key set: no RSA signing key (found: nothing else)"},
	} {
		srv := configured(t, c.configuration, c.set)
		got, err := mustClient(t, fast(Options{})).Discover(ctx, srv.source(t))
		if c.err != "" {
			wantError(t, err, "key discovery for "+srv.URL+"/repo: "+strings.ReplaceAll(c.err, "BASE", srv.URL))
			continue
		}
		if d := cmp.Diff(c.want, keyNames(got)); d != "" || err != nil {
			t.Errorf("%s: %v %s", c.name, err, d)
		}
	}
	c := mustClient(t, fast(Options{}))
	_, err := c.Discover(ctx, Source{URL: "http://repository.example/r", Arch: "x86_64"})
	wantError(t, err, "key discovery for http://repository.example/r: not over plain http: anyone on the way could supply keys")
	if keys, err := c.Discover(ctx, Source{URL: "/srv/r", Arch: "x86_64"}); keys != nil || err != nil {
		t.Error(keys, err)
	}
}

// Keys are looked for only when the given ones do not do, found ones count for
// the repository they were found for, and once found they serve offline.
func TestLoadDiscovers(t *testing.T) {
	srv := configured(t, `{"jwks_uri": "BASE/jwks"}`, jwks(t, jwkOf("test.rsa.pub")))
	other := configured(t, "", nil)
	cache := t.TempDir()
	c := mustClient(t, fast(Options{CacheDir: cache}))
	src := srv.source(t)
	src.Discover = true
	if ix, err := c.Load(ctx, src); err != nil || ix.Keyring().Len() != 1 || srv.count() != 1 {
		t.Errorf("known key: %v, %d requests", err, srv.count())
	}
	src.Keyring = NewKeyring(testKey(t, "other.rsa.pub"))
	ix, err := c.Load(ctx, src)
	if err != nil || ix.SignedBy.Name != "test.rsa.pub" || ix.Keyring().Len() != 2 || src.Keyring.Len() != 1 {
		t.Fatalf("%v", err)
	}
	elsewhere := other.source(t)
	elsewhere.Discover, elsewhere.Keyring = true, nil
	_, err = c.Load(ctx, elsewhere)
	wantError(t, err, "…: index: signed by unknown key test.rsa.pub; no key is trusted for this repository\nhint: …")
	off := mustClient(t, fast(Options{CacheDir: cache, Offline: true}))
	if _, err := off.Load(ctx, src); err != nil {
		t.Errorf("offline: %v", err)
	}
	src.Discover = false
	if _, err := c.Load(ctx, src); err == nil {
		t.Error("discovered without being asked to")
	}
}

func TestLoadTellsWhyDiscoveryFailed(t *testing.T) {
	srv := configured(t, "{}", nil)
	src := srv.source(t)
	src.Discover, src.Keyring = true, nil
	_, err := mustClient(t, fast(Options{})).Load(ctx, src)
	wantError(t, err, "…: index: signed by unknown key test.rsa.pub; no key is trusted for this repository; key discovery for "+srv.URL+"/repo: apk-configuration: no jwks_uri\nhint: …")
	// Nothing is looked for when the index was altered.
	src.Keyring = NewKeyring(func() Key { k := testKey(t, "other.rsa.pub"); k.Name = "test.rsa.pub"; return k }())
	n := srv.count()
	if _, err := mustClient(t, fast(Options{})).Load(ctx, src); err == nil || srv.count() != n+1 {
		t.Errorf("%v, %d requests", err, srv.count()-n)
	}
}

// apko discovers keys again for every architecture (apko.md §0.9).
func TestApkoDefect_KeysAreDiscoveredOnce(t *testing.T) {
	srv := alpineSite(t, releasesJSON)
	c := mustClient(t, fast(Options{AlpineReleasesURL: srv.URL + "/releases.json"}))
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			keys, err := c.Discover(ctx, Source{URL: fmt.Sprintf("https://h%d/alpine/v3.20/main", i), Arch: "x86_64"})
			if err != nil || len(keys) != 1 {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	if srv.count() != 2 {
		t.Errorf("%d requests, want 2", srv.count())
	}
}
