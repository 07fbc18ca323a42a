package evidence_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
)

func collect(t *testing.T, s *evidencetest.Store, image v1.Hash, l evidence.Limits) *evidence.Set {
	t.Helper()
	set, err := evidence.Collect(context.Background(), s, image, l)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func signature(image v1.Hash) []byte {
	return evidencetest.Statement(image, "", evidencetest.PredicateSignature, map[string]any{})
}

func TestCollectsBothFormats(t *testing.T) {
	s, key := evidencetest.NewStore(), evidencetest.NewKey()
	image := s.Image("app")
	s.Sign(image, key.Legacy(evidencetest.Payload(image, "")))
	s.Attest(image, key.LegacyAttestation(signature(image)))
	s.Refer(image, evidencetest.MediaBundle, key.Bundle(signature(image)))
	set := collect(t, s, image, evidence.Limits{})
	short := "sha256-" + image.Hex[:12] + "…"
	want := []string{"legacy " + short + ".sig layer 1", "legacy " + short + ".att layer 1", "bundle referrer sha256:"}
	if len(set.Items) != len(want) {
		t.Fatalf("found %d items, expected %d", len(set.Items), len(want))
	}
	for i, item := range set.Items {
		if got := string(item.Format) + " " + item.Where; !strings.HasPrefix(got, want[i]) {
			t.Errorf("found %q, expected %q", got, want[i])
		}
	}
	if len(set.Findings) != 0 {
		t.Errorf("findings %v", set.Findings)
	}
	if set.Items[0].Legacy.Envelope || !set.Items[1].Legacy.Envelope {
		t.Error("signature and attestation are mixed up")
	}
}

func TestNothingAttachedIsNoError(t *testing.T) {
	s := evidencetest.NewStore()
	set := collect(t, s, s.Image("app"), evidence.Limits{})
	if len(set.Items)+len(set.Findings) != 0 {
		t.Errorf("found %+v", set)
	}
}

// What is attached and bad is a finding with a text, and what is good beside it
// is still found.
func TestFindings(t *testing.T) {
	key := evidencetest.NewKey()
	cases := []struct {
		name   string
		limits evidence.Limits
		attach func(s *evidencetest.Store, image v1.Hash)
		want   string
	}{
		{"garbage bundle", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Refer(image, evidencetest.MediaBundle, []byte("garbage"))
		}, "malformed bundle: proto: syntax error (line 1:1): invalid value garbage"},
		{"bundle without content", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Refer(image, evidencetest.MediaBundle, []byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`))
		}, "malformed bundle: invalid bundle: missing bundle content"},
		{"bundle of a later version", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Refer(image, "application/vnd.dev.sigstore.bundle.v0.9+json", []byte(strings.Replace(string(key.Bundle(signature(image))), "v0.3", "v0.9", 1)))
		}, "malformed bundle: unsupported media type: bundle version v0.9 is not yet supported"},
		{"too large", evidence.Limits{ItemBytes: 2000}, func(s *evidencetest.Store, image v1.Hash) {
			s.Refer(image, evidencetest.MediaBundle, make([]byte, 2001))
		}, "too large: found 2001 bytes, expected at most 2000, and 67108864 for all together"},
		{"no signature annotation", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, evidencetest.Layer{MediaType: evidencetest.MediaSimpleSigning, Content: evidencetest.Payload(image, "")})
		}, "malformed signature: annotation dev.cosignproject.cosign/signature is missing"},
		{"signature not base64", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, annotated(key.Legacy(nil), "dev.cosignproject.cosign/signature", "!"))
		}, "malformed signature: not base64: illegal base64 data at input byte 0"},
		{"certificate not PEM", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, annotated(key.Legacy(nil), "dev.sigstore.cosign/certificate", "x"))
		}, "malformed certificate: not PEM"},
		{"a key for a certificate", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, annotated(key.Legacy(nil), "dev.sigstore.cosign/chain", string(key.PEM())))
		}, `malformed certificate chain: found a PEM block "PUBLIC KEY", expected CERTIFICATE`},
		{"log entry not JSON", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, annotated(key.Legacy(nil), "dev.sigstore.cosign/bundle", "{"))
		}, "malformed log entry: unexpected end of JSON input"},
		{"log entry without promise", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, annotated(key.Legacy(nil), "dev.sigstore.cosign/bundle", `{"Payload":{"logID":"00"}}`))
		}, "malformed log entry: log ID, body or signed entry timestamp is missing"},
		{"timestamp not JSON", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.Sign(image, annotated(key.Legacy(nil), "dev.sigstore.cosign/rfc3161timestamp", "["))
		}, "malformed timestamp: unexpected end of JSON input"},
		{"manifest not there", evidence.Limits{}, func(s *evidencetest.Store, image v1.Hash) {
			s.List(image, v1.Descriptor{Digest: evidencetest.Digest(nil), ArtifactType: evidencetest.MediaBundle})
		}, "manifest cannot be read: manifest sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855: not found"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := evidencetest.NewStore()
			image := s.Image("app")
			c.attach(s, image)
			s.Refer(image, evidencetest.MediaBundle, key.Bundle(signature(image)))
			set := collect(t, s, image, c.limits)
			if len(set.Items) != 1 {
				t.Errorf("found %d items, expected the good one", len(set.Items))
			}
			if len(set.Findings) != 1 || set.Findings[0].Problem != c.want {
				t.Errorf("found %q\nexpected %q", set.Findings, c.want)
			}
		})
	}
}

func annotated(l evidencetest.Layer, key, value string) evidencetest.Layer {
	l.Annotations[key] = value
	return l
}

// A thousand referrers cost the limit and no more, say so, and do not crowd out
// what is at the tags.
func TestThousandReferrers(t *testing.T) {
	s, key := evidencetest.NewStore(), evidencetest.NewKey()
	image := s.Image("app")
	for i := range 1000 {
		s.Refer(image, evidencetest.MediaBundle, fmt.Appendf(nil, "garbage %d", i))
	}
	s.Sign(image, key.Legacy(evidencetest.Payload(image, "")))
	set := collect(t, s, image, evidence.Limits{})
	if len(set.Items) != 1 {
		t.Errorf("found %d items", len(set.Items))
	}
	if n := len(set.Findings); n != 65 || set.Findings[64].String() != "referrers: too many: 936 were not looked at, the limit is 64" {
		t.Errorf("found %d findings, the last %v", n, set.Findings[n-1])
	}
}

func TestThousandLegacyLayersDoNotHideABundle(t *testing.T) {
	s, key := evidencetest.NewStore(), evidencetest.NewKey()
	image := s.Image("app")
	for range 100 {
		s.Sign(image, key.Legacy(evidencetest.Payload(image, "")))
	}
	s.Refer(image, evidencetest.MediaBundle, key.Bundle(signature(image)))
	set := collect(t, s, image, evidence.Limits{})
	if n := len(set.Items); n != 65 || set.Items[64].Format != evidence.FormatBundle {
		t.Errorf("found %d items", n)
	}
}

func TestForeignReferrersAreNoEvidence(t *testing.T) {
	s := evidencetest.NewStore()
	image := s.Image("app")
	for _, mt := range []string{"application/spdx+json", "application/vnd.cncf.notary.signature"} {
		s.Refer(image, mt, []byte("{}"))
	}
	if set := collect(t, s, image, evidence.Limits{}); len(set.Items)+len(set.Findings) != 0 {
		t.Errorf("found %+v", set)
	}
}

func TestUnreachableIsAnError(t *testing.T) {
	s := evidencetest.NewStore()
	s.Err = fmt.Errorf("dial: %w", target.ErrUnreachable)
	_, err := evidence.Collect(context.Background(), s, s.Image("app"), evidence.Limits{})
	if !errors.Is(err, target.ErrUnreachable) {
		t.Errorf("found %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s.Err = errors.New("anything")
	if _, err := evidence.Collect(ctx, s, s.Image("app"), evidence.Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
}

// A list that is too long is a finding: what is at the tags still counts.
func TestTooLongAListIsAFinding(t *testing.T) {
	s := evidencetest.NewStore()
	s.Err = fmt.Errorf("referrers: %w", target.ErrLimit)
	set := collect(t, s, s.Image("app"), evidence.Limits{})
	if len(set.Findings) != 3 || !strings.Contains(set.Findings[2].String(), "referrers: cannot be listed: referrers: over the limit") {
		t.Errorf("found %v", set.Findings)
	}
}

func FuzzBundle(f *testing.F) {
	s, key := evidencetest.NewStore(), evidencetest.NewKey()
	f.Add(key.Bundle(signature(s.Image("app"))))
	f.Add(evidencetest.NewAuthority().Bundle("a@b.c", "https://i", signature(s.Image("app")), evidencetest.Options{Log: true, Timestamp: true}))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := evidence.ParseBundle(raw)
		if err != nil && !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("found %v", err)
		}
		if err == nil && b.Bundle == nil {
			t.Error("neither a bundle nor an error")
		}
	})
}

func FuzzLegacy(f *testing.F) {
	s, a := evidencetest.NewStore(), evidencetest.NewAuthority()
	l := a.Legacy("a@b.c", "https://i", evidencetest.Payload(s.Image("app"), ""), evidencetest.Options{Log: true, Timestamp: true})
	f.Add(l.Content, l.Annotations["dev.cosignproject.cosign/signature"], l.Annotations["dev.sigstore.cosign/certificate"],
		l.Annotations["dev.sigstore.cosign/bundle"], l.Annotations["dev.sigstore.cosign/rfc3161timestamp"], false)
	f.Fuzz(func(t *testing.T, payload []byte, sig, cert, log, ts string, envelope bool) {
		got, err := evidence.ParseLegacy(payload, envelope, map[string]string{
			"dev.cosignproject.cosign/signature": sig, "dev.sigstore.cosign/certificate": cert,
			"dev.sigstore.cosign/bundle": log, "dev.sigstore.cosign/rfc3161timestamp": ts,
		})
		if err != nil && !errors.Is(err, evidence.ErrMalformed) {
			t.Errorf("found %v", err)
		}
		if err == nil && !envelope && len(got.Signature) == 0 {
			t.Error("a signature without bytes")
		}
	})
}
