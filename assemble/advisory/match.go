package advisory

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/vex"
	"github.com/cairn-dev/cairn/packages/apk"
)

// Package is a package that is looked up.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Origin  string `json:"origin,omitempty"`
	Arch    string `json:"arch,omitempty"` // apk's spelling
	PURL    string `json:"purl,omitempty"`
}

// Options say how packages are looked up.
type Options struct {
	// Distro is the distribution of the packages, as feeds name it: "wolfi",
	// "alpine:v3.19".
	Distro string
	// AsOf leaves out what was published later, for reports that can be made again;
	// zero: nothing.
	AsOf time.Time
	// VEX are statements that excuse findings in Image.
	VEX   vex.Statements
	Image vex.Image
}

// Finding is a vulnerability that affects a package.
type Finding struct {
	// ID is the CVE where there is one, else the record's.
	ID       string   `json:"id"`
	Names    []string `json:"names"` // all of them, ID included
	Severity Severity `json:"severity"`
	Package  Package  `json:"package"`
	// Fixed is the version that has the fix; empty when there is none.
	Fixed   string `json:"fixed,omitempty"`
	Summary string `json:"summary,omitempty"`
	// Excuse says why it does not count; nil when it does.
	Excuse *Excuse `json:"excuse,omitempty"`
}

// Excuse is a VEX statement that counted.
type Excuse struct {
	Status        string `json:"status"`
	Justification string `json:"justification,omitempty"`
	Impact        string `json:"impact,omitempty"`
	Author        string `json:"author,omitempty"`
}

// String spells it for people.
func (e *Excuse) String() string {
	s := strings.ReplaceAll(e.Status, "_", " ")
	if e.Justification != "" {
		s += ", " + strings.ReplaceAll(e.Justification, "_", " ")
	}
	if e.Impact != "" {
		s += " (" + e.Impact + ")"
	}
	if e.Author != "" {
		s += ", says " + e.Author
	}
	return s
}

// Coverage says what was looked at.
type Coverage struct {
	Distro   string `json:"distro"`
	Packages int    `json:"packages"`
	// Covered are those of a distribution that a feed is for; Known those of them that
	// a feed says anything about.
	Covered int    `json:"covered"`
	Known   int    `json:"known"`
	Feeds   []Meta `json:"feeds"`
	// NotLookedAt says what was not, one line each.
	NotLookedAt []string `json:"not_looked_at,omitempty"`
}

// Report is what feeds say of packages.
type Report struct {
	Findings []Finding `json:"findings"`
	// Suppressed were excused.
	Suppressed []Finding        `json:"suppressed"`
	Counts     map[Severity]int `json:"counts"`
	Coverage   Coverage         `json:"coverage"`
}

// Status is the outcome of a look at packages.
type Status string

// The outcomes. Clean says that everything was looked at and nothing was found;
// Inconclusive that nothing was found and something was not looked at.
const (
	Clean        Status = "clean"
	Found        Status = "findings"
	Inconclusive Status = "unknown"
)

// Status is the outcome.
func (r *Report) Status() Status {
	switch {
	case len(r.Findings) > 0:
		return Found
	case r.Coverage.Covered < r.Coverage.Packages || r.Coverage.Packages == 0:
		return Inconclusive
	}
	return Clean
}

// Feeds are looked at together.
type Feeds []*Feed

// Match says which advisories are about packages. Records about the package and about
// its origin both count, those for other architectures do not. Of several records
// about one vulnerability in a package, one that has no fix makes it unfixed; else the
// highest version that fixes one of them fixes it.
func (fs Feeds) Match(list []Package, o Options) *Report {
	r := &Report{Findings: []Finding{}, Suppressed: []Finding{}, Counts: map[Severity]int{},
		Coverage: Coverage{Distro: o.Distro, Packages: len(list), Feeds: []Meta{}}}
	for _, f := range fs {
		r.Coverage.Feeds = append(r.Coverage.Feeds, f.Meta)
	}
	covered := fs.covers(o.Distro)
	var unread []string
	for i := range list {
		p := &list[i]
		if !covered {
			continue
		}
		if !apk.ValidVersion(p.Version) {
			unread = append(unread, p.Name+"-"+p.Version)
			continue
		}
		r.Coverage.Covered++
		found, known := fs.look(p, &o)
		if known {
			r.Coverage.Known++
		}
		for _, f := range found {
			if s := o.VEX.Excuse(vex.Finding{Names: f.Names, PURL: p.PURL}, o.Image); s != nil {
				f.Excuse = &Excuse{s.Status, s.Justification, s.Impact, s.Author}
				r.Suppressed = append(r.Suppressed, f)
				continue
			}
			r.Counts[f.Severity]++
			r.Findings = append(r.Findings, f)
		}
	}
	switch {
	case len(fs) == 0:
		r.Coverage.NotLookedAt = append(r.Coverage.NotLookedAt, "packages: no feed was given")
	case !covered && o.Distro == "":
		r.Coverage.NotLookedAt = append(r.Coverage.NotLookedAt, "packages: it is not known of which distribution they are")
	case !covered:
		r.Coverage.NotLookedAt = append(r.Coverage.NotLookedAt, fmt.Sprintf("packages: no feed is for %s", o.Distro))
	}
	if len(unread) > 0 {
		r.Coverage.NotLookedAt = append(r.Coverage.NotLookedAt, "packages whose version is no apk version: "+strings.Join(unread, " "))
	}
	for _, l := range []*[]Finding{&r.Findings, &r.Suppressed} {
		slices.SortFunc(*l, func(a, b Finding) int {
			return cmp.Or(b.Severity.rank()-a.Severity.rank(), strings.Compare(a.ID, b.ID), strings.Compare(a.Package.Name, b.Package.Name), strings.Compare(a.Package.Arch, b.Package.Arch))
		})
	}
	return r
}

// covers tells whether a feed is for a distribution.
func (fs Feeds) covers(distro string) bool {
	for _, f := range fs {
		for _, d := range names(distro) {
			if slices.Contains(f.Distros, d) {
				return true
			}
		}
	}
	return false
}

// names are how feeds name a distribution: with its release, and without.
func names(distro string) []string {
	if distro == "" {
		return nil
	}
	if base, _, ok := strings.Cut(distro, ":"); ok {
		return []string{distro, base}
	}
	return []string{distro}
}

// group is what records say of one vulnerability in one package.
type group struct {
	names    []string
	severity Severity
	summary  string
	affected bool
	unfixed  bool
	fixed    string
}

// look returns the vulnerabilities of a package, and whether anything is said of it.
func (fs Feeds) look(p *Package, o *Options) (out []Finding, known bool) {
	groups := map[string]*group{}
	var order []string
	keys := []string{p.Name}
	if p.Origin != "" && p.Origin != p.Name {
		keys = append(keys, p.Origin)
	}
	for _, f := range fs {
		for _, distro := range names(o.Distro) {
			for _, key := range keys {
				list := f.Lookup(distro, key)
				known = known || len(list) > 0
				for i := range list {
					a := &list[i]
					if a.Arch != "" && p.Arch != "" && a.Arch != p.Arch || a.over(o.AsOf) {
						continue
					}
					id := a.canonical()
					g := groups[id]
					if g == nil {
						g = &group{names: []string{id}}
						groups[id] = g
						order = append(order, id)
					}
					g.add(a, p.Version)
				}
			}
		}
	}
	slices.Sort(order)
	for _, id := range order {
		g := groups[id]
		if !g.affected {
			continue
		}
		slices.Sort(g.names[1:])
		g.names = slices.Compact(g.names)
		f := Finding{ID: id, Names: g.names, Severity: g.severity, Package: *p, Fixed: g.fixed, Summary: g.summary}
		if g.unfixed {
			f.Fixed = ""
		}
		if f.Severity == Unknown {
			f.Severity = fs.severity(g.names)
		}
		out = append(out, f)
	}
	return out, known
}

// severity is what any feed says of a vulnerability under any of its names.
func (fs Feeds) severity(names []string) Severity {
	best := Unknown
	for _, f := range fs {
		for _, n := range names {
			if s := f.severities[n]; s.rank() > best.rank() {
				best = s
			}
		}
	}
	return best
}

// over tells whether an advisory was not there yet, or not any more.
func (a *Advisory) over(asOf time.Time) bool {
	if asOf.IsZero() {
		return !a.Withdrawn.IsZero()
	}
	return !a.Withdrawn.IsZero() && !a.Withdrawn.After(asOf) || a.Published.After(asOf)
}

// canonical is the CVE of an advisory, else its ID.
func (a *Advisory) canonical() string {
	for _, n := range append([]string{a.ID}, a.Aliases...) {
		if strings.HasPrefix(n, "CVE-") {
			return n
		}
	}
	return a.ID
}

// add takes what an advisory says of a version.
func (g *group) add(a *Advisory, version string) {
	g.names = append(append(g.names, a.ID), a.Aliases...)
	if a.Severity.rank() > g.severity.rank() {
		g.severity = a.Severity
	}
	affected, fixed := a.affects(version)
	if !affected {
		return
	}
	g.affected = true
	g.summary = cmp.Or(g.summary, a.Summary)
	switch {
	case fixed == "":
		g.unfixed = true
	case g.fixed == "" || apk.Compare(fixed, g.fixed) > 0:
		g.fixed = fixed
	}
}

// affects tells whether a version is affected, and which one fixes it.
func (a *Advisory) affects(version string) (affected bool, fixed string) {
	for _, r := range a.Ranges {
		if r.has(version) {
			return true, r.Fixed
		}
	}
	return slices.Contains(a.Versions, version), ""
}

func (r *Range) has(version string) bool {
	if r.Introduced != "" && r.Introduced != "0" && apk.Compare(version, r.Introduced) < 0 {
		return false
	}
	switch {
	case r.Fixed == "0": // a false alarm
		return false
	case r.Fixed != "":
		return apk.Compare(version, r.Fixed) < 0
	case r.Last != "":
		return apk.Compare(version, r.Last) <= 0
	}
	return true
}

// DistroOf reads which distribution an os-release file names, as feeds do.
func DistroOf(osRelease []byte) string {
	values := map[string]string{}
	for line := range strings.Lines(string(osRelease)) {
		k, v, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok {
			values[k] = strings.Trim(v, `"'`)
		}
	}
	id := strings.ToLower(values["ID"])
	if id == "alpine" {
		if v := strings.Split(values["VERSION_ID"], "."); len(v) >= 2 {
			return "alpine:v" + v[0] + "." + v[1]
		}
	}
	return id
}

// DistroOfURL tells which distribution a package repository is of; empty when it is
// not known.
func DistroOfURL(url string) string {
	switch {
	case strings.Contains(url, "packages.wolfi.dev"):
		return "wolfi"
	case strings.Contains(url, "packages.cgr.dev"), strings.Contains(url, "apk.cgr.dev"):
		return "chainguard"
	case strings.Contains(url, "alpine"):
		for _, part := range strings.Split(url, "/") {
			if len(part) > 1 && part[0] == 'v' && strings.Contains(part, ".") {
				return "alpine:" + part
			}
		}
		return "alpine"
	}
	return ""
}
