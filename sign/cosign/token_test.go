package cosign

import (
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
)

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

func TestFindToken(t *testing.T) {
	github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Query().Get("audience") != "sigstore" || r.URL.Query().Get("api-version") != "2" {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		w.Write([]byte(`{"value":"from.github.x"}`))
	}))
	defer github.Close()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from.file.x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	actions := []string{"ACTIONS_ID_TOKEN_REQUEST_URL", github.URL + "/?api-version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret"}
	for want, s := range map[string]TokenSource{
		"from.file.x":     {File: file, LookupEnv: environment("CAIRN_ID_TOKEN", "x")},
		"from.env.x":      {LookupEnv: environment("CAIRN_ID_TOKEN", "from.env.x\n", "SIGSTORE_ID_TOKEN", "x")},
		"from.sigstore.x": {LookupEnv: environment(append(actions, "CAIRN_ID_TOKEN", "", "SIGSTORE_ID_TOKEN", "from.sigstore.x")...)},
		"from.github.x":   {LookupEnv: environment(actions...)},
	} {
		if got, err := FindToken(t.Context(), s); err != nil || got != want {
			t.Errorf("found %q, %v; want %q", got, err, want)
		}
	}
}

func TestFindTokenErrors(t *testing.T) {
	sad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/empty" {
			w.Write([]byte(`{}`))
			return
		}
		http.Error(w, "no", http.StatusForbidden)
	}))
	defer sad.Close()
	huge := filepath.Join(t.TempDir(), "huge")
	if err := os.WriteFile(huge, make([]byte, maxToken+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		s    TokenSource
		is   error
		want string
	}{
		{TokenSource{}, ErrToken, "identity token: none found\nhint: set CAIRN_ID_TOKEN, or name a file with --identity-token-file; GitHub Actions needs the permission id-token: write"},
		{TokenSource{File: "/absent/token"}, fs.ErrNotExist, "identity token: open /absent/token: no such file or directory"},
		{TokenSource{File: huge}, ErrToken, "identity token: file " + huge + ": more than 65536 bytes"},
		{TokenSource{LookupEnv: environment("ACTIONS_ID_TOKEN_REQUEST_URL", sad.URL)}, ErrService, "signing service: GitHub Actions: status 403 Forbidden"},
		{TokenSource{LookupEnv: environment("ACTIONS_ID_TOKEN_REQUEST_URL", sad.URL+"/empty")}, ErrService, "signing service: GitHub Actions: no token in the answer"},
		{TokenSource{LookupEnv: environment("ACTIONS_ID_TOKEN_REQUEST_URL", "http://[")}, ErrToken, "identity token: GitHub Actions: ACTIONS_ID_TOKEN_REQUEST_URL is no URL"},
	} {
		if _, err := FindToken(t.Context(), c.s); !errors.Is(err, c.is) || err.Error() != c.want {
			t.Errorf("found %v\nwant %s", err, c.want)
		}
	}
}

func TestParseToken(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, alg := range []string{"RS256", "RS512", "ES256", "ES384", "PS256", "EdDSA"} {
		c, err := parseToken(cosigntest.Token(alg, "a@example.test", now.Add(time.Minute)), now)
		if err != nil || c.Issuer != cosigntest.Issuer || c.Subject != "a@example.test" {
			t.Errorf("%s: %+v, %v", alg, c, err)
		}
	}
	good := strings.Split(cosigntest.Token("ES256", "a@example.test", now), ".")
	for token, want := range map[string]string{
		"":                        "identity token: empty",
		"/etc/passwd":             "identity token: 1 parts between dots, expected 3",
		"a.b.c.d":                 "identity token: 4 parts between dots, expected 3",
		"a.b.c":                   "identity token: the header is no JSON object with an algorithm",
		"e30." + good[1] + ".x":   "identity token: the header is no JSON object with an algorithm",
		good[0] + ".e30.x":        "identity token: the claims are no JSON object with an issuer",
		good[0] + ".!." + good[2]: "identity token: the claims are no JSON object with an issuer",
		cosigntest.Token("ES256", "a", now.Add(-time.Second)): "identity token: of https://issuer.example.test: expired at 2026-01-02T03:04:04Z",
	} {
		if _, err := parseToken(token, now); !errors.Is(err, ErrToken) || err.Error() != want {
			t.Errorf("found %v\nwant %s", err, want)
		}
	}
}

// No token makes the parser panic, and none is in its errors.
func FuzzParseToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add(cosigntest.Token("ES256", "a@example.test", time.Unix(0, 0)))
	f.Fuzz(func(t *testing.T, token string) {
		_, err := parseToken(token, time.Unix(1, 0))
		if err != nil && len(token) > 40 && strings.Contains(err.Error(), token) {
			t.Errorf("the error repeats the token: %v", err)
		}
	})
}
