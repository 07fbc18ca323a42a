package cosign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/attest"
	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
)

// What cosign 2.6.5 as released does wrong when it writes, and what must not
// come out of cairn.

// cosign 2.6.5 tells a current Rekor 2 about a DSSE entry, which it refuses, and
// writes for an older one what newer clients cannot read. The entry must be a
// hashedrekord over the envelope.
func TestCosignDefect_RekorTwoEntry(t *testing.T) {
	var mu sync.Mutex
	var sent []string
	log := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		sent = append(sent, r.URL.Path+" "+string(b))
		http.Error(w, "no", http.StatusBadRequest)
	}))
	defer log.Close()
	services := cosigntest.Start(t)
	c := Config{Key: newKey(t), Services: &Services{Logs: []Log{{log.URL, 2}}, Timestamps: []string{services.URL + "/api/v1/timestamp"}}}
	x := open(t, layoutImage(t))
	list := jobs(t, x)
	if _, err := newSigner(t, c).Run(t.Context(), x, list[3:], Bundle); !errors.Is(err, ErrService) {
		t.Errorf("%v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(sent) == 0 {
		t.Fatal("the log was not asked")
	}
	for _, s := range sent {
		if !strings.HasPrefix(s, "/api/v2/log/entries ") || !strings.Contains(s, `"hashedRekordRequestV002"`) || strings.Contains(s, `"dsseRequestV002"`) {
			t.Errorf("sent %s", s)
		}
	}
}

// The cure is a newer sigstore-go beside cosign: nothing may take it back.
func TestCosignDefect_OldSigstoreGo(t *testing.T) {
	out, err := exec.Command("go", "list", "-m", "github.com/sigstore/cosign/v2", "github.com/sigstore/sigstore-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "github.com/sigstore/cosign/v2 v2.6.5\ngithub.com/sigstore/sigstore-go v1.3.0\n"; string(out) != want {
		t.Errorf("found\n%s\nwant\n%s", out, want)
	}
}

// A reader that finds any bundle looks at no legacy signature. Whatever was
// there before, after a run in both formats everything this signer says in one
// it says in the other.
func TestCosignDefect_BundleShadowsLegacy(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		list := jobs(t, x)
		ours := newSigner(t, Config{Key: newKey(t)})
		mustRun(t, ours, x, list, Legacy)
		// Somebody attests with a bundle: now our signatures are not seen.
		mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list[3:], Bundle)
		mustRun(t, ours, x, list, Both)
		for _, d := range subjects(t, x) {
			e, err := ours.read(t.Context(), x, d.Digest, Both)
			if err != nil {
				t.Fatal(err)
			}
			for i := range list {
				j := &list[i]
				if j.Subject.Digest != d.Digest {
					continue
				}
				tag := &e.att
				if j.Image {
					tag = &e.sig
				}
				legacy, err := ours.hasLegacy(t.Context(), x, tag, j)
				if bundle := ours.hasBundle(e, j); err != nil || !legacy || !bundle {
					t.Errorf("%s of %s: legacy %v, bundle %v, %v", j.kind(), d.Digest, legacy, bundle, err)
				}
			}
		}
	})
}

// cosign 2.6.5 labels every attestation with the predicate type of signatures,
// lists bundles with the wrong artifact type where there is no referrers API,
// and writes statements of version 0.1.
func TestCosignDefect_WrongLabels(t *testing.T) {
	for _, api := range []bool{true, false} {
		x := open(t, newServer(t, api).image(t))
		list := jobs(t, x)
		mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list, Both)
		kinds := map[string]bool{}
		for _, b := range bundles(t, x, list[0].Subject.Digest) {
			var s struct {
				Type          string `json:"_type"`
				PredicateType string `json:"predicateType"`
			}
			if err := json.Unmarshal(b.payload, &s); err != nil {
				t.Fatal(err)
			}
			kinds[s.PredicateType] = true
			if s.Type != "https://in-toto.io/Statement/v1" {
				t.Errorf("statement type %s", s.Type)
			}
			if label := b.annotations["dev.sigstore.bundle.predicateType"]; label != s.PredicateType {
				t.Errorf("labelled %s, is %s", label, s.PredicateType)
			}
			if b.annotations["dev.sigstore.bundle.content"] != "dsse-envelope" || b.artifact != bundleType {
				t.Errorf("%v, %s", b.annotations, b.artifact)
			}
			if !api && (b.listed.ArtifactType != bundleType || b.listed.Annotations["dev.sigstore.bundle.predicateType"] != s.PredicateType) {
				t.Errorf("listed as %+v", b.listed)
			}
		}
		if !kinds[attest.Signature] || !kinds[testType] || len(kinds) != 2 {
			t.Errorf("predicate types %v", kinds)
		}
	}
}

// cosign takes a token that is not signed with RS256 for a file name and prints
// it whole. Here a token of any algorithm is a token, and no failure prints it,
// not even one of a service that does.
func TestCosignDefect_TokenInMessage(t *testing.T) {
	services := cosigntest.Start(t)
	x := open(t, layoutImage(t))
	for _, alg := range []string{"RS256", "ES256", "ES384", "PS512", "EdDSA"} {
		c := keyless(t, services, "rt")
		c.Token = cosigntest.Token(alg, cosigntest.Subject, time.Now().Add(time.Minute))
		if _, err := New(context.Background(), c); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
		path := "signingCert" // answers with an error that repeats the token
		services.Deny.Store(&path)
		_, err := New(context.Background(), c)
		services.Deny.Store(nil)
		if err == nil || strings.Contains(err.Error(), c.Token) || !errors.Is(err, ErrService) {
			t.Errorf("%s: %v", alg, err)
		}
		for _, bad := range []string{c.Token + ".x", c.Token[:len(c.Token)/2], strings.ReplaceAll(c.Token, ".", "!")} {
			c.Token = bad
			if _, err := New(context.Background(), c); err == nil || strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %v", alg, err)
			}
		}
	}
	for _, b := range bundles(t, x, subjects(t, x)[0].Digest) {
		if bytes.Contains(b.raw, []byte("token")) {
			t.Error("a token in a bundle")
		}
	}
}
