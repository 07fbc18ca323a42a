package target

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// server is a registry whose requests can be counted and answered differently.
type server struct {
	host  string
	inner http.Handler
	mu    sync.Mutex
	hook  func(w http.ResponseWriter, r *http.Request) bool // true: answered
	seen  []string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	hook := s.hook
	s.mu.Unlock()
	if hook == nil || !hook(w, r) {
		s.inner.ServeHTTP(w, r)
	}
}

// on makes the server answer requests whose "METHOD path" contains what.
func (s *server) on(what string, f http.HandlerFunc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.Method+" "+r.URL.Path, what) {
			return false
		}
		f(w, r)
		return true
	}
}

func (s *server) count(what string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		if strings.Contains(r, what) {
			n++
		}
	}
	return n
}

func newServer(t testing.TB, referrers bool) *server {
	t.Helper()
	s := &server{inner: registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0)))}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	s.host = strings.TrimPrefix(h.URL, "http://")
	return s
}

// fixture is one image index of two images, in a place.
type fixture struct {
	ref   string // by tag, or of the layout
	index v1.ImageIndex
	hash  v1.Hash
}

func newIndex(t testing.TB) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{
			Platform: &v1.Platform{OS: "linux", Architecture: arch},
		}})
	}
	return index
}

func (s *server) image(t testing.TB) fixture {
	t.Helper()
	index := newIndex(t)
	ref := s.host + "/team/app:1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	h, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return fixture{ref, index, h}
}

func layoutImage(t testing.TB) fixture {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	index := newIndex(t)
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index, layout.WithAnnotations(map[string]string{refName: "1"})); err != nil {
		t.Fatal(err)
	}
	h, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return fixture{dir, index, h}
}

// places are the three kinds of targets: what holds for one must hold for all.
func places(t *testing.T, f func(t *testing.T, x fixture)) {
	t.Run("referrers API", func(t *testing.T) { f(t, newServer(t, true).image(t)) })
	t.Run("referrers tag", func(t *testing.T) { f(t, newServer(t, false).image(t)) })
	t.Run("layout", func(t *testing.T) { f(t, layoutImage(t)) })
}

func mustOpen(t testing.TB, ref string) *Target {
	t.Helper()
	r, err := Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	x, err := Open(t.Context(), r, Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func mustResolve(t testing.TB, x *Target) v1.Descriptor {
	t.Helper()
	d, err := x.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// refer pushes a referrer with this content.
func refer(t testing.TB, x *Target, subject v1.Descriptor, content string) v1.Descriptor {
	t.Helper()
	a, err := Refer(subject, "application/vnd.test", map[string]string{"content": content}, Layer{MediaType: "text/plain", Content: []byte(content)})
	if err != nil {
		t.Fatal(err)
	}
	d, err := x.Push(context.Background(), a)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// endless writes until nobody listens any more.
func endless(w http.ResponseWriter, _ *http.Request) {
	chunk := []byte(strings.Repeat(" ", 1<<16))
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}
