package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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

// runCairn runs the program in a process of its own.
func runCairn(t *testing.T, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "cairn", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cairn %v: %w\n%s", args, err, out)
	}
	return nil
}
