package evidence

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// ErrMalformed is wrapped by errors about bytes that are no evidence.
var ErrMalformed = errors.New("malformed")

// The annotations of a legacy layer.
const (
	annotationSignature   = "dev.cosignproject.cosign/signature"
	annotationCertificate = "dev.sigstore.cosign/certificate"
	annotationChain       = "dev.sigstore.cosign/chain"
	annotationBundle      = "dev.sigstore.cosign/bundle"
	annotationTimestamp   = "dev.sigstore.cosign/rfc3161timestamp"
)

// maxChain bounds the certificates that come with a legacy signature.
const maxChain = 10

// ParseBundle reads a Sigstore bundle (versions 0.1 to 0.3, JSON). The error
// wraps ErrMalformed.
func ParseBundle(raw []byte) (b *bundle.Bundle, err error) {
	defer recovered(&err)
	b = &bundle.Bundle{}
	if err := b.UnmarshalJSON(raw); err != nil {
		return nil, fmt.Errorf("%w bundle: %w", ErrMalformed, plain{err})
	}
	// What the verifier would stumble over later is a finding now.
	if _, err := b.VerificationContent(); err != nil {
		return nil, fmt.Errorf("%w bundle: %w", ErrMalformed, err)
	}
	if _, err := b.SignatureContent(); err != nil {
		return nil, fmt.Errorf("%w bundle: %w", ErrMalformed, err)
	}
	return b, nil
}

// plain takes the words out of a library's message that say nothing.
type plain struct{ error }

func (p plain) Error() string {
	return strings.NewReplacer("error getting bundle version: ", "", "validation error: ", "", "\u00a0", " ").Replace(p.error.Error())
}

func (p plain) Unwrap() error { return p.error }

// recovered turns a panic of a parser into an error.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: the parser gave up: %v", ErrMalformed, r)
	}
}

// ParseLegacy reads one layer of a .sig or .att manifest with its annotations.
// The error wraps ErrMalformed.
func ParseLegacy(payload []byte, envelope bool, annotations map[string]string) (l *Legacy, err error) {
	defer recovered(&err)
	l = &Legacy{Payload: payload, Envelope: envelope}
	if !envelope {
		if l.Signature, err = base64.StdEncoding.DecodeString(annotations[annotationSignature]); err != nil {
			return nil, fmt.Errorf("%w signature: not base64: %w", ErrMalformed, err)
		}
		if len(l.Signature) == 0 {
			return nil, fmt.Errorf("%w signature: annotation %s is missing", ErrMalformed, annotationSignature)
		}
	}
	if err := l.certificates(annotations); err != nil {
		return nil, err
	}
	if text := annotations[annotationBundle]; text != "" {
		if l.Log, err = parseLog([]byte(text)); err != nil {
			return nil, fmt.Errorf("%w log entry: %w", ErrMalformed, err)
		}
	}
	if text := annotations[annotationTimestamp]; text != "" {
		var ts struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &ts); err != nil {
			return nil, fmt.Errorf("%w timestamp: %w", ErrMalformed, err)
		}
		l.Timestamp = ts.SignedRFC3161Timestamp
	}
	return l, nil
}

func (l *Legacy) certificates(annotations map[string]string) error {
	leaf, err := parsePEM(annotations[annotationCertificate])
	if err != nil {
		return fmt.Errorf("%w certificate: %w", ErrMalformed, err)
	}
	if len(leaf) > 1 {
		return fmt.Errorf("%w certificate: found %d, expected one", ErrMalformed, len(leaf))
	}
	if len(leaf) == 1 {
		l.Certificate = leaf[0]
	}
	if l.Chain, err = parsePEM(annotations[annotationChain]); err != nil {
		return fmt.Errorf("%w certificate chain: %w", ErrMalformed, err)
	}
	return nil
}

func parsePEM(text string) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	rest := bytes.TrimSpace([]byte(text))
	for len(rest) > 0 {
		block, more := pem.Decode(rest)
		if block == nil {
			return nil, errors.New("not PEM")
		}
		if block.Type != "CERTIFICATE" {
			return nil, fmt.Errorf("found a PEM block %q, expected CERTIFICATE", block.Type)
		}
		if len(out) == maxChain {
			return nil, fmt.Errorf("more than %d certificates", maxChain)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, rest = append(out, cert), bytes.TrimSpace(more)
	}
	return out, nil
}

// parseLog reads cosign's bundle annotation: Rekor's answer to an upload.
func parseLog(raw []byte) (*LogEntry, error) {
	var b struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(b.Payload.LogID)
	if err != nil {
		return nil, fmt.Errorf("log ID: %w", err)
	}
	if len(id) == 0 || len(b.Payload.Body) == 0 || len(b.SignedEntryTimestamp) == 0 {
		return nil, errors.New("log ID, body or signed entry timestamp is missing")
	}
	return &LogEntry{
		SignedEntryTimestamp: b.SignedEntryTimestamp, Body: b.Payload.Body,
		IntegratedTime: b.Payload.IntegratedTime, LogIndex: b.Payload.LogIndex, LogID: id,
	}, nil
}
