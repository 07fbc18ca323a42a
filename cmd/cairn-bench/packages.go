package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// environments are those that packages are built in, by case: with nothing but a shell,
// and with Debian's C compiler.
var environments = map[string][]string{
	"package-trivial": {"busybox"},
	"package-gcc": {"bash", "coreutils", "gcc", "g++", "libc6-dev", "make", "binutils", "sed", "grep", "tar", "xz-utils", "findutils", "diffutils",
		"gawk", "patch", "busybox", "base-files"},
}

// definition has one step, which does almost nothing: what is measured is everything
// around it.
const definition = `package:
  name: bench
  version: 1.0
  epoch: 0
  description: almost nothing
  copyright: [{license: MIT}]
environment:
  contents:
    packages: [%s]
pipeline:
  - runs: |
      mkdir -p ${{targets.contextdir}}/usr/share
      echo hello > ${{targets.contextdir}}/usr/share/hello
`

// environment makes, or finds, the repository of a case's environment.
func (b *bench) environment(ctx context.Context, name string) (repo string, request []string, err error) {
	repo, request = filepath.Join(b.work, "repo-"+name), environments[name]
	if name == "package-gcc" {
		request = append(slices.Clone(request), "bench-sh")
	}
	done := filepath.Join(repo, "complete")
	if _, err := os.Stat(done); err == nil {
		return repo, request, nil
	}
	if err := errors.Join(os.RemoveAll(repo), os.MkdirAll(filepath.Join(repo, "x86_64"), 0o755)); err != nil {
		return "", nil, err
	}
	spec := apktest.Spec{Package: apk.Package{Name: "bench-sh", Version: "1-r0", Arch: "x86_64", License: "MIT"}, Parents: true,
		Files: []apktest.File{{Path: "usr/bin/sh", Type: apk.TypeSymlink, Link: "bash"}}}
	if name == "package-gcc" {
		if err := b.make(ctx, name, repo, environments[name]); err != nil {
			return "", nil, err
		}
	} else {
		busybox, err := os.ReadFile("/bin/busybox")
		if err != nil {
			return "", nil, fmt.Errorf("%w: install busybox-static", err)
		}
		// A version whose programs apko knows, which it insists on.
		spec.Package.Name, spec.Package.Version = request[0], "1.36.1-r0"
		spec.Files = []apktest.File{{Path: "bin/busybox", Mode: 0o755, Content: string(busybox)}, {Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"},
			{Path: "tmp", Type: apk.TypeDir, Mode: 0o1777}, {Path: "home", Type: apk.TypeDir}, {Path: "var", Type: apk.TypeDir}}
		for _, applet := range []string{"sh", "mkdir", "cat", "find", "chmod", "cp", "rm", "ls"} {
			spec.Files = append(spec.Files, apktest.File{Path: "bin/" + applet, Type: apk.TypeSymlink, Link: "busybox"})
		}
	}
	raw, p := apktest.BuildEntry(spec)
	if err := os.WriteFile(filepath.Join(repo, "x86_64", p.Filename()), raw, 0o644); err != nil {
		return "", nil, err
	}
	if err := index(repo); err != nil {
		return "", nil, err
	}
	return repo, request, os.WriteFile(done, nil, 0o644)
}

// packages builds one package with both programs, each time anew, from a repository on
// the disk and caches that are full.
func (b *bench) packages(ctx context.Context, name string) error {
	if _, err := exec.LookPath("bwrap"); err != nil {
		return errors.Join(errSkip, err)
	}
	repo, request, err := b.environment(ctx, name)
	if err != nil {
		return errors.Join(errSkip, err)
	}
	if b.melange == "" {
		if b.melange, err = b.buildPeer(ctx, "melange", "v0.59.1"); err != nil {
			return errors.Join(errSkip, err)
		}
	}
	dir := filepath.Join(b.work, "run-"+name)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(filepath.Join(dir, "definition"), 0o755)); err != nil {
		return err
	}
	file, key := filepath.Join(dir, "definition", "bench.yaml"), filepath.Join(dir, "bench-key.rsa")
	if err := os.WriteFile(file, fmt.Appendf(nil, definition, strings.Join(request, ", ")), 0o644); err != nil {
		return err
	}
	if _, err := execute(ctx, b.cairn, "key", "generate", "--apk", "--output", key); err != nil {
		return err
	}
	of := map[string]usage{}
	for tool, args := range map[string][]string{
		b.cairn: {"package", "build", "--arch=x86_64", "--signing-key=" + key, "--repository-append=" + repo, "--keyring-append=" + filepath.Join(repo, keyName),
			"--cache-dir=" + filepath.Join(dir, "cache-cairn"), file},
		b.melange: {"build", "--arch=x86_64", "--runner=bubblewrap", "--signing-key=" + key, "--repository-append=" + repo, "--keyring-append=" + filepath.Join(repo, keyName),
			"--cache-dir=" + filepath.Join(dir, "cache-melange"), "--apk-cache-dir=" + filepath.Join(dir, "apk-cache-melange"), "--git-commit=" + strings.Repeat("0", 40),
			"--git-repo-url=https://example.org/bench", file},
	} {
		var runs []usage
		for i := range b.runs + 1 {
			out := filepath.Join(dir, fmt.Sprint("out", i))
			flag := "--out="
			if tool == b.melange {
				flag = "--out-dir="
			}
			u, err := execute(ctx, tool, append(slices.Clone(args), flag+out)...)
			if err != nil {
				return err
			}
			if _, err := os.Stat(filepath.Join(out, "x86_64", "bench-1.0-r0.apk")); err != nil {
				return err
			}
			if err := os.RemoveAll(out); err != nil {
				return err
			}
			if i > 0 { // the first fills the caches
				runs = append(runs, u)
			}
		}
		slices.SortFunc(runs, func(x, y usage) int { return int(x.wall - y.wall) })
		of[tool] = runs[len(runs)/2]
	}
	fmt.Printf("%s: one package, whose environment has %d requested packages, built in bubblewrap; caches full\n", name, len(request))
	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tcairn\tmelange\tratio melange/cairn\t")
	c, m := of[b.cairn], of[b.melange]
	row(t, "wall s", c.wall.Seconds(), m.wall.Seconds())
	row(t, "cpu s", c.cpu().Seconds(), m.cpu().Seconds())
	row(t, "peak MB", mb(c.rss), mb(m.rss))
	fmt.Fprintln(t)
	return t.Flush()
}

// errSkip: this machine lacks something that a case needs.
var errSkip = errors.New("skipped")
