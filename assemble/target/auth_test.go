package target

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
)

// guarded is a registry behind authentication.
type guarded struct {
	*server
	mu     sync.Mutex
	scopes []string // that tokens were asked for
}

// bearer asks for tokens, which it gives for a password.
func bearer(t *testing.T, s *server) *guarded {
	t.Helper()
	g := &guarded{server: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			g.token(w, r)
			return true
		}
		token := r.Header.Get("Authorization")
		writes := r.Method != http.MethodGet && r.Method != http.MethodHead
		if strings.HasPrefix(token, "Bearer token for ") && (!writes || strings.Contains(token, "push")) {
			return false
		}
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test"`, s.host))
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	return g
}

func (g *guarded) token(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	if user != "me" || password != "secret" {
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who?"}]}`, http.StatusUnauthorized)
		return
	}
	scope := r.URL.Query().Get("scope")
	g.mu.Lock()
	defer g.mu.Unlock()
	g.scopes = append(g.scopes, scope)
	fmt.Fprintf(w, `{"token":%q}`, "token for "+scope)
}

// keychain knows one password.
type keychain struct{ user, password string }

func (k keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: k.user, Password: k.password}, nil
}

// brokenKeychain is a configuration that cannot be read.
type brokenKeychain struct{}

func (brokenKeychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return nil, errors.New("config.json: line 3")
}

// Reading asks for the right to pull, and only writing for that to push.
func TestTokens(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	g := bearer(t, s)
	r, _ := Parse(x.ref)
	o, err := Open(t.Context(), r, Options{Keychain: keychain{"me", "secret"}, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	subject := mustResolve(t, o)
	if _, err := o.Referrers(t.Context(), subject.Digest); err != nil {
		t.Error(err)
	}
	g.mu.Lock()
	if len(g.scopes) != 1 || g.scopes[0] != "repository:team/app:pull" {
		t.Errorf("reading asked for %q", g.scopes)
	}
	g.mu.Unlock()
	refer(t, o, subject, "a")
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.scopes) != 2 || g.scopes[1] != "repository:team/app:push,pull" {
		t.Errorf("writing asked for %q", g.scopes)
	}
}

func TestWrongCredentials(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	bearer(t, s)
	r, _ := Parse(x.ref)
	for name, k := range map[string]authn.Keychain{"none": nil, "wrong": keychain{"me", "guess"}} {
		_, err := Open(t.Context(), r, Options{Keychain: k, Attempts: 1})
		if !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "registry "+s.host+": unreachable: ") ||
			!strings.HasSuffix(err.Error(), "\nhint: docker login, or a config.json in DOCKER_CONFIG, gives credentials") {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprint(err), "guess") {
			t.Errorf("%s: the password is in the message: %v", name, err)
		}
	}
	_, err := Open(t.Context(), r, Options{Keychain: brokenKeychain{}, Attempts: 1})
	if err == nil || !strings.Contains(err.Error(), "config.json: line 3") {
		t.Errorf("%v", err)
	}
}

func TestBasicAuthentication(t *testing.T) {
	s := newServer(t, false)
	x := s.image(t)
	s.mu.Lock()
	s.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "me" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	}
	s.mu.Unlock()
	r, _ := Parse(x.ref)
	o, err := Open(t.Context(), r, Options{Keychain: keychain{"me", "secret"}, Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	d := refer(t, o, mustResolve(t, o), "a")
	list, err := o.Referrers(t.Context(), x.hash)
	if err != nil || len(list) != 1 || list[0].Digest != d.Digest {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := Open(t.Context(), r, Options{Attempts: 1}); err != nil {
		t.Errorf("opening asks for nothing yet: %v", err)
	}
	anonymous, err := Open(t.Context(), r, Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := anonymous.Resolve(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v", err)
	}
}

// A blob may be elsewhere: registries send to storage with another name, and
// credentials do not go along.
func TestBlobElsewhere(t *testing.T) {
	content := []byte("content")
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("credentials were sent to the storage")
		}
		w.Write(content)
	}))
	defer storage.Close()
	s := newServer(t, true)
	o := mustOpen(t, s.image(t).ref)
	s.on("GET /v2/team/app/blobs/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storage.URL+"/x", http.StatusTemporaryRedirect)
	})
	b, err := o.Blob(t.Context(), describe("text/plain", content, nil), 100)
	if err != nil || string(b) != "content" {
		t.Errorf("%q, %v", b, err)
	}
	for _, to := range []string{"http://10.0.0.1/x", "http://[::1]:1/x", "http://192.168.1.1/x", "http://0.0.0.0/x"} {
		s.on("GET /v2/team/app/blobs/", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
		_, err := o.Blob(t.Context(), describe("text/plain", content, nil), 100)
		if err == nil || !strings.Contains(err.Error(), "redirect to the private address") {
			t.Errorf("%s: %v", to, err)
		}
	}
}
