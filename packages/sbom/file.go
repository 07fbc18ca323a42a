package sbom

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/packages/scan"
)

// Limits on what is read of Java archives and lock files.
const (
	maxJarFiles = 200_000
	maxJarDepth = 2         // archives in archives: an application's libraries
	maxInJar    = 64 << 20  // bytes of one archive in another, inflated
	maxNested   = 512 << 20 // bytes of all of them
	maxLocked   = 64 << 20  // bytes of a package-lock.json
)

// FileModules returns the modules of one file of an application, as [Modules] does
// for files of packages, and beside those what pom.properties and manifests in Java
// archives and package-lock.json say. p is the path that the modules name; of what
// is in an archive, it is followed by "!/" and the path in it. A file that cannot be
// understood has no modules.
func FileModules(p string, content []byte) []Module {
	var out []Module
	one := func(m Module, ok bool) {
		if ok {
			out = []Module{m}
		}
	}
	switch {
	case isPythonMetadata(p) && len(content) <= maxMetadata:
		one(ParsePython(content))
	case isNPM(p) && len(content) <= maxMetadata:
		one(ParseNPM(content))
	case isNPMLock(p) && len(content) <= maxLocked:
		out = ParseNPMLock(content)
	case isJar(p):
		left := int64(maxNested)
		return jarModules(p, content, maxJarDepth, &left)
	case isProgram(content):
		if info, err := scan.GoBuildInfo(bytes.NewReader(content)); err == nil {
			out = goList(info)
		}
	}
	for i := range out {
		out[i].Path = p
	}
	return out
}

// isProgram tells whether a file begins as programs do that Go's linker writes.
func isProgram(b []byte) bool {
	for _, magic := range []string{"\x7fELF", "MZ", "\xcf\xfa\xed\xfe", "\xce\xfa\xed\xfe"} {
		if bytes.HasPrefix(b, []byte(magic)) {
			return true
		}
	}
	return false
}

// isNPMLock: npm keeps one of what it installed below node_modules too.
func isNPMLock(p string) bool {
	base := path.Base(p)
	return base == "package-lock.json" || base == "npm-shrinkwrap.json" || base == ".package-lock.json"
}

// locked is an entry of a package-lock.json, of all its versions.
type locked struct {
	Name, Version string
	Dev, Link     bool
	Dependencies  map[string]locked // version 1
}

// ParseNPMLock reads a package-lock.json, of version 1 to 3. What is for development
// only, or a link, is left out.
func ParseNPMLock(b []byte) []Module {
	var l struct {
		Packages     map[string]locked // versions 2 and 3: by path
		Dependencies map[string]json.RawMessage
	}
	if json.Unmarshal(b, &l) != nil {
		return nil
	}
	var out []Module
	add := func(name string, e locked) {
		if !e.Dev && !e.Link && word(name) && word(e.Version) {
			out = append(out, module("npm", name, e.Version))
		}
	}
	for _, at := range slices.Sorted(maps.Keys(l.Packages)) {
		if i := strings.LastIndex(at, "node_modules/"); i >= 0 {
			e := l.Packages[at]
			add(cmp.Or(e.Name, at[i+len("node_modules/"):]), e)
		}
	}
	if l.Packages != nil {
		return out
	}
	var walk func(list map[string]locked, depth int)
	walk = func(list map[string]locked, depth int) {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			add(name, list[name])
			if depth < 100 {
				walk(list[name].Dependencies, depth+1)
			}
		}
	}
	top := map[string]locked{}
	for name, raw := range l.Dependencies {
		var e locked
		if json.Unmarshal(raw, &e) == nil {
			top[name] = e
		}
	}
	walk(top, 0)
	return out
}

func isJar(p string) bool {
	return slices.Contains([]string{".jar", ".war", ".ear"}, strings.ToLower(path.Ext(p)))
}

// jarModules reads a Java archive, and those in it.
func jarModules(p string, content []byte, depth int, left *int64) []Module {
	z, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil || len(z.File) > maxJarFiles {
		return nil
	}
	var poms, nested []Module
	var manifest Module
	for _, f := range z.File {
		switch {
		case strings.HasPrefix(f.Name, "META-INF/maven/") && path.Base(f.Name) == "pom.properties":
			if m, ok := parsePom(inflate(f, maxMetadata)); ok {
				m.Path = p + "!/" + f.Name
				poms = append(poms, m)
			}
		case f.Name == "META-INF/MANIFEST.MF":
			if m, ok := ParseManifest(inflate(f, maxMetadata)); ok {
				manifest = m
				manifest.Path = p + "!/" + f.Name
			}
		case isJar(f.Name) && depth > 1:
			inner := inflate(f, min(maxInJar, *left))
			*left -= int64(len(inner))
			nested = append(nested, jarModules(p+"!/"+f.Name, inner, depth-1, left)...)
		}
	}
	if len(poms) == 0 && manifest.Name != "" {
		poms = []Module{manifest}
	}
	return append(poms, nested...)
}

// inflate reads a member; one that is too large or broken is as if it were empty.
func inflate(f *zip.File, limit int64) []byte {
	r, err := f.Open()
	if err != nil {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil || int64(len(b)) > limit || r.Close() != nil {
		return nil
	}
	return b
}

// parsePom reads a pom.properties.
func parsePom(b []byte) (Module, bool) {
	said := map[string]string{}
	for line := range strings.Lines(string(b)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		said[strings.TrimSpace(key)] = strings.TrimSpace(value)
	}
	return mavenModule(said["groupId"], said["artifactId"], said["version"])
}

// ParseManifest reads the main section of a Java archive's manifest. Without the
// group that its vendor's identifier is, the module is no Maven artifact, and its
// package URL is of the type generic.
func ParseManifest(b []byte) (Module, bool) {
	said := map[string]string{}
	text := strings.NewReplacer("\r\n ", "", "\n ", "").Replace(string(b)) // continued lines
	for line := range strings.Lines(text) {
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			break
		}
		key, value, _ := strings.Cut(line, ":")
		said[strings.ToLower(key)] = strings.TrimSpace(value)
	}
	symbolic, _, _ := strings.Cut(said["bundle-symbolicname"], ";")
	name := cmp.Or(said["implementation-title"], symbolic, said["automatic-module-name"])
	version := cmp.Or(said["implementation-version"], said["bundle-version"])
	if group := said["implementation-vendor-id"]; word(group) {
		return mavenModule(group, name, version)
	}
	if !word(name) || !word(version) {
		return Module{}, false
	}
	m := module("generic", name, version)
	m.Type = "maven"
	return m, true
}

func mavenModule(group, name, version string) (Module, bool) {
	if !word(group) || !word(name) || !word(version) || strings.Contains(group+name, "/") {
		return Module{}, false
	}
	return Module{Type: "maven", Name: group + ":" + name, Version: version,
		PURL: packageurl.NewPackageURL("maven", group, name, version, nil, "").ToString()}, true
}
