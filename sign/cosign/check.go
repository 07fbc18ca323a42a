package cosign

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/cosign/v2/pkg/cosign"
	"github.com/sigstore/cosign/v2/pkg/oci"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// guard turns a panic of a library into an error. It helps only for what runs
// in this goroutine: no function that starts others is called here.
func guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return f()
}

// checkBundle verifies a bundle as this signer's, over this image.
func (s *Signer) checkBundle(b *protobundle.Bundle, digest v1.Hash) error {
	entity, err := bundle.NewBundle(b)
	if err != nil {
		return err
	}
	if s.config.Trust == nil && s.cert != nil {
		return s.checkEnvelope(entity)
	}
	want, err := hex.DecodeString(digest.Hex)
	if err != nil {
		return err
	}
	verifier, err := verify.NewVerifier(s.material(), s.thresholds()...)
	if err != nil {
		return err
	}
	who, err := s.whoIs()
	if err != nil {
		return err
	}
	_, err = verifier.Verify(entity, verify.NewPolicy(verify.WithArtifactDigest("sha256", want), who))
	return err
}

// whoIs is the policy that only this signer meets.
func (s *Signer) whoIs() (verify.PolicyOption, error) {
	if s.cert == nil {
		return verify.WithKey(), nil
	}
	identity, err := verify.NewShortCertificateIdentity(s.cert.issuer, "", s.cert.subject, "")
	return verify.WithCertificateIdentity(identity), err
}

// material is what is trusted: the key, and the trusted root where there is
// one.
func (s *Signer) material() root.TrustedMaterial {
	var c root.TrustedMaterialCollection
	if s.cert == nil {
		key := root.NewExpiringKey(s.verifier, time.Time{}, time.Time{})
		c = append(c, root.NewTrustedPublicKeyMaterial(func(hint string) (root.TimeConstrainedVerifier, error) {
			if hint != s.keypair.hint {
				return nil, errors.New("another key")
			}
			return key, nil
		}))
	}
	if s.config.Trust != nil {
		c = append(c, s.config.Trust)
	}
	return c
}

// thresholds ask for everything that was asked of the services, where there is
// a trusted root to verify it against.
func (s *Signer) thresholds() []verify.VerifierOption {
	trust, services := s.config.Trust, s.config.Services
	if trust == nil {
		return []verify.VerifierOption{verify.WithNoObserverTimestamps()}
	}
	var o []verify.VerifierOption
	if n := len(services.Logs); n > 0 {
		o = append(o, verify.WithTransparencyLog(n))
	}
	switch {
	case len(services.Timestamps) > 0:
		o = append(o, verify.WithSignedTimestamps(len(services.Timestamps)))
	case s.cert != nil:
		o = append(o, verify.WithIntegratedTimestamps(1))
	default:
		o = append(o, verify.WithNoObserverTimestamps())
	}
	if s.cert != nil && len(trust.CTLogs()) > 0 {
		o = append(o, verify.WithSignedCertificateTimestamps(1))
	}
	return o
}

// checkEnvelope verifies no more than the signature: without a trusted root
// there is nothing to hold a certificate against.
func (s *Signer) checkEnvelope(b *bundle.Bundle) error {
	content, err := b.SignatureContent()
	if err != nil {
		return err
	}
	envelope := content.EnvelopeContent()
	if envelope == nil {
		return errors.New("no envelope")
	}
	raw := envelope.RawEnvelope()
	decoded, err := raw.DecodeB64Payload()
	if err != nil {
		return err
	}
	pae := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(raw.PayloadType), raw.PayloadType, len(decoded), decoded)
	return s.verifier.VerifySignature(bytes.NewReader(content.Signature()), bytes.NewReader(pae))
}

// checkLegacy verifies a legacy signature or attestation as this signer's, with
// cosign's code. The functions that verify one signature are used: those that
// verify several start goroutines, where a panic (there is one for timestamps
// of unknown authorities) ends the process.
func (s *Signer) checkLegacy(ctx context.Context, sig oci.Signature, j *Job) error {
	co := s.checkOptions()
	if j.Image {
		co.ClaimVerifier = cosign.SimpleClaimVerifier
		_, err := cosign.VerifyImageSignature(ctx, sig, j.Subject.Digest, co)
		return err
	}
	co.ClaimVerifier = cosign.IntotoSubjectClaimVerifier
	_, err := cosign.VerifyBlobAttestation(ctx, sig, j.Subject.Digest, co)
	return err
}

func (s *Signer) checkOptions() *cosign.CheckOpts {
	trust, services := s.config.Trust, s.config.Services
	co := &cosign.CheckOpts{
		Offline:     true,
		IgnoreTlog:  trust == nil || !services.legacyLog(),
		SigVerifier: s.verifier,
	}
	if trust == nil {
		return co
	}
	co.TrustedMaterial = trust
	co.UseSignedTimestamps = len(services.Timestamps) > 0
	co.IgnoreSCT = len(trust.CTLogs()) == 0
	if s.cert != nil {
		co.SigVerifier = nil
		co.Identities = []cosign.Identity{{Issuer: s.cert.issuer, Subject: s.cert.subject}}
	}
	return co
}
