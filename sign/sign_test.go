package sign

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/attest"
	"github.com/cairn-dev/cairn/sign/cosign"
	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
	"github.com/cairn-dev/cairn/sign/keys"
)

// nested is an index with an index and an image in it.
func nested(t testing.TB) v1.ImageIndex {
	t.Helper()
	inner, err := random.Index(32, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	img, err := random.Image(32, 1)
	if err != nil {
		t.Fatal(err)
	}
	return mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner}, mutate.IndexAddendum{Add: img})
}

func inLayout(t testing.TB, index v1.ImageIndex) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	return dir
}

func inRegistry(t testing.TB, index v1.ImageIndex) string {
	t.Helper()
	h := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(h.Close)
	ref := strings.TrimPrefix(h.URL, "http://") + "/team/app:1"
	tag, err := name.NewTag(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	return ref
}

// keyFile writes a key pair and returns the private key's file with the
// options that open it.
func keyFile(t testing.TB) (string, keys.Options) {
	t.Helper()
	pair, err := keys.Generate([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	prefix := filepath.Join(t.TempDir(), "k")
	if err := pair.Write(prefix); err != nil {
		t.Fatal(err)
	}
	return prefix + ".key", keys.Options{LookupEnv: func(n string) (string, bool) { return "x", n == "CAIRN_PASSWORD" }}
}

func count(r *Result, s cosign.State) (n int) {
	for _, o := range r.Outcomes {
		if o.State == s {
			n++
		}
	}
	return n
}

func TestSign(t *testing.T) {
	index := nested(t)
	h, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	key, o := keyFile(t)
	for _, ref := range []string{inRegistry(t, index), inLayout(t, index)} {
		r, err := Sign(t.Context(), SignOptions{Image: ref, Key: key, Keys: o, NoLog: true})
		if err != nil {
			t.Fatal(err)
		}
		// Index, inner index, two images in it, and one image; two formats.
		if n := count(r, cosign.Written); n != 10 || len(r.Outcomes) != 10 {
			t.Errorf("%d of %d written", n, len(r.Outcomes))
		}
		if r.Digest != h || !strings.HasSuffix(r.Image, "@"+h.String()) || strings.Contains(r.Image, ":1@") {
			t.Errorf("%s, %s", r.Image, r.Digest)
		}
		if tagged := len(r.Notes) == 1 && strings.HasPrefix(r.Notes[0], "the tag 1 named "+h.String()); tagged != strings.Contains(ref, "team/app") {
			t.Errorf("notes %q", r.Notes)
		}
		r, err = Sign(t.Context(), SignOptions{Image: r.Image, Key: key, Keys: o, NoLog: true})
		if err != nil || count(r, cosign.Present) != 10 || len(r.Notes) != 0 {
			t.Errorf("by digest, again: %+v, %v", r, err)
		}
	}
}

func TestSignWithoutAKey(t *testing.T) {
	s := cosigntest.Start(t)
	config, trust := s.Files(t)
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte(cosigntest.Token("ES256", cosigntest.Subject, time.Now().Add(time.Minute))), 0o600); err != nil {
		t.Fatal(err)
	}
	o := SignOptions{
		Image: inLayout(t, nested(t)), Keyless: true, Token: cosign.TokenSource{File: token},
		SigningConfig: config, TrustedRoot: trust, Repository: "registry.example/app",
	}
	r, err := Attest(t.Context(), AttestOptions{SignOptions: o, SignImage: true, Attestations: []Attestation{
		{Type: "spdxjson", Predicate: []byte(`{"spdxVersion":"SPDX-2.3"}`), Children: true},
		{Type: "https://example.test/x", Predicate: []byte(`{}`)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n := count(r, cosign.Written); n != 22 || s.Certificates.Load() != 1 {
		t.Errorf("%d written, %d certificates", n, s.Certificates.Load())
	}
	if want := cosigntest.Subject + " (" + cosigntest.Issuer + ")"; r.Signer != want {
		t.Errorf("signer %s", r.Signer)
	}
	// Without a log there are timestamps.
	o.NoLog, o.Again = true, true
	entries := s.Entries.Load()
	if _, err := Sign(t.Context(), o); err != nil || s.Entries.Load() != entries {
		t.Errorf("%d entries more, %v", s.Entries.Load()-entries, err)
	}
}

func TestAttestOneOfSeveral(t *testing.T) {
	index, err := random.Index(32, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	key, o := keyFile(t)
	options := AttestOptions{SignOptions: SignOptions{Image: inLayout(t, index), Key: key, Keys: o, NoLog: true, Format: "bundle"}}
	for _, d := range m.Manifests {
		options.Attestations = append(options.Attestations, Attestation{Subject: d.Digest, Type: "https://example.test/x", Predicate: []byte(`{}`)})
	}
	r, err := Attest(t.Context(), options)
	if err != nil || len(r.Outcomes) != 2 || r.Outcomes[0].Subject != m.Manifests[0].Digest || r.Outcomes[1].Subject != m.Manifests[1].Digest {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestErrors(t *testing.T) {
	key, ko := keyFile(t)
	dir := inLayout(t, nested(t))
	good := SignOptions{Image: dir, Key: key, Keys: ko, NoLog: true}
	other := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	for _, c := range []struct {
		name   string
		change func(*SignOptions)
		list   []Attestation
		is     error
		want   string
	}{
		{"nobody", func(o *SignOptions) { o.Key = "" }, nil, ErrOptions, "options: who signs? expected a key or keyless\nhint: cairn key generate makes a key"},
		{"two", func(o *SignOptions) { o.Keyless = true }, nil, ErrOptions, "options: a key and keyless: expected one of them"},
		{"format", func(o *SignOptions) { o.Format = "x" }, nil, ErrOptions, `options: signature format: found "x", expected both, bundle or legacy`},
		{"no log", func(o *SignOptions) { o.NoLog = false }, nil, ErrOptions, "options: which transparency log? expected a signing config or no log\nhint: --signing-config names the services; --no-log does without"},
		{"image", func(o *SignOptions) { o.Image = "" }, nil, target.ErrReference, ""},
		{"no layout", func(o *SignOptions) { o.Image = "/absent/" }, nil, target.ErrNotFound, "oci:/absent: not found: stat /absent/oci-layout: no such file or directory"},
		{"no key", func(o *SignOptions) { o.Key = "/absent" }, nil, fs.ErrNotExist, "key /absent: open /absent: no such file or directory"},
		{"no config", func(o *SignOptions) { o.SigningConfig = "/absent" }, nil, cosign.ErrConfig, "signing config /absent: cannot be used: open /absent: no such file or directory"},
		{"no root", func(o *SignOptions) { o.TrustedRoot = "/absent" }, nil, cosign.ErrConfig, "trusted root /absent: cannot be used: open /absent: no such file or directory"},
		{"other digest", func(o *SignOptions) { o.Image += "@" + other.String() }, nil, target.ErrNotFound, ""},
		{"type", func(*SignOptions) {}, []Attestation{{Type: "x", Predicate: []byte("{}")}}, attest.ErrStatement, ""},
		{"predicate", func(*SignOptions) {}, []Attestation{{Type: "a:b", Predicate: []byte("[]")}}, attest.ErrStatement, "attestation: predicate: line 1, column 1: found a JSON array, expected an object"},
		{"subject", func(*SignOptions) {}, []Attestation{{Type: "a:b", Subject: other, Predicate: []byte("{}")}}, ErrOptions,
			"options: attestation of " + other.String() + ": oci:" + dir + " has no such image"},
	} {
		o := good
		c.change(&o)
		var err error
		if c.list == nil {
			_, err = Sign(t.Context(), o)
		} else {
			_, err = Attest(t.Context(), AttestOptions{SignOptions: o, Attestations: c.list})
		}
		if !errors.Is(err, c.is) || c.want != "" && err.Error() != c.want {
			t.Errorf("%s: found %v\nwant %s", c.name, err, c.want)
		}
	}
	if _, err := Attest(t.Context(), AttestOptions{SignOptions: good}); !errors.Is(err, ErrOptions) {
		t.Errorf("nothing to attest: %v", err)
	}
	listed, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if m, err := listed.IndexManifest(); err != nil || len(m.Manifests) != 1 {
		t.Errorf("a failure wrote something: %+v, %v", m, err)
	}
}

func TestTooManyImages(t *testing.T) {
	var index v1.ImageIndex = empty.Index
	for range maxBelow + 1 {
		img, err := random.Image(1, 1)
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: img})
	}
	key, o := keyFile(t)
	if _, err := Sign(t.Context(), SignOptions{Image: inLayout(t, index), Key: key, Keys: o, NoLog: true}); !errors.Is(err, target.ErrLimit) {
		t.Errorf("%v", err)
	}
}

func TestCancelled(t *testing.T) {
	key, o := keyFile(t)
	ref := inRegistry(t, nested(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Sign(ctx, SignOptions{Image: ref, Key: key, Keys: o, NoLog: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
