package cosign

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	rekor "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/attest"
)

const (
	maxLayers  = 1000                          // of a .sig or .att manifest, as cosign reads
	maxBundles = 256                           // read of an image, to find this signer's
	maxLayer   = 2*attest.MaxPredicate + 1<<20 // an envelope holds its payload in base64
)

// existing is what an image is signed with already.
type existing struct {
	sig, att tagged
	bundles  []*protobundle.Bundle
}

// tagged is the manifest behind a .sig or .att tag.
type tagged struct {
	tag      string
	digest   v1.Hash // zero when there is none
	media    types.MediaType
	manifest []byte
	config   []byte
	layers   []v1.Descriptor
}

func legacyTag(digest v1.Hash, suffix string) string {
	return digest.Algorithm + "-" + digest.Hex + suffix
}

// read finds what there is for one image. What others wrote and nobody can
// parse is left alone; a target that does not answer is an error.
func (s *Signer) read(ctx context.Context, t *target.Target, subject v1.Hash, f Format) (*existing, error) {
	e := &existing{}
	var err error
	if f.legacy() {
		if e.sig, err = readTagged(ctx, t, legacyTag(subject, ".sig")); err != nil {
			return nil, err
		}
		if e.att, err = readTagged(ctx, t, legacyTag(subject, ".att")); err != nil {
			return nil, err
		}
	}
	if f.bundle() && s.recognises() {
		e.bundles, err = readBundles(ctx, t, subject)
	}
	return e, err
}

// recognises reports whether the signer can tell its own earlier signatures:
// those with certificates only by a trusted root, as anybody can make a
// certificate with any name.
func (s *Signer) recognises() bool {
	return !s.config.Again && (s.cert == nil || s.config.Trust != nil)
}

func readTagged(ctx context.Context, t *target.Target, tag string) (tagged, error) {
	x := tagged{tag: tag}
	d, err := t.Tagged(ctx, tag)
	if errors.Is(err, target.ErrNotFound) {
		return x, nil
	}
	if err != nil {
		return x, err
	}
	if x.manifest, x.media, err = t.Manifest(ctx, d.Digest); err != nil {
		return x, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(x.manifest))
	if err != nil || !x.media.IsImage() {
		return x, fmt.Errorf("tag %s: media type %s: expected an image manifest, which signatures are added to\nhint: --signature-format bundle leaves it alone", tag, x.media)
	}
	if len(m.Layers) > maxLayers {
		return x, fmt.Errorf("tag %s: %d signatures, expected at most %d\nhint: --signature-format bundle leaves it alone", tag, len(m.Layers), maxLayers)
	}
	if x.config, err = t.Blob(ctx, m.Config, 4<<20); err != nil {
		return x, err
	}
	x.digest, x.layers = d.Digest, m.Layers
	return x, nil
}

// readBundles reads the Sigstore bundles that refer to an image.
func readBundles(ctx context.Context, t *target.Target, subject v1.Hash) ([]*protobundle.Bundle, error) {
	list, err := t.Referrers(ctx, subject)
	if err != nil {
		return nil, err
	}
	var out []*protobundle.Bundle
	for _, d := range list {
		if !mayBeBundle(&d) || len(out) == maxBundles {
			continue
		}
		b, err := readBundle(ctx, t, d.Digest)
		if err != nil {
			return nil, err
		}
		if b != nil {
			out = append(out, b)
		}
	}
	return out, nil
}

// mayBeBundle looks at the listing, in which some registries put the
// configuration's type.
func mayBeBundle(d *v1.Descriptor) bool {
	return d.MediaType.IsImage() && (d.ArtifactType == "" || strings.HasPrefix(d.ArtifactType, "application/vnd.oci.") ||
		strings.HasPrefix(d.ArtifactType, "application/vnd.dev.sigstore.bundle"))
}

// readBundle returns nil for what is no bundle.
func readBundle(ctx context.Context, t *target.Target, digest v1.Hash) (*protobundle.Bundle, error) {
	raw, _, err := t.Manifest(ctx, digest)
	if unusable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil || len(m.Layers) != 1 || m.Layers[0].MediaType != bundleType {
		return nil, nil
	}
	raw, err = t.Blob(ctx, m.Layers[0], maxLayer)
	if unusable(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var b protobundle.Bundle
	if protojson.Unmarshal(raw, &b) != nil {
		return nil, nil
	}
	return &b, nil
}

// unusable: an answer was had, and is good for nothing.
func unusable(err error) bool {
	for _, is := range []error{target.ErrNotFound, target.ErrMismatch, target.ErrLimit, target.ErrMalformed} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// hasBundle reports whether one of the bundles is this signer's of this job,
// with as many log entries and timestamps as a new one would have.
func (s *Signer) hasBundle(e *existing, j *Job) bool {
	for _, b := range e.bundles {
		material := b.GetVerificationMaterial()
		if len(material.GetTlogEntries()) < len(s.config.Services.Logs) ||
			len(material.GetTimestampVerificationData().GetRfc3161Timestamps()) < len(s.config.Services.Timestamps) ||
			!sameStatement(b.GetDsseEnvelope().GetPayload(), j) {
			continue
		}
		if guard(func() error { return s.checkBundle(b, j.Subject.Digest) }) == nil {
			return true
		}
	}
	return false
}

// sameStatement compares byte for byte; of signatures, which other programs
// spell differently, the predicate type and what is said of the subject.
func sameStatement(payload []byte, j *Job) bool {
	if !j.Image {
		return bytes.Equal(payload, j.Statement)
	}
	var s struct {
		PredicateType string `json:"predicateType"`
		Subject       []struct {
			Annotations map[string]any `json:"annotations"`
		} `json:"subject"`
	}
	return json.Unmarshal(payload, &s) == nil && s.PredicateType == attest.Signature &&
		len(s.Subject) == 1 && equalTexts(s.Subject[0].Annotations, j.Annotations)
}

// hasLegacy reports whether one of the layers is this signer's of this job.
func (s *Signer) hasLegacy(ctx context.Context, t *target.Target, x *tagged, j *Job) (bool, error) {
	if !s.recognises() {
		return false, nil
	}
	for _, l := range x.layers {
		if !j.Image && l.Annotations[legacyTypeKey] != j.PredicateType {
			continue
		}
		raw, err := t.Blob(ctx, l, maxLayer)
		if unusable(err) {
			continue
		}
		if err != nil {
			return false, err
		}
		sig, err := layerSignature(raw, &l)
		if err == nil && s.sameLegacy(ctx, sig, raw, j) {
			return true, nil
		}
	}
	return false, nil
}

func (s *Signer) sameLegacy(ctx context.Context, sig oci.Signature, raw []byte, j *Job) bool {
	if !j.Image {
		var e struct{ Payload []byte }
		if json.Unmarshal(raw, &e) != nil || !bytes.Equal(e.Payload, j.Statement) {
			return false
		}
	} else if !sameAnnotations(raw, j.Annotations) {
		return false
	}
	entry, err := sig.Bundle()
	if err != nil || s.config.Services.legacyLog() && entry == nil {
		return false
	}
	stamp, err := sig.RFC3161Timestamp()
	if err != nil || len(s.config.Services.Timestamps) > 0 && stamp == nil {
		return false
	}
	return guard(func() error { return s.checkLegacy(ctx, sig, j) }) == nil
}

// sameAnnotations reports whether a simple signing payload has these and no other
// annotations.
func sameAnnotations(raw []byte, want map[string]string) bool {
	var p struct {
		Optional map[string]any `json:"optional"`
	}
	return json.Unmarshal(raw, &p) == nil && equalTexts(p.Optional, want)
}

func equalTexts(have map[string]any, want map[string]string) bool {
	return maps.EqualFunc(have, want, func(a any, b string) bool { return a == b })
}

// layerSignature reads a layer's annotations into a signature.
func layerSignature(raw []byte, l *v1.Descriptor) (oci.Signature, error) {
	var o []static.Option
	if cert := l.Annotations[static.CertificateAnnotationKey]; cert != "" {
		o = append(o, static.WithCertChain([]byte(cert), []byte(l.Annotations[static.ChainAnnotationKey])))
	}
	if text := l.Annotations[static.BundleAnnotationKey]; text != "" {
		var b rekor.RekorBundle
		if err := json.Unmarshal([]byte(text), &b); err != nil {
			return nil, err
		}
		if _, ok := b.Payload.Body.(string); !ok {
			return nil, errors.New("a log entry without a body")
		}
		o = append(o, static.WithBundle(&b))
	}
	if text := l.Annotations[static.RFC3161TimestampAnnotationKey]; text != "" {
		var stamp rekor.RFC3161Timestamp
		if err := json.Unmarshal([]byte(text), &stamp); err != nil {
			return nil, err
		}
		o = append(o, static.WithRFC3161Timestamp(&stamp))
	}
	return static.NewSignature(raw, l.Annotations[static.SignatureAnnotationKey], o...)
}
