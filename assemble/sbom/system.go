package sbom

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"net/url"
	"strings"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// system is what os-release(5) says of the distribution. The zero value is an
// image without one.
type system struct {
	id, name, version string
	cpe, home         string
	domain            string // of home: "alpinelinux.org"
}

// The places of os-release, in the order in which os-release(5) reads them.
var osReleasePaths = []string{"etc/os-release", "usr/lib/os-release"}

// readSystem finds os-release in the tree and reads it.
func readSystem(t *rootfs.Tree) (system, error) {
	for _, want := range osReleasePaths {
		for i := range t.Entries {
			e := &t.Entries[i]
			if e.Path != want || e.Type != apk.TypeFile {
				continue
			}
			content := e.Content
			if content == nil && e.Package >= 0 && e.Package < t.Sources() {
				content = packageContent(t.Receipt(e.Package), e)
			}
			return parseSystem(content), nil
		}
	}
	return system{}, nil
}

// packageContent finds a file's bytes in its package's receipt: under the
// entry's path, or under the member's own where the two differ (usr-merge).
func packageContent(r *store.Receipt, e *rootfs.Entry) []byte {
	if c, ok := r.Contents[e.Path]; ok {
		return c
	}
	if e.Member >= 0 && e.Member < len(r.Entries) {
		return r.Contents[r.Entries[e.Member].Path]
	}
	return nil
}

func parseSystem(b []byte) system {
	var s system
	scan := bufio.NewScanner(bytes.NewReader(b))
	for scan.Scan() {
		key, value, ok := strings.Cut(strings.TrimSpace(scan.Text()), "=")
		if !ok {
			continue
		}
		value = unquote(value)
		switch key {
		case "ID":
			s.id = strings.ToLower(value)
		case "NAME":
			s.name = value
		case "VERSION_ID":
			s.version = value
		case "CPE_NAME":
			s.cpe = value
		case "HOME_URL":
			s.home = webURL(value)
		}
	}
	s.name = cmp.Or(s.name, s.id)
	if u, err := url.Parse(s.home); err == nil {
		s.domain = domain(u.Hostname())
	}
	return s
}

// unquote reads a shell word as os-release(5) allows it.
func unquote(s string) string {
	if len(s) >= 2 && (s[0] == '"' || s[0] == '\'') && s[len(s)-1] == s[0] {
		s = s[1 : len(s)-1]
	}
	return strings.NewReplacer(`\"`, `"`, `\$`, `$`, "\\`", "`", `\\`, `\`).Replace(s)
}

// domain cuts a host name to its last two labels.
func domain(host string) string {
	labels := strings.Split(host, ".")
	if len(labels) < 2 {
		return ""
	}
	return strings.Join(labels[len(labels)-2:], ".")
}

func (s *system) component() Component {
	c := Component{
		ID:          "OperatingSystem",
		Kind:        KindOS,
		Name:        s.id,
		Version:     cmp.Or(s.version, "rolling"),
		Supplier:    Party{Name: s.name},
		Purpose:     "OPERATING_SYSTEM",
		PURL:        purl("generic", "", s.id, s.version, nil),
		Homepage:    s.home,
		Description: s.name,
	}
	if strings.HasPrefix(s.cpe, "cpe:") {
		c.CPEs = []string{s.cpe}
	}
	return c
}

// supplier tells who a package comes from. It is the distribution when the
// signing key, the repository or the maintainer is the distribution's; else
// the maintainer; else the host of the repository.
func (s *system) supplier(p *rootfs.Package) Party {
	maintainer := parsePerson(p.Receipt.Package.Maintainer)
	repository, _ := url.Parse(p.Repository)
	if s.name != "" && s.vouches(p.Receipt.SignatureKey, repository, maintainer.Email) {
		return Party{Name: s.name}
	}
	switch {
	case maintainer.Name != "":
		return maintainer
	case repository != nil && repository.Host != "":
		return Party{Name: repository.Hostname()}
	}
	return Party{Name: s.name}
}

func (s *system) vouches(key string, repository *url.URL, mail string) bool {
	if strings.HasPrefix(key, s.id+"-") {
		return true
	}
	if _, at, ok := strings.Cut(key, "@"); ok && s.owns(at[:max(0, strings.LastIndexByte(at, '-'))]) {
		return true
	}
	if _, at, ok := strings.Cut(mail, "@"); ok && s.owns(at) {
		return true
	}
	if repository == nil {
		return false
	}
	return s.owns(repository.Hostname()) || strings.Contains(repository.Path+"/", "/"+s.id+"/")
}

// owns reports whether a host is below the distribution's domain.
func (s *system) owns(host string) bool {
	return s.domain != "" && (host == s.domain || strings.HasSuffix(host, "."+s.domain))
}

// parsePerson reads "Name <mail>"; without a mail address it is taken for an
// organization.
func parsePerson(s string) Party {
	s = strings.Join(strings.Fields(s), " ")
	name, rest, ok := strings.Cut(s, "<")
	mail, _, closed := strings.Cut(rest, ">")
	if !ok || !closed || !strings.Contains(mail, "@") {
		return Party{Name: s}
	}
	name = strings.TrimSpace(name)
	return Party{Person: true, Name: cmp.Or(name, mail), Email: mail}
}

// String spells a party as SPDX does: "Person: Name (mail)". Nobody is
// NOASSERTION.
func (p Party) String() string {
	if p.Name == "" {
		return noAssertion
	}
	kind := "Organization"
	if p.Person {
		kind = "Person"
	}
	if p.Email == "" {
		return fmt.Sprintf("%s: %s", kind, p.Name)
	}
	return fmt.Sprintf("%s: %s (%s)", kind, p.Name, p.Email)
}

const noAssertion = "NOASSERTION"

// parseParty reads what Party.String wrote, and NOASSERTION.
func parseParty(s string) Party {
	kind, rest, ok := strings.Cut(s, ":")
	if !ok || kind != "Person" && kind != "Organization" {
		return Party{}
	}
	p := Party{Person: kind == "Person", Name: strings.TrimSpace(rest)}
	if name, mail, ok := strings.Cut(p.Name, " ("); ok && strings.HasSuffix(mail, ")") {
		p.Name, p.Email = name, strings.TrimSuffix(mail, ")")
	}
	return p
}
