package distro

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/graph"
	"github.com/cairn-dev/cairn/packages/repository"
)

// wolfi is a sample of Wolfi's definitions, for which a repository is made up that
// has all that they need from elsewhere.
func wolfi(t *testing.T) ([]*definition.Build, Repository) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "data", "wolfi-definitions")
	files, err := definition.Files(dir)
	if err != nil || len(files) == 0 {
		t.Skipf("no definitions in %s: %v", dir, err)
	}
	co := definition.CompileOptions{Arch: "x86_64", PipelineDirs: []string{filepath.Join(dir, "pipelines")}}
	builds, err := definition.LoadAll(t.Context(), files, definition.Options{}, co)
	if err != nil {
		t.Fatal(err)
	}
	g, err := graph.New(builds, graph.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var list []*apk.Package
	have := map[string]bool{}
	add := func(name, version string) {
		if id := name + "-" + version; !have[id] {
			have[id] = true
			list = append(list, &apk.Package{Name: name, Version: version, Arch: "x86_64", Checksum: apk.SHA1{byte(len(list)), byte(len(list) >> 8), 1}})
		}
	}
	for _, m := range g.Missing {
		d, err := apk.ParseDependency(m.Need)
		if err != nil {
			t.Fatal(err)
		}
		version := "1-r0"
		if d.Version != "" {
			version = d.Version
			if d.Op == apk.OpLess || d.Op == apk.OpGreater {
				version = map[bool]string{true: "0-r0", false: "9999-r0"}[d.Op == apk.OpLess]
			}
		}
		add(d.Name, version)
	}
	for _, c := range g.Cycles {
		for _, name := range c.Seeds {
			add(name, "1-r0")
		}
	}
	ix, err := repository.NewIndex(list...)
	if err != nil {
		t.Fatal(err)
	}
	return builds, Repository{Index: ix, URL: "made up"}
}

// A sample of a real distribution is built, with packages that hold next to
// nothing, and then found current.
func TestWolfiDefinitions(t *testing.T) {
	builds, elsewhere := wolfi(t)
	if testing.Short() {
		t.Skip("builds some thousand packages")
	}
	o := Options{Dir: t.TempDir(), Arch: "x86_64", Jobs: 2, Repositories: []Repository{elsewhere}}
	f := &fake{}
	for round := range 2 {
		start := time.Now()
		report, err := Run(t.Context(), builds, f, o)
		if report == nil {
			t.Fatal(err)
		}
		t.Logf("%s in %v", report.Summary(), time.Since(start).Round(time.Millisecond))
		if n := report.Counts[[]Status{Built, Current}[round]]; err != nil || n != len(builds) {
			i := slices.IndexFunc(report.Builds, func(b *Result) bool { return b.Status == Failed })
			if i >= 0 {
				t.Errorf("%s: %s", report.Builds[i].Name, report.Builds[i].Error)
			}
			t.Fatalf("round %d: %d of %d: %v", round, n, len(builds), err)
		}
	}
}
