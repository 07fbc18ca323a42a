package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/imagetest"
	"github.com/cairn-dev/cairn/assemble/lint"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/solve"
)

// catalogueFiles are the configurations of a folder of configs, without what they
// include. What their images do is tested by make e2e-catalogue.
func catalogueFiles(t *testing.T, folder string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "..", "configs", folder, "*.yaml"))
	if err != nil || len(names) < 5 {
		t.Fatalf("%s: %d configurations, %v", folder, len(names), err)
	}
	return slices.DeleteFunc(names, func(n string) bool {
		return filepath.Base(n) == "common.yaml" || strings.HasSuffix(n, ".test.yaml")
	})
}

func TestCatalogueLoads(t *testing.T) {
	want := []string{"base", "busybox", "cc", "go-builder", "java-17", "nginx", "postgres", "static"}
	for folder, more := range map[string][]string{
		"wolfi":  {"java-21", "node-20", "node-22", "python-3.12", "python-3.13", "wolfi-base"},
		"alpine": {"alpine-base", "java-21", "node", "python"},
		"debian": {"node", "python"},
	} {
		var found []string
		for _, name := range catalogueFiles(t, folder) {
			entry := strings.TrimSuffix(filepath.Base(name), ".yaml")
			found = append(found, entry)
			cfg, err := config.Load(name, config.Options{})
			if err != nil {
				t.Error(err)
				continue
			}
			if len(cfg.Warnings) > 0 {
				t.Errorf("%s: %v", name, cfg.Warnings)
			}
			user := "65532"
			if strings.HasSuffix(entry, "-base") {
				user = "root"
			}
			if len(cfg.Twin.Packages) == 0 {
				t.Errorf("%s: has no twin", name)
			}
			if cfg.Accounts.RunAs != user || len(cfg.Archs) == 0 {
				t.Errorf("%s: runs as %q on %v", name, cfg.Accounts.RunAs, cfg.Archs)
			}
		}
		expected := slices.Sorted(slices.Values(slices.Concat(want, more)))
		if slices.Sort(found); !slices.Equal(found, expected) {
			t.Errorf("%s: found %q, expected %q", folder, found, expected)
		}
	}
}

// The examples load as they are, with what they bring, and their test files are of
// it; make e2e-catalogue runs them.
func TestExamplesLoad(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "configs", "examples", "*", "*.yaml"))
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, ".test.yaml") {
			if _, err := imagetest.Load(name); err != nil {
				t.Error(err)
			}
			continue
		}
		cfg, err := config.Load(name, config.Options{})
		if err != nil {
			t.Error(err)
			continue
		}
		if len(cfg.Warnings) > 0 || cfg.Accounts.RunAs != "65532" || len(cfg.App) == 0 {
			t.Errorf("%s: %v, runs as %q, %d applications", name, cfg.Warnings, cfg.Accounts.RunAs, len(cfg.App))
		}
		for _, a := range cfg.App {
			for _, e := range a.Tree.Entries {
				if strings.Contains(e.Path, "__pycache__") || len(a.Tree.Entries) < 3 {
					t.Errorf("%s: %q of %d", name, e.Path, len(a.Tree.Entries))
				}
			}
		}
	}
}

// Every entry has a test file, and every test file an entry: what it asks of the
// configuration is what that says. What the images are is tested by make
// e2e-catalogue.
func TestCatalogueTestFiles(t *testing.T) {
	shared, err := imagetest.Load(filepath.Join("..", "..", "configs", "shared", "nonroot.test.yaml"))
	if err != nil || len(shared.FileContent) == 0 {
		t.Fatal(err)
	}
	for _, folder := range []string{"wolfi", "alpine", "debian"} {
		var want []string
		for _, name := range catalogueFiles(t, folder) {
			test := strings.TrimSuffix(name, ".yaml") + ".test.yaml"
			want = append(want, test)
			f, err := imagetest.Load(test)
			if err != nil {
				t.Error(err)
				continue
			}
			cfg, err := config.Load(name, config.Options{})
			if err != nil {
				t.Error(err)
				continue
			}
			if f.Metadata == nil || f.Metadata.Entrypoint == nil || !slices.Equal(*f.Metadata.Entrypoint, cfg.EntrypointArgs()) {
				t.Errorf("%s: entrypoint: expected %q", test, cfg.EntrypointArgs())
			}
			for _, e := range f.Metadata.Env {
				if cfg.Environment[e.Key] != e.Value {
					t.Errorf("%s: %s is %q, expected %q", test, e.Key, e.Value, cfg.Environment[e.Key])
				}
			}
			if f.Cairn == nil || f.Cairn.Packages == nil || len(f.Cairn.Packages.Present) == 0 || f.Cairn.MaxSize == "" {
				t.Errorf("%s: expected packages and a size", test)
				continue
			}
			shell := slices.ContainsFunc(cfg.Contents.Packages, func(p string) bool { return strings.HasPrefix(p, "busybox") || p == "wolfi-base" })
			if f.Cairn.NoShell == shell || cfg.Lint.NoShell == shell {
				t.Errorf("%s: noShell is %v and lint.no-shell %v, and the configuration has a shell: %v", test, f.Cairn.NoShell, cfg.Lint.NoShell, shell)
			}
			if err := lint.CheckIgnore(cfg.Lint.Ignore); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for _, p := range f.Cairn.Packages.Absent {
				if slices.Contains(cfg.Contents.Packages, p) {
					t.Errorf("%s: %s is asked for and must be absent", test, p)
				}
			}
		}
		found, err := filepath.Glob(filepath.Join("..", "..", "configs", folder, "*.test.yaml"))
		if slices.Sort(want); err != nil || !slices.Equal(found, want) {
			t.Errorf("%s: found %q, expected %q", folder, found, want)
		}
	}
}

// What the table of the README has is there, and nothing else.
func TestCatalogueReadmeNamesEveryEntry(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "configs", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), " |"); ok && strings.HasPrefix(line, "| `") {
			for _, name := range strings.Split(strings.ReplaceAll(cell, "`", ""), ", ") {
				named[name] = true
			}
		}
	}
	for _, folder := range []string{"wolfi", "alpine", "debian"} {
		for _, name := range catalogueFiles(t, folder) {
			if entry := strings.TrimSuffix(filepath.Base(name), ".yaml"); !named[entry] {
				t.Errorf("README.md does not say what %s is for", name)
			}
		}
	}
	for name := range named {
		found, err := filepath.Glob(filepath.Join("..", "..", "configs", "*", name+".yaml"))
		if err != nil || len(found) == 0 {
			t.Errorf("README.md names %s, which is not there", name)
		}
	}
}

// Alpine's packages have these names, and go together: the real indexes of
// Alpine 3.19 say so.
func TestCatalogueResolvesOnAlpine(t *testing.T) {
	data, err := filepath.Abs(apktest.Data(t, "alpine-3.19"))
	if err != nil {
		t.Fatal(err)
	}
	keys, err := filepath.Glob(filepath.Join(data, "keys", "*.pub"))
	if err != nil || len(keys) == 0 {
		t.Skipf("no keys: %v", err)
	}
	client, err := repository.NewClient(repository.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var repositories []solve.Repository
	for _, name := range []string{"main", "community"} {
		src, err := repository.ParseSource(filepath.Join(data, name), "x86_64")
		if err != nil {
			t.Fatal(err)
		}
		if src.Keyring, err = client.Keys(t.Context(), keys); err != nil {
			t.Fatal(err)
		}
		ix, err := client.Load(t.Context(), src)
		if err != nil {
			t.Fatal(err)
		}
		repositories = append(repositories, solve.Repository{Index: ix, URL: src.URL})
	}
	for _, name := range catalogueFiles(t, "alpine") {
		world := catalogueWants(t, name)
		if _, err := solve.Solve(t.Context(), solve.Request{World: world, Arch: "x86_64", Repositories: repositories}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// catalogueWants are the packages that a configuration asks for, and its twin.
func catalogueWants(t *testing.T, name string) []apk.Dependency {
	t.Helper()
	cfg, err := config.Load(name, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []apk.Dependency
	for _, p := range slices.Concat(cfg.Contents.Packages, cfg.Twin.Packages) {
		d, err := apk.ParseDependency(p)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, d)
	}
	return out
}

var digits = regexp.MustCompile(`[0-9]+(\.[0-9]+)*`)

// Wolfi's packages have these names, but for the number in them: its public
// images have or ask for such, or its definitions do.
func TestCatalogueNamesOfWolfi(t *testing.T) {
	known := map[string]bool{}
	know := func(name string) { known[digits.ReplaceAllString(name, "N")] = true }
	wolfiHistory(t, know)
	definitions, err := filepath.Glob(filepath.Join(apktest.Data(t, "wolfi-definitions"), "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range definitions {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range requirement.FindAllStringSubmatch(string(raw), -1) {
			know(m[1])
		}
	}
	for _, name := range catalogueFiles(t, "wolfi") {
		for _, d := range catalogueWants(t, name) {
			if !known[digits.ReplaceAllString(d.Name, "N")] {
				t.Errorf("%s: nobody knows %s", name, d.Name)
			}
		}
	}
}

// requirement is a line of a list of packages.
var requirement = regexp.MustCompile(`(?m)^ +- ([a-z][a-z0-9.+_-]*)$`)

// wolfiHistory tells the packages that Wolfi's public images were made of.
func wolfiHistory(t *testing.T, know func(string)) {
	t.Helper()
	f, err := os.Open(filepath.Join(apktest.Data(t, "rebuild-history"), "history.jsonl.gz"))
	if err != nil {
		t.Skipf("no history: %v", err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var image struct{ Packages []string }
		if err := json.Unmarshal(lines.Bytes(), &image); err != nil {
			t.Fatal(err)
		}
		for _, p := range image.Packages {
			name, _, _ := strings.Cut(p, "=")
			know(name)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
}
