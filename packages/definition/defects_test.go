package definition

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each test here is named after something that melange 0.59 gets wrong.

func mustCompile(t *testing.T, text string, o Options, co CompileOptions) *Build {
	t.Helper()
	d, err := Read("hello.yaml", []byte("package: {name: hello, version: 1.0}\n"+text), o)
	if err != nil {
		t.Fatal(err)
	}
	co.Arch = "x86_64"
	b, err := Compile(d, co)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Accepted, checked, and then not copied.
func TestMelangeDefect_SubpackageSetcapIsDropped(t *testing.T) {
	b := mustCompile(t, `
data: [{name: l, items: {a: x}}]
subpackages:
  - name: plain
    setcap: [{path: /usr/bin/p, add: {cap_net_raw: +ep}, reason: ping}]
  - name: ranged-${{range.key}}
    range: l
    setcap: [{path: /usr/bin/r, add: {cap_net_raw: +ep}, reason: ping}]
`, Options{}, CompileOptions{})
	for _, s := range b.Subpackages {
		if len(s.SetCap) != 1 || s.SetCap[0].Add["cap_net_raw"] != "+ep" {
			t.Errorf("%s: found %v, expected the capability that was written", s.Name, s.SetCap)
		}
	}
}

// A copy into a map that is not there.
func TestMelangeDefect_PanicForEnvironmentBelowNone(t *testing.T) {
	b := mustCompile(t, "pipeline:\n  - pipeline:\n      - runs: a\n        environment: {A: b}\n", Options{}, CompileOptions{})
	if have := b.Pipeline[0].Pipeline[0].Environment["A"]; have != "b" {
		t.Errorf("found %q, expected b", have)
	}
}

// The same, for variables from a file.
func TestMelangeDefect_PanicForVarsFileWithoutVars(t *testing.T) {
	b := mustCompile(t, "pipeline:\n  - runs: echo ${{vars.a}}\n", Options{Vars: map[string]string{"a": "given"}}, CompileOptions{})
	if have := b.Pipeline[0].Runs; have != "echo given\n" {
		t.Errorf("found %q", have)
	}
	b = mustCompile(t, "vars: {a: written, b: stays}\npipeline:\n  - runs: echo ${{vars.a}} ${{vars.b}}\n", Options{Vars: map[string]string{"a": "given"}}, CompileOptions{})
	if have := b.Pipeline[0].Runs; have != "echo given stays\n" {
		t.Errorf("found %q", have)
	}
}

// Whether this works there, and what it says when not, changes from run to run.
func TestMelangeDefect_VariableInVariableByMapOrder(t *testing.T) {
	text := "package: {name: hello, version: 1.0}\nvars: {a: x, b: '${{vars.a}}', c: '${{vars.b}}', d: '${{package.version}}'}\n"
	first := ""
	for range 20 {
		d, err := Read("hello.yaml", []byte(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = Compile(d, CompileOptions{Arch: "x86_64"})
		if err == nil {
			t.Fatal("accepted")
		}
		if first == "" {
			first = err.Error()
		}
		if err.Error() != first || strings.Count(first, "variable in a variable") != 3 {
			t.Fatalf("found\n%v\nafter\n%s", err, first)
		}
	}
}

// An input whose name the pipeline around has too takes one value or the other.
func TestMelangeDefect_InputsOfTheSameName(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "outer.yaml"), "inputs: {a: {}, b: {}}\npipeline:\n  - uses: inner\n    with: {a: '${{inputs.b}}', b: own}\n")
	write(t, filepath.Join(dir, "inner.yaml"), "inputs: {a: {}, b: {}}\nruns: echo ${{inputs.a}} ${{inputs.b}}\n")
	for range 20 {
		b := mustCompile(t, "pipeline:\n  - uses: outer\n    with: {a: x, b: outer}\n", Options{}, CompileOptions{PipelineDirs: []string{dir}})
		if have := b.Pipeline[0].Pipeline[0].Runs; have != "echo outer own\n" {
			t.Fatalf("found %q, expected the outer value for a and the own one for b", have)
		}
	}
}

// The condition is looked at when variables are gone.
func TestMelangeDefect_SubpackageConditionWithoutVariables(t *testing.T) {
	text := `
subpackages:
  - name: here
    if: ${{build.arch}} == 'x86_64'
  - name: elsewhere
    if: ${{build.arch}} == 'aarch64'
    pipeline: [{uses: cmake/build}]
`
	b := mustCompile(t, text, Options{}, CompileOptions{})
	if len(b.Subpackages) != 1 || b.Subpackages[0].Name != "here" || !slices.Equal(b.Omitted, []string{"elsewhere"}) {
		t.Errorf("found %v, omitted %v", b.Subpackages, b.Omitted)
	}
	if slices.Contains(b.Environment.Contents.Packages, "cmake") {
		t.Errorf("found %v: what is not built needs nothing", b.Environment.Contents.Packages)
	}
}

// Options of a subpackage with a range were lost once.
func TestMelangeDefect_RangeDropsOptions(t *testing.T) {
	b := mustCompile(t, `
data: [{name: l, items: {a: x, b: y}}]
subpackages:
  - name: s-${{range.key}}
    range: l
    options: {no-provides: true}
    checks: {disabled: [empty]}
    annotations: {k: '${{range.value}}'}
    url: https://example.com/${{range.key}}
    scriptlets: {post-install: 'echo ${{range.value}}'}
`, Options{}, CompileOptions{})
	for i, want := range []string{"x", "y"} {
		s := b.Subpackages[i]
		if s.Options == nil || !s.Options.NoProvides || len(s.Checks.Disabled) != 1 || s.Annotations["k"] != want ||
			s.URL != "https://example.com/"+strings.TrimPrefix(s.Name, "s-") || s.Scriptlets.PostInstall != "echo "+want {
			t.Errorf("%s: found %+v", s.Name, s)
		}
	}
}

// A pipeline that uses itself is compiled for ever.
func TestMelangeDefect_PipelineThatUsesItself(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yaml"), "pipeline: [{uses: b}]\n")
	write(t, filepath.Join(dir, "b.yaml"), "pipeline: [{uses: a}]\n")
	d, err := Read("hello.yaml", []byte("package: {name: hello, version: 1}\npipeline: [{uses: a}]\n"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = Compile(d, CompileOptions{Arch: "x86_64", PipelineDirs: []string{dir}}); !errors.Is(err, ErrDefinition) || !strings.Contains(err.Error(), "nested too deep") {
		t.Errorf("found %v", err)
	}
}

// GHSA-98f2-w9h9-7fp9: uses led out of the pipeline directory.
func TestMelangeDefect_UsesLeadsOut(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secret.yaml"), "runs: echo secret\n")
	inside := filepath.Join(dir, "pipelines")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, uses := range []string{"../secret", "x/../../secret", filepath.Join(dir, "secret"), "..", "x\x00y"} {
		d, err := Read("hello.yaml", []byte("package: {name: hello, version: 1}\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		d.Pipeline = []Pipeline{{Uses: uses}}
		if _, err := Compile(d, CompileOptions{Arch: "x86_64", PipelineDirs: []string{inside}}); !errors.Is(err, ErrDefinition) {
			t.Errorf("%q: found %v", uses, err)
		}
	}
}

// GHSA-vqqr-rmpc-hhg2: a working directory was pasted into the script.
func TestMelangeDefect_WorkingDirectoryInjection(t *testing.T) {
	for dir, want := range map[string]string{
		"a b":                "'/home/build/a b'",
		"$(touch x)":         "'/home/build/$(touch x)'",
		"a'; touch x; '":     `'/home/build/a'\''; touch x; '\'''`,
		"a\ntouch x":         "'/home/build/a\ntouch x'",
		"/abs/../other":      "/abs/../other",
		"../../etc":          "/etc",
		"${{package.name}}x": "/home/build/hellox",
	} {
		d, err := Read("hello.yaml", []byte("package: {name: hello, version: 1}\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		d.Pipeline = []Pipeline{{Runs: "true", WorkDir: dir}}
		b, err := Compile(d, CompileOptions{Arch: "x86_64"})
		if err != nil {
			t.Fatal(err)
		}
		script := b.Pipeline[0].Script(false)
		if !strings.Contains(script, "\ncd "+want+"\n") || !strings.Contains(script, "[ -d "+want+" ] || mkdir -p "+want+"\n") {
			t.Errorf("%q: found\n%s", dir, script)
		}
	}
}

// shellInputs are pasted into scripts, because definitions write the shell's
// syntax in them.
var shellInputs = []string{"opts", "ldflags", "extra-args", "targets", "command"}

// pastes reports whether an input of a pipeline may be read by the shell.
func pastes(pipeline, input string) bool {
	return slices.Contains(shellInputs, input) && (input != "command" || pipeline == "python/test")
}

var pasted = regexp.MustCompile(`\$\{\{\s*([a-z.-]+)\s*\}\}`)

// GHSA-rf4g-89h5-crcr and its kind: inputs were pasted into scripts.
func TestMelangeDefect_InputsArePasted(t *testing.T) {
	for _, name := range BuiltinPipelines() {
		for i, step := range libraryOf(nil).find(name).pipeline.Pipeline {
			for _, ref := range pasted.FindAllStringSubmatch(step.Runs, -1) {
				input, ok := strings.CutPrefix(ref[1], "inputs.")
				if strings.HasPrefix(ref[1], quoted) || ok && pastes(name, input) || ref[1] == "build.arch" {
					continue
				}
				t.Errorf("%s: pipeline[%d]: found %s, expected %s", name, i, ref[0], strings.Replace(ref[0], "${{", "${{"+quoted, 1))
			}
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
