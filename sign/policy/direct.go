package policy

import (
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Requirements is a policy of one entry for every image, without a file.
type Requirements struct {
	Signers     []verify.Signer
	Threshold   int // at least 1
	Trust       verify.Trust
	MaxAge      time.Duration     // 0: any
	Annotations map[string]string // what signatures must say beside the image
	Children    bool              // every manifest of an index must be signed
}

// Direct compiles requirements.
func Direct(r Requirements) (*Entry, error) {
	switch {
	case len(r.Signers) == 0:
		return nil, errors.New("signers: found none, expected at least one key or identity")
	case r.Threshold < 1:
		return nil, fmt.Errorf("threshold: found %d, expected 1 or more", r.Threshold)
	}
	for _, s := range r.Signers {
		if s.Identity != nil && r.Trust.Root == nil {
			return nil, errors.New("identity: there is no trusted root to check certificates with")
		}
	}
	e := &Entry{file: EntryFile{Signers: &SignersFile{}}, signers: r.Signers, attesters: r.Signers,
		threshold: r.Threshold, trust: r.Trust, maxAge: r.MaxAge, annotations: r.Annotations}
	if r.MaxAge > 0 {
		e.file.MaxAge = r.MaxAge.String()
	}
	if r.Children {
		e.file.Children = "all"
	}
	var err error
	e.engine, err = verify.New(r.Trust)
	return e, err
}

// Attestation verifies one piece of evidence about a subject: whether it is an attestation
// by somebody whose attestations count.
func (e *Entry) Attestation(item evidence.Item, subject v1.Hash) verify.Checked {
	return e.engine.Check(item, subject, verify.Accept{Attestations: e.attesters})
}

// NeedsChildren reports whether the entry looks at the manifests of an index.
func (e *Entry) NeedsChildren() bool {
	f := e.file
	return f.Children != "" || f.Provenance != nil || f.SBOM != nil || f.Packages != nil || f.Licenses != nil ||
		f.Vulnerabilities != nil || len(f.Rules) > 0
}
