package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/repository"
)

// oneFails makes packages without files, but for "bad", which fails.
type oneFails struct{}

func (oneFails) ID() string { return "test" }

func (oneFails) Inputs(context.Context, *definition.Build) (string, error) { return "", nil }

func (oneFails) Build(_ context.Context, t distro.Task) ([]string, error) {
	name := t.Build.Package.Name
	if name == "bad" {
		return nil, errors.New("bad: step 1: exit status 2")
	}
	file := filepath.Join(t.Dir, name)
	raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: name, Version: t.Build.Package.FullVersion(), Arch: t.Build.Arch}})
	return []string{file}, os.WriteFile(file, raw, 0o644)
}

func graphOf(t *testing.T, needs map[string]string) []*definition.Build {
	t.Helper()
	var out []*definition.Build
	for name, need := range needs {
		d, err := definition.Read(name+".yaml", []byte("package:\n  name: "+name+"\n  version: \"1\"\nenvironment:\n  contents:\n    packages: ["+need+"]\n"), definition.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := definition.Compile(d, definition.CompileOptions{Arch: "x86_64"})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func TestBuildGraph(t *testing.T) {
	needs := map[string]string{"base": "", "bad": "", "top": "bad", "app": "base, seeded"}
	ix, err := repository.NewIndex(&apk.Package{Name: "seeded", Version: "1-r0", Arch: "x86_64", Checksum: apk.SHA1{1}})
	if err != nil {
		t.Fatal(err)
	}
	o := distro.Options{Dir: t.TempDir(), Arch: "x86_64", Jobs: 1, Repositories: buildRepositories([]*repository.Index{ix}), Now: func() time.Time { return time.Unix(0, 0) }}
	for _, test := range []struct {
		name        string
		app         app
		out, errOut string
	}{
		{"first", app{format: "table"}, `app   built    -  not built before
bad   failed   -  see DIR/.cairn/x86_64/logs/bad.log
base  built    -  not built before
top   blocked  -  needs bad
x86_64: 2 built, 1 failed, 1 blocked
`, `bad: failed: bad: step 1: exit status 2
  log: DIR/.cairn/x86_64/logs/bad.log
top: blocked: needs bad
base: built in 0.0 s (3 of 4)
app: built in 0.0 s (4 of 4)
`},
		{"again, quiet, by template", app{format: "{{.Name}} {{.Status}}", quiet: true}, "app current\nbad failed\nbase current\ntop blocked\n", ""},
		{"again, verbose", app{format: "table", verbose: true}, `bad  failed   -  see DIR/.cairn/x86_64/logs/bad.log
top  blocked  -  needs bad
x86_64: 2 current, 1 failed, 1 blocked
`, `bad: building: not built before: log DIR/.cairn/x86_64/logs/bad.log
bad: failed: bad: step 1: exit status 2
  log: DIR/.cairn/x86_64/logs/bad.log
top: blocked: needs bad
base: current
app: current
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			a := test.app
			a.std = streams{nil, &out, &errOut}
			err := a.buildGraph(t.Context(), graphOf(t, needs), oneFails{}, o)
			if !errors.Is(err, distro.ErrFailed) || exitCode(err) != exitFailure {
				t.Errorf("found %v, expected ErrFailed", err)
			}
			plain := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), o.Dir, "DIR") }
			// Columns are as wide as the temporary directory's name wants them.
			if got := plain(out); got != test.out {
				t.Errorf("found\n%s\nexpected\n%s", got, test.out)
			}
			if got := plain(errOut); got != test.errOut {
				t.Errorf("progress: found\n%s\nexpected\n%s", got, test.errOut)
			}
		})
	}
	var out bytes.Buffer
	a := app{format: "json", quiet: true, std: streams{nil, &out, &bytes.Buffer{}}}
	_ = a.buildGraph(t.Context(), graphOf(t, needs), oneFails{}, o)
	var report distro.Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || len(report.Builds) != 4 || report.Counts[distro.Current] != 2 || report.Builds[1].Error == "" {
		t.Errorf("%v: %s", err, out.String())
	}
}

func TestBuildGraphNamesCycles(t *testing.T) {
	a := app{format: "table", std: streams{nil, &bytes.Buffer{}, &bytes.Buffer{}}}
	err := a.buildGraph(t.Context(), graphOf(t, map[string]string{"cc": "libc", "libc": "cc"}), oneFails{}, distro.Options{Dir: t.TempDir(), Arch: "x86_64"})
	if exitCode(err) != exitUnsolvable || !regexp.MustCompile(`^cc, libc: packages need each other: no repository has cc\nhint: `).MatchString(fmt.Sprint(err)) {
		t.Errorf("exit code %d: %v", exitCode(err), err)
	}
}

func TestGraphStateLine(t *testing.T) {
	e := distro.Event{Done: 3, Total: 20, Running: []string{"gcc", "zlib"}, Left: 150 * time.Second}
	if got, want := stateLine(e), "3 of 20, about 2 min left: building gcc, zlib"; got != want {
		t.Errorf("found %q, expected %q", got, want)
	}
	for d, want := range map[time.Duration]string{0: "0.0 s", 1500 * time.Millisecond: "1.5 s", 42 * time.Second: "42 s", 3 * time.Minute: "3 min", 125 * time.Minute: "2 h 5 min"} {
		if got := tookText(d); got != want {
			t.Errorf("%v: found %q, expected %q", d, got, want)
		}
	}
}
