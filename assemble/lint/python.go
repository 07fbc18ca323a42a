package lint

import (
	"context"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/packages/apk"
)

// maxMetadata bounds a package's metadata that is read, in bytes, and
// maxPackages how many are.
const (
	maxMetadata = 1 << 20
	maxPackages = 5000
)

var (
	pythonProgram = regexp.MustCompile(`(?:^|/)bin/python(\d+\.\d+)$`)
	pythonLibrary = regexp.MustCompile(`(?:^|/)python(\d+\.\d+)/(?:site|dist)-packages$`)
	// pythonModule is an extension module for one version; abi3 ones are for
	// several.
	pythonModule = regexp.MustCompile(`\.cpython-(\d)(\d+)[a-z]*(?:-[^/]*)?\.so$`)
	metadataFile = regexp.MustCompile(`(?:site|dist)-packages/[^/]+\.dist-info/(?:WHEEL|METADATA)$`)
	wheelTag     = regexp.MustCompile(`(?m)^Tag: *([^-\s]+)-([^-\s]+)-[^-\s]+\s*$`)
	cpythonTag   = regexp.MustCompile(`^cp(\d)(\d+)$`)
	requiresTag  = regexp.MustCompile(`(?m)^Requires-Python: *([^\r\n]+)`)
)

func isMetadata(p string) bool { return metadataFile.MatchString(p) }

// interpreters are the versions of Python whose interpreter is there, with its
// path.
func (r *run) interpreters() map[string]string {
	out := map[string]string{}
	for _, n := range r.in.Tree.All() {
		m := pythonProgram.FindStringSubmatch(n.Path)
		if m == nil || out[m[1]] != "" {
			continue
		}
		if to, err := r.in.Tree.Stat(n.Name()); err == nil && to.Type == apk.TypeFile && to.Mode&0o111 != 0 {
			out[m[1]] = n.Name()
		}
	}
	return out
}

// interpreterVersion compares what is in site-packages with the interpreters.
// Where there is no interpreter at all nothing can be said: packages may be for
// one that is mounted, or for a program that brings its own.
func interpreterVersion(ctx context.Context, r *run) error {
	p := &python{run: r, there: r.interpreters(), reported: map[string]bool{}}
	if len(p.there) == 0 {
		return nil
	}
	for _, n := range r.in.Tree.All() {
		if m := pythonLibrary.FindStringSubmatch(n.Path); m != nil && n.Type == apk.TypeDir && p.there[m[1]] == "" {
			p.directory(n, m[1])
		}
	}
	p.modules()
	return p.metadata(ctx)
}

type python struct {
	*run
	there    map[string]string // interpreters by version
	reported map[string]bool   // directories whose content was reported whole
}

// has names the interpreters that are there.
func (p *python) has() string {
	var out []string
	for _, v := range slices.SortedFunc(maps.Keys(p.there), compareVersions) {
		out = append(out, fmt.Sprintf("Python %s (%s)", v, p.there[v]))
	}
	return strings.Join(out, " and ")
}

// directory reports a site-packages directory of a version that is not there.
func (p *python) directory(dir *files.Node, version string) {
	f := at(dir, "packages for Python %s, and the interpreter is %s", version, p.has())
	for _, c := range p.in.Tree.Children(dir.Path) {
		switch path.Base(c.Path) {
		case "README.txt", "README", "__pycache__":
			continue
		}
		f.Paths = append(f.Paths, c.Name())
		if f.Package == "" {
			f.Package = c.Package
		}
		if f.Key == "" {
			f.Key = c.Key
		}
	}
	p.reported[dir.Path] = true
	if len(f.Paths) > 0 {
		p.add(f)
	}
}

// whole tells whether a path was reported with its directory.
func (p *python) whole(name string) bool {
	for dir := name; dir != "" && dir != "."; dir = path.Dir(dir) {
		if p.reported[dir] {
			return true
		}
	}
	return false
}

// modules reports extension modules of versions that are not there, a finding
// for each directory below site-packages and version.
func (p *python) modules() {
	type group struct{ dir, version string }
	found := map[group][]*files.Node{}
	var order []group
	for _, n := range p.in.Tree.All() {
		m := pythonModule.FindStringSubmatch(n.Path)
		if m == nil || n.Type != apk.TypeFile || p.there[m[1]+"."+m[2]] != "" || p.whole(n.Path) {
			continue
		}
		g := group{path.Dir(n.Path), m[1] + "." + m[2]}
		if found[g] == nil {
			order = append(order, g)
		}
		found[g] = append(found[g], n)
	}
	for _, g := range order {
		f := at(found[g][0], "an extension module for Python %s, and the interpreter is %s", g.version, p.has())
		if len(found[g]) > 1 {
			for _, n := range found[g] {
				f.Paths = append(f.Paths, n.Name())
			}
		}
		p.add(f)
	}
}

// metadata reports packages whose own metadata asks for another version.
func (p *python) metadata(ctx context.Context) error {
	var nodes []*files.Node
	for _, n := range p.in.Tree.All() {
		if n.Type == apk.TypeFile && isMetadata(n.Path) && !p.whole(n.Path) {
			nodes = append(nodes, n)
		}
	}
	if len(nodes) > maxPackages {
		p.notLookedAt("the metadata of %d Python packages after the first %d files", len(nodes)-maxPackages, maxPackages)
		nodes = nodes[:maxPackages]
	}
	nodes = slices.DeleteFunc(nodes, func(n *files.Node) bool {
		if n.Size > maxMetadata {
			p.notLookedAt("%s: %d bytes of metadata, expected at most %d", n.Name(), n.Size, maxMetadata)
		}
		return n.Size > maxMetadata
	})
	contents, err := p.read(ctx, nodes)
	if err != nil {
		return err
	}
	for i, n := range nodes {
		if why := p.unfit(n, string(contents[i])); why != "" {
			f := at(n, "%s, and the interpreter is %s", why, p.has())
			f.Path = "/" + path.Dir(n.Path)
			p.add(f)
		}
	}
	return nil
}

// unfit says why none of the interpreters that see a package can use it.
func (p *python) unfit(n *files.Node, text string) string {
	versions := slices.SortedFunc(maps.Keys(p.there), compareVersions)
	if m := pythonLibrary.FindStringSubmatch(path.Dir(path.Dir(n.Path))); m != nil {
		versions = []string{m[1]} // one that is there, or the directory was reported
	}
	if path.Base(n.Path) == "WHEEL" {
		return unfitTags(wheelTag.FindAllStringSubmatch(text, -1), versions)
	}
	head, _, _ := strings.Cut(text, "\n\n")
	m := requiresTag.FindStringSubmatch(head)
	if m == nil || slices.ContainsFunc(versions, func(v string) bool { return accepts(m[1], v) }) {
		return ""
	}
	return "requires Python " + strings.TrimSpace(m[1])
}

// unfitTags says for which versions a wheel was built, when it is none of those.
func unfitTags(tags [][]string, versions []string) string {
	var built []string
	for _, t := range tags {
		for python := range strings.SplitSeq(t[1], ".") {
			m := cpythonTag.FindStringSubmatch(python)
			if m == nil || m[2] == "" || t[2] == "none" || t[2] == "abi3" {
				return "" // for any version, or for later ones too
			}
			v := m[1] + "." + m[2]
			if slices.Contains(versions, v) {
				return ""
			}
			if !slices.Contains(built, v) {
				built = append(built, v)
			}
		}
	}
	if len(built) == 0 {
		return ""
	}
	return "built for Python " + strings.Join(built, ", ")
}

var specifier = regexp.MustCompile(`^(>=|<=|==|!=|~=|>|<)\s*(\d+(?:\.\d+)*)(\.\*)?$`)

// accepts tells whether some release of a minor version meets a specifier set
// (PEP 440). What it does not understand it takes to be met.
func accepts(specifiers, version string) bool {
	for text := range strings.SplitSeq(specifiers, ",") {
		m := specifier.FindStringSubmatch(strings.TrimSpace(text))
		if m == nil {
			continue
		}
		parts := strings.Split(m[2], ".")
		exact := len(parts) > 2 // names a patch release, of which there may be later ones
		c := compareVersions(version, strings.Join(parts[:min(2, len(parts))], "."))
		ok := true
		switch m[1] {
		case ">=":
			ok = c >= 0
		case ">":
			ok = c > 0 || c == 0 && (exact || len(parts) == 1)
		case "<=":
			ok = c <= 0
		case "<":
			ok = c < 0 || c == 0 && exact && parts[2] != "0"
		case "==":
			ok = c == 0 || len(parts) == 1 && strings.HasPrefix(version, parts[0]+".")
		case "!=":
			ok = c != 0 || exact || m[3] == ""
		case "~=":
			ok = c >= 0 && (strings.HasPrefix(version, parts[0]+".") && !exact || c == 0)
		}
		if !ok {
			return false
		}
	}
	return true
}

// compareVersions compares by numbers.
func compareVersions(a, b string) int {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(x), len(y)) {
		if c := part(x, i) - part(y, i); c != 0 {
			return c
		}
	}
	return 0
}

func part(list []string, i int) int {
	if i >= len(list) {
		return 0
	}
	n, _ := strconv.Atoi(list[i])
	return n
}
