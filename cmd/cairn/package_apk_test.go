package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// Eight processes add twenty packages each to one index. melange loses entries.
func TestMelangeDefect_ParallelWritersLoseEntries(t *testing.T) {
	dir := t.TempDir()
	index := filepath.Join(dir, "APKINDEX.tar.gz")
	var wg sync.WaitGroup
	for writer := range 8 {
		wg.Go(func() {
			for n := range 20 {
				name := fmt.Sprintf("p%d-%d", writer, n)
				file := filepath.Join(dir, name+"-1-r0.apk")
				raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", Arch: "x86_64"}})
				if err := os.WriteFile(file, raw, 0o644); err != nil {
					t.Error(err)
					return
				}
				if err := runCairn(t, "index", "create", "-o", index, "--merge", index, file); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := readIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 160 {
		t.Errorf("%d packages, expected 160", len(list))
	}
}

// melange's lint wrote its results to a path made of what the package says of
// itself: with the epoch twice, and wherever the name led
// (GHSA-q2pw-xx38-p64j). Here the package's name is checked and nothing is written.
func TestMelangeDefect_LintWritesWhereThePackageSays(t *testing.T) {
	outer := t.TempDir()
	dir := filepath.Join(outer, "in")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	world := []apktest.File{{Path: "usr/bin/x", Mode: 0o4777, Content: "x"}}
	for name, test := range map[string]struct {
		spec apktest.Spec
		want string // of the output
	}{
		"good.apk": {apktest.Spec{Package: apk.Package{Name: "good", Version: "1-r7", Arch: "x86_64"}, Parents: true, Files: world}, "good: "},
		"evil.apk": {apktest.Spec{Package: apk.Package{Name: "evil", Version: "1-r0", Arch: "x86_64"}, Parents: true, Files: world,
			RawPkgInfo: "pkgname = ../evil\npkgver = 1-r0\narch = x86_64\nsize = 1\n"}, "../evil"},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), apktest.Build(test.spec), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "cairn", "package", "lint", name)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), test.want) || strings.Contains(string(out), "r7-r7") {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
	for _, d := range []struct {
		dir   string
		count int
	}{{outer, 1}, {dir, 2}} {
		if entries, err := os.ReadDir(d.dir); err != nil || len(entries) != d.count {
			t.Errorf("%s: %v, %v: expected %d files", d.dir, entries, err, d.count)
		}
	}
}

// runCairn runs the program in a process of its own.
func runCairn(t *testing.T, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "cairn", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cairn %v: %w\n%s", args, err, out)
	}
	return nil
}
