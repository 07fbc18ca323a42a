package cosign

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/target"
)

// tagManifest puts a manifest with these layers under a .sig or .att tag.
func tagManifest(t *testing.T, x *target.Target, tag string, layers []v1.Descriptor, blobs ...[]byte) {
	t.Helper()
	config := []byte(`{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}`)
	digest, err := target.ParseDigest(digestOf(config))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Layers: layers,
		Config: v1.Descriptor{MediaType: types.OCIConfigJSON, Size: int64(len(config)), Digest: digest},
	})
	if err != nil {
		t.Fatal(err)
	}
	a := target.Artifact{Manifest: raw, MediaType: types.OCIManifestSchema1, Tag: tag, Blobs: append(blobs, config)}
	if _, err := x.Push(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

func layerOf(t *testing.T, content []byte, annotations map[string]string) v1.Descriptor {
	t.Helper()
	digest, err := target.ParseDigest(digestOf(content))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: "application/vnd.dev.cosign.simplesigning.v1+json", Size: int64(len(content)), Digest: digest, Annotations: annotations}
}

// Whatever others put among the signatures: it is kept, nothing of it is taken
// for ours, and ours are added.
func TestStrangeLayers(t *testing.T) {
	places(t, func(t *testing.T, x *target.Target) {
		list := jobs(t, x)
		payload, err := simplePayload(&list[0])
		if err != nil {
			t.Fatal(err)
		}
		var strange []v1.Descriptor
		for _, a := range []map[string]string{
			nil,
			{"dev.cosignproject.cosign/signature": "!"},
			{"dev.cosignproject.cosign/signature": "AAAA"},
			{"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/bundle": "{"},
			{"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/bundle": "{}"},
			{"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/bundle": `{"Payload":{"body":7}}`},
			{"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/rfc3161timestamp": "["},
			{"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/certificate": "nonsense"},
			{"dev.cosignproject.cosign/signature": "AAAA", "dev.sigstore.cosign/certificate": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
		} {
			strange = append(strange, layerOf(t, payload, a))
		}
		tagManifest(t, x, legacyTag(list[0].Subject.Digest, ".sig"), strange, payload)
		envelope := layerOf(t, []byte("no envelope"), map[string]string{legacyTypeKey: testType})
		tagManifest(t, x, legacyTag(list[0].Subject.Digest, ".att"), []v1.Descriptor{envelope}, []byte("no envelope"))
		if got := states(mustRun(t, newSigner(t, Config{Key: newKey(t)}), x, list, Both)); got != allWritten {
			t.Errorf("found\n%s", got)
		}
		if n := len(layers(t, x, list[0].Subject.Digest, ".sig")); n != len(strange)+1 {
			t.Errorf("%d layers", n)
		}
		if n := len(layers(t, x, list[0].Subject.Digest, ".att")); n != 2 {
			t.Errorf("%d attestations", n)
		}
	})
}

// A signature of another image, copied under this one's tag, does not count:
// not the image's, and not an attestation of another predicate.
func TestCopiedSignature(t *testing.T) {
	key := newKey(t)
	from, to := open(t, layoutImage(t)), open(t, layoutImage(t))
	mustRun(t, newSigner(t, Config{Key: key}), from, jobs(t, from), Both)
	list := jobs(t, to)
	for _, suffix := range []string{".sig", ".att"} {
		source := layers(t, from, subjects(t, from)[0].Digest, suffix)
		raw, err := from.Blob(t.Context(), source[0], 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		tagManifest(t, to, legacyTag(list[0].Subject.Digest, suffix), source, raw)
	}
	if got := states(mustRun(t, newSigner(t, Config{Key: key}), to, list, Both)); got != allWritten {
		t.Errorf("found\n%s", got)
	}
}

func TestTooManySignatures(t *testing.T) {
	x := open(t, layoutImage(t))
	list := jobs(t, x)
	many := make([]v1.Descriptor, maxLayers+1)
	for i := range many {
		many[i] = layerOf(t, []byte("x"), nil)
	}
	tag := legacyTag(list[0].Subject.Digest, ".sig")
	tagManifest(t, x, tag, many, []byte("x"))
	_, err := newSigner(t, Config{Key: newKey(t)}).Run(t.Context(), x, list, Both)
	want := fmt.Sprintf("tag %s: 1001 signatures, expected at most 1000\nhint: --signature-format bundle leaves it alone", tag)
	if err == nil || err.Error() != want {
		t.Errorf("found %v\nwant %s", err, want)
	}
}

// A registry that fails while it is asked what there is: nothing is signed on a
// guess.
func TestReadingFails(t *testing.T) {
	for _, path := range []string{".sig", ".att", "/referrers/"} {
		registry := newServer(t, true)
		x := open(t, registry.image(t))
		list := jobs(t, x)
		before := registry.writes()
		registry.on(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.Contains(r.URL.Path, path) {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			return false
		})
		_, err := newSigner(t, Config{Key: newKey(t)}).Run(t.Context(), x, list, Both)
		if err == nil || !strings.Contains(err.Error(), "unreachable") || registry.writes() != before {
			t.Errorf("%s: %v, %d requests that write", path, err, registry.writes()-before)
		}
	}
}

func TestOutcomeString(t *testing.T) {
	h := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}
	for want, o := range map[string]Outcome{
		"legacy signature of " + h.String():              {Subject: h, Kind: "signature", Format: Legacy},
		"bundle attestation of " + h.String() + " (a:b)": {Subject: h, Kind: "attestation", PredicateType: "a:b", Format: Bundle},
	} {
		if got := o.String(); got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	}
}

// No annotation of a layer makes the reader panic, and none is a signature of
// a key that did not sign.
func FuzzLayer(f *testing.F) {
	f.Add("AAAA", "", "{}", `{"SignedRFC3161Timestamp":"AAAA"}`, []byte(`{"payload":"e30="}`))
	f.Add("!", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", `{"Payload":{"body":"e30="}}`, "", []byte("{}"))
	s := newSigner(f, Config{Key: newKey(f)})
	subject := v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("a", 64)}}
	list := []Job{{Subject: subject, Image: true}, {Subject: subject, Statement: []byte("{}"), PredicateType: testType}}
	f.Fuzz(func(t *testing.T, signature, cert, entry, stamp string, raw []byte) {
		d := v1.Descriptor{Annotations: map[string]string{
			"dev.cosignproject.cosign/signature": signature, "dev.sigstore.cosign/certificate": cert,
			"dev.sigstore.cosign/bundle": entry, "dev.sigstore.cosign/rfc3161timestamp": stamp,
		}}
		sig, err := layerSignature(raw, &d)
		if err != nil {
			return
		}
		for i := range list {
			if s.sameLegacy(t.Context(), sig, raw, &list[i]) {
				t.Errorf("taken for a %s", list[i].kind())
			}
		}
	})
}
