// Package quickview looks at what is known of the vulnerabilities in an image, an
// SBOM or a lock, beside its base image and beside the same packages as they would be
// today.
//
// It looks at packages. Software that is no package is counted where that was asked
// for, and otherwise said not to have been looked at: a short list is no clean one.
//
//	target, err := quickview.OfSubject(ctx, s, "x86_64", quickview.Options{})
//	if err != nil {
//		return err
//	}
//	view := quickview.New(target, feeds, advisory.Options{})
//	fmt.Println(view.Status, view.Rows[0].Counts)
//
// docs/quickview.md describes the result.
package quickview

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/assemble/advisory"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
)

// Version is that of the JSON form.
const Version = 1

// ErrSBOM: not an SBOM that can be read.
var ErrSBOM = errors.New("not an SBOM")

// Inventory is the packages of a side.
type Inventory struct {
	Name     string
	Digest   string // of the image or the lock; empty where there is none
	Distro   string // as feeds name it
	Packages []advisory.Package
	// Unowned is how many files are no package's; -1 when nobody counted.
	Unowned int
	// Executables is how many of them can be run.
	Executables int
	// DiffIDs are those of an image's layers.
	DiffIDs []v1.Hash
	// NotLookedAt says what is there and was not looked at.
	NotLookedAt []string
}

// Options say how a side is read.
type Options struct {
	// Files reads every layer to count the files that are no package's.
	Files bool
	// Distro is the distribution, in place of the one that is found.
	Distro string
}

// OfImage reads an image: its installed database, and with Options.Files all layers.
func OfImage(ctx context.Context, name string, img *subject.Image, o Options) (*Inventory, error) {
	inv := &Inventory{Name: name, Digest: img.Digest.String(), Unowned: -1, Distro: o.Distro, DiffIDs: img.Config.RootFS.DiffIDs}
	raw, err := image.ReadFile(ctx, img.Image, subject.Databases...)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		inv.NotLookedAt = append(inv.NotLookedAt, "the image has no installed database: what is in it is not known")
		return inv, nil
	default:
		return nil, err
	}
	installed, err := apk.ParseInstalled(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%s: installed database: %w", name, err)
	}
	if inv.Distro == "" {
		release, err := image.ReadFile(ctx, img.Image, "etc/os-release", "usr/lib/os-release")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		inv.Distro = advisory.DistroOf(release)
	}
	for i := range installed {
		inv.add(&installed[i].Package)
	}
	if !o.Files {
		inv.NotLookedAt = append(inv.NotLookedAt, "files that are no package's were not looked for")
		return inv, nil
	}
	return inv, inv.count(ctx, img, installed)
}

func (inv *Inventory) add(p *apk.Package) {
	inv.Packages = append(inv.Packages, advisory.Package{Name: p.Name, Version: p.Version, Origin: p.Origin, Arch: p.Arch,
		PURL: purlOf(inv.Distro, p.Name, p.Version, p.Arch)})
}

func purlOf(distro, name, version, arch string) string {
	namespace, _, _ := strings.Cut(distro, ":")
	q := map[string]string{}
	if arch != "" {
		q["arch"] = arch
	}
	return packageurl.NewPackageURL("apk", namespace, name, version, packageurl.QualifiersFromMap(q), "").ToString()
}

// count counts the files that are no package's.
func (inv *Inventory) count(ctx context.Context, img *subject.Image, installed []apk.InstalledPackage) error {
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	var listings []*image.Listing
	for _, l := range layers {
		listing, err := image.List(ctx, l, func(string) bool { return false })
		if err != nil {
			return err
		}
		listings = append(listings, listing)
	}
	tree, err := image.Unpack(listings)
	if err != nil {
		return err
	}
	owners := subject.Owners(installed)
	inv.Unowned = 0
	for path, e := range tree {
		if e.Type == apk.TypeDir || owners[path] != "" || subject.IsDatabase(path) {
			continue
		}
		inv.Unowned++
		if e.Type == apk.TypeFile && e.Mode&0o111 != 0 {
			inv.Executables++
		}
	}
	if inv.Executables > 0 {
		inv.NotLookedAt = append(inv.NotLookedAt, fmt.Sprintf("%d files that can be run are no package's", inv.Executables))
	}
	return nil
}

// OfLock reads the packages of a lock for an architecture (apk's spelling).
func OfLock(name string, l *lock.Lock, arch string, o Options) *Inventory {
	inv := &Inventory{Name: name, Unowned: -1, Distro: o.Distro}
	if l.Cairn != nil {
		inv.Digest = l.Cairn.Digest.String()
	}
	for _, p := range l.For(arch) {
		if inv.Distro == "" {
			inv.Distro = advisory.DistroOfURL(p.URL)
		}
		q := apk.Package{Name: p.Name, Version: p.Version, Arch: p.Architecture}
		if p.Cairn != nil {
			q.Origin = p.Cairn.Origin
		} else {
			inv.note("the lock is apko's: it names no origins, by which most advisories go")
		}
		inv.add(&q)
	}
	if n := len(l.For(arch)); n == 0 {
		inv.note("the lock has no packages for " + arch)
	}
	if b := l.Base(arch); b != nil {
		inv.note(fmt.Sprintf("%d packages of the base image: a lock names no origins of them", len(b.Packages)))
	}
	return inv
}

func (inv *Inventory) note(s string) {
	if !slices.Contains(inv.NotLookedAt, s) {
		inv.NotLookedAt = append(inv.NotLookedAt, s)
	}
}

// OfSBOM reads an SPDX 2 or CycloneDX document in JSON: the packages that it names by
// a package URL of the type apk.
func OfSBOM(name string, raw []byte, o Options) (*Inventory, error) {
	var doc struct {
		SPDX      string `json:"spdxVersion"`
		CycloneDX string `json:"bomFormat"`
		Packages  []struct {
			Refs []struct {
				Type    string `json:"referenceType"`
				Locator string `json:"referenceLocator"`
			} `json:"externalRefs"`
		} `json:"packages"`
		Components []component `json:"components"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrSBOM, err)
	}
	if !strings.HasPrefix(doc.SPDX, "SPDX-2.") && doc.CycloneDX != "CycloneDX" {
		return nil, fmt.Errorf("%s: %w: found neither spdxVersion SPDX-2.x nor bomFormat CycloneDX", name, ErrSBOM)
	}
	inv := &Inventory{Name: name, Unowned: -1, Distro: o.Distro}
	var purls []string
	for _, p := range doc.Packages {
		for _, r := range p.Refs {
			if r.Type == "purl" {
				purls = append(purls, r.Locator)
			}
		}
	}
	purls = append(purls, componentPURLs(doc.Components, 0)...)
	slices.Sort(purls)
	others := 0
	for _, text := range slices.Compact(purls) {
		p, err := packageurl.FromString(text)
		if err != nil || p.Type != "apk" {
			if err == nil && p.Type != "oci" && p.Type != "generic" {
				others++
			}
			continue
		}
		q := p.Qualifiers.Map()
		if inv.Distro == "" {
			inv.Distro = distroOfPURL(p.Namespace, q["distro"])
		}
		inv.Packages = append(inv.Packages, advisory.Package{Name: p.Name, Version: p.Version, Origin: q["origin"], Arch: q["arch"], PURL: text})
	}
	if others > 0 {
		inv.note(fmt.Sprintf("%d components of other kinds: one inside a package is judged by the package's advisories, any other by nothing", others))
	}
	return inv, nil
}

type component struct {
	PURL       string      `json:"purl"`
	Components []component `json:"components"`
}

func componentPURLs(list []component, depth int) (out []string) {
	if depth > 32 {
		return nil
	}
	for _, c := range list {
		if c.PURL != "" {
			out = append(out, c.PURL)
		}
		out = append(out, componentPURLs(c.Components, depth+1)...)
	}
	return out
}

// distroOfPURL reads namespace and the qualifier distro ("alpine-3.19.1").
func distroOfPURL(namespace, distro string) string {
	if namespace == "alpine" {
		if v := strings.Split(strings.TrimPrefix(distro, "alpine-"), "."); len(v) >= 2 {
			return "alpine:v" + v[0] + "." + v[1]
		}
	}
	return strings.ToLower(namespace)
}

// Row is one side of the table.
type Row struct {
	Name     string                    `json:"name"` // Target, Base or Refreshed
	Subject  string                    `json:"subject,omitempty"`
	Digest   string                    `json:"digest,omitempty"`
	Packages int                       `json:"packages"`
	Counts   map[advisory.Severity]int `json:"counts,omitempty"`
	// Why says why there are no counts.
	Why string `json:"why,omitempty"`
	// Gone and Came are the vulnerabilities that the target has and this side has not,
	// and the other way round, as "ID PACKAGE".
	Gone []string `json:"gone,omitempty"`
	Came []string `json:"came,omitempty"`
}

// View is the result.
type View struct {
	Version int             `json:"version"`
	Status  advisory.Status `json:"status"`
	AsOf    time.Time       `json:"as_of,omitzero"`
	Rows    []Row           `json:"rows"`
	*advisory.Report
	// Unowned is how many files of the target are no package's; -1 when nobody counted.
	Unowned int `json:"unowned"`
}

// New looks at a target.
func New(target *Inventory, feeds advisory.Feeds, o advisory.Options) *View {
	r := match(target, feeds, o)
	v := &View{Version: Version, Report: r, AsOf: o.AsOf, Unowned: target.Unowned}
	v.Coverage.NotLookedAt = append(v.Coverage.NotLookedAt, target.NotLookedAt...)
	v.Status = r.Status()
	if v.Status == advisory.Clean && target.Executables > 0 {
		v.Status = advisory.Inconclusive
	}
	v.Rows = []Row{{Name: "Target", Subject: target.Name, Digest: target.Digest, Packages: len(target.Packages), Counts: counts(r)}}
	return v
}

func match(inv *Inventory, feeds advisory.Feeds, o advisory.Options) *advisory.Report {
	o.Distro = inv.Distro
	return feeds.Match(inv.Packages, o)
}

// counts are those of a report, but for one that looked at nothing.
func counts(r *advisory.Report) map[advisory.Severity]int {
	if r.Coverage.Covered == 0 {
		return nil
	}
	return r.Counts
}

// Add adds another side.
func (v *View) Add(name string, side *Inventory, feeds advisory.Feeds, o advisory.Options) {
	r := match(side, feeds, o)
	row := Row{Name: name, Subject: side.Name, Digest: side.Digest, Packages: len(side.Packages), Counts: counts(r)}
	if row.Counts == nil {
		row.Why = strings.Join(append(slices.Clone(r.Coverage.NotLookedAt), side.NotLookedAt...), "; ")
	}
	row.Gone, row.Came = differ(v.Findings, r.Findings), differ(r.Findings, v.Findings)
	v.Rows = append(v.Rows, row)
}

// Without adds a side that is not known.
func (v *View) Without(name, why string) { v.Rows = append(v.Rows, Row{Name: name, Why: why}) }

// differ lists the findings of a that b has not.
func differ(a, b []advisory.Finding) (out []string) {
	have := map[string]bool{}
	for i := range b {
		have[b[i].ID+" "+b[i].Package.Name] = true
	}
	for i := range a {
		if s := a[i].ID + " " + a[i].Package.Name; !have[s] {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// OnBase tells whether an image stands on another: its first layers are the other's.
func OnBase(target, base *Inventory) bool {
	return len(base.DiffIDs) > 0 && len(base.DiffIDs) <= len(target.DiffIDs) && slices.Equal(base.DiffIDs, target.DiffIDs[:len(base.DiffIDs)])
}
