package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Set by make test-oracle, which builds testdata/oracle: the program that prints
// what melange makes of a definition.
const oracleVariable = "CAIRN_ORACLE"

// wolfi is a sample of Wolfi's definitions, with the distribution's pipelines.
const wolfi = "../../../shared/data/wolfi-definitions"

// oracle returns the program and melange's own pipelines, or skips.
func oracle(t *testing.T) (program, pipelines string) {
	t.Helper()
	program = os.Getenv(oracleVariable)
	if program == "" {
		t.Skip(oracleVariable + " is not set; make test-oracle builds melange and sets it")
	}
	cmd := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "chainguard.dev/melange")
	cmd.Dir = "../../testdata/oracle"
	out, err := cmd.Output()
	if err != nil {
		t.Skipf("melange's module is not there: %v", err)
	}
	return program, filepath.Join(strings.TrimSpace(string(out)), "pkg", "build", "pipelines")
}

func wolfiFiles(t testing.TB) []string {
	t.Helper()
	files, err := Files(wolfi)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not there", wolfi)
	}
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// answer is a line of the oracle.
type answer struct {
	File, Arch, Error string
	Skip              bool
	Build             any
}

// ask runs the oracle over files.
func ask(t *testing.T, program string, archs string, dirs, files []string) []answer {
	t.Helper()
	args := []string{"-arch", archs}
	for _, d := range dirs {
		args = append(args, "-pipeline-dir", d)
	}
	cmd := exec.Command(program, append(args, files...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, stderr.Bytes())
	}
	var list []answer
	for dec := json.NewDecoder(bytes.NewReader(out)); dec.More(); {
		var a answer
		if err := dec.Decode(&a); err != nil {
			t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// ours are the keys that melange does not have.
var ours = map[string]bool{"arch": true, "skip": true, "source": true, "git": true, "sources": true, "pipelines": true, "omitted": true}

func compileFor(file, arch string, dirs []string) (*Build, error) {
	d, err := ReadFile(file, Options{Commit: "unknown"})
	if err != nil {
		return nil, err
	}
	return Compile(d, CompileOptions{Arch: arch, PipelineDirs: dirs})
}

// generic turns a value into maps, lists and texts.
func generic(t *testing.T, v any) any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// With melange's own pipelines, everything is what melange makes of it.
func TestOracleWolfi(t *testing.T) {
	program, pipelines := oracle(t)
	dirs := []string{filepath.Join(wolfi, "pipelines"), pipelines}
	compared := 0
	for _, a := range ask(t, program, "x86_64,aarch64", dirs, wolfiFiles(t)) {
		b, err := compileFor(a.File, a.Arch, dirs)
		switch {
		case a.Skip:
			if !errors.Is(err, ErrArch) {
				t.Errorf("%s %s: found %v, expected %v", a.File, a.Arch, err, ErrArch)
			}
			continue
		case a.Error != "" || err != nil:
			t.Errorf("%s %s: melange says %q, cairn %v", a.File, a.Arch, a.Error, err)
			continue
		}
		compared++
		if diff := cmp.Diff(prune(a.Build, ours), prune(generic(t, b), ours)); diff != "" {
			t.Errorf("%s %s (-melange +cairn)\n%s", a.File, a.Arch, diff)
		}
	}
	t.Logf("%d results compared", compared)
}

// With cairn's pipelines, the rest is what melange makes of it: the packages of
// the environment, and all that does not come from a pipeline.
func TestOracleWolfiWithOwnPipelines(t *testing.T) {
	program, _ := oracle(t)
	own := map[string]bool{}
	for _, name := range BuiltinPipelines() {
		own[name] = true
	}
	dirs := []string{filepath.Join(wolfi, "pipelines")}
	for _, a := range ask(t, program, "x86_64", dirs, wolfiFiles(t)) {
		if a.Skip {
			continue
		}
		b, err := compileFor(a.File, a.Arch, dirs)
		if err != nil || a.Error != "" {
			t.Errorf("%s: melange says %q, cairn %v", a.File, a.Error, err)
			continue
		}
		want, have := withoutSteps(a.Build, own), withoutSteps(generic(t, b), own)
		if diff := cmp.Diff(prune(want, ours), prune(have, ours)); diff != "" {
			t.Errorf("%s (-melange +cairn)\n%s", a.File, diff)
		}
	}
}

// withoutSteps empties the steps of the pipelines that cairn brings.
func withoutSteps(v any, own map[string]bool) any {
	switch v := v.(type) {
	case []any:
		for i := range v {
			v[i] = withoutSteps(v[i], own)
		}
	case map[string]any:
		if name, ok := v["uses"].(string); ok && own[name] {
			delete(v, "pipeline")
			delete(v, "runs")
		}
		for k := range v {
			v[k] = withoutSteps(v[k], own)
		}
	}
	return v
}

// What melange accepts in the cases of this package is accepted, with the same
// result; what it refuses is refused, but where cairn is meant to go on.
func TestOracleCases(t *testing.T) {
	program, pipelines := oracle(t)
	for _, name := range []string{"testdata/good.txtar", "testdata/bad.txtar"} {
		c := openCases(t, name)
		dirs := []string{c.pipelines, pipelines}
		var files []string
		dir := t.TempDir()
		for _, f := range c.archive.Files {
			if strings.HasSuffix(f.Name, ".yaml") && !strings.HasPrefix(f.Name, "pipelines/") && differs[f.Name] == "" {
				path := filepath.Join(dir, f.Name)
				if err := os.WriteFile(path, f.Data, 0o644); err != nil {
					t.Fatal(err)
				}
				files = append(files, path)
			}
		}
		for _, a := range ask(t, program, "x86_64", dirs, files) {
			b, err := compileFor(a.File, a.Arch, dirs)
			if (err == nil) != (a.Error == "") {
				t.Errorf("%s: melange says %q, cairn %v", filepath.Base(a.File), a.Error, err)
				continue
			}
			if err == nil {
				if diff := cmp.Diff(prune(a.Build, ours), prune(generic(t, b), ours)); diff != "" {
					t.Errorf("%s (-melange +cairn)\n%s", filepath.Base(a.File), diff)
				}
			}
		}
	}
}

// differs says in which cases cairn is meant to differ from melange.
var differs = map[string]string{
	"endless-pipeline.yaml":      "melange does not return from it",
	"everything.yaml":            "melange drops what it does not copy of an environment",
	"inherited.yaml":             "melange panics",
	"if-of-subpackage.yaml":      "melange looks at the condition when it builds",
	"inputs-of-one-step.yaml":    "melange goes by the order of a map",
	"needs.yaml":                 "melange installs what a subpackage needs that is not built",
	"ranges.yaml":                "melange leaves out a subpackage when it builds",
	"quoted.yaml":                "${{quoted.…}} is cairn's own",
	"setcap-without-reason.yaml": "melange drops setcap of subpackages",
	"variable-in-variable.yaml":  "melange goes by the order of a map",
}

// The pipelines have melange's names, needs and inputs.
func TestOraclePipelines(t *testing.T) {
	_, pipelines := oracle(t)
	theirs := libraryOf([]string{pipelines})
	own := libraryOf(nil)
	for _, name := range theirs.names() {
		a, b := theirs.find(name), own.find(name)
		if a.err != nil || b.err != nil {
			t.Errorf("%s: %v, %v", name, a.err, b.err)
			continue
		}
		if diff := cmp.Diff(a.pipeline.Needs, b.pipeline.Needs); diff != "" {
			t.Errorf("%s: needs (-melange +cairn)\n%s", name, diff)
		}
		strip := func(in map[string]Input) map[string]Input {
			out := map[string]Input{}
			for k, v := range in {
				v.Description = ""
				out[k] = v
			}
			return out
		}
		if diff := cmp.Diff(strip(a.pipeline.Inputs), strip(b.pipeline.Inputs)); diff != "" {
			t.Errorf("%s: inputs (-melange +cairn)\n%s", name, diff)
		}
	}
}
