// Package attest makes in-toto statements: what an attestation says, before it
// is signed.
//
// It does not sign and does not judge: a statement proves nothing until its
// signature is verified. Predicates are taken as they are. They are not read
// into types and written again, which loses every field that the types do not
// know.
//
//	statement, err := attest.New(attest.Input{
//		Subjects:      []attest.Subject{{Name: "registry.example/app", SHA256: hex}},
//		PredicateType: "https://slsa.dev/provenance/v1",
//		Predicate:     predicate,
//	})
//
// Format: in-toto Statement v1
// (https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md).
package attest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	// StatementType is the type of the statements made here.
	StatementType = "https://in-toto.io/Statement/v1"
	// PayloadType is the media type of a statement in a DSSE envelope.
	PayloadType = "application/vnd.in-toto+json"
	// Signature is the predicate type of a statement that says no more than
	// that the image is signed.
	Signature = "https://sigstore.dev/cosign/sign/v1"
	// MaxPredicate bounds a predicate, in bytes. The largest seen are SBOMs of
	// some megabytes.
	MaxPredicate = 32 << 20
)

// ErrStatement is wrapped by every error of this package.
var ErrStatement = errors.New("attestation")

// Subject is what a statement is about.
type Subject struct {
	Name   string // a repository, or another name; may be empty
	SHA256 string // 64 lower-case hexadecimal digits
	// Annotations are said of the subject, by name; nil for none.
	Annotations map[string]string
}

// Input is what a statement is made of.
type Input struct {
	Subjects      []Subject
	PredicateType string // a URI
	Predicate     []byte // a JSON object, kept byte for byte
}

// statement is Statement v1 up to the predicate, in the specification's order.
type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
}

type subject struct {
	Name        string            `json:"name,omitempty"`
	Digest      map[string]string `json:"digest"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

var hexForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// New makes a statement. The same input gives the same bytes.
func New(in Input) ([]byte, error) {
	s := statement{Type: StatementType, PredicateType: in.PredicateType}
	if len(in.Subjects) == 0 {
		return nil, fmt.Errorf("%w: no subject", ErrStatement)
	}
	for _, sub := range in.Subjects {
		if !hexForm.MatchString(sub.SHA256) {
			return nil, fmt.Errorf("%w: subject %q: digest %.80q: expected 64 hexadecimal digits", ErrStatement, sub.Name, sub.SHA256)
		}
		s.Subject = append(s.Subject, subject{sub.Name, map[string]string{"sha256": sub.SHA256}, sub.Annotations})
	}
	if err := checkURI(in.PredicateType); err != nil {
		return nil, err
	}
	predicate, err := checkPredicate(in.PredicateType, in.Predicate)
	if err != nil {
		return nil, err
	}
	head, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	// Marshalling the predicate would drop its white space and rewrite its
	// strings.
	return slices.Concat(head[:len(head)-1], []byte(`,"predicate":`), predicate, []byte("}")), nil
}

// NewSignature makes the statement of an image signature.
func NewSignature(sub Subject) ([]byte, error) {
	return New(Input{Subjects: []Subject{sub}, PredicateType: Signature, Predicate: []byte("{}")})
}

// checkPredicate looks at a predicate and returns it without the white space
// around it.
func checkPredicate(predicateType string, raw []byte) ([]byte, error) {
	if len(raw) > MaxPredicate {
		return nil, fmt.Errorf("%w: predicate: %d bytes, expected at most %d", ErrStatement, len(raw), MaxPredicate)
	}
	raw = bytes.Trim(raw, " \t\r\n")
	if !utf8.Valid(raw) {
		return nil, fmt.Errorf("%w: predicate: not UTF-8", ErrStatement)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, fmt.Errorf("%w: predicate: %w", ErrStatement, position(raw, err))
	}
	if fields == nil {
		return nil, fmt.Errorf("%w: predicate: found null, expected a JSON object", ErrStatement)
	}
	return raw, checkShape(predicateType, fields)
}

// position says where JSON is wrong, as line and column.
func position(raw []byte, err error) error {
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset, err = kind.Offset, fmt.Errorf("found a JSON %s, expected an object", kind.Value)
	}
	if offset < 0 || offset > int64(len(raw)) {
		return err
	}
	before := raw[:max(offset-1, 0)]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n')
	return fmt.Errorf("line %d, column %d: %w", line, column, err)
}

func checkURI(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" && u.Path == "" || strings.ContainsAny(s, " \t\r\n") {
		return fmt.Errorf("%w: predicate type %.200q: expected a URI, or one of %s", ErrStatement, s, strings.Join(Types(), ", "))
	}
	return nil
}
