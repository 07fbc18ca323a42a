// Package cosign writes signatures and attestations the way the Sigstore
// clients read them, in one or both of the formats there are:
//
//   - legacy: a layer of the manifest that is tagged sha256-<hex>.sig, over a
//     "simple signing" payload, or sha256-<hex>.att, a DSSE envelope; read by
//     every cosign, by containers/image and by most admission controllers
//   - bundle: a Sigstore bundle v0.3 that refers to the image (OCI 1.1); read
//     by cosign 2.6 and 3 and by sigstore-go
//
// A reader that finds any bundle does not look at legacy signatures, so the two
// are never mixed: everything is made and verified in memory before the first
// byte is written, and what is missing after a failure is what the next run
// adds.
//
// This is the only package that imports cosign. It decides nothing about trust;
// [github.com/cairn-dev/cairn/sign/verify] does.
//
//	signer, err := cosign.New(ctx, cosign.Config{Key: key})
//	if err != nil {
//		return err
//	}
//	written, err := signer.Run(ctx, t, []cosign.Job{{Subject: image, Name: t.Repository(), Statement: statement}}, cosign.Both)
//
// Formats: cosign's SIGNATURE_SPEC and BUNDLE_SPEC, sigstore's bundle format
// (https://github.com/sigstore/protobuf-specs), DSSE 1.0.
package cosign

import (
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Format says which formats are written.
type Format string

// The formats.
const (
	Both   Format = "both"
	Bundle Format = "bundle"
	Legacy Format = "legacy"
)

// ParseFormat reads a format; the empty string is Both.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case "":
		return Both, nil
	case Both, Bundle, Legacy:
		return f, nil
	}
	return "", fmt.Errorf("signature format: found %q, expected both, bundle or legacy", s)
}

func (f Format) legacy() bool { return f == Both || f == Legacy }
func (f Format) bundle() bool { return f == Both || f == Bundle }

var (
	// ErrService: a service that signing needs failed or refused.
	ErrService = errors.New("signing service")
	// ErrToken: no identity token, or none that can be used.
	ErrToken = errors.New("identity token")
	// ErrConfig: the signing configuration or the trusted root cannot be used.
	ErrConfig = errors.New("cannot be used")
	// ErrSelfCheck: what was made, or the certificate for it, does not verify;
	// nothing was written.
	ErrSelfCheck = errors.New("does not verify")
)

// Job is one statement to sign.
type Job struct {
	Subject v1.Descriptor
	// Name is the repository that the signature is for, or empty.
	Name string
	// Statement is the in-toto statement.
	Statement []byte
	// Annotations are those that a legacy signature of the image carries; a
	// statement has its own.
	Annotations   map[string]string
	PredicateType string
	// Image is set for the signature of the image itself: then the legacy
	// form is a simple signing payload, and not the statement.
	Image bool
}

func (j *Job) kind() string {
	if j.Image {
		return "signature"
	}
	return "attestation"
}

// State says what became of one statement in one format.
type State string

// The states.
const (
	Written State = "written"
	Present State = "present" // it was there, by the same signer
	Missing State = "missing" // the failure came first
)

// Outcome is one statement in one format.
type Outcome struct {
	Subject       v1.Hash `json:"subject"`
	Kind          string  `json:"kind"` // "signature" or "attestation"
	PredicateType string  `json:"predicateType"`
	Format        Format  `json:"format"`
	State         State   `json:"state"`
	// Manifest is the manifest that holds it, where it was written.
	Manifest string `json:"manifest,omitempty"`
}

func (o *Outcome) String() string {
	s := fmt.Sprintf("%s %s of %s", o.Format, o.Kind, o.Subject)
	if o.Kind == "attestation" {
		s += " (" + o.PredicateType + ")"
	}
	return s
}

// IncompleteError says that writing failed half-way, and what is where.
type IncompleteError struct {
	Outcomes []Outcome
	Err      error
}

func (e *IncompleteError) Unwrap() error { return e.Err }

func (e *IncompleteError) Error() string {
	var lines []string
	for _, s := range []State{Written, Present, Missing} {
		for i := range e.Outcomes {
			if e.Outcomes[i].State == s {
				lines = append(lines, string(s)+": "+e.Outcomes[i].String())
			}
		}
	}
	return fmt.Sprintf("signing is incomplete: %v\n%s\nhint: the same command again adds what is missing", e.Err, strings.Join(lines, "\n"))
}
