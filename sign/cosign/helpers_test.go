package cosign

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/attest"
	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
	"github.com/cairn-dev/cairn/sign/keys"
)

// server is a registry that can be made to answer differently.
type server struct {
	inner http.Handler
	host  string
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

func (s *server) on(hook func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// writes counts the requests that change something.
func (s *server) writes() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		if strings.HasPrefix(r, "P") {
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

func (s *server) image(t testing.TB) string {
	t.Helper()
	index, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref := s.host + "/team/app:1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	return ref
}

func layoutImage(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	index, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	return dir
}

// places are the three kinds of targets.
func places(t *testing.T, f func(t *testing.T, x *target.Target)) {
	t.Run("referrers API", func(t *testing.T) { f(t, open(t, newServer(t, true).image(t))) })
	t.Run("referrers tag", func(t *testing.T) { f(t, open(t, newServer(t, false).image(t))) })
	t.Run("layout", func(t *testing.T) { f(t, open(t, layoutImage(t))) })
}

func open(t testing.TB, ref string) *target.Target {
	t.Helper()
	r, err := target.Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	x, err := target.Open(context.Background(), r, target.Options{Attempts: 1})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func newKey(t testing.TB) *keys.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k, err := keys.FromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newSigner(t testing.TB, c Config) *Signer {
	t.Helper()
	s, err := New(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keyless is a configuration for the test services; kinds as for their Config.
func keyless(t testing.TB, s *cosigntest.Services, kinds string) Config {
	t.Helper()
	trust, err := s.Trust(false)
	if err != nil {
		t.Fatal(err)
	}
	services := &Services{Fulcio: s.URL}
	if strings.Contains(kinds, "r") {
		services.Logs = []Log{{URL: s.URL, Version: 1}}
	}
	if strings.Contains(kinds, "t") {
		services.Timestamps = []string{s.URL + "/api/v1/timestamp"}
	}
	return Config{Token: cosigntest.Token("ES256", cosigntest.Subject, time.Now().Add(time.Minute)), Services: services, Trust: trust}
}

// subjects are the index and its images.
func subjects(t testing.TB, x *target.Target) []v1.Descriptor {
	t.Helper()
	root, err := x.Resolve(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	children, err := x.Children(context.Background(), root)
	if err != nil {
		t.Fatal(err)
	}
	return append([]v1.Descriptor{root}, children...)
}

const testType = "https://example.test/p/v1"

// jobs are a signature of everything and an attestation of the index.
func jobs(t testing.TB, x *target.Target) []Job {
	t.Helper()
	var out []Job
	all := subjects(t, x)
	for _, d := range all {
		statement, err := attest.NewSignature(attest.Subject{Name: x.Repository(), SHA256: d.Digest.Hex})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Job{Subject: d, Name: x.Repository(), Statement: statement, PredicateType: attest.Signature, Image: true})
	}
	return append(out, attestation(t, all[0], `{"a": "<b>"}`))
}

func attestation(t testing.TB, d v1.Descriptor, predicate string) Job {
	t.Helper()
	statement, err := attest.New(attest.Input{Subjects: []attest.Subject{{SHA256: d.Digest.Hex}}, PredicateType: testType, Predicate: []byte(predicate)})
	if err != nil {
		t.Fatal(err)
	}
	return Job{Subject: d, Statement: statement, PredicateType: testType}
}

func mustRun(t testing.TB, s *Signer, x *target.Target, list []Job, f Format) []Outcome {
	t.Helper()
	out, err := s.Run(context.Background(), x, list, f)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func states(out []Outcome) string {
	var s []string
	for _, o := range out {
		s = append(s, string(o.Format)+" "+o.Kind+" "+string(o.State))
	}
	return strings.Join(s, "\n")
}

// layers are the layers of a .sig or .att manifest.
func layers(t testing.TB, x *target.Target, subject v1.Hash, suffix string) []v1.Descriptor {
	t.Helper()
	e, err := readTagged(context.Background(), x, legacyTag(subject, suffix))
	if err != nil {
		t.Fatal(err)
	}
	return e.layers
}

// found is a referrer that carries a bundle.
type found struct {
	listed      v1.Descriptor
	annotations map[string]string
	artifact    string
	payload     []byte // the statement
	raw         []byte
}

func bundles(t testing.TB, x *target.Target, subject v1.Hash) []found {
	t.Helper()
	list, err := x.Referrers(context.Background(), subject)
	if err != nil {
		t.Fatal(err)
	}
	var out []found
	for _, d := range list {
		raw, _, err := x.Manifest(context.Background(), d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		var m struct {
			ArtifactType string
			Annotations  map[string]string
			Layers       []v1.Descriptor
		}
		if err := json.Unmarshal(raw, &m); err != nil {
			t.Fatal(err)
		}
		blob, err := x.Blob(context.Background(), m.Layers[0], 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var b struct{ DsseEnvelope struct{ Payload []byte } }
		if err := json.NewDecoder(bytes.NewReader(blob)).Decode(&b); err != nil {
			t.Fatal(err)
		}
		out = append(out, found{d, m.Annotations, m.ArtifactType, b.DsseEnvelope.Payload, blob})
	}
	return out
}

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
