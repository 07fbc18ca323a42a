// Package provenance says how an image was built: a SLSA provenance v1 predicate
// with everything that decided its bytes.
//
// It does not sign and does not judge. The predicate is written field by field
// from what the build used; docs/provenance.md describes every field, and is
// what the build type points to.
//
//	predicate, err := provenance.New(provenance.Input{Result: res, Config: cfg, Options: options})
//	if err != nil {
//		return err
//	}
//	statement, err := provenance.Statement(res, "registry.example/team/app", predicate)
//
// Formats: SLSA provenance v1 (https://slsa.dev/spec/v1.2/provenance) in an
// in-toto Statement v1.
package provenance

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/sign/attest"
)

const (
	// PredicateType is that of SLSA provenance v1.
	PredicateType = "https://slsa.dev/provenance/v1"
	// BuildType says how to read the parameters; it is where they are described.
	BuildType = "https://github.com/cairn-dev/cairn/blob/main/docs/provenance.md#image-v1"
	// LocalBuilder is the builder where none is named: somebody's machine, which
	// promises nothing.
	LocalBuilder = "https://github.com/cairn-dev/cairn/blob/main/docs/provenance.md#local"
)

// Input is what a predicate is made from.
type Input struct {
	Result  *assemble.Result
	Config  *config.Config
	Options assemble.Options // those of the build
	// Builder is a URI of who runs the build and answers for it; empty:
	// LocalBuilder.
	Builder string
	// Invocation names this run of the builder; may be empty.
	Invocation string
	// Started and Finished are the times of this run, written in seconds. They
	// are the only part of a predicate that differs between two builds of the
	// same; zero: not said.
	Started, Finished time.Time
}

// predicate is SLSA's Provenance, in its order.
type predicate struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

type buildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   external   `json:"externalParameters"`
	InternalParameters   internal   `json:"internalParameters"`
	ResolvedDependencies []resource `json:"resolvedDependencies"`
}

type runDetails struct {
	Builder  builder   `json:"builder"`
	Metadata *metadata `json:"metadata,omitempty"`
}

type builder struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type metadata struct {
	InvocationID string `json:"invocationId,omitempty"`
	StartedOn    string `json:"startedOn,omitempty"`
	FinishedOn   string `json:"finishedOn,omitempty"`
}

// digestSet is in-toto's DigestSet: algorithm to lower-case hexadecimal.
type digestSet map[string]string

// resource is in-toto's ResourceDescriptor.
type resource struct {
	Name             string         `json:"name,omitempty"`
	URI              string         `json:"uri,omitempty"`
	Digest           digestSet      `json:"digest,omitempty"`
	DownloadLocation string         `json:"downloadLocation,omitempty"`
	Annotations      map[string]any `json:"annotations,omitempty"`
}

// ErrIncomplete: the build's result lacks something that the predicate must say.
var ErrIncomplete = errors.New("provenance")

// New returns the predicate as JSON. The same input gives the same bytes.
func New(in Input) ([]byte, error) {
	if in.Result == nil || in.Result.Lock == nil || in.Config == nil {
		return nil, fmt.Errorf("%w: no result, lock or configuration", ErrIncomplete)
	}
	p := predicate{BuildDefinition: buildDefinition{BuildType: BuildType, InternalParameters: internalOf(&in)},
		RunDetails: runDetails{Builder: builder{ID: in.Builder, Version: versionOf(&in)}, Metadata: metadataOf(&in)}}
	if p.RunDetails.Builder.ID == "" {
		p.RunDetails.Builder.ID = LocalBuilder
	}
	var err error
	if p.BuildDefinition.ExternalParameters, err = externalOf(&in); err != nil {
		return nil, err
	}
	if p.BuildDefinition.ResolvedDependencies, err = dependencies(&in); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(&p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return append(b, '\n'), nil
}

// versionOf names the program.
func versionOf(in *Input) map[string]string {
	if in.Options.Version == "" {
		return nil
	}
	return map[string]string{"cairn": in.Options.Version}
}

func metadataOf(in *Input) *metadata {
	m := metadata{InvocationID: in.Invocation, StartedOn: stamp(in.Started), FinishedOn: stamp(in.Finished)}
	if m == (metadata{}) {
		return nil
	}
	return &m
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Truncate(time.Second).Format(time.RFC3339)
}

// Statement puts a predicate into a statement about an image: about its image
// index and every image in it, so that it holds for whichever of them is
// deployed. The name is that of the repository; it may be empty.
func Statement(r *assemble.Result, name string, predicate []byte) ([]byte, error) {
	subjects := []attest.Subject{subject(name, r.Digest)}
	for _, img := range r.Images {
		subjects = append(subjects, subject(name, img.Digest))
	}
	return attest.New(attest.Input{Subjects: subjects, PredicateType: PredicateType, Predicate: predicate})
}

func subject(name string, digest v1.Hash) attest.Subject {
	return attest.Subject{Name: name, SHA256: digest.Hex}
}
