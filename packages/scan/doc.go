// Package scan finds out what the files of a package need and offer: shared
// libraries, commands, pkg-config modules, language runtimes. The rules are those
// of melange's dependency scan, so that packages built by either fit together;
// where melange's code does not do what it says, the intention is followed (tests
// named TestMelangeDefect_… say where).
//
// It is a pure function of the files: it looks at nothing of the host, opens no
// connection and solves nothing. Whether a repository has what a package needs is
// the business of [github.com/cairn-dev/cairn/packages/solve].
//
//	r, err := scan.Scan(ctx, scan.Input{Name: "hello", Version: "1.0-r0", Tree: t})
//	if err != nil {
//		return err
//	}
//	depends, provides := r.Merge([]string{"ca-certificates"}, nil)
//
// # Generators
//
//	so         DT_NEEDED → depend so:NAME; PT_INTERP → depend so:LOADER;
//	           DT_SONAME in a directory of libraries → provide so:NAME=VERSION and
//	           so-ver:NAME=PACKAGE-VERSION, elsewhere → vendored; a symbolic link
//	           to a library, also one of a sibling package → depend so:NAME
//	fips       a Go program that loads OpenSSL → depend on it
//	cmd        an executable in bin, sbin, usr/bin, usr/sbin → provide
//	           cmd:NAME=PACKAGE-VERSION
//	doc        a package NAME-doc with manual or info pages → depend man-db, texinfo
//	pc         NAME.pc in a pkg-config directory → provide pc:NAME=PACKAGE-VERSION,
//	           depend pc:REQUIRED; elsewhere → vendored
//	perl       modules in lib/perlN → depend perl~N
//	python     lib/pythonX.Y/site-packages → depend python-X.Y-base
//	ruby       lib/ruby/gems/X.Y.Z → depend ruby-X.Y
//	shebang    scripts in usr/bin, usr/local/bin, usr/local/sbin → depend
//	           cmd:INTERPRETER
//
// ld.so.conf.d files of the package and its siblings extend the directories of
// libraries.
package scan

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/tree"
)

// Options are the switches of a definition's package.options, and one of the
// build.
type Options struct {
	NoProvides           bool // generate no provides
	NoDepends            bool // generate no dependencies
	NoCommands           bool // neither provide nor need cmd: names
	NoVersionedShlibDeps bool // need no so-ver: names
	// VersionedShlibDeps needs so-ver:NAME>=VERSION beside so:NAME wherever
	// [Input.Installed] says which version the package was built with. melange
	// has this behind MELANGE_VERSIONED_SHLIB_DEPENDS.
	VersionedShlibDeps bool
}

// Related is another package of the same definition.
type Related struct {
	Name string
	Tree *tree.Tree
}

// Input is what is scanned. The tree must have been hashed ([tree.Tree.Hash]).
type Input struct {
	Name    string
	Version string // with -rN
	Tree    *tree.Tree
	// Related are the other packages of the definition: links lead to their
	// libraries, and their ld.so.conf.d counts.
	Related []Related
	// Declared are the dependencies that the definition declares: a declared
	// python, ruby or perl takes the place of a generated one.
	Declared []string
	// Installed are the packages that the package was built with, with what they
	// provide. Only [Options.VersionedShlibDeps] needs them.
	Installed []apk.Package
	Options   Options
}

// Finding is one generated name and the reason for it.
type Finding struct {
	Kind      string `json:"kind"`      // depend, provide or vendored
	Name      string `json:"name"`      // as it stands in .PKGINFO
	Generator string `json:"generator"` // see the package comment
	Path      string `json:"path"`      // the first file that led to it
}

// The kinds of findings.
const (
	Depend  = "depend"
	Provide = "provide"
	Vendor  = "vendored"
)

// Result is what was found. The lists are sorted and have no name twice; they do
// not hold dependencies that the package's own vendored names satisfy.
type Result struct {
	Depends  []string
	Provides []string
	Vendored []string
	// Findings say why, in the order of kind and name. They are what was found
	// before the options took anything away.
	Findings []Finding
	// Warnings name files that could not be understood.
	Warnings []string
}

// scanner is one run.
type scanner struct {
	in       Input
	libDirs  []string
	versions map[string]string // soname → version that so-ver: needs
	found    map[Finding]string
	warnings []string
}

// Scan looks at all files once.
func Scan(ctx context.Context, in Input) (*Result, error) {
	s := &scanner{in: in, found: map[Finding]string{}}
	s.libDirs = slices.Concat(libDirs, s.configuredDirs())
	s.versions = s.installedVersions()
	entries := in.Tree.Entries()
	for i := range entries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e := &entries[i]
		for _, g := range generators {
			if err := g.run(s, e); err != nil {
				return nil, fmt.Errorf("package %s: %s: %s: %w", in.Name, g.name, e.Path, err)
			}
		}
	}
	s.runtimes()
	return s.result(), nil
}

// generators look at one file each. Files that cannot be understood give
// warnings; an error means that a file could not be read.
var generators = []struct {
	name string
	run  func(*scanner, *apk.Entry) error
}{
	{"so", (*scanner).sharedObject},
	{"cmd", (*scanner).command},
	{"doc", (*scanner).documentation},
	{"pc", (*scanner).pkgConfig},
	{"shebang", (*scanner).shebang},
}

// note keeps a name with the first path that gave it.
func (s *scanner) note(kind, generator, name, path string) {
	key := Finding{Kind: kind, Generator: generator, Name: name}
	if _, ok := s.found[key]; !ok {
		s.found[key] = path
	}
}

func (s *scanner) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

func (s *scanner) result() *Result {
	r := &Result{Warnings: s.warnings}
	for f, p := range s.found {
		f.Path = p
		r.Findings = append(r.Findings, f)
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		for _, c := range []int{strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Generator, b.Generator)} {
			if c != 0 {
				return c
			}
		}
		return 0
	})
	o := s.in.Options
	for _, f := range r.Findings {
		command := strings.HasPrefix(f.Name, "cmd:") && o.NoCommands
		switch {
		case f.Kind == Depend && !o.NoDepends && !command:
			r.Depends = append(r.Depends, f.Name)
		case f.Kind == Provide && !o.NoProvides && !command:
			r.Provides = append(r.Provides, f.Name)
		case f.Kind == Vendor:
			r.Vendored = append(r.Vendored, f.Name)
		}
	}
	for _, list := range []*[]string{&r.Depends, &r.Provides, &r.Vendored} {
		*list = slices.Compact(*list)
	}
	r.Depends = without(r.Depends, r.Vendored)
	return r
}

// Merge joins what was found with what a definition declares. Dependencies that
// the package itself provides are left out, declared ones too; what its vendored
// names satisfy only when it was generated, so that a definition can insist.
func (r *Result) Merge(depends, provides []string) (allDepends, allProvides []string) {
	join := func(a, b []string) []string { return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b)))) }
	allProvides = join(provides, r.Provides)
	return without(join(depends, r.Depends), allProvides), allProvides
}

// without drops the dependencies whose name is among the provided names.
func without(depends, provides []string) []string {
	have := map[string]bool{}
	for _, p := range provides {
		have[bareName(p)] = true
	}
	return slices.DeleteFunc(slices.Clone(depends), func(d string) bool {
		return !strings.HasPrefix(d, "!") && have[bareName(d)]
	})
}

// bareName drops a version with its operator.
func bareName(s string) string {
	if i := strings.IndexAny(s, "=<>~"); i >= 0 {
		s = s[:i]
	}
	return strings.TrimSpace(s)
}

func inDir(p string, dirs ...string) bool { return slices.Contains(dirs, path.Dir(p)) }
