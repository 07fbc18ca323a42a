package sbom

import (
	"cmp"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/package-url/packageurl-go"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/scan"
	"github.com/cairn-dev/cairn/packages/tree"
)

// Module is a module of a language that a file of the package has in it.
type Module struct {
	Type    string // golang, pypi, npm
	Name    string
	Version string
	PURL    string
	Path    string // the file that says so
}

// maxMetadata is how much of a file with metadata is read, in bytes.
const maxMetadata = 4 << 20

// Modules returns the modules in the tree's files: what Go's linker wrote into
// programs, Python's *.dist-info and *.egg-info, npm's package.json below
// node_modules. Files that cannot be understood have no modules. The list is
// sorted by type, name, version and path.
func Modules(ctx context.Context, t *tree.Tree) (out []Module, err error) {
	entries := t.Entries()
	for i := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e := &entries[i]
		if e.Type != apk.TypeFile {
			continue
		}
		var found []Module
		switch {
		case e.ELF != nil && e.ELF.Machine != 0:
			found, err = goModules(t, e)
		case isPythonMetadata(e.Path) && e.Size <= maxMetadata:
			found, err = read(t, e, ParsePython)
		case isNPM(e.Path) && e.Size <= maxMetadata:
			found, err = read(t, e, ParseNPM)
		}
		if err != nil {
			return nil, err
		}
		for _, m := range found {
			m.Path = e.Path
			out = append(out, m)
		}
	}
	slices.SortStableFunc(out, func(a, b Module) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Name, b.Name), strings.Compare(a.Version, b.Version), strings.Compare(a.Path, b.Path))
	})
	return out, nil
}

func goModules(t *tree.Tree, e *apk.Entry) (out []Module, err error) {
	f, err := t.Open(e.Path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := scan.GoBuildInfo(f)
	if err != nil {
		return nil, nil // not a Go program
	}
	return goList(info), nil
}

// goList are the modules that Go's linker wrote into a program.
func goList(info *buildinfo.BuildInfo) (out []Module) {
	add := func(name, version string) {
		if name != "" {
			out = append(out, module("golang", name, version))
		}
	}
	add("stdlib", strings.TrimPrefix(info.GoVersion, "go"))
	add(info.Main.Path, info.Main.Version)
	for _, d := range info.Deps {
		if d.Replace != nil {
			d = d.Replace
		}
		add(d.Path, d.Version)
	}
	return out
}

// module makes the package URL.
func module(kind, name, version string) Module {
	namespace := ""
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		namespace = name[:i]
	}
	url := packageurl.NewPackageURL(kind, namespace, path.Base(name), version, nil, "").ToString()
	return Module{Type: kind, Name: name, Version: version, PURL: url}
}

func read(t *tree.Tree, e *apk.Entry, parse func([]byte) (Module, bool)) ([]Module, error) {
	b, err := t.ReadFile(e.Path, maxMetadata)
	if err != nil {
		return nil, err
	}
	if m, ok := parse(b); ok {
		return []Module{m}, nil
	}
	return nil, nil
}

func isPythonMetadata(p string) bool {
	dir := path.Base(path.Dir(p))
	return path.Base(p) == "METADATA" && strings.HasSuffix(dir, ".dist-info") || path.Base(p) == "PKG-INFO" && strings.HasSuffix(dir, ".egg-info")
}

// ParsePython reads the headers of a METADATA or PKG-INFO file (Python's core
// metadata).
func ParsePython(b []byte) (Module, bool) {
	var name, version string
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" { // the description follows
			break
		}
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Name":
			name = cmp.Or(name, value)
		case "Version":
			version = cmp.Or(version, value)
		}
	}
	if !word(name) || !word(version) {
		return Module{}, false
	}
	return module("pypi", strings.NewReplacer("_", "-").Replace(strings.ToLower(name)), version), true
}

func isNPM(p string) bool {
	if path.Base(p) != "package.json" {
		return false
	}
	dir := path.Dir(p)
	parent := path.Base(path.Dir(dir))
	if strings.HasPrefix(parent, "@") {
		parent = path.Base(path.Dir(path.Dir(dir)))
	}
	return parent == "node_modules"
}

// ParseNPM reads a package.json.
func ParseNPM(b []byte) (Module, bool) {
	var p struct{ Name, Version string }
	if json.Unmarshal(b, &p) != nil || !word(p.Name) || !word(p.Version) {
		return Module{}, false
	}
	return module("npm", p.Name, p.Version), true
}

// word refuses what cannot be a name or a version.
func word(s string) bool {
	return s != "" && len(s) < 500 && !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c == 0x7f || c == 0xfffd })
}
