package definition

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// Whatever the bytes, reading and compiling end without a panic; problems have a
// place in the file; and what is accepted is accepted with the same result again.
func FuzzRead(f *testing.F) {
	for _, name := range []string{"testdata/good.txtar", "testdata/bad.txtar"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range bytes.Split(data, []byte("\n-- ")) {
			if _, text, ok := bytes.Cut(part, []byte(".yaml --\n")); ok {
				f.Add(text)
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		defer endless(string(data))()
		d, err := Read("fuzz.yaml", data, Options{})
		if err != nil {
			hasPositions(t, err)
			return
		}
		b, err := Compile(d, CompileOptions{Arch: "x86_64"})
		if err != nil {
			if !errors.Is(err, ErrArch) {
				hasPositions(t, err)
			}
			return
		}
		again, err := Compile(d, CompileOptions{Arch: "x86_64"})
		if err != nil {
			t.Fatal(err)
		}
		first, _ := json.Marshal(b)
		second, _ := json.Marshal(again)
		if !bytes.Equal(first, second) {
			t.Errorf("compiled twice\n%s\n%s", first, second)
		}
	})
}

// endless fails the process when a fuzzed input takes too long; the function it
// returns says that it did not.
func endless(input ...string) func() {
	timer := time.AfterFunc(20*time.Second, func() { panic(fmt.Sprintf("no end with %q", input)) })
	return func() { timer.Stop() }
}

func hasPositions(t *testing.T, err error) {
	t.Helper()
	var list *Errors
	if !errors.As(err, &list) || len(list.Problems) == 0 {
		t.Fatalf("found %T %v, expected *Errors", err, err)
	}
	for _, p := range list.Problems {
		if p.File == "" || p.Line < 1 || p.Column < 1 || p.Problem == "" {
			t.Errorf("%+v has no position", p)
		}
	}
}

// A script in pieces prints as the whole does.
func FuzzShellTemplate(f *testing.F) {
	f.Add("a=${{x}}\nif true; then\n  echo $a\nfi\ncat <<E\n${{x}}\nE\necho b\n", "v")
	f.Add("echo ${{x}}\necho b\n", "a \\")
	f.Add("cat ${{x}}\necho b\nE\n", "<<E")
	f.Add("echo '${{x}}'\necho 'b'\n", "a'; echo '")
	f.Fuzz(func(t *testing.T, text, value string) {
		defer endless(text, value)()
		lookup := func(string) (string, error) { return value, nil }
		have, ok := (&shellTemplate{pieces: cutShell(text)}).print(lookup)
		if !ok {
			return
		}
		whole := strings.ReplaceAll(text, "${{x}}", value)
		if strings.Contains(strings.ReplaceAll(text, "${{x}}", ""), "${{") {
			return
		}
		want, err := reprint(whole)
		if err != nil || have != want {
			t.Errorf("%q with %q\nin pieces %q\nwhole     %q %v", text, value, have, want, err)
		}
	})
}

// A definition may be compiled for many architectures, and stays as it is.
func TestCompileLeavesTheDefinition(t *testing.T) {
	for _, f := range openCases(t, "testdata/good.txtar").archive.Files {
		if f.Name != "sources.yaml" && f.Name != "needs.yaml" && f.Name != "ranges.yaml" {
			continue
		}
		d, err := Read(f.Name, f.Data, Options{})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := json.Marshal(d)
		for arch := range archs {
			if _, err := Compile(d, CompileOptions{Arch: arch}); err != nil && !strings.Contains(err.Error(), "strip: no machine") {
				t.Errorf("%s %s: %v", f.Name, arch, err)
			}
		}
		if after, _ := json.Marshal(d); !bytes.Equal(before, after) {
			t.Errorf("%s (-before +after)\n%s", f.Name, cmp.Diff(string(before), string(after)))
		}
	}
}

// What is printed as YAML is a definition again, but where a reusable pipeline is
// a script of its own rather than a list: it leaves uses beside runs, in melange
// too.
func TestCompiledIsADefinition(t *testing.T) {
	c := openCases(t, "testdata/good.txtar")
	for _, f := range c.archive.Files {
		if !strings.HasSuffix(f.Name, ".yaml") || strings.HasPrefix(f.Name, "pipelines/") {
			continue
		}
		b, err := c.compile(f.Name, f.Data)
		if err != nil {
			t.Fatal(err)
		}
		data, err := yaml.Marshal(b.Definition)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Read(f.Name, data, Options{}); err != nil && !strings.Contains(err.Error(), "uses and runs") {
			t.Errorf("%s: %v\n%s", f.Name, err, data)
		}
	}
}

func TestScript(t *testing.T) {
	for _, tt := range []struct {
		step  Pipeline
		trace bool
		want  string
	}{
		{Pipeline{Runs: "make\n"}, false, "set -eo pipefail\n[ -d /home/build ] || mkdir -p /home/build\ncd /home/build\nmake\n\nexit 0"},
		{Pipeline{WorkDir: "a"}, true, "set -exo pipefail\n[ -d /home/build/a ] || mkdir -p /home/build/a\ncd /home/build/a\n\nexit 0"},
		{Pipeline{WorkDir: "/x y"}, false, "set -eo pipefail\n[ -d '/x y' ] || mkdir -p '/x y'\ncd '/x y'\n\nexit 0"},
	} {
		if have := tt.step.Script(tt.trace); have != tt.want {
			t.Errorf("found %q, expected %q", have, tt.want)
		}
	}
}

func TestArchitectures(t *testing.T) {
	for name, want := range map[string]string{"x86_64": "x86_64", "amd64": "x86_64", "arm64": "aarch64", "386": "x86", "arm/v7": "armv7", "loong64": "loongarch64", "s390x": "s390x"} {
		if have, err := ParseArch(name); have != want || err != nil {
			t.Errorf("%s: found %s, %v, expected %s", name, have, err, want)
		}
	}
	for _, name := range []string{"", "z80", "X86_64", "all"} {
		if have, err := ParseArch(name); err == nil {
			t.Errorf("%q: found %s", name, have)
		}
	}
	b, err := Compile(&Definition{Pipeline: []Pipeline{{Runs: "echo ${{host.triplet.gnu}} ${{host.triplet.rust}} ${{cross.triplet.gnu.glibc}}"}}}, CompileOptions{Arch: "armhf", Libc: "musl"})
	if err != nil {
		t.Fatal(err)
	}
	if have, want := b.Pipeline[0].Runs, "echo arm-unknown-linux-musleabihf armv6-unknown-linux-musleabihf arm-unknown-linux-gnueabihf\n"; have != want {
		t.Errorf("found %q, expected %q", have, want)
	}
}

func TestBuildOptions(t *testing.T) {
	text := `
vars: {v: off}
options:
  full:
    vars: {v: on}
    environment: {contents: {packages: {add: [more, last], remove: [less, none]}}}
environment: {contents: {packages: [less, base]}}
pipeline:
  - runs: echo ${{options.full.enabled}} ${{vars.v}} ${{ vars.v }}
`
	b := mustCompile(t, text, Options{}, CompileOptions{Options: []string{"full", "unknown"}})
	// The variable comes too late for what was substituted while reading.
	if have := b.Pipeline[0].Runs; have != "echo true off on\n" {
		t.Errorf("found %q", have)
	}
	if have := b.Environment.Contents.Packages; !slices.Equal(have, []string{"base", "more", "last"}) {
		t.Errorf("found %v", have)
	}
	if len(b.Warnings) != 1 || b.Warnings[0].Problem != "no such option" {
		t.Errorf("found %v, expected a warning about the unknown option", b.Warnings)
	}
	if b := mustCompile(t, text, Options{}, CompileOptions{}); b.Pipeline[0].Runs != "echo false off off\n" {
		t.Errorf("found %q", b.Pipeline[0].Runs)
	}
}

func TestEnvironmentVariables(t *testing.T) {
	b := mustCompile(t, "environment: {environment: {A: written, HOME: ''}}\n", Options{Environment: map[string]string{"A": "preset", "B": "preset", "GOPATH": "/go"}}, CompileOptions{})
	for k, want := range map[string]string{"A": "written", "B": "preset", "GOPATH": "/go", "HOME": "/home/build", "npm_config_cache": "/var/cache/melange/npm"} {
		if have := b.Environment.Environment[k]; have != want {
			t.Errorf("%s: found %q, expected %q", k, have, want)
		}
	}
}

func TestSkipScripts(t *testing.T) {
	text := "pipeline:\n  - runs: 'echo (   # a remark'\n    needs: {packages: [x]}\n"
	b := mustCompile(t, text, Options{}, CompileOptions{SkipScripts: true})
	if b.Pipeline[0].Runs != "echo (   # a remark" || !slices.Equal(b.Environment.Contents.Packages, []string{"x"}) {
		t.Errorf("found %q %v", b.Pipeline[0].Runs, b.Environment.Contents.Packages)
	}
}

func TestPipelineDirectoriesInOrder(t *testing.T) {
	first, second := t.TempDir(), t.TempDir()
	write(t, filepath.Join(second, "a.yaml"), "runs: echo second\n")
	write(t, filepath.Join(second, "strip.yaml"), "")
	dirs := CompileOptions{PipelineDirs: []string{first, second}}
	b := mustCompile(t, "pipeline: [{uses: a}, {uses: strip}]\n", Options{}, dirs)
	if b.Pipeline[0].Runs != "echo second\n" || b.Pipeline[1].Pipeline != nil {
		t.Errorf("found %+v", b.Pipeline)
	}
	write(t, filepath.Join(first, "b.yaml"), "runs: echo first\n")
	write(t, filepath.Join(second, "b.yaml"), "runs: echo second\n")
	b = mustCompile(t, "pipeline: [{uses: b}]\n", Options{}, dirs)
	if b.Pipeline[0].Runs != "echo first\n" || b.Pipelines[0].File != filepath.Join(first, "b.yaml") || len(b.Pipelines[0].SHA256) != 64 {
		t.Errorf("found %+v %+v", b.Pipeline, b.Pipelines)
	}
}

// A pipeline of one's own that is called fetch takes nothing beforehand.
func TestOwnFetchHasNoSource(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "fetch.yaml"), "inputs: {uri: {}}\nruns: wget ${{inputs.uri}}\n")
	b := mustCompile(t, "pipeline: [{uses: fetch, with: {uri: x}}]\n", Options{}, CompileOptions{PipelineDirs: []string{dir}})
	if b.Sources != nil || b.Pipeline[0].Source != nil || b.Pipeline[0].Runs != "wget x\n" {
		t.Errorf("found %+v %+v", b.Sources, b.Pipeline[0])
	}
}

// What is taken is named by what it is, not by who asks.
func TestGitSourceFile(t *testing.T) {
	file := func(with string) string {
		b := mustCompile(t, "pipeline: [{uses: git-checkout, with: {repository: r, "+with+"}}]\n", Options{}, CompileOptions{})
		return b.Sources[0].Git.File
	}
	base := file("tag: v1")
	for _, same := range []string{"tag: v1, destination: elsewhere", "tag: v1, max-retries: 9", "tag: v1, reason: x", "tag: v1, depth: 1", "tag: v1, submodule-jobs: 4"} {
		if file(same) != base {
			t.Errorf("%s: another file", same)
		}
	}
	for _, other := range []string{"tag: v2", "branch: v1", "tag: v1, depth: -1", "tag: v1, recurse-submodules: true", "tag: v1, sparse-paths: a", "tag: v1, cherry-picks: 'a: b'", "tag: v1, expected-commit: " + strings.Repeat("1", 40)} {
		if file(other) == base {
			t.Errorf("%s: the same file", other)
		}
	}
}

func TestStarters(t *testing.T) {
	for _, kind := range StarterKinds {
		for _, name := range []string{"hello", "py3-a.b", "true", "1"} {
			data, err := Starter(kind, name)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Read(name+".yaml", data, Options{})
			if err != nil {
				t.Fatalf("%s: %v", kind, err)
			}
			b, err := Compile(d, CompileOptions{Arch: "aarch64"})
			if err != nil || len(b.Warnings) > 0 || b.Package.Name != name {
				t.Errorf("%s %s: %v %v", kind, name, err, b.Warnings)
			}
			if !bytes.Contains(data, []byte("\n  # ")) && !bytes.HasPrefix(data, []byte("# ")) {
				t.Errorf("%s has no remarks", kind)
			}
		}
	}
	for _, bad := range [][2]string{{"ada", "hello"}, {"go", ""}, {"go", ".x"}, {"go", "a b"}, {"go", "a\nb"}, {"../starters/go", "a"}} {
		if _, err := Starter(bad[0], bad[1]); err == nil {
			t.Errorf("%v: accepted", bad)
		}
	}
}

func TestBuiltinPipelines(t *testing.T) {
	names := BuiltinPipelines()
	if len(names) != 51 || !slices.IsSorted(names) {
		t.Errorf("found %d pipelines, expected 51 in order: %v", len(names), names)
	}
	for _, name := range names {
		p := libraryOf(nil).find(name)
		if p.err != nil || len(p.problems) > 0 || p.pipeline.Name == "" || len(p.pipeline.Pipeline) == 0 {
			t.Errorf("%s: %v %v", name, p.err, p.problems)
		}
		for input, in := range p.pipeline.Inputs {
			if in.Description == "" || in.Required && in.Default != "" {
				t.Errorf("%s: %s: %+v", name, input, in)
			}
		}
		// Our own files are held to what is demanded of definitions.
		r := &report{}
		d := &decoder{report: r, src: p.src}
		d.value(place{p.doc, ""}, reflect.ValueOf(&Pipeline{}).Elem())
		checkPipelines(r, r.add, p.pipeline.Pipeline)
		if err := r.err(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLoadAll(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "b.yaml"), "package: {name: b, version: 1}\n")
	write(t, filepath.Join(dir, "a.yml"), "package: {name: a, version: 1}\n")
	write(t, filepath.Join(dir, "arm.yaml"), "package: {name: arm, version: 1, target-architecture: [aarch64]}\n")
	write(t, filepath.Join(dir, ".hidden.yaml"), "no: definition\n")
	write(t, filepath.Join(dir, "readme.md"), "")
	if err := os.Mkdir(filepath.Join(dir, "c.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	files, err := Files(dir)
	if err != nil {
		t.Fatal(err)
	}
	builds, err := LoadAll(t.Context(), files, Options{}, CompileOptions{Arch: "x86_64"})
	if err != nil || len(builds) != 2 || builds[0].Package.Name != "a" || builds[1].Package.Name != "b" {
		t.Errorf("found %v, %v", builds, err)
	}
	write(t, filepath.Join(dir, "x.yaml"), "package: {name: .x, version: 1}\n")
	write(t, filepath.Join(dir, "y.yaml"), "pipeline: 1\n")
	files, _ = Files(dir)
	_, err = LoadAll(t.Context(), files, Options{}, CompileOptions{Arch: "x86_64"})
	var list *Errors
	if !errors.As(err, &list) || len(list.Problems) != 3 || !strings.HasSuffix(list.Problems[0].File, "x.yaml") {
		t.Errorf("found %v, expected the problems of both files", err)
	}
	if _, err = LoadAll(t.Context(), append(files, filepath.Join(dir, "none.yaml")), Options{}, CompileOptions{Arch: "x86_64"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v, expected %v", err, fs.ErrNotExist)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err = LoadAll(ctx, files, Options{}, CompileOptions{Arch: "x86_64"}); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v, expected %v", err, context.Canceled)
	}
}

func TestReadVars(t *testing.T) {
	path := filepath.Join(t.TempDir(), "vars.yaml")
	write(t, path, "a: 1\nb: text\n")
	if vars, err := ReadVars(path); err != nil || vars["a"] != "1" || vars["b"] != "text" {
		t.Errorf("found %v, %v", vars, err)
	}
	for text, want := range map[string]string{
		"- a\n": ":1:1: definition: wrong type: found a list, expected a mapping", "a: [b]\n": ":1:4: a: wrong type: found a list, expected text",
		"": ":1:1: definition: empty: found no key, expected at least package",
	} {
		write(t, path, text)
		if _, err := ReadVars(path); err == nil || err.Error() != path+want {
			t.Errorf("%q: found %v", text, err)
		}
	}
}

// What is small on disk and large when aliases are expanded is refused, as is
// what is large on disk, or no text.
func TestLimits(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString("package: {name: a, version: 1}\nvars: &v {x: y}\noptions: &o0\n  o: {vars: *v}\n")
	bomb.WriteString("pipeline:\n  - pipeline: &p0 [{runs: a}, {runs: a}, {runs: a}, {runs: a}, {runs: a}, {runs: a}, {runs: a}, {runs: a}]\n")
	for i := 1; i < 8; i++ {
		bomb.WriteString("  - pipeline: &p" + string(rune('0'+i)) + " [" + strings.Repeat("{pipeline: *p"+string(rune('0'+i-1))+"}, ", 8) + "]\n")
	}
	if _, err := Read("bomb.yaml", []byte(bomb.String()), Options{}); err == nil || !strings.Contains(err.Error(), "too large: expected at most 500000 values") {
		t.Errorf("found %v", err)
	}
	path := filepath.Join(t.TempDir(), "large.yaml")
	write(t, path, "package: {name: a, version: 1}\n#"+strings.Repeat("x", maxFileSize))
	if _, err := ReadFile(path, Options{}); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("found %v", err)
	}
	if _, err := ReadFile(filepath.Dir(path), Options{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("found %v", err)
	}
	if _, err := Read("latin1.yaml", []byte("package:\n  name: b\xfc\n"), Options{}); err == nil || !strings.HasPrefix(err.Error(), "latin1.yaml:2:10: definition: not UTF-8") {
		t.Errorf("found %v", err)
	}
}
