package sign

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign/evidence"
	"github.com/cairn-dev/cairn/sign/policy"
	"github.com/cairn-dev/cairn/sign/verify"
)

// Attachments are what is attached to an image and says something: signatures
// are counted, attestations are read. Nothing of it is verified: everybody who
// can write to the repository can attach anything.
type Attachments struct {
	Signatures int
	Statements []Attachment
	// Problems are attached things that cannot be read.
	Problems []string
}

// Attachment is a statement that is attached to an image, not verified.
type Attachment struct {
	Where         string
	Format        string // legacy or bundle
	PredicateType string
	Predicate     json.RawMessage
}

// IsSBOM tells whether it says that it is an SPDX or CycloneDX document.
func (a *Attachment) IsSBOM() bool {
	return a.PredicateType == verify.PredicateSPDX || a.PredicateType == verify.PredicateCycloneDX
}

// Attached reads what is attached to the image or image index with this digest,
// in both formats, within limits.
func Attached(ctx context.Context, t *target.Target, digest v1.Hash) (*Attachments, error) {
	set, err := evidence.Collect(ctx, t, digest, evidence.Limits{})
	if err != nil {
		return nil, err
	}
	out := &Attachments{}
	for _, f := range set.Findings {
		out.Problems = append(out.Problems, f.String())
	}
	for i := range set.Items {
		item := &set.Items[i]
		st, err := verify.Claimed(item)
		switch {
		case err != nil:
			out.Problems = append(out.Problems, fmt.Sprintf("%s: %v", item.Where, err))
		case st == nil || st.PredicateType == verify.PredicateSignature:
			out.Signatures++
		default:
			out.Statements = append(out.Statements, Attachment{Where: item.Where, Format: string(item.Format),
				PredicateType: st.PredicateType, Predicate: st.Predicate})
		}
	}
	return out, nil
}

// Attested is a predicate that was attested to an image by somebody who is accepted.
type Attested struct {
	Where, Signer string
	Predicate     json.RawMessage
}

// AttestedBy reads the predicates of one type that are attested to the images or image
// indexes with these digests, and verifies them: those by a signer of the entry count.
// rejected says of the others of this type where they are and why they do not.
func AttestedBy(ctx context.Context, t *target.Target, digests []v1.Hash, predicateType string, e *policy.Entry) (list []Attested, rejected []string, err error) {
	for i, digest := range digests {
		if slices.Contains(digests[:i], digest) {
			continue
		}
		set, err := evidence.Collect(ctx, t, digest, evidence.Limits{})
		if err != nil {
			return nil, nil, err
		}
		for i := range set.Items {
			item := set.Items[i]
			if st, err := verify.Claimed(&item); err != nil || st == nil || st.PredicateType != predicateType {
				continue // what cannot be read claims nothing
			}
			c := e.Attestation(item, digest)
			if c.Err != nil {
				rejected = append(rejected, fmt.Sprintf("%s: %v", item.Where, c.Err))
				continue
			}
			list = append(list, Attested{Where: item.Where, Signer: c.Signer, Predicate: c.Statement.Predicate})
		}
	}
	return list, rejected, nil
}
