package verify

import (
	"strings"
	"testing"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"

	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/evidence/evidencetest"
)

// A message signature whose digest was not that of the message verified in
// cosign 2.6.5.
func TestCosignDefect_MessageDigestNotCompared(t *testing.T) {
	image, key := evidencetest.NewStore().Image("app"), evidencetest.NewKey()
	payload := evidencetest.Payload(image, "")
	layer := key.Legacy(payload)
	legacy, err := evidence.ParseLegacy(payload, false, layer.Annotations)
	if err != nil {
		t.Fatal(err)
	}
	claims, err := entitiesOf(evidence.Item{Legacy: legacy})
	if err != nil {
		t.Fatal(err)
	}
	k, err := NewKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(Trust{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.signer(claims, []Signer{{Key: k}}); err != nil {
		t.Fatal(err)
	}
	claims[0].Content.(*protobundle.Bundle_MessageSignature).MessageSignature.MessageDigest.Digest[0] ^= 1
	if _, err := e.signer(claims, []Signer{{Key: k}}); err == nil || !strings.Contains(err.Error(), "artifact digest does not match message digest") {
		t.Errorf("found %v", err)
	}
}
