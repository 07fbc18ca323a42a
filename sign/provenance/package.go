package provenance

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/packages/build"
	"github.com/cairn-dev/cairn/sign/attest"
)

// PackageBuildType is the buildType of a package that cairn package build made; see
// docs/provenance.md.
const PackageBuildType = "https://github.com/cairn-dev/cairn/blob/main/docs/provenance.md#package-v1"

// PackageInput is what the statement about a package is made of.
type PackageInput struct {
	Record *build.Record
	// Package is which of the record's packages it is about.
	Package build.Made
	// Namespace is the distribution in package URLs, Version the program's.
	Namespace, Version string
	// Builder is a URI of who runs the build; empty: LocalBuilder.
	Builder string
}

// packageExternal are the external parameters: with them, and the same dependencies, the
// package is built again.
type packageExternal struct {
	Definition   string `json:"definition"` // the file's name
	Package      string `json:"package"`    // of the main package
	Version      string `json:"version"`
	Architecture string `json:"architecture"`
	Epoch        int64  `json:"epoch"` // seconds since 1970
	// Beside is the SHA-256 over the files beside the definition.
	Beside string `json:"filesBeside,omitempty"`
}

// packageInternal are the internal parameters.
type packageInternal struct {
	Runner string `json:"runner"`
}

// Package returns an in-toto Statement v1 about a package file: its subject is the SHA-256
// of the whole file, its predicate SLSA provenance v1. The same input gives the same bytes.
func Package(in PackageInput) ([]byte, error) {
	d := in.Record.Build
	if d == nil || d.SHA256 == "" || in.Package.SHA256.IsZero() {
		return nil, fmt.Errorf("%w: no definition, or no package", ErrIncomplete)
	}
	type definitionOf struct {
		BuildType            string          `json:"buildType"`
		ExternalParameters   packageExternal `json:"externalParameters"`
		InternalParameters   packageInternal `json:"internalParameters"`
		ResolvedDependencies []resource      `json:"resolvedDependencies"`
	}
	p := struct {
		BuildDefinition definitionOf `json:"buildDefinition"`
		RunDetails      runDetails   `json:"runDetails"`
	}{definitionOf{BuildType: PackageBuildType,
		ExternalParameters: packageExternal{Definition: filepath.Base(d.File), Package: d.Package.Name, Version: d.Package.FullVersion(), Architecture: d.Arch, Epoch: in.Record.Epoch.Unix(), Beside: in.Record.Beside},
		InternalParameters: packageInternal{Runner: in.Record.Runner}},
		runDetails{Builder: builder{ID: in.Builder}}}
	if in.Builder == "" {
		p.RunDetails.Builder.ID = LocalBuilder
	}
	if in.Version != "" {
		p.RunDetails.Builder.Version = map[string]string{"cairn": in.Version}
	}
	list := []resource{{Name: filepath.Base(d.File), Digest: digestSet{"sha256": d.SHA256}, Annotations: map[string]any{"kind": "definition"}}}
	for _, u := range d.Pipelines {
		list = append(list, resource{Name: u.Name, Digest: digestSet{"sha256": u.SHA256}, Annotations: map[string]any{"kind": "pipeline"}})
	}
	for _, m := range in.Record.Materials {
		list = append(list, resource{URI: m.URI, Digest: m.Digest, Annotations: map[string]any{"kind": "source"}})
	}
	for i := range in.Record.Environment {
		e := &in.Record.Environment[i]
		url := packageurl.NewPackageURL("apk", in.Namespace, e.Name, e.Version, packageurl.QualifiersFromMap(map[string]string{"arch": e.Arch}), "").ToString()
		list = append(list, resource{Name: e.ID(), URI: url, Digest: digestSet{"sha256": in.Record.SHA256[i].Hex()}, Annotations: map[string]any{"kind": "package"}})
	}
	for _, r := range list {
		if len(r.Digest) == 0 {
			return nil, fmt.Errorf("%w: %s%s: no digest", ErrIncomplete, r.Name, r.URI)
		}
	}
	p.BuildDefinition.ResolvedDependencies = list
	predicate, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	return attest.New(attest.Input{PredicateType: "https://slsa.dev/provenance/v1", Predicate: predicate,
		Subjects: []attest.Subject{{Name: strings.TrimSpace(in.Package.Name), SHA256: in.Package.SHA256.Hex()}}})
}
