package cosign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	rekor "github.com/sigstore/cosign/v2/pkg/cosign/bundle"
	"github.com/sigstore/cosign/v2/pkg/oci"
	"github.com/sigstore/cosign/v2/pkg/oci/static"
	cosigntypes "github.com/sigstore/cosign/v2/pkg/types"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature/payload"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/attest"
)

const (
	// bundleType is the media type of a bundle, and the artifact type of what
	// carries one.
	bundleType    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	contentKey    = "dev.sigstore.bundle.content"
	predicateKey  = "dev.sigstore.bundle.predicateType"
	legacyTypeKey = "predicateType" // of a layer of an .att manifest
)

// product is a signed statement in the forms that were missing.
type product struct {
	job    *Job
	bundle []byte        // JSON; nil when it was there
	legacy oci.Signature // nil when it was there
}

// make signs a job in the missing forms and verifies what came out.
func (s *Signer) make(ctx context.Context, j *Job, legacy, bundle bool) (*product, error) {
	p := &product{job: j}
	if !legacy && !bundle {
		return p, nil
	}
	var signed *protobundle.Bundle
	var err error
	if bundle || !j.Image {
		if signed, err = s.sign(ctx, &sign.DSSEData{Data: j.Statement, PayloadType: attest.PayloadType}); err != nil {
			return nil, err
		}
	}
	if bundle {
		if p.bundle, err = s.finishBundle(j, signed); err != nil {
			return nil, err
		}
	}
	if legacy {
		if p.legacy, err = s.legacy(ctx, j, signed); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (s *Signer) sign(ctx context.Context, content sign.Content) (*protobundle.Bundle, error) {
	b, err := sign.Bundle(content, s.keypair, s.bundleOptions(ctx))
	if err != nil {
		return nil, serviceError(ctx, err)
	}
	return b, nil
}

func (s *Signer) finishBundle(j *Job, signed *protobundle.Bundle) ([]byte, error) {
	if err := guard(func() error { return s.checkBundle(signed, j.Subject.Digest) }); err != nil {
		return nil, fmt.Errorf("bundle: %w: %w", ErrSelfCheck, err)
	}
	raw, err := protojson.Marshal(signed)
	if err != nil {
		return nil, err
	}
	// protojson puts white space at random.
	var out bytes.Buffer
	err = json.Compact(&out, raw)
	return out.Bytes(), err
}

// legacy makes the legacy form. An attestation's is the envelope of the bundle;
// an image's is a signature over a payload of its own.
func (s *Signer) legacy(ctx context.Context, j *Job, envelope *protobundle.Bundle) (oci.Signature, error) {
	var sig oci.Signature
	var err error
	if j.Image {
		sig, err = s.simple(ctx, j)
	} else {
		sig, err = s.legacyAttestation(ctx, j, envelope)
	}
	if err != nil {
		return nil, err
	}
	if err := guard(func() error { return s.checkLegacy(ctx, sig, j) }); err != nil {
		return nil, fmt.Errorf("legacy %s: %w: %w", j.kind(), ErrSelfCheck, err)
	}
	return sig, nil
}

// simplePayload is what a legacy signature signs (containers/image's "simple
// signing", with cosign's type).
func simplePayload(j *Job) ([]byte, error) {
	p := payload.SimpleContainerImage{Critical: payload.Critical{
		Identity: payload.Identity{DockerReference: j.Name},
		Image:    payload.Image{DockerManifestDigest: j.Subject.Digest.String()},
		Type:     payload.CosignSignatureType,
	}}
	for k, v := range j.Annotations {
		if p.Optional == nil {
			p.Optional = map[string]any{}
		}
		p.Optional[k] = v
	}
	return json.Marshal(p)
}

func (s *Signer) simple(ctx context.Context, j *Job) (oci.Signature, error) {
	raw, err := simplePayload(j)
	if err != nil {
		return nil, err
	}
	signed, err := s.sign(ctx, &sign.PlainData{Data: raw})
	if err != nil {
		return nil, err
	}
	o := s.layerOptions(signed)
	if stamps := signed.GetVerificationMaterial().GetTimestampVerificationData().GetRfc3161Timestamps(); len(stamps) > 0 {
		o = append(o, static.WithRFC3161Timestamp(rekor.TimestampToRFC3161Timestamp(stamps[0].GetSignedTimestamp())))
	}
	return static.NewSignature(raw, base64.StdEncoding.EncodeToString(signed.GetMessageSignature().GetSignature()), o...)
}

// envelopeJSON spells an envelope as the log was told it: entries of Rekor 1
// hold the digest of these very bytes.
func envelopeJSON(e *protodsse.Envelope) ([]byte, error) { return json.Marshal(e) }

func (s *Signer) legacyAttestation(ctx context.Context, j *Job, signed *protobundle.Bundle) (oci.Signature, error) {
	raw, err := envelopeJSON(signed.GetDsseEnvelope())
	if err != nil {
		return nil, err
	}
	o := []static.Option{
		static.WithLayerMediaType(types.MediaType(cosigntypes.DssePayloadType)),
		static.WithAnnotations(map[string]string{legacyTypeKey: j.PredicateType}),
	}
	o = append(o, s.layerOptions(signed)...)
	// The timestamp of a legacy attestation is over the whole envelope, that
	// of a bundle over the signature in it.
	if list := s.authorities(ctx); len(list) > 0 {
		stamp, err := list[0].GetTimestamp(ctx, raw)
		if err != nil {
			return nil, serviceError(ctx, fmt.Errorf("timestamp authority %s: %w", s.config.Services.Timestamps[0], err))
		}
		o = append(o, static.WithRFC3161Timestamp(rekor.TimestampToRFC3161Timestamp(stamp)))
	}
	return static.NewAttestation(raw, o...)
}

// layerOptions give a legacy layer the certificate and the log entry.
func (s *Signer) layerOptions(signed *protobundle.Bundle) []static.Option {
	var o []static.Option
	if s.cert != nil {
		o = append(o, static.WithCertChain(s.cert.leafPEM, s.cert.chain))
	}
	for _, e := range signed.GetVerificationMaterial().GetTlogEntries() {
		promise := e.GetInclusionPromise().GetSignedEntryTimestamp()
		if len(promise) == 0 {
			continue // Rekor 2 makes none, and the format has no room for its proofs
		}
		return append(o, static.WithBundle(&rekor.RekorBundle{
			SignedEntryTimestamp: promise,
			Payload: rekor.RekorPayload{
				Body:           base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody()),
				IntegratedTime: e.GetIntegratedTime(),
				LogIndex:       e.GetLogIndex(),
				LogID:          hex.EncodeToString(e.GetLogId().GetKeyId()),
			},
		}))
	}
	return o
}

// bundleArtifact is the referrer that carries a bundle. Its annotations tell
// readers the predicate type without reading the bundle: the statement's own.
func bundleArtifact(subject v1.Descriptor, j *Job, raw []byte) (target.Artifact, error) {
	return target.Refer(subject, bundleType, map[string]string{
		contentKey:   "dsse-envelope",
		predicateKey: j.PredicateType,
	}, target.Layer{MediaType: bundleType, Content: raw})
}
