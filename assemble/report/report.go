// Package report says everything about one image on one page: layers, packages,
// files, licences, configuration, what is attached to it, and, where somebody
// checked them, its signatures.
//
// It reads and shows; it checks no signature and knows no advisories. What the
// caller did not check is said to be unchecked, never left to look good.
//
//	r, err := report.New(ctx, s)
//	if err != nil {
//		return err
//	}
//	return r.WriteHTML(w)
//
// The page is one file that asks for nothing else. The same image gives the
// same bytes: no clock is read. Whatever comes from the image is text there,
// never markup; docs/report.md describes page and JSON.
package report

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Version is that of the JSON form; it rises when a field changes its meaning.
const Version = 1

// Report is what is known of an image.
type Report struct {
	Version   int        `json:"version"`
	Image     Image      `json:"image"`
	Platforms []Platform `json:"platforms"`
	// Kit is the digest of the rebuild kit, empty without one.
	Kit          string        `json:"kit,omitempty"`
	Attestations []Attestation `json:"attestations"`
	Signatures   Signatures    `json:"signatures"`
	Advisories   Advisories    `json:"advisories"`
	// Notes say what could not be looked at and why.
	Notes []string `json:"notes"`
}

// Image names what the report is about.
type Image struct {
	Name        string            `json:"name"` // as given
	Digest      string            `json:"digest"`
	MediaType   string            `json:"media_type"`
	Annotations map[string]string `json:"annotations,omitempty"` // of the image index
}

// Platform is one image.
type Platform struct {
	Platform string    `json:"platform"`
	Digest   string    `json:"digest"`
	Created  string    `json:"created,omitempty"` // RFC 3339, from the image
	System   string    `json:"system,omitempty"`  // PRETTY_NAME of os-release
	Size     int64     `json:"size"`              // of what is pulled, bytes
	Inflated int64     `json:"inflated"`          // of all files, bytes
	Config   []Setting `json:"config"`
	Layers   []Layer   `json:"layers"`
	Packages []Package `json:"packages"`
	Files    []File    `json:"files"`
	Licenses []License `json:"licenses"`
	// Database tells whether there is an installed database. Without one there
	// are no packages and no owners of files.
	Database bool `json:"database"`
}

// Setting is a key and value of the configuration or an annotation.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Layer is a layer, bottom to top.
type Layer struct {
	Position int    `json:"position"` // from 1
	Digest   string `json:"digest"`
	DiffID   string `json:"diff_id"`
	Size     int64  `json:"size"`     // compressed, bytes
	Inflated int64  `json:"inflated"` // of its files, bytes
	Paths    int    `json:"paths"`
	Comment  string `json:"comment,omitempty"` // of the history
	// Parts are the packages with files in it, by bytes; Package is empty for
	// files of none.
	Parts []Part `json:"parts"`
}

// Part is a package's share of a layer.
type Part struct {
	Package string `json:"package,omitempty"`
	Bytes   int64  `json:"bytes"` // of files, not compressed
	Paths   int    `json:"paths"`
}

// Package is an installed package.
type Package struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Arch        string `json:"arch"`
	Origin      string `json:"origin,omitempty"`
	License     string `json:"license,omitempty"`
	Description string `json:"description,omitempty"`
	URL         string `json:"url,omitempty"`
	Maintainer  string `json:"maintainer,omitempty"`
	Size        int64  `json:"size"` // installed, bytes
	Files       int    `json:"files"`
	Layers      []int  `json:"layers"`
	// Depends are its dependencies as written, Needs the packages here that
	// meet them, NeededBy the packages whose dependencies it meets.
	Depends  []string `json:"depends"`
	Needs    []string `json:"needs"`
	NeededBy []string `json:"needed_by"`
}

// File is a path of the unpacked image.
type File struct {
	Path    string `json:"path"` // without a leading slash
	Type    string `json:"type"` // apk's letter: f, d, l, c, b, p
	Mode    string `json:"mode"` // octal, four digits
	UID     int    `json:"uid"`
	GID     int    `json:"gid"`
	Size    int64  `json:"size,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Link    string `json:"link,omitempty"`
	Package string `json:"package,omitempty"`
	Layer   int    `json:"layer,omitempty"` // position; 0: no layer states it
}

// License is a licence expression with the packages under it.
type License struct {
	License  string   `json:"license"` // empty: none given
	Packages []string `json:"packages"`
	Size     int64    `json:"size"` // installed, bytes
}

// Signatures are what was found, and the verdict where somebody asked for one.
type Signatures struct {
	Found int `json:"found"`
	// Checked: the other fields say what was found out. Otherwise nothing was.
	Checked  bool       `json:"checked"`
	Outcome  string     `json:"outcome,omitempty"` // passed, failed, missing
	Policy   string     `json:"policy,omitempty"`
	Rules    []Rule     `json:"rules,omitempty"`
	Evidence []Evidence `json:"evidence,omitempty"`
}

// Rule is one requirement and its outcome.
type Rule struct {
	Rule     string `json:"rule"`
	Required string `json:"required"`
	Found    string `json:"found"`
	Passed   bool   `json:"passed"`
	Why      string `json:"why,omitempty"`
}

// Evidence is a signature or attestation that was looked at.
type Evidence struct {
	Where    string `json:"where"`
	Kind     string `json:"kind,omitempty"`
	Signer   string `json:"signer,omitempty"`
	SignedAt string `json:"signed_at,omitempty"`
	Counts   bool   `json:"counts"`
	Why      string `json:"why,omitempty"`
}

// Advisories say what is known of vulnerabilities.
type Advisories struct {
	// Looked is false where no feed was given: then nothing is known, which is
	// not the same as no vulnerabilities.
	Looked bool   `json:"looked"`
	Why    string `json:"why,omitempty"`
	// Platforms are what feeds say of the images.
	Platforms []PlatformAdvisories `json:"platforms,omitempty"`
}

// PlatformAdvisories is what feeds say of the packages of one image.
type PlatformAdvisories struct {
	Platform string `json:"platform"`
	// Status is clean, findings, or unknown: nothing was found, and not everything was
	// looked at.
	Status   string     `json:"status"`
	Findings []Advisory `json:"findings"`
	// Suppressed are excused by statements that were given.
	Suppressed []Advisory `json:"suppressed"`
	// Coverage says what was looked at, by which feeds, and what was not.
	Coverage []string `json:"coverage"`
}

// Advisory is a vulnerability in a package.
type Advisory struct {
	ID       string `json:"id"`
	Severity string `json:"severity"` // critical, high, medium, low or ?
	Package  string `json:"package"`  // name-version
	Fixed    string `json:"fixed,omitempty"`
	Summary  string `json:"summary,omitempty"`
	// Why says why it does not count.
	Why string `json:"why,omitempty"`
}

// Found counts what was found on all platforms.
func (a *Advisories) Found() (n int) {
	for i := range a.Platforms {
		n += len(a.Platforms[i].Findings)
	}
	return n
}

// Clean tells whether all platforms are.
func (a *Advisories) Clean() bool {
	for i := range a.Platforms {
		if a.Platforms[i].Status != "clean" {
			return false
		}
	}
	return len(a.Platforms) > 0
}

// New reads an image: every layer of every platform, within limits.
func New(ctx context.Context, s *subject.Subject, platforms ...string) (*Report, error) {
	r := &Report{Version: Version, Attestations: []Attestation{}, Notes: []string{},
		Image:      Image{Name: s.Name, Digest: s.Descriptor.Digest.String(), MediaType: string(s.Descriptor.MediaType), Annotations: s.Annotations},
		Advisories: Advisories{Why: "No advisory feed was given"}}
	for i := range s.Images {
		if name := s.Images[i].PlatformText(); len(platforms) > 0 && !slices.Contains(platforms, name) {
			continue
		}
		p, err := platform(ctx, &s.Images[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Images[i].PlatformText(), err)
		}
		r.Platforms = append(r.Platforms, *p)
	}
	return r, r.findKit(ctx, s)
}

func (r *Report) findKit(ctx context.Context, s *subject.Subject) error {
	if s.Target() == nil {
		r.Notes = append(r.Notes, "attestations, signatures and the rebuild kit: not looked for in an archive")
		return nil
	}
	list, err := s.Target().Referrers(ctx, s.Descriptor.Digest)
	if err != nil {
		return err
	}
	for _, d := range list {
		if d.ArtifactType == kit.ArtifactType && r.Kit == "" {
			r.Kit = d.Digest.String()
		}
	}
	return nil
}

// releases say which system it is, by preference.
var releases = []string{"etc/os-release", "usr/lib/os-release"}

func wanted(path string) bool { return subject.IsDatabase(path) || slices.Contains(releases, path) }

// content is an image that was read.
type content struct {
	img       *subject.Image
	listings  []*image.Listing
	tree      map[string]*image.Placed
	installed []apk.InstalledPackage
	owners    map[string]string
	out       *Platform
}

func platform(ctx context.Context, img *subject.Image) (*Platform, error) {
	c := &content{img: img, out: &Platform{Platform: img.PlatformText(), Digest: img.Digest.String(), Packages: []Package{}, Licenses: []License{}}}
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	for _, l := range layers {
		listing, err := image.List(ctx, l, wanted)
		if err != nil {
			return nil, err
		}
		c.listings = append(c.listings, listing)
	}
	if c.tree, err = image.Unpack(c.listings); err != nil {
		return nil, err
	}
	if err := c.database(); err != nil {
		return nil, err
	}
	c.header()
	c.files()
	c.layers()
	c.packages()
	c.licenses()
	return c.out, nil
}

// read returns a file of the unpacked image that was asked for.
func (c *content) read(names []string) ([]byte, bool) {
	for _, name := range names {
		p := c.tree[name]
		if p == nil || p.Type != apk.TypeFile || p.Layer < 0 {
			continue
		}
		if b, ok := c.listings[p.Layer].Kept[name]; ok {
			return b, true
		}
	}
	return nil, false
}

func (c *content) database() error {
	c.owners = map[string]string{}
	b, ok := c.read(subject.Databases)
	if !ok {
		return nil
	}
	c.out.Database = true
	var err error
	if c.installed, err = apk.ParseInstalled(bytes.NewReader(b)); err != nil {
		return err
	}
	c.owners = subject.Owners(c.installed)
	return nil
}

func (c *content) header() {
	if !c.img.Config.Created.IsZero() {
		c.out.Created = c.img.Config.Created.UTC().Format("2006-01-02T15:04:05Z")
	}
	if b, ok := c.read(releases); ok {
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
				c.out.System = strings.Trim(name, `"'`)
			}
		}
	}
	c.out.Size = c.img.Manifest.Config.Size
	if size, err := c.img.Size(); err == nil { // the manifest is in memory
		c.out.Size += size
	}
	for i := range c.img.Manifest.Layers {
		c.out.Size += c.img.Manifest.Layers[i].Size
	}
	c.out.Config = settings(c.img)
}

func (c *content) files() {
	for _, p := range c.tree {
		f := File{Path: p.Path, Type: string(p.Type), Mode: fmt.Sprintf("%04o", p.Mode), UID: p.UID, GID: p.GID,
			Package: c.owners[p.Path], Layer: p.Layer + 1}
		switch p.Type {
		case apk.TypeFile:
			f.Size, f.SHA256 = p.Size, p.SHA256.Hex()
			c.out.Inflated += p.Size
		case apk.TypeSymlink:
			f.Link = p.Link
		}
		if p.HardLink != "" {
			f.Link = "/" + p.HardLink
			c.out.Inflated -= p.Size // the same file
		}
		c.out.Files = append(c.out.Files, f)
	}
	slices.SortFunc(c.out.Files, func(a, b File) int { return rootfs.ComparePaths(a.Path, b.Path) })
}
