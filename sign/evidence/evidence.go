// Package evidence collects what is attached to an image: cosign's legacy
// signatures and attestations (the tags sha256-<hex>.sig and .att) and Sigstore
// bundles that refer to it.
//
// It reads and parses, and verifies nothing: everything in a [Set] is a claim
// by whoever could write to the repository. What cannot be parsed becomes a
// [Finding]; it is never skipped in silence and never hides anything else. Both
// formats are always read, so that neither shadows the other.
//
//	set, err := evidence.Collect(ctx, t, digest, evidence.Limits{})
//	if err != nil {
//		return err // the registry could not be read
//	}
//	for _, item := range set.Items {
//		fmt.Println(item.Format, item.Where)
//	}
//
// The sources of the formats are cosign's SIGNATURE_SPEC.md and BUNDLE_SPEC.md
// and Sigstore's protobuf-specs.
package evidence

import (
	"context"
	"crypto/x509"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
)

// Format says how a piece of evidence is stored.
type Format string

// The formats.
const (
	FormatLegacy Format = "legacy" // layers of the manifest at a .sig or .att tag
	FormatBundle Format = "bundle" // a Sigstore bundle that refers to the image
)

// Source is where evidence lies: a repository of a registry or a layout.
// Errors wrap target.ErrNotFound and target.ErrUnreachable where they apply;
// bytes are those of the digest that was asked for.
type Source interface {
	Manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error)
	Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error)
	Referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error)
	Tagged(ctx context.Context, tag string) (v1.Descriptor, error)
}

// Limits bounds what is read from each place (the two tags and the referrers);
// anyone who may push can attach things. A zero field stands for the default.
type Limits struct {
	// Items is the most legacy layers and bundles; 64 by default.
	Items int
	// ItemBytes is the size of the largest one, in bytes; 16 MiB by default.
	ItemBytes int64
	// TotalBytes is the size of all together, in bytes; 64 MiB by default.
	TotalBytes int64
}

func (l Limits) withDefaults() Limits {
	if l.Items <= 0 {
		l.Items = 64
	}
	if l.ItemBytes <= 0 {
		l.ItemBytes = 16 << 20
	}
	if l.TotalBytes <= 0 {
		l.TotalBytes = 64 << 20
	}
	return l
}

// Set is the evidence about one subject.
type Set struct {
	// Subject is the digest of the manifest that it was found for.
	Subject v1.Hash
	// Items are in the order .sig, .att, referrers, each as listed.
	Items []Item
	// Findings say what is attached and could not be used.
	Findings []Finding
}

// Item is one piece of evidence: either Bundle or Legacy is set.
type Item struct {
	Format Format
	// Where names it for people, such as "sha256-ab….sig layer 1".
	Where string
	// Manifest is the digest of the manifest that carries it.
	Manifest v1.Hash
	Bundle   *bundle.Bundle
	Legacy   *Legacy
}

// Legacy is one layer of a .sig or .att manifest.
type Legacy struct {
	// Payload is what is signed: a simple-signing document, or a DSSE envelope
	// when Envelope is set.
	Payload  []byte
	Envelope bool
	// Signature is the raw signature over Payload; empty for an envelope, which
	// carries its own.
	Signature []byte
	// Certificate is that of the signer; nil for one by a key.
	Certificate *x509.Certificate
	// Chain is the certificates that came along, for finding a path to a root.
	Chain []*x509.Certificate
	// Log is Rekor's promise; nil without one.
	Log *LogEntry
	// Timestamp is an RFC 3161 response in DER; empty without one.
	Timestamp []byte
}

// LogEntry is what Rekor v1 returned for a signature: cosign's bundle
// annotation.
type LogEntry struct {
	// SignedEntryTimestamp is the log's signature over the other fields.
	SignedEntryTimestamp []byte
	// Body is the canonical JSON of the entry.
	Body []byte
	// IntegratedTime is in seconds since the epoch.
	IntegratedTime int64
	LogIndex       int64
	// LogID is the SHA-256 of the log's public key.
	LogID []byte
}

// Finding is something attached to the subject that could not be used.
type Finding struct {
	// Where names it as [Item].Where does.
	Where string `json:"where"`
	// Problem says what is wrong with it.
	Problem string `json:"problem"`
}

func (f Finding) String() string { return f.Where + ": " + f.Problem }
