package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// The predicate types that are known by name.
const (
	PredicateSignature  = "https://sigstore.dev/cosign/sign/v1"
	PredicateProvenance = "https://slsa.dev/provenance/v1"
	PredicateSPDX       = "https://spdx.dev/Document"
	PredicateCycloneDX  = "https://cyclonedx.org/bom"
	PredicateVuln       = "https://cosign.sigstore.dev/attestation/vuln/v1"
	PredicateOpenVEX    = "https://openvex.dev/ns"
)

// The statement types: in-toto attestation framework v1, and v0.1, which is
// what cosign writes.
const (
	statementV1  = "https://in-toto.io/Statement/v1"
	statementV01 = "https://in-toto.io/Statement/v0.1"
	payloadType  = "application/vnd.in-toto+json"
)

// Statement is an in-toto statement.
type Statement struct {
	Type          string
	PredicateType string
	Subjects      []Subject
	// Predicate is the predicate's JSON as it was signed.
	Predicate json.RawMessage
}

// Subject is what a statement is about.
type Subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
	// Annotations are any JSON values by name.
	Annotations map[string]any `json:"annotations"`
}

func envelopeStatement(env *dsse.Envelope) (*Statement, error) {
	if env.PayloadType != payloadType {
		return nil, fmt.Errorf("envelope: payload type %q, expected %s", env.PayloadType, payloadType)
	}
	raw, err := base64.StdEncoding.DecodeString(env.Payload)
	if err != nil {
		return nil, fmt.Errorf("envelope: payload: %w", err)
	}
	return ParseStatement(raw)
}

// ParseStatement reads an in-toto statement, v1 or v0.1. Keys are compared to
// the letter and may not repeat: two readers must not see two statements.
func ParseStatement(raw []byte) (*Statement, error) {
	fields, err := object(raw)
	if err != nil {
		return nil, fmt.Errorf("statement: %w", err)
	}
	st := &Statement{Predicate: fields["predicate"]}
	for key, to := range map[string]any{"_type": &st.Type, "predicateType": &st.PredicateType, "subject": &st.Subjects} {
		if fields[key] == nil {
			return nil, fmt.Errorf("statement: %s is missing", key)
		}
		if err := json.Unmarshal(fields[key], to); err != nil {
			return nil, fmt.Errorf("statement: %s: %w", key, err)
		}
	}
	if st.Type != statementV1 && st.Type != statementV01 {
		return nil, fmt.Errorf("statement: type %q, expected %s or v0.1", st.Type, statementV1)
	}
	if st.PredicateType == "" {
		return nil, errors.New("statement: predicateType is empty")
	}
	return st, nil
}

// subject is the one of the statement's subjects that is the manifest; nil when
// the statement is not about it.
func (s *Statement) subject(manifest v1.Hash) *Subject {
	for i := range s.Subjects {
		if strings.EqualFold(s.Subjects[i].Digest[manifest.Algorithm], manifest.Hex) {
			return &s.Subjects[i]
		}
	}
	return nil
}

// texts leaves out the values that are no texts.
func texts(values map[string]any) map[string]string {
	out := map[string]string{}
	for k, v := range values {
		if s, ok := v.(string); ok {
			out[k] = s
		}
	}
	return out
}

func (s *Statement) subjectText() string {
	if len(s.Subjects) == 0 {
		return "nothing"
	}
	text := "sha256:" + s.Subjects[0].Digest["sha256"]
	if n := len(s.Subjects) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// simpleSigning reads the document that a legacy signature is over, and returns
// the repository it names and the annotations it has. Source: containers/image's atomic signature format,
// with cosign's type.
func simpleSigning(raw []byte, subject v1.Hash) (string, map[string]string, error) {
	var critical, identity, img map[string]json.RawMessage
	var kind, digest, reference string
	top, err := object(raw)
	if err == nil {
		critical, err = object(top["critical"])
	}
	if err == nil {
		identity, err = object(critical["identity"])
	}
	if err == nil {
		img, err = object(critical["image"])
	}
	if err == nil {
		err = errors.Join(text(critical, "type", &kind), text(img, "docker-manifest-digest", &digest), text(identity, "docker-reference", &reference))
	}
	var optional map[string]any
	if err == nil && top["optional"] != nil {
		err = json.Unmarshal(top["optional"], &optional)
	}
	if err != nil {
		return "", nil, fmt.Errorf("not a simple-signing document: %w", err)
	}
	if kind != "cosign container image signature" && kind != "atomic container signature" {
		return "", nil, fmt.Errorf("simple-signing document: type %q, expected \"cosign container image signature\"", kind)
	}
	if digest != subject.String() {
		return "", nil, fmt.Errorf("signature is about %s, not %s", digest, subject)
	}
	return reference, texts(optional), nil
}

func text(fields map[string]json.RawMessage, key string, to *string) error {
	if fields[key] == nil {
		return fmt.Errorf("%s is missing", key)
	}
	if err := json.Unmarshal(fields[key], to); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// object splits a JSON object into its fields. Unlike encoding/json it tells
// the case of keys apart and refuses keys that repeat.
func object(raw []byte) (map[string]json.RawMessage, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("found no JSON object")
	}
	out := map[string]json.RawMessage{}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		if _, twice := out[key]; twice {
			return nil, fmt.Errorf("key %q repeats", key)
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, err
		}
		out[key] = value
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("found more after the JSON object")
	}
	return out, nil
}
