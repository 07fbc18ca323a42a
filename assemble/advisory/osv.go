package advisory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/package-url/packageurl-go"
)

// osvRecord is what is read of an OSV record.
type osvRecord struct {
	ID        string        `json:"id"`
	Modified  string        `json:"modified"`
	Published string        `json:"published"`
	Withdrawn string        `json:"withdrawn"`
	Aliases   []string      `json:"aliases"`
	Upstream  []string      `json:"upstream"`
	Related   []string      `json:"related"`
	Summary   string        `json:"summary"`
	Severity  []osvSeverity `json:"severity"`
	Affected  []osvAffected `json:"affected"`
	Database  struct {
		Severity json.RawMessage `json:"severity"`
	} `json:"database_specific"`
}

type osvSeverity struct {
	Type  string `json:"type"`
	Score string `json:"score"`
}

type osvAffected struct {
	Package struct {
		Ecosystem string `json:"ecosystem"`
		Name      string `json:"name"`
		PURL      string `json:"purl"`
	} `json:"package"`
	Severity []osvSeverity `json:"severity"`
	Ranges   []struct {
		Type   string              `json:"type"`
		Events []map[string]string `json:"events"`
	} `json:"ranges"`
	Versions []string `json:"versions"`
}

// osv takes a record. Records of ecosystems whose packages are no apks only give
// severities.
func (b *builder) osv(r *osvRecord) error {
	if err := b.count(); err != nil {
		return err
	}
	if r.ID == "" {
		return errors.New("id: missing")
	}
	var err error
	times := map[string]time.Time{}
	for field, text := range map[string]string{"modified": r.Modified, "published": r.Published, "withdrawn": r.Withdrawn} {
		if text == "" {
			continue
		}
		if times[field], err = time.Parse(time.RFC3339, text); err != nil {
			return fmt.Errorf("%.100s: %s: found %.100q, expected a time such as 2026-01-02T15:04:05Z", r.ID, field, text)
		}
	}
	severity := severityOf(r)
	names := r.names()
	if severity != "" && times["withdrawn"].IsZero() {
		for _, n := range append([]string{r.ID}, names...) {
			if known, ok := b.severities[n]; !ok || severity.rank() > known.rank() {
				b.severities[n] = severity
			}
		}
	}
	used := false
	for i := range r.Affected {
		a := &r.Affected[i]
		distro, name, arch := a.place()
		if distro == "" {
			continue
		}
		used = true
		x := Advisory{ID: r.ID, Aliases: names, Severity: severity, Summary: r.Summary, Arch: arch, Versions: a.Versions,
			Published: times["published"].UTC(), Modified: times["modified"].UTC(), Withdrawn: times["withdrawn"].UTC()}
		for _, rg := range a.Ranges {
			if rg.Type != "ECOSYSTEM" {
				continue // git commits, and the order of other ecosystems
			}
			x.Ranges = append(x.Ranges, ranges(rg.Events)...)
		}
		b.add(distro, name, x)
	}
	if !used {
		b.meta.Ignored++
	}
	return nil
}

// names are the other names of the vulnerability. Chainguard's records have the CVE
// in upstream, older ones in related, which elsewhere means something else.
func (r *osvRecord) names() []string {
	out := slices.Concat(r.Aliases, r.Upstream)
	if len(out) == 0 && slices.ContainsFunc(r.Affected, func(a osvAffected) bool { d, _, _ := a.place(); return d != "" }) {
		out = append(out, r.Related...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ranges turns the events of a range into ranges.
func ranges(events []map[string]string) (out []Range) {
	open := false
	for _, e := range events {
		if v, ok := e["introduced"]; ok {
			out = append(out, Range{Introduced: v})
			open = true
		}
		for _, kind := range []string{"fixed", "last_affected"} {
			v, ok := e[kind]
			if !ok {
				continue
			}
			if !open {
				out = append(out, Range{Introduced: "0"})
			}
			open = false
			if kind == "fixed" {
				out[len(out)-1].Fixed = v
			} else {
				out[len(out)-1].Last = v
			}
		}
	}
	return out
}

// place tells which packages are affected: of which distribution, name and
// architecture. The distribution is empty for other ecosystems.
func (a *osvAffected) place() (distro, name, arch string) {
	name = a.Package.Name
	if p, err := packageurl.FromString(a.Package.PURL); err == nil && p.Type == "apk" {
		distro, arch = strings.ToLower(p.Namespace), p.Qualifiers.Map()["arch"]
		if name == "" {
			name = p.Name
		}
	}
	ecosystem, release, _ := strings.Cut(a.Package.Ecosystem, ":")
	switch strings.ToLower(ecosystem) {
	case "wolfi", "chainguard":
		if distro == "" {
			distro = strings.ToLower(ecosystem)
		}
	case "alpine":
		distro = "alpine"
		if release != "" {
			distro += ":" + release
		}
	case "":
	default:
		return "", "", ""
	}
	if name == "" {
		return "", "", ""
	}
	return distro, name, arch
}
