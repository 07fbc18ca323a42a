package evidencetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"
)

// PayloadType is the DSSE payload type of in-toto statements.
const PayloadType = "application/vnd.in-toto+json"

// The predicate type of a signature in a bundle.
const PredicateSignature = "https://sigstore.dev/cosign/sign/v1"

// Payload is a simple-signing document about an image in a repository.
func Payload(image v1.Hash, repository string) []byte {
	return mustJSON(map[string]any{
		"critical": map[string]any{
			"identity": map[string]any{"docker-reference": repository},
			"image":    map[string]any{"docker-manifest-digest": image.String()},
			"type":     "cosign container image signature",
		},
		"optional": nil,
	})
}

// Statement is an in-toto statement v1 about an image; name may be empty.
func Statement(image v1.Hash, name, predicateType string, predicate any) []byte {
	subject := map[string]any{"digest": map[string]string{image.Algorithm: image.Hex}}
	if name != "" {
		subject["name"] = name
	}
	return mustJSON(map[string]any{
		"_type": "https://in-toto.io/Statement/v1", "predicateType": predicateType,
		"subject": []any{subject}, "predicate": predicate,
	})
}

// Key signs with an ECDSA P-256 key.
type Key struct{ private *ecdsa.PrivateKey }

// NewKey makes a key.
func NewKey() *Key {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &Key{k}
}

// Public is the public key.
func (k *Key) Public() *ecdsa.PublicKey { return &k.private.PublicKey }

// PEM is the public key as cosign.pub holds it.
func (k *Key) PEM() []byte {
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func (k *Key) sign(message []byte) []byte {
	sum := sha256.Sum256(message)
	sig, err := ecdsa.SignASN1(rand.Reader, k.private, sum[:])
	if err != nil {
		panic(err)
	}
	return sig
}

// Legacy is a layer of a .sig manifest over payload.
func (k *Key) Legacy(payload []byte) Layer {
	return Layer{MediaSimpleSigning, payload, map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(k.sign(payload)),
	}}
}

// LegacyAttestation is a layer of an .att manifest.
func (k *Key) LegacyAttestation(statement []byte) Layer {
	return Layer{MediaDSSE, envelopeJSON(statement, k.sign(dsse.PAE(PayloadType, statement))),
		map[string]string{"dev.cosignproject.cosign/signature": ""}}
}

func envelopeJSON(statement, sig []byte) []byte {
	return mustJSON(map[string]any{
		"payloadType": PayloadType, "payload": statement,
		"signatures": []any{map[string]any{"keyid": "", "sig": sig}},
	})
}

// Bundle is a Sigstore bundle over a statement, without log and timestamp.
func (k *Key) Bundle(statement []byte) []byte {
	return k.BundleOf(PayloadType, statement)
}

// BundleOf is Bundle with another payload type.
func (k *Key) BundleOf(payloadType string, payload []byte) []byte {
	return marshal(&protobundle.Bundle{
		MediaType: MediaBundle,
		VerificationMaterial: &protobundle.VerificationMaterial{
			Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{Hint: "any"}},
		},
		Content: envelope(payloadType, payload, k.sign(dsse.PAE(payloadType, payload))),
	})
}

func envelope(payloadType string, payload, sig []byte) *protobundle.Bundle_DsseEnvelope {
	return &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		PayloadType: payloadType, Payload: payload, Signatures: []*protodsse.Signature{{Sig: sig}},
	}}
}

func marshal(b *protobundle.Bundle) []byte {
	raw, err := protojson.Marshal(b)
	if err != nil {
		panic(err)
	}
	return raw
}
