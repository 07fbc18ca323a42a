package report

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Attestation is a statement that is attached to the image. What it says is the
// claim of whoever attached it unless Verified is set.
type Attestation struct {
	PredicateType string `json:"predicate_type"`
	// Places are where it is stored: the same statement is often there in both
	// formats.
	Places []Place `json:"places"`
	// Subject is the digest of the index or image that it is attached to.
	Subject string `json:"subject"`
	// Verified: a signature of it was checked, and counts.
	Verified bool `json:"verified"`
	// Provenance is set for SLSA provenance v1 that can be read.
	Provenance *Provenance `json:"provenance,omitempty"`

	sum [sha256.Size]byte // of the predicate
}

// Place is one stored copy of a statement.
type Place struct {
	Format string `json:"format"` // legacy or bundle
	Where  string `json:"where"`
}

// Attest adds a statement that is attached to the subject; one that is there
// already, to the byte, gets one more place.
func (r *Report) Attest(subject, predicateType string, predicate []byte, at Place, verified bool) {
	sum := sha256.Sum256(predicate)
	for i := range r.Attestations {
		a := &r.Attestations[i]
		if a.Subject == subject && a.PredicateType == predicateType && a.sum == sum {
			a.Places, a.Verified = append(a.Places, at), a.Verified || verified
			return
		}
	}
	a := Attestation{PredicateType: predicateType, Subject: subject, Places: []Place{at}, Verified: verified, sum: sum}
	if strings.HasPrefix(predicateType, slsaV1) {
		p, err := ParseProvenance(predicate)
		if err != nil {
			r.Notes = append(r.Notes, at.Where+": "+err.Error())
		}
		a.Provenance = p
	}
	r.Attestations = append(r.Attestations, a)
}

// slsaV1 is the predicate type of SLSA provenance v1; later ones of version 1
// begin the same.
const slsaV1 = "https://slsa.dev/provenance/v1"

// Provenance is what a SLSA provenance v1 predicate says.
type Provenance struct {
	Builder   string `json:"builder"`
	BuildType string `json:"build_type"`
	// Lock is the digest of the lock, Config that of the configuration file,
	// both as cairn writes them; empty where another program did.
	Lock       string     `json:"lock,omitempty"`
	Config     string     `json:"config,omitempty"`
	Source     string     `json:"source,omitempty"`
	Materials  []Material `json:"materials"`
	Invocation string     `json:"invocation,omitempty"`
}

// Material is a resolved dependency of a build.
type Material struct {
	Kind   string `json:"kind,omitempty"`
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"` // algorithm:value
}

// ErrProvenance is wrapped by the errors of ParseProvenance.
var ErrProvenance = errors.New("not SLSA provenance v1")

// maxMaterials bounds the dependencies that are read.
const maxMaterials = 100_000

// ParseProvenance reads a SLSA provenance v1 predicate.
func ParseProvenance(raw []byte) (*Provenance, error) {
	var p struct {
		BuildDefinition struct {
			BuildType          string
			ExternalParameters json.RawMessage
			Resolved           []struct {
				Name, URI   string
				Digest      map[string]string
				Annotations map[string]any
			} `json:"resolvedDependencies"`
		}
		RunDetails struct {
			Builder  struct{ ID string }
			Metadata struct{ InvocationID string }
		}
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProvenance, err)
	}
	if n := len(p.BuildDefinition.Resolved); n > maxMaterials {
		return nil, fmt.Errorf("%w: %d resolved dependencies: expected at most %d", ErrProvenance, n, maxMaterials)
	}
	out := &Provenance{Builder: p.RunDetails.Builder.ID, BuildType: p.BuildDefinition.BuildType,
		Invocation: p.RunDetails.Metadata.InvocationID, Materials: []Material{}}
	out.parameters(p.BuildDefinition.ExternalParameters)
	for _, d := range p.BuildDefinition.Resolved {
		m := Material{Name: cmp.Or(d.Name, d.URI)}
		m.Kind, _ = d.Annotations["kind"].(string)
		for _, algorithm := range slices.Sorted(maps.Keys(d.Digest)) {
			if m.Digest == "" || algorithm == "sha256" {
				m.Digest = algorithm + ":" + d.Digest[algorithm]
			}
		}
		if m.Name == "" {
			m.Name = m.Digest
		}
		out.Materials = append(out.Materials, m)
	}
	slices.SortStableFunc(out.Materials, func(a, b Material) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name))
	})
	return out, nil
}

// parameters takes what cairn writes; docs/provenance.md describes it. Other
// programs' parameters look different and are passed over.
func (p *Provenance) parameters(raw json.RawMessage) {
	var e struct {
		Lock struct {
			Digest digests
			ID     string
		}
		Config struct{ Digest digests }
		Source string
	}
	if json.Unmarshal(raw, &e) == nil {
		p.Lock, p.Config, p.Source = cmp.Or(e.Lock.ID, string(e.Lock.Digest)), string(e.Config.Digest), e.Source
	}
}

// digests is a digest, written as a text or by algorithm.
type digests string

func (d *digests) UnmarshalJSON(raw []byte) error {
	var text string
	var set map[string]string
	if json.Unmarshal(raw, &text) == nil {
		*d = digests(text)
		return nil
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return err
	}
	if set["sha256"] != "" {
		*d = digests("sha256:" + set["sha256"])
	}
	return nil
}
