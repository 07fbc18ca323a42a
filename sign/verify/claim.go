package verify

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	sgverify "github.com/sigstore/sigstore-go/pkg/verify"

	"github.com/cairn-dev/cairn/sign/evidence"
)

// claim is evidence in the form the verifier takes. It overrides what a bundle
// of the version cannot carry.
type claim struct {
	*bundle.Bundle
	signature   sgverify.SignatureContent
	material    sgverify.VerificationContent
	certificate bool
	message     []byte // what a message signature is over; nil for a statement
	// stamped is what timestamps are over where that is not the signature: cosign
	// has the whole envelope of a legacy attestation stamped.
	stamped []byte
}

func (c claim) VerificationContent() (sgverify.VerificationContent, error) { return c.material, nil }

// withChain adds the certificates that came along with a legacy signature; a
// path through them must still end at a trusted root.
type withChain struct {
	sgverify.VerificationContent
	chain []*x509.Certificate
}

func (w withChain) Intermediates() []*x509.Certificate { return w.chain }

// entitiesOf returns the forms that evidence can be verified in: one, or two
// for a legacy signature with a certificate, which may be meant to be checked
// by the key alone.
func entitiesOf(item evidence.Item) ([]claim, error) {
	if item.Bundle != nil {
		c, err := newClaim(item.Bundle, nil)
		return []claim{c}, err
	}
	var out []claim
	for _, withCertificate := range []bool{true, false} {
		if withCertificate && item.Legacy.Certificate == nil {
			continue
		}
		b, err := convert(item.Legacy, withCertificate)
		if err != nil {
			return nil, err
		}
		c, err := newClaim(b, item.Legacy)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

func newClaim(b *bundle.Bundle, legacy *evidence.Legacy) (claim, error) {
	c := claim{Bundle: b}
	var err error
	if c.signature, err = b.SignatureContent(); err != nil {
		return c, err
	}
	if c.material, err = b.VerificationContent(); err != nil {
		return c, err
	}
	c.certificate = c.material.Certificate() != nil
	if legacy == nil {
		return c, nil
	}
	if c.certificate {
		c.material = withChain{c.material, intermediates(legacy.Chain)}
	}
	if legacy.Envelope {
		c.stamped = legacy.Payload
	} else {
		c.message = legacy.Payload
	}
	return c, nil
}

// intermediates leaves out the roots of a chain, which prove nothing.
func intermediates(chain []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for _, c := range chain {
		if c.IsCA && string(c.RawIssuer) != string(c.RawSubject) {
			out = append(out, c)
		}
	}
	return out
}

// convert makes a bundle of a legacy signature. Version 0.1 is the one that
// holds Rekor's promise without a proof.
func convert(l *evidence.Legacy, withCertificate bool) (*bundle.Bundle, error) {
	pb := &protobundle.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: &protobundle.VerificationMaterial{},
	}
	if withCertificate {
		pb.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{
			X509CertificateChain: &protocommon.X509CertificateChain{
				Certificates: []*protocommon.X509Certificate{{RawBytes: l.Certificate.Raw}},
			},
		}
	} else {
		pb.VerificationMaterial.Content = &protobundle.VerificationMaterial_PublicKey{
			PublicKey: &protocommon.PublicKeyIdentifier{},
		}
	}
	entry, err := logEntry(l.Log)
	if err != nil {
		return nil, fmt.Errorf("log entry: %w", err)
	}
	if entry != nil {
		pb.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if len(l.Timestamp) > 0 {
		pb.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: l.Timestamp}},
		}
	}
	if err := content(pb, l); err != nil {
		return nil, err
	}
	return bundle.NewBundle(pb)
}

// logged is as much of a Rekor v1 entry as the conversion needs.
type logged struct {
	Kind       string `json:"kind"`
	APIVersion string `json:"apiVersion"`
	Spec       struct {
		Data struct {
			Hash struct {
				Algorithm string `json:"algorithm"`
			} `json:"hash"`
		} `json:"data"`
	} `json:"spec"`
}

func logEntry(e *evidence.LogEntry) (*protorekor.TransparencyLogEntry, error) {
	if e == nil {
		return nil, nil
	}
	var body logged
	if err := json.Unmarshal(e.Body, &body); err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          e.LogIndex,
		LogId:             &protocommon.LogId{KeyId: e.LogID},
		KindVersion:       &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion},
		IntegratedTime:    e.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: e.SignedEntryTimestamp},
		CanonicalizedBody: e.Body,
	}, nil
}

// content sets what is signed: the envelope, or signature and digest of the
// simple-signing document.
func content(pb *protobundle.Bundle, l *evidence.Legacy) error {
	if !l.Envelope {
		pb.Content = &protobundle.Bundle_MessageSignature{MessageSignature: &protocommon.MessageSignature{
			MessageDigest: messageDigest(l), Signature: l.Signature,
		}}
		return nil
	}
	var env struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			KeyID string `json:"keyid"`
			Sig   []byte `json:"sig"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(l.Payload, &env); err != nil {
		return fmt.Errorf("not a DSSE envelope: %w", err)
	}
	if len(env.Signatures) != 1 {
		return fmt.Errorf("envelope: found %d signatures, expected one", len(env.Signatures))
	}
	if env.Payload == nil {
		return errors.New("envelope: payload is missing")
	}
	pb.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: env.Payload, PayloadType: env.PayloadType,
		Signatures: []*protodsse.Signature{{Sig: env.Signatures[0].Sig, Keyid: env.Signatures[0].KeyID}},
	}}
	return nil
}

// messageDigest is the hash that the log entry speaks of, SHA-256 without one.
func messageDigest(l *evidence.Legacy) *protocommon.HashOutput {
	var body logged
	if l.Log != nil {
		_ = json.Unmarshal(l.Log.Body, &body) // an unreadable entry was refused before
	}
	switch body.Spec.Data.Hash.Algorithm {
	case "sha384":
		sum := sha512.Sum384(l.Payload)
		return &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_384, Digest: sum[:]}
	case "sha512":
		sum := sha512.Sum512(l.Payload)
		return &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_512, Digest: sum[:]}
	}
	sum := sha256.Sum256(l.Payload)
	return &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]}
}
