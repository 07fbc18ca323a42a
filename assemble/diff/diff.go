// Package diff says what differs between two images, or locks: packages,
// files, components and licences, configuration, layers, and how many bytes a
// node that holds the one pulls for the other.
//
// It compares and does not judge: whether a difference is good is for the
// reader to say. What is compared is what is there: a layer that only one side
// has is always read, through limits and against its digest.
//
//	result, err := diff.Compare(ctx, a, b, diff.Options{})
//	if err != nil {
//		return err
//	}
//	return result.WriteText(os.Stdout)
//
// The JSON form is documented in docs/diff.md. The same two sides give the same
// bytes.
package diff

import (
	"context"
	"errors"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// Version is that of the JSON form; it rises when a field changes its meaning.
const Version = 1

// Options say what is compared.
type Options struct {
	// Platforms narrows the comparison, as in amd64 or x86_64; empty: all.
	Platforms []string
	// ReadAll reads every layer of both sides, also those that both have.
	ReadAll bool
	// Documents returns the SBOMs attached to an image; nil: none are looked
	// for.
	Documents func(ctx context.Context, s *subject.Subject, image v1.Hash) ([]Document, error)
}

// Result is what differs from A to B.
type Result struct {
	Version int  `json:"version"`
	A       Side `json:"a"`
	B       Side `json:"b"`
	// Same: both have the same digest, or nothing of what was compared differs
	// between two locks.
	Same bool `json:"same"`
	// Annotations are those of the image indexes.
	Annotations []Change   `json:"annotations"`
	Platforms   []Platform `json:"platforms"`
	// Advisories are what feeds say, by platform; see [Result.AddAdvisories].
	Advisories []Advisories `json:"advisories,omitempty"`
	// NotCompared says what was left out and why.
	NotCompared []string `json:"not_compared"`
}

// Advisories is what feeds say of the packages of both sides of a platform.
type Advisories struct {
	Platform string `json:"platform"`
	// Gone are on the side of A only, Came on that of B, and Both on both.
	Gone []Advisory `json:"gone"`
	Came []Advisory `json:"came"`
	Both int        `json:"both"`
	// Coverage says what was looked at, a line each.
	Coverage []string `json:"coverage"`
}

// Advisory is a vulnerability in a package.
type Advisory struct {
	ID       string `json:"id"`
	Severity string `json:"severity"` // critical, high, medium, low or ?
	Package  string `json:"package"`  // name-version
	Fixed    string `json:"fixed,omitempty"`
}

// noFeed is what stands among what was not compared until AddAdvisories.
const noFeed = "advisories: no feed was given"

// AddAdvisories adds what feeds say.
func (r *Result) AddAdvisories(list []Advisories) {
	r.Advisories = list
	r.NotCompared = slices.DeleteFunc(r.NotCompared, func(s string) bool { return s == noFeed })
}

// Side is one of the two.
type Side struct {
	Name      string       `json:"name"` // as given
	Kind      subject.Kind `json:"kind"`
	Digest    string       `json:"digest,omitempty"` // of the image or image index, or of the lock
	MediaType string       `json:"media_type,omitempty"`
	Platforms []string     `json:"platforms"`
}

// Platform is what differs for one platform. A side that does not have it has
// no digest there.
type Platform struct {
	Platform string          `json:"platform"`
	A        string          `json:"a,omitempty"` // digest of the image
	B        string          `json:"b,omitempty"`
	Same     bool            `json:"same"`
	Packages []PackageChange `json:"packages"`
	Files    []FileChange    `json:"files"`
	SBOM     *SBOMChange     `json:"sbom,omitempty"`
	Config   []Change        `json:"config"`
	Layers   Layers          `json:"layers"`
	Pull     *Pull           `json:"pull,omitempty"`
	// Read says what was read to know this.
	Read Read `json:"read"`
	// Unchanged counts the packages and the paths that are the same.
	Unchanged Unchanged `json:"unchanged"`
	// NotCompared says what could not be compared here and why.
	NotCompared []string `json:"not_compared"`
}

// Read counts what was read of the layers.
type Read struct {
	Layers int   `json:"layers"`
	Bytes  int64 `json:"bytes"` // compressed
	// Skipped are layers that both sides have and that were not read.
	Skipped int `json:"skipped"`
}

// Unchanged counts what is the same on both sides.
type Unchanged struct {
	Packages int `json:"packages"`
	Files    int `json:"files"`
}

// Change is a value that differs. A missing value is on one side only.
type Change struct {
	Key string  `json:"key"`
	A   *string `json:"a,omitempty"`
	B   *string `json:"b,omitempty"`
}

// ErrPlatform: a platform that was asked for is on neither side, or the sides
// have none in common.
var ErrPlatform = errors.New("no such platform")

// Compare compares two subjects.
func Compare(ctx context.Context, a, b *subject.Subject, o Options) (*Result, error) {
	r := &Result{Version: Version, A: sideOf(a), B: sideOf(b), Annotations: []Change{}, Platforms: []Platform{},
		NotCompared: []string{noFeed}}
	r.Same = r.A.Digest != "" && r.A.Digest == r.B.Digest
	if r.Same {
		return r, nil
	}
	r.Annotations = mapChanges("", a.Annotations, b.Annotations)
	names, err := platforms(r.A.Platforms, r.B.Platforms, o.Platforms)
	if err != nil {
		return nil, err
	}
	ca, err := newSource(ctx, a)
	if err != nil {
		return nil, err
	}
	cb, err := newSource(ctx, b)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := compare(ctx, ca.on(name), cb.on(name), name, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.Platforms = append(r.Platforms, *p)
	}
	r.Same = a.Lock != nil && b.Lock != nil && r.nothing()
	return r, nil
}

// nothing tells whether nothing that was compared differs.
func (r *Result) nothing() bool {
	return !slices.ContainsFunc(r.Platforms, func(p Platform) bool { return !p.Same })
}

// Differs tells whether the two sides differ at all.
func (r *Result) Differs() bool { return !r.Same }

func sideOf(s *subject.Subject) Side {
	side := Side{Name: s.Name, Kind: s.Kind, Platforms: []string{}}
	if s.Lock != nil {
		if s.Lock.Cairn != nil {
			side.Digest = s.Lock.Cairn.Digest.String()
		}
		for _, arch := range s.Lock.Architectures() {
			side.Platforms = append(side.Platforms, platformOf(arch))
		}
		return side
	}
	side.Digest, side.MediaType = s.Descriptor.Digest.String(), string(s.Descriptor.MediaType)
	for i := range s.Images {
		if name := s.Images[i].PlatformText(); !slices.Contains(side.Platforms, name) {
			side.Platforms = append(side.Platforms, name)
		}
	}
	return side
}

// platformOf spells an architecture, in any spelling, as images do.
func platformOf(arch string) string {
	return subject.PlatformText(*config.ParseArchitecture(arch).ToOCIPlatform())
}

// platforms are those to compare, in the order of A, then of B.
func platforms(a, b, asked []string) ([]string, error) {
	var all []string
	for _, name := range slices.Concat(a, b) {
		if !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if len(asked) == 0 {
		return all, nil
	}
	var out []string
	for _, arch := range asked {
		name := platformOf(arch)
		if !slices.Contains(all, name) {
			return nil, fmt.Errorf("%s: %w: found %v and %v", arch, ErrPlatform, a, b)
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out, nil
}

// compare compares one platform.
func compare(ctx context.Context, a, b *side, name string, o Options) (*Platform, error) {
	p := &Platform{Platform: name, A: a.digest(), B: b.digest(), Packages: []PackageChange{}, Files: []FileChange{},
		Config: []Change{}, Layers: noLayers(), NotCompared: []string{}}
	switch {
	case !a.there() || !b.there():
		p.NotCompared = append(p.NotCompared, "only one side has this platform")
		return p, nil
	case p.A != "" && p.A == p.B:
		p.Same = true
		p.Layers.Shared = len(a.image.Manifest.Layers)
		p.Pull = pullOf(a, b)
		return p, nil
	}
	c := &comparison{a: a, b: b, out: p, options: o}
	for _, step := range []func(context.Context) error{c.files, c.packages, c.sbom, c.config, c.layers} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	p.Same = a.image == nil && b.image == nil && len(p.Packages) == 0
	return p, nil
}

// comparison carries one platform through the steps.
type comparison struct {
	a, b    *side
	out     *Platform
	options Options
}

func (c *comparison) leaveOut(what string) { c.out.NotCompared = append(c.out.NotCompared, what) }
