package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/store"
)

// ErrEmbedded is wrapped when a package's embedded SBOM cannot be read.
var ErrEmbedded = errors.New("embedded SBOM cannot be read")

// EmbeddedError says which package's SBOM is broken and how. It wraps
// [ErrEmbedded].
type EmbeddedError struct {
	Package string // name-version
	Path    string // within the package
	Err     error
}

func (e *EmbeddedError) Error() string {
	return fmt.Sprintf("package %s: %s: %s: %v", e.Package, e.Path, ErrEmbedded, e.Err)
}

// Unwrap returns [ErrEmbedded] and the cause.
func (e *EmbeddedError) Unwrap() []error { return []error{ErrEmbedded, e.Err} }

// embeddedDir is where packages keep SBOMs of themselves.
const embeddedDir = "var/lib/db/sbom/"

const embeddedSuffix = ".spdx.json"

// Limits on embedded documents.
const (
	maxEmbedded      = 64 << 20
	maxEmbeddedParts = 200_000
)

// embeddedDoc is the part of an SPDX 2 document that is taken over.
type embeddedDoc struct {
	Version       string             `json:"spdxVersion"`
	SPDXID        string             `json:"SPDXID"`
	Describes     []string           `json:"documentDescribes"`
	Packages      []spdxPackage      `json:"packages"`
	Files         []embeddedFile     `json:"files"`
	Relationships []spdxRelationship `json:"relationships"`
	Licenses      []spdxLicense      `json:"hasExtractedLicensingInfos"`
}

// embeddedFile is all that is read of a file: cairn lists files itself, as
// they are in the image.
type embeddedFile struct {
	SPDXID string `json:"SPDXID"`
}

// parseEmbedded reads an SPDX 2.x JSON document and checks that it hangs
// together.
func parseEmbedded(b []byte) (*embeddedDoc, error) {
	if len(b) > maxEmbedded {
		return nil, fmt.Errorf("%d bytes: expected at most %d", len(b), maxEmbedded)
	}
	var d embeddedDoc
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&d); err != nil {
		return nil, fmt.Errorf("JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("JSON: something follows the document")
	}
	if !strings.HasPrefix(d.Version, "SPDX-2.") {
		return nil, fmt.Errorf("spdxVersion %.20q: expected SPDX-2.x", d.Version)
	}
	if n := len(d.Packages) + len(d.Files) + len(d.Relationships); n > maxEmbeddedParts {
		return nil, fmt.Errorf("%d elements: expected at most %d", n, maxEmbeddedParts)
	}
	return &d, d.check()
}

func (d *embeddedDoc) check() error {
	if d.SPDXID == "" {
		d.SPDXID = spdxDocument
	}
	ids := map[string]bool{d.SPDXID: true, spdxDocument: true}
	for i := range d.Packages {
		p := &d.Packages[i]
		if p.Name == "" {
			return fmt.Errorf("package %s has no name", cut(p.SPDXID))
		}
		if p.SPDXID == "" || ids[p.SPDXID] {
			return fmt.Errorf("package %s: identifier %q is missing or used twice", cut(p.Name), cut(p.SPDXID))
		}
		ids[p.SPDXID] = true
	}
	if len(d.Packages) == 0 {
		return errors.New("no package in it")
	}
	for _, f := range d.Files {
		ids[f.SPDXID] = true
	}
	for _, r := range d.Relationships {
		for _, id := range []string{r.From, r.To} {
			if !ids[id] && id != noAssertion && id != "NONE" && !strings.HasPrefix(id, "DocumentRef-") {
				return fmt.Errorf("relationship %s refers to %q, which is not in it", cut(r.Type), cut(id))
			}
		}
	}
	for _, id := range d.Describes {
		if !ids[id] {
			return fmt.Errorf("describes %q, which is not in it", cut(id))
		}
	}
	return nil
}

// self finds the package that stands for the APK itself: of that name and
// version, preferably one the document describes; or else the only one that
// it describes.
func (d *embeddedDoc) self(name, version string) (string, error) {
	described := slices.Clone(d.Describes)
	for _, r := range d.Relationships {
		if r.Type == "DESCRIBES" && (r.From == d.SPDXID || r.From == spdxDocument) {
			described = append(described, r.To)
		}
	}
	var byName string
	for i := range d.Packages {
		p := &d.Packages[i]
		if p.Name != name || p.Version != "" && p.Version != version {
			continue
		}
		if slices.Contains(described, p.SPDXID) {
			return p.SPDXID, nil
		}
		if byName == "" {
			byName = p.SPDXID
		}
	}
	if byName != "" {
		return byName, nil
	}
	return "", fmt.Errorf("describes no package %s %s", name, version)
}

// embeddedPaths lists the SBOMs that a package holds, sorted.
func embeddedPaths(r *store.Receipt) []string {
	var paths []string
	for path := range r.Contents {
		if strings.HasPrefix(path, embeddedDir) && strings.HasSuffix(path, embeddedSuffix) {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}
