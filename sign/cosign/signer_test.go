package cosign

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
	"github.com/cairn-dev/cairn/sign/keys"
)

func TestParseFormat(t *testing.T) {
	for in, want := range map[string]Format{"": Both, "both": Both, "bundle": Bundle, "legacy": Legacy} {
		if got, err := ParseFormat(in); err != nil || got != want {
			t.Errorf("%q: %s, %v", in, got, err)
		}
	}
	if _, err := ParseFormat("Both"); err == nil || err.Error() != `signature format: found "Both", expected both, bundle or legacy` {
		t.Errorf("%v", err)
	}
}

// Keys of other kinds than cosign makes sign too.
func TestOtherKeys(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	edKey, err := keys.FromSigner(ed)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := keys.FromSigner(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range map[string]*keys.Key{"Ed25519": edKey, "RSA": rsaKey} {
		x := open(t, layoutImage(t))
		s := newSigner(t, Config{Key: k})
		if got := states(mustRun(t, s, x, jobs(t, x), Both)); got != allWritten {
			t.Errorf("%s: found\n%s", name, got)
		}
		if !strings.HasPrefix(s.Identity(), "key SHA256:") {
			t.Error(s.Identity())
		}
	}
}

// A log would refuse what an Ed25519 key signs: that is said before.
func TestEd25519HasNoLog(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := keys.FromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	_, err = New(t.Context(), Config{Key: k, Services: &Services{Logs: []Log{{"http://log.invalid", 1}}}})
	want := "not a usable key: an Ed25519 key signs messages, and transparency logs are told digests\nhint: an ECDSA key, or --no-log"
	if !errors.Is(err, keys.ErrKey) || err.Error() != want {
		t.Errorf("found %v\nwant %s", err, want)
	}
}

func TestNewErrors(t *testing.T) {
	services := cosigntest.Start(t)
	ct, err := services.Trust(true)
	if err != nil {
		t.Fatal(err)
	}
	strangers, err := cosigntest.Start(t).Trust(false)
	if err != nil {
		t.Fatal(err)
	}
	url := services.URL
	for _, c := range []struct {
		name   string
		change func(*Config)
		is     error
		want   string
	}{
		{"no authority", func(c *Config) { c.Services = &Services{} }, ErrConfig,
			"signing config: cannot be used: no certificate authority: keyless signing needs caUrls\nhint: --signing-config names the services; the public ones are used only when it does"},
		{"no time", func(c *Config) { c.Services = &Services{Fulcio: url, Logs: []Log{{URL: url, Version: 2}}} }, ErrConfig,
			"signing config: cannot be used: nothing says when was signed: the certificate is valid for minutes, so a log or a timestamp authority is needed"},
		{"no token", func(c *Config) { c.Token = "" }, ErrToken, "identity token: empty"},
		{"no promise of the certificate log", func(c *Config) { c.Trust = ct }, ErrSelfCheck,
			"fulcio " + url + ": certificate: does not verify: signed certificate timestamp: "},
		{"another authority", func(c *Config) { c.Trust = strangers }, ErrSelfCheck,
			"fulcio " + url + ": certificate: does not verify: not of an authority of the trusted root: "},
		{"not there", func(c *Config) { c.Services.Fulcio = url + "/elsewhere" }, ErrService,
			"signing service: fulcio " + url + "/elsewhere: Fulcio returned 404: "},
	} {
		config := keyless(t, services, "rt")
		c.change(&config)
		_, err := New(t.Context(), config)
		if !errors.Is(err, c.is) || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: found %v\nwant %s", c.name, err, c.want)
		}
	}
}

func TestLoadServices(t *testing.T) {
	s := cosigntest.Start(t)
	config, trust := s.Files(t)
	got, err := LoadServices(config, time.Now())
	want := &Services{Fulcio: s.URL, Logs: []Log{{s.URL, 1}}, Timestamps: []string{s.URL + "/api/v1/timestamp"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if _, err := LoadTrust(trust); err != nil {
		t.Error(err)
	}
	v2 := strings.ReplaceAll(string(s.Config("r")), `"majorApiVersion":1`, `"majorApiVersion":2`)
	for _, c := range []struct{ content, want string }{
		{"{", "signing config FILE: cannot be used: "},
		{"{}", "signing config FILE: cannot be used: "},
		{v2, "signing config FILE: cannot be used: a Rekor v2 log gives no time: expected a timestamp authority in tsaUrls"},
		{strings.ReplaceAll(v2, `"majorApiVersion":2`, `"majorApiVersion":9`), "signing config FILE: cannot be used: rekorTlogUrls: no matching services found for API versions [1 2] and current time "},
		{strings.Repeat(" ", maxConfig+1), "signing config FILE: cannot be used: more than 4194304 bytes"},
	} {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := LoadServices(path, time.Now())
		if !errors.Is(err, ErrConfig) || !strings.HasPrefix(err.Error(), strings.ReplaceAll(c.want, "FILE", path)) {
			t.Errorf("found %v\nwant %s", err, c.want)
		}
	}
	for _, path := range []string{"/absent", config} {
		if _, err := LoadTrust(path); !errors.Is(err, ErrConfig) || !strings.HasPrefix(err.Error(), "trusted root "+path+": cannot be used: ") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestExpiredConfig(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	content := slices.Concat(cosigntest.Start(t).Config("f"))
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadServices(path, time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)); !errors.Is(err, ErrConfig) {
		t.Errorf("%v", err)
	}
}

// An answer is there after it was closed, as sigstore-go reads the last of
// several failures; and none is endless.
func TestBound(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
		}
		w.WriteHeader(http.StatusInternalServerError)
		w.Write([]byte("why"))
	}))
	defer h.Close()
	get := func(ctx context.Context, path string) (*http.Response, error) {
		req, err := http.NewRequest(http.MethodGet, h.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		return bound{ctx, nil}.RoundTrip(req)
	}
	resp, err := get(t.Context(), "/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "why" || resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("%q, %v", b, err)
	}
	if _, err := get(t.Context(), "/endless"); err == nil || err.Error() != "an answer of more than 1048576 bytes" {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := get(ctx, "/"); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
