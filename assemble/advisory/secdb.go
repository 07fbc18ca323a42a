package advisory

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// secdb is the security database of Alpine and of Wolfi: versions in which
// vulnerabilities were fixed, by origin package.
type secdb struct {
	URLPrefix     string         `json:"urlprefix"`
	APKURL        string         `json:"apkurl"`
	RepoName      string         `json:"reponame"`
	DistroVersion string         `json:"distroversion"`
	Packages      []secdbPackage `json:"packages"`
}

type secdbPackage struct {
	Package struct {
		Name     string              `json:"name"`
		SecFixes map[string][]string `json:"secfixes"`
	} `json:"pkg"`
}

// vulnerabilityName is what of an entry names a vulnerability: some have words
// beside it.
var vulnerabilityName = regexp.MustCompile(`\b[A-Z][A-Z0-9]*-[0-9A-Za-z][0-9A-Za-z-]*\b`)

func (b *builder) secdb(s *secdb) error {
	if err := b.count(); err != nil {
		return err
	}
	distro := s.distro()
	if distro == "" {
		return fmt.Errorf("secdb: urlprefix %.200q: of no known distribution, expected one of Wolfi, Chainguard or Alpine", s.URLPrefix)
	}
	b.distros[distro] = true
	for i := range s.Packages {
		p := &s.Packages[i].Package
		if p.Name == "" {
			return fmt.Errorf("secdb: packages[%d]: pkg.name: missing", i)
		}
		for _, version := range slices.Sorted(maps.Keys(p.SecFixes)) {
			for _, text := range p.SecFixes[version] {
				names := vulnerabilityName.FindAllString(text, -1)
				if len(names) == 0 {
					continue
				}
				b.add(distro, p.Name, Advisory{ID: names[0], Aliases: names[1:], Ranges: []Range{{Introduced: "0", Fixed: version}}})
			}
		}
	}
	return nil
}

// distro tells whose database it is.
func (s *secdb) distro() string {
	for _, url := range []string{s.URLPrefix, s.APKURL} {
		switch {
		case strings.Contains(url, "packages.wolfi.dev"):
			return "wolfi"
		case strings.Contains(url, "cgr.dev"):
			return "chainguard"
		case strings.Contains(url, "alpinelinux.org"):
			if s.DistroVersion == "" || s.DistroVersion == "edge" {
				return "alpine"
			}
			return "alpine:" + s.DistroVersion
		}
	}
	return ""
}
