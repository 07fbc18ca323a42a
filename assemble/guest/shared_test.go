package guest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/disk"
)

func TestShared(t *testing.T) {
	tree, st := planned(t, tools())
	dir := tempDir(t)
	cache, kept := filepath.Join(dir, "cache"), filepath.Join(dir, "guests")
	roots := make([]string, 8)
	var g errgroup.Group
	for i := range roots {
		g.Go(func() error {
			root, release, err := Shared(t.Context(), tree, st, cache, kept)
			if err != nil {
				return err
			}
			roots[i] = root
			return release()
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, r := range roots {
		if r != roots[0] {
			t.Errorf("%s and %s", r, roots[0])
		}
	}
	compare(t, tree, st, roots[0])
	if left, err := filepath.Glob(filepath.Join(kept, ".new-*")); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}

	// Another tree is another guest, also when only an owner's right differs.
	other := tools()
	other.Files[0].Mode = 0o711
	tree2, st2 := planned(t, other)
	root, release, err := Shared(t.Context(), tree2, st2, cache, kept)
	if err != nil || root == roots[0] {
		t.Fatalf("%s: %v", root, err)
	}
	compare(t, tree2, st2, root)
	if err := release(); err != nil {
		t.Error(err)
	}
}

// A guest of which something is missing or other than it was made is made again.
func TestSharedIsRepaired(t *testing.T) {
	tree, st := planned(t, tools())
	dir := tempDir(t)
	for _, damage := range []func(root string) error{
		func(root string) error { return os.Remove(filepath.Join(root, "usr/bin/tool")) },
		func(root string) error { return os.Chmod(filepath.Join(root, "usr/bin/su"), 0o755) },
		func(root string) error { return os.Truncate(filepath.Join(root, "usr/share/secret"), 2) },
		func(root string) error { return os.RemoveAll(filepath.Join(root, "usr")) },
		func(root string) error {
			return errors.Join(os.Remove(filepath.Join(root, "usr/bin/short")), os.WriteFile(filepath.Join(root, "usr/bin/short"), nil, 0o777))
		},
	} {
		var root string
		for _, before := range []bool{true, false} {
			var release func() error
			var err error
			if root, release, err = Shared(t.Context(), tree, st, filepath.Join(dir, "cache"), filepath.Join(dir, "guests")); err != nil {
				t.Fatal(err)
			}
			if err := release(); err != nil {
				t.Fatal(err)
			}
			if before {
				if err := damage(root); err != nil {
					t.Fatal(err)
				}
			}
		}
		compare(t, tree, st, root)
	}
}

// Of the guests that nobody uses the latest stay; one that is in use stays, however old.
func TestSharedAreRemoved(t *testing.T) {
	dir := tempDir(t)
	cache, kept := filepath.Join(dir, "cache"), filepath.Join(dir, "guests")
	var roots []string
	var inUse func() error
	for i := range Kept + 4 {
		tree, st := planned(t, apktest.Spec{Package: apk.Package{Name: "a", Version: "1-r0"}, Files: []apktest.File{{Path: "file", Content: fmt.Sprint(i)}, {Path: "closed", Type: apk.TypeDir, Mode: 0o555}}})
		root, release, err := Shared(t.Context(), tree, st, cache, kept)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, root)
		if i == 0 {
			inUse = release
		} else if err := release(); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(filepath.Dir(root)+".lock", old, old); err != nil {
			t.Fatal(err)
		}
	}
	var there []int
	for i, root := range roots {
		if _, err := os.Stat(root); err == nil {
			there = append(there, i)
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	}
	if len(there) != Kept+1 || there[0] != 0 || there[1] != 4 {
		t.Errorf("there are %v", there)
	}
	if err := inUse(); err != nil {
		t.Error(err)
	}
}

func TestSharedWaits(t *testing.T) {
	tree, st := planned(t, tools())
	dir := tempDir(t)
	name := filepath.Join(dir, "guests", identity(tree)) + ".lock"
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	lock, err := disk.Lock(t.Context(), name, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := Shared(ctx, tree, st, filepath.Join(dir, "cache"), filepath.Join(dir, "guests")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
}

// BenchmarkShared is a guest of the size of an environment with gcc that was made before.
func BenchmarkShared(b *testing.B) {
	tree, st := large(b)
	dir := tempDir(b)
	if _, release, err := Shared(b.Context(), tree, st, filepath.Join(dir, "cache"), filepath.Join(dir, "guests")); err != nil {
		b.Fatal(err)
	} else if err := release(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		_, release, err := Shared(b.Context(), tree, st, filepath.Join(dir, "cache"), filepath.Join(dir, "guests"))
		if err != nil {
			b.Fatal(err)
		}
		if err := release(); err != nil {
			b.Fatal(err)
		}
	}
}
