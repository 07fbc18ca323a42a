//go:build e2e

package buildkit_test

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/build/buildkit"
	"github.com/cairn-dev/cairn/packages/build/buildkit/buildkittest"
	"github.com/cairn-dev/cairn/packages/build/unpack"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/pack"
	"github.com/cairn-dev/cairn/packages/tree"
)

// The tests build on real daemons, as root, which make e2e-buildkit prepares.

// startDaemon starts a daemon that works in any file system.
func startDaemon(t *testing.T) (string, *os.Process) {
	t.Helper()
	return buildkittest.Start(t, "--oci-worker-snapshotter", "native")
}

// builder makes packages on BuildKit daemons. The environment is an image of one
// layer with a shell, and a layer for each package.
type builder struct {
	workers *buildkit.Workers
	layout  string
	base    buildkit.Layer
	before  func(name string) // each build
}

func (*builder) ID() string { return "e2e" }

func (*builder) Inputs(context.Context, *definition.Build) (string, error) { return "", nil }

func (b *builder) Build(ctx context.Context, task distro.Task) (_ []string, err error) {
	name := task.Build.Package.Name
	if b.before != nil {
		b.before(name)
	}
	scratch := filepath.Dir(task.Dir)
	image, err := b.image(ctx, task.Environment, b.layout)
	if err != nil {
		return nil, err
	}
	out, err := os.Create(filepath.Join(scratch, "result.tar"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	job := buildkit.Job{Layout: b.layout, Image: image, Arch: "amd64", Dir: "/home/build", Result: "/home/build/melange-out", Log: task.Log, Out: out}
	for _, step := range task.Build.Pipeline {
		job.Steps = append(job.Steps, buildkit.Step{Args: []string{"/bin/sh", "-c", "set -e\n" + step.Runs}, Dir: "/home/build", Env: []string{"PATH=/bin:/usr/bin"}})
	}
	if err := b.workers.Run(ctx, job); err != nil {
		return nil, err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	result := filepath.Join(scratch, "result")
	if err := os.Mkdir(result, 0o755); err != nil {
		return nil, err
	}
	if err := unpack.Tar(ctx, out, result, 1<<30); err != nil {
		return nil, err
	}
	p, err := tree.Directory(filepath.Join(result, name), tree.DirectoryOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	file := filepath.Join(task.Dir, name+".apk")
	_, err = pack.WriteFile(ctx, file, p, pack.Spec{Package: apk.Package{Name: name, Version: task.Build.Package.FullVersion(), Arch: task.Build.Arch}}, pack.Options{})
	return []string{file}, err
}

// image writes the environment and returns its digest.
func (b *builder) image(ctx context.Context, env []distro.Input, dir string) (string, error) {
	layers := []buildkit.Layer{b.base}
	for _, in := range env {
		l, err := dataLayer(ctx, in.File)
		if err != nil {
			return "", err
		}
		layers = append(layers, l)
	}
	return buildkit.WriteImage(ctx, dir, "amd64", layers)
}

// dataLayer is the data section of a package, as it is.
func dataLayer(ctx context.Context, file string) (buildkit.Layer, error) {
	p, err := tree.OpenPackage(ctx, file, tree.PackageOptions{})
	if err != nil {
		return buildkit.Layer{}, err
	}
	r := p.Receipt
	l := buildkit.Layer{Digest: "sha256:" + r.DataHash.Hex(), DiffID: "sha256:" + r.DiffID.Hex(), Size: r.DataSize, Open: func() (io.ReadCloser, error) {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.NewSectionReader(f, r.DataOffset, r.DataSize), f}, nil
	}}
	return l, p.Close()
}

// shell is a layer with busybox.
func shell(t *testing.T) buildkit.Layer {
	t.Helper()
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Skipf("%v: install busybox-static", err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, {Name: "bin/busybox", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))},
		{Name: "bin/sh", Typeflag: tar.TypeSymlink, Linkname: "busybox"}, {Name: "tmp/", Typeflag: tar.TypeDir, Mode: 0o1777}} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write(program); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	compressed := apktest.Gzip(b.Bytes())
	digest := func(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }
	return buildkit.Layer{Digest: digest(compressed), DiffID: digest(b.Bytes()), Size: int64(len(compressed)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(compressed)), nil }}
}

// definitions are twelve: each writes what it is and what it was built with.
func definitions(t *testing.T) []*definition.Build {
	t.Helper()
	needs := map[string]string{"a": "", "b": "", "c": "", "d": "", "e": "a b", "f": "b c", "g": "c d", "h": "d a", "i": "e f", "j": "g h", "k": "i", "l": "i j k"}
	var out []*definition.Build
	for _, name := range strings.Split("a b c d e f g h i j k l", " ") {
		text := fmt.Sprintf(`package:
  name: %[1]s
  version: "1.0"
environment:
  contents:
    packages: [%[2]s]
pipeline:
  - runs: |
      busybox sleep 0.3
      if busybox wget -T 2 -q -O - http://127.0.0.1:9/ 2>/dev/null; then exit 1; fi
      [ "$(busybox ls /sys/class/net)" = lo ]
      d=melange-out/%[1]s/share
      busybox mkdir -p $d
      busybox chmod 1777 $d
      for f in /share/*; do [ ! -f "$f" ] || busybox cat "$f"; done > list
  - runs: |
      d=melange-out/%[1]s/share
      { echo "%[1]s:"; busybox sort -u list; } > $d/%[1]s
      busybox ln $d/%[1]s $d/%[1]s.again
      echo "made %[1]s"
`, name, strings.ReplaceAll(needs[name], " ", ", "))
		d, err := definition.Read(name+".yaml", []byte(text), definition.Options{})
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

func TestE2EBuildkitGraph(t *testing.T) {
	base := shell(t)
	one, _ := startDaemon(t)
	two, _ := startDaemon(t)
	build := func(addresses []string, before func(string)) (*distro.Report, *buildkit.Workers, string) {
		t.Helper()
		workers, err := buildkit.Connect(t.Context(), addresses)
		if err != nil {
			t.Fatal(err)
		}
		b := &builder{workers: workers, layout: filepath.Join(t.TempDir(), "layout"), base: base, before: before}
		dir := t.TempDir()
		start := time.Now()
		report, err := distro.Run(t.Context(), definitions(t), b, distro.Options{Dir: dir, Arch: "x86_64", Jobs: 4})
		if err != nil {
			t.Fatalf("%v: %+v", err, report.Builds)
		}
		t.Logf("%v in %v", addresses, time.Since(start).Round(time.Millisecond))
		return report, workers, dir
	}
	_, workers, whole := build([]string{one, two}, nil)
	_ = workers.Close()
	// The same on two others, which have nothing in their caches, one of them
	// killed while it builds.
	third, process := startDaemon(t)
	fourth, _ := startDaemon(t)
	var mu sync.Mutex
	begun := 0
	report, workers, killed := build([]string{third, fourth}, func(string) {
		mu.Lock()
		defer mu.Unlock()
		if begun++; begun == 5 {
			time.AfterFunc(200*time.Millisecond, func() { _ = process.Kill() })
		}
	})
	defer workers.Close()
	if report.Summary() != "12 built" {
		t.Errorf("report: %s", report.Summary())
	}
	if got := workers.Lost(); !slices.Equal(got, []string{third}) {
		t.Errorf("lost %v, expected %s", got, third)
	}
	for _, b := range report.Builds {
		for _, name := range b.Packages {
			first, err := os.ReadFile(filepath.Join(whole, "x86_64", name))
			if err != nil {
				t.Fatal(err)
			}
			second, err := os.ReadFile(filepath.Join(killed, "x86_64", name))
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first, second) {
				t.Errorf("%s differs", name)
			}
		}
	}
	p, err := tree.OpenPackage(t.Context(), filepath.Join(killed, "x86_64", "l-1.0-r0.apk"), tree.PackageOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var got []string
	for _, e := range p.Entries() {
		got = append(got, fmt.Sprintf("%s %v %o %s", e.Path, e.Type, e.Mode, e.Link))
	}
	want := []string{
		fmt.Sprintf("share %v 1777 ", apk.TypeDir),
		fmt.Sprintf("share/l %v 644 ", apk.TypeFile),
		fmt.Sprintf("share/l.again %v 644 share/l", apk.TypeHardlink),
	}
	if !slices.Equal(got, want) {
		t.Errorf("found\n%s\nexpected\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// oneDaemon starts a daemon, and makes an image with a shell for it.
func oneDaemon(t *testing.T) (workers *buildkit.Workers, layout, image string) {
	t.Helper()
	base := shell(t)
	address, _ := startDaemon(t)
	workers, err := buildkit.Connect(t.Context(), []string{address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { workers.Close() })
	b := &builder{workers: workers, layout: filepath.Join(t.TempDir(), "layout"), base: base}
	if image, err = b.image(t.Context(), nil, b.layout); err != nil {
		t.Fatal(err)
	}
	return workers, b.layout, image
}

func TestE2EBuildkitFailedStep(t *testing.T) {
	workers, layout, image := oneDaemon(t)
	dir := t.TempDir()
	out, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var log bytes.Buffer
	err = workers.Run(t.Context(), buildkit.Job{Layout: layout, Image: image, Arch: "amd64", Dir: "/home/build", Result: "/home/build/out", Log: &log, Out: out,
		Steps: []buildkit.Step{{Args: []string{"/bin/sh", "-c", "echo before; exit 3"}, Dir: "/home/build"}}})
	if !errors.Is(err, buildkit.ErrJob) || !strings.Contains(err.Error(), "exit code: 3") {
		t.Errorf("found %v, expected ErrJob with exit code 3", err)
	}
	if !strings.Contains(log.String(), "before") {
		t.Errorf("log %q", log.String())
	}
	if len(workers.Lost()) != 0 {
		t.Error("the daemon is taken for lost")
	}
}

// A step finds the workspace, its variables, and what steps before it left,
// outside of the workspace too.
func TestE2EBuildkitWorkspace(t *testing.T) {
	workers, layout, image := oneDaemon(t)
	dir := t.TempDir()
	sources := filepath.Join(dir, "sources")
	if err := os.MkdirAll(filepath.Join(sources, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(sources, "sub", "run.sh"), []byte("#!/bin/sh\necho \"from the workspace\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(dir, "out.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	step := func(script string) buildkit.Step {
		return buildkit.Step{Args: []string{"/bin/sh", "-c", script}, Dir: "/home/build/sub", Env: []string{"WORD=a b=c"}}
	}
	err = workers.Run(t.Context(), buildkit.Job{Layout: layout, Image: image, Arch: "amd64", Workspace: sources, Dir: "/home/build", Result: "/home/build/out", Out: out,
		Steps: []buildkit.Step{step("./run.sh > /tmp/said; echo more > left"), step(`/bin/busybox cat /tmp/said left > ../out/result; echo "$WORD" >> ../out/result`)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	result := t.TempDir()
	if err := unpack.Tar(t.Context(), out, result, 1<<20); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(result, "result"))
	if want := "from the workspace\nmore\na b=c\n"; err != nil || string(got) != want {
		t.Errorf("found %q, %v, expected %q", got, err, want)
	}
}
