package sign_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// served is a registry on loopback with a signed image index in it.
type served struct {
	t    testing.TB
	host string
	key  *evidencetest.Key
}

func serve(t testing.TB, referrers bool) *served {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers)))
	t.Cleanup(s.Close)
	return &served{t: t, host: strings.TrimPrefix(s.URL, "http://"), key: evidencetest.NewKey()}
}

func (s *served) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// index pushes an index of n random images.
func (s *served) index(ref string, n int) v1.ImageIndex {
	var idx v1.ImageIndex = mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for range n {
		img, err := random.Image(100, 1)
		s.must(err)
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}}})
	}
	r, err := name.ParseReference(s.host + "/" + ref)
	s.must(err)
	s.must(remote.WriteIndex(r, idx))
	return idx
}

// sign attaches a bundle, or a legacy signature, by the key.
func (s *served) sign(ref string, legacy bool) {
	ctx := context.Background()
	r, err := target.Parse(s.host + "/" + ref)
	s.must(err)
	t, err := target.Open(ctx, r, target.Options{})
	s.must(err)
	d, err := t.Resolve(ctx)
	s.must(err)
	if !legacy {
		b := s.key.Bundle(evidencetest.Statement(d.Digest, t.Repository(), verify.PredicateSignature, map[string]any{}))
		a, err := target.Refer(d, evidencetest.MediaBundle, nil, target.Layer{MediaType: evidencetest.MediaBundle, Content: b})
		s.must(err)
		_, err = t.Push(ctx, a)
		s.must(err)
		return
	}
	l, config := s.key.Legacy(evidencetest.Payload(d.Digest, t.Repository())), []byte("{}")
	raw, err := json.Marshal(v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Digest: evidencetest.Digest(config), Size: 2},
		Layers: []v1.Descriptor{{MediaType: types.MediaType(l.MediaType), Digest: evidencetest.Digest(l.Content), Size: int64(len(l.Content)), Annotations: l.Annotations}}})
	s.must(err)
	_, err = t.Push(ctx, target.Artifact{Manifest: raw, MediaType: types.OCIManifestSchema1, Blobs: [][]byte{config, l.Content}, Tag: "sha256-" + d.Digest.Hex + ".sig"})
	s.must(err)
}

func (s *served) entry(children bool) *policy.Entry {
	key, err := verify.NewKey(s.key.Public())
	s.must(err)
	e, err := policy.Direct(policy.Requirements{Signers: []verify.Signer{{Name: "release", Key: key}}, Threshold: 1, Children: children})
	s.must(err)
	return e
}

func (s *served) verify(ref string, o sign.VerifyOptions) *verify.Verdict {
	s.t.Helper()
	v, err := sign.Verify(context.Background(), s.host+"/"+ref, o)
	s.must(err)
	return v
}

func TestVerifyOnBothKindsOfRegistries(t *testing.T) {
	for _, referrers := range []bool{true, false} {
		for _, legacy := range []bool{true, false} {
			s := serve(t, referrers)
			idx := s.index("team/app:1", 2)
			s.sign("team/app:1", legacy)
			v := s.verify("team/app:1", sign.VerifyOptions{Entry: s.entry(false)})
			want, err := idx.Digest()
			s.must(err)
			if v.Outcome != verify.Passed || v.Digest != want.String() {
				t.Errorf("referrers %v, legacy %v: found %s %s: %s", referrers, legacy, v.Outcome, v.Digest, v.Reason())
			}
		}
	}
}

// A tag that moves after it was resolved changes nothing; asked again, the new
// image has no signature.
func TestVerifyMovedTag(t *testing.T) {
	s := serve(t, true)
	s.index("team/app:1", 1)
	s.sign("team/app:1", false)
	before := s.verify("team/app:1", sign.VerifyOptions{Entry: s.entry(false)})
	s.index("team/app:1", 1)
	after := s.verify("team/app:1", sign.VerifyOptions{Entry: s.entry(false)})
	if after.Outcome != verify.Missing || after.Digest == before.Digest {
		t.Errorf("found %s %s", after.Outcome, after.Digest)
	}
	again := s.verify("team/app@"+before.Digest, sign.VerifyOptions{Entry: s.entry(false)})
	if again.Outcome != verify.Passed {
		t.Errorf("found %s", again.Reason())
	}
}

func TestVerifyChildren(t *testing.T) {
	s := serve(t, true)
	idx := s.index("team/app:1", 2)
	s.sign("team/app:1", true)
	m, err := idx.IndexManifest()
	s.must(err)
	s.sign("team/app@"+m.Manifests[0].Digest.String(), false)
	v := s.verify("team/app:1", sign.VerifyOptions{Entry: s.entry(true)})
	if want := "signers of " + m.Manifests[1].Digest.String() + ": no signature is attached"; v.Reason() != want {
		t.Errorf("found %q", v.Reason())
	}
	// What runs is the child, and it has a signature of its own.
	if v := s.verify("team/app@"+m.Manifests[0].Digest.String(), sign.VerifyOptions{Entry: s.entry(true)}); v.Outcome != verify.Passed {
		t.Errorf("found %s", v.Reason())
	}
}

// An index in an index hides nothing.
func TestVerifyNestedIndex(t *testing.T) {
	s := serve(t, true)
	inner := s.index("team/inner:1", 1)
	outer := mutate.AppendManifests(mutate.IndexMediaType(empty.Index, types.OCIImageIndex), mutate.IndexAddendum{Add: inner})
	r, err := name.ParseReference(s.host + "/team/app:1")
	s.must(err)
	s.must(remote.WriteIndex(r, outer))
	digest, err := inner.Digest()
	s.must(err)
	m, err := inner.IndexManifest()
	s.must(err)
	s.sign("team/app:1", false)
	s.sign("team/app@"+digest.String(), false)
	v := s.verify("team/app:1", sign.VerifyOptions{Entry: s.entry(true)})
	if want := "signers of " + m.Manifests[0].Digest.String() + ": no signature is attached"; v.Reason() != want {
		t.Errorf("found %q", v.Reason())
	}
	s.sign("team/app@"+m.Manifests[0].Digest.String(), false)
	if v := s.verify("team/app:1", sign.VerifyOptions{Entry: s.entry(true)}); v.Outcome != verify.Passed || len(v.Rules) != 4 {
		t.Errorf("found %d rules, %s", len(v.Rules), v.Reason())
	}
}

func TestVerifyErrors(t *testing.T) {
	s := serve(t, true)
	ctx := context.Background()
	for image, want := range map[string]error{
		s.host + "/team/none:1": target.ErrNotFound, "127.0.0.1:1/team/app:1": target.ErrUnreachable, "A B": target.ErrReference,
	} {
		if _, err := sign.Verify(ctx, image, sign.VerifyOptions{Entry: s.entry(false)}); !errors.Is(err, want) {
			t.Errorf("%s: found %v", image, err)
		}
	}
	s.index("team/app:1", 1)
	v := s.verify("team/app:1", sign.VerifyOptions{Policy: &policy.Policy{}})
	if want := `match: no entry matches "` + s.host + `/team/app"`; v.Reason() != want || v.Outcome != verify.Failed {
		t.Errorf("found %q", v.Reason())
	}
}

// A policy that changes is read again; one that is broken is not taken.
func TestDeciderRenewsItsPolicy(t *testing.T) {
	s := serve(t, true)
	s.index("team/app:1", 1)
	dir := t.TempDir()
	path := filepath.Join(dir, "policy.yaml")
	s.must(os.WriteFile(path, []byte("version: 1\nimages: [{match: [\"**\"], allow: true}]\n"), 0o644))
	d, err := sign.NewDecider(path, sign.VerifyOptions{}, slog.New(slog.DiscardHandler))
	s.must(err)
	h, err := d.Resolve(context.Background(), s.host+"/team/app:1", authn.DefaultKeychain)
	s.must(err)
	v, err := d.Decide(context.Background(), s.host+"/team/app@"+h.String(), true, authn.DefaultKeychain)
	s.must(err)
	if v.Outcome != verify.Passed {
		t.Errorf("found %s", v.Reason())
	}
	if _, err := sign.NewDecider(filepath.Join(dir, "none.yaml"), sign.VerifyOptions{}, nil); err == nil {
		t.Error("a policy that is not there is accepted")
	}
}

// BenchmarkVerify is a whole verification with trust loaded and a registry on
// loopback: an index with a legacy signature and a bundle.
func BenchmarkVerify(b *testing.B) {
	s := serve(b, true)
	s.index("team/app:1", 2)
	s.sign("team/app:1", true)
	s.sign("team/app:1", false)
	e := s.entry(false)
	for b.Loop() {
		if v := s.verify("team/app:1", sign.VerifyOptions{Entry: e}); v.Outcome != verify.Passed {
			b.Fatal(v.Reason())
		}
	}
}
