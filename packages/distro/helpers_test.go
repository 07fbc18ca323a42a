package distro

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/repository"
)

// define compiles definitions, one a line: "NAME needs… | SUBPACKAGE… = CONTENT".
// What the packages contain is CONTENT; "+x" among the needs is something that
// the main package needs at run time.
func define(t testing.TB, lines ...string) []*definition.Build {
	t.Helper()
	var out []*definition.Build
	for _, line := range lines {
		line, content, _ := strings.Cut(line, "=")
		main, subs, _ := strings.Cut(line, "|")
		words := strings.Fields(main)
		var needs, runtime []string
		for _, w := range words[1:] {
			if name, ok := strings.CutPrefix(w, "+"); ok {
				runtime = append(runtime, name)
			} else {
				needs = append(needs, w)
			}
		}
		text := fmt.Sprintf("package:\n  name: %s\n  version: \"1.0\"\n  dependencies:\n    runtime: [%s]\nenvironment:\n  contents:\n    packages: [%s]\npipeline:\n  - runs: \"echo %s\"\n",
			words[0], strings.Join(runtime, ", "), strings.Join(needs, ", "), strings.TrimSpace(content))
		if subs = strings.TrimSpace(subs); subs != "" {
			text += "subpackages:\n"
			for _, s := range strings.Fields(subs) {
				text += "  - name: " + s + "\n"
			}
		}
		out = append(out, compile(t, words[0]+".yaml", text))
	}
	return out
}

func compile(t testing.TB, file, text string) *definition.Build {
	t.Helper()
	d, err := definition.Read(file, []byte(text), definition.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := definition.Compile(d, definition.CompileOptions{Arch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fake makes packages whose file says what the definition's step says and, with
// taste, which packages it was built with.
type fake struct {
	id     string
	inputs string
	taste  bool          // the environment shows in the packages
	delay  time.Duration // of each build
	fail   map[string]bool
	make   func(t Task, p apk.Package) ([]byte, bool) // other bytes for a package; false leaves it out

	mu      sync.Mutex
	built   []string
	env     map[string][]string
	running int
	most    int
}

func (f *fake) ID() string { return "fake " + f.id }

func (f *fake) Inputs(context.Context, *definition.Build) (string, error) { return f.inputs, nil }

func (f *fake) Build(ctx context.Context, t Task) ([]string, error) {
	name := t.Build.Package.Name
	f.mu.Lock()
	f.built = append(f.built, name)
	f.running++
	f.most = max(f.most, f.running)
	if f.env == nil {
		f.env = map[string][]string{}
	}
	f.env[name] = nil
	flavour := ""
	for _, in := range t.Environment {
		where := "here"
		if in.Repository >= 0 {
			where = fmt.Sprint(in.Repository)
		} else if _, err := os.Stat(in.File); err != nil {
			where = err.Error()
		}
		f.env[name] = append(f.env[name], in.Package.ID()+"@"+where)
		flavour += in.SHA256.Hex() + "\n"
	}
	f.mu.Unlock()
	defer func() { f.mu.Lock(); f.running--; f.mu.Unlock() }()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(f.delay):
	}
	fmt.Fprintf(t.Log, "building %s\n", name)
	if f.fail[name] {
		return nil, fmt.Errorf("%s: step 1: exit status 1", name)
	}
	content := ""
	for _, step := range t.Build.Pipeline {
		content += step.Runs
	}
	if f.taste {
		content += flavour
	}
	var files []string
	packages := []definition.Subpackage{{Name: name, Dependencies: t.Build.Package.Dependencies}}
	for _, sub := range append(packages, t.Build.Subpackages...) {
		n := sub.Name
		p := apk.Package{Name: n, Version: t.Build.Package.FullVersion(), Arch: t.Build.Arch, Commit: t.Build.Package.Commit}
		p.ProviderPriority, _ = strconv.ParseInt(sub.Dependencies.ProviderPriority, 10, 64)
		for _, text := range sub.Dependencies.Runtime {
			d, err := apk.ParseDependency(text)
			if err != nil {
				return nil, err
			}
			p.Depends = append(p.Depends, d)
		}
		for _, text := range sub.Dependencies.Provides {
			d, err := apk.ParseDependency(text)
			if err != nil {
				return nil, err
			}
			p.Provides = append(p.Provides, d)
		}
		raw := packed(p, content)
		if f.make != nil {
			other, ok := f.make(t, p)
			if !ok {
				continue
			}
			if other != nil {
				raw = other
			}
		}
		file := filepath.Join(t.Dir, n+".apk")
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

func packed(p apk.Package, content string) []byte {
	return apktest.Build(apktest.Spec{Package: p, Parents: true, Files: []apktest.File{{Path: "usr/share/" + p.Name, Content: content}}})
}

// taken returns what was built since the last call, sorted.
func (f *fake) taken() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	slices.Sort(f.built)
	s := strings.Join(f.built, " ")
	f.built = nil
	return s
}

func (f *fake) environment(name string) string { return strings.Join(f.env[name], " ") }

// seeds is a repository with packages of version 0.1.
func seeds(t testing.TB, names ...string) Repository {
	t.Helper()
	var list []*apk.Package
	for _, n := range names {
		name, version, ok := strings.Cut(n, "=")
		if !ok {
			version = "0.1-r0"
		}
		list = append(list, &apk.Package{Name: name, Version: version, Arch: "x86_64", Checksum: apk.SHA1{byte(len(list) + 1), byte(len(version))}})
	}
	ix, err := repository.NewIndex(list...)
	if err != nil {
		t.Fatal(err)
	}
	return Repository{Index: ix, URL: "seed"}
}

// text writes a report as "name=status …".
func text(r *Report) string {
	var out []string
	for _, b := range r.Builds {
		out = append(out, b.Name+"="+string(b.Status))
	}
	return strings.Join(out, " ")
}

// indexed lists the file names of an index, and checks each against its file.
func indexed(t testing.TB, dir string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "x86_64", repository.IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	ix, err := repository.ReadIndex(f, repository.ReadOptions{UnsafeUnsigned: true})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range ix.Len() {
		p := ix.Package(i)
		raw, err := os.Open(filepath.Join(dir, "x86_64", p.Filename()))
		if err != nil {
			t.Error(err)
			continue
		}
		head, err := apk.ReadHead(bufio.NewReader(raw), apk.Limits{})
		if err != nil {
			t.Error(err)
		} else if head.ControlSHA1 != p.Checksum {
			t.Errorf("%s: the index has checksum %s, the file %s", p.Filename(), p.Checksum, head.ControlSHA1)
		}
		raw.Close()
		out = append(out, p.Filename())
	}
	return out
}
