package guest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/disk"
	"github.com/cairn-dev/cairn/packages/store"
)

// planned is a tree of packages and the store that has them.
func planned(t testing.TB, specs ...apktest.Spec) (*rootfs.Tree, *store.Store) {
	t.Helper()
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	in := rootfs.Input{Arch: "x86_64", Created: time.Unix(0, 0)}
	for _, s := range specs {
		s.Package.Arch = "x86_64"
		raw := apktest.Build(s)
		r, err := st.Ingest(t.Context(), bytes.NewReader(raw), store.Expect{FileSHA256: sha256.Sum256(raw)})
		if err != nil {
			t.Fatal(err)
		}
		in.Packages = append(in.Packages, rootfs.Package{Receipt: r, Requested: true})
	}
	in.ReadFiles = func(ctx context.Context, p int, members []int) ([][]byte, error) {
		return st.ReadFiles(ctx, in.Packages[p].Receipt, members)
	}
	tree, err := rootfs.Plan(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return tree, st
}

// tempDir is a directory in which there may be directories that forbid to write to them.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := disk.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func tools() apktest.Spec {
	return apktest.Spec{Package: apk.Package{Name: "tools", Version: "1-r0"}, Parents: true, Files: []apktest.File{
		{Path: "usr/bin/tool", Mode: 0o755, Content: "#!/bin/sh\n"},
		{Path: "usr/bin/other", Type: apk.TypeHardlink, Link: "usr/bin/tool"},
		{Path: "usr/bin/su", Mode: 0o4755, Content: "su"},
		{Path: "usr/bin/short", Type: apk.TypeSymlink, Link: "tool"},
		{Path: "usr/share/same", Content: "#!/bin/sh\n"},
		{Path: "usr/share/secret", Mode: 0o600, Content: "secret"},
		{Path: "usr/share/empty"},
		{Path: "var/spool", Type: apk.TypeDir, Mode: 0o1777},
		{Path: "srv", Type: apk.TypeDir, Mode: 0o555},
		{Path: "srv/file", Content: "in a directory that nobody writes to"},
	}}
}

// What is on the disk is what the tree says, for every entry.
func compare(t *testing.T, tree *rootfs.Tree, st *store.Store, root string) {
	t.Helper()
	at := map[string]bool{".": true}
	for i := range tree.Entries {
		e := &tree.Entries[i]
		at[e.Path] = true
		name := filepath.Join(root, e.Path)
		fi, err := os.Lstat(name)
		if err != nil {
			t.Error(err)
			continue
		}
		sys := fi.Sys().(*syscall.Stat_t)
		if os.Geteuid() == 0 && (sys.Uid != uint32(e.UID) || sys.Gid != uint32(e.GID)) {
			t.Errorf("%s: owner %d:%d, expected %d:%d", e.Path, sys.Uid, sys.Gid, e.UID, e.GID)
		}
		switch e.Type {
		case apk.TypeSymlink:
			if to, err := os.Readlink(name); err != nil || to != e.Link {
				t.Errorf("%s: %q, %v, expected a link to %q", e.Path, to, err, e.Link)
			}
			continue
		case apk.TypeHardlink:
			if to, err := os.Lstat(filepath.Join(root, e.Link)); err != nil || !os.SameFile(fi, to) {
				t.Errorf("%s: is not %s: %v", e.Path, e.Link, err)
			}
			continue
		case apk.TypeFile:
			b, err := os.ReadFile(name)
			if err != nil {
				t.Error(err)
			} else if e.Package >= 0 && e.Content == nil && sha256.Sum256(b) != e.SHA256 {
				t.Errorf("%s: content %q", e.Path, b)
			} else if e.Content != nil && !bytes.Equal(b, e.Content) {
				t.Errorf("%s: content %q, expected %q", e.Path, b, e.Content)
			}
		}
		if got := sys.Mode & 0o7777; got != uint32(e.Mode)&0o7777 || fi.IsDir() != (e.Type == apk.TypeDir) {
			t.Errorf("%s: mode %o, expected %o", e.Path, got, e.Mode)
		}
	}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(root, path); err == nil && !at[rel] {
			t.Errorf("%s: is not in the tree", rel)
		}
		return err
	})
	if err != nil && os.Geteuid() == 0 {
		t.Error(err)
	}
}

func TestMake(t *testing.T) {
	tree, st := planned(t, tools())
	dir := tempDir(t)
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	for _, root := range []string{one, two} {
		if err := Make(t.Context(), tree, st, filepath.Join(dir, "cache"), root); err != nil {
			t.Fatal(err)
		}
		compare(t, tree, st, root)
	}
	stat := func(path ...string) fs.FileInfo {
		fi, err := os.Lstat(filepath.Join(path...))
		if err != nil {
			t.Fatal(err)
		}
		return fi
	}
	if !os.SameFile(stat(one, "usr/bin/tool"), stat(two, "usr/bin/tool")) {
		t.Error("guests do not share files")
	}
	if os.SameFile(stat(one, "usr/bin/tool"), stat(one, "usr/share/same")) {
		t.Error("files of other modes are one")
	}
	if err := Make(t.Context(), tree, st, filepath.Join(dir, "cache"), one); !errors.Is(err, fs.ErrExist) {
		t.Errorf("where something is: %v", err)
	}
	compare(t, tree, st, one)
}

// A file of the cache that is not whole is made again; what is left of a run that was
// killed does no harm.
func TestCacheIsRepaired(t *testing.T) {
	tree, st := planned(t, tools())
	dir := tempDir(t)
	cache := filepath.Join(dir, "cache")
	if err := Make(t.Context(), tree, st, cache, filepath.Join(dir, "one")); err != nil {
		t.Fatal(err)
	}
	var files []string
	if err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	}); err != nil || len(files) != 6 {
		t.Fatalf("%d files in the cache, %v: %s", len(files), err, strings.Join(files, " "))
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f, []byte("half of a f"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Make(t.Context(), tree, st, cache, filepath.Join(dir, "two")); err != nil {
		t.Fatal(err)
	}
	compare(t, tree, st, filepath.Join(dir, "two"))
}

// Guests that are made at the same time, each filling the cache, do not take files away
// from each other.
func TestMakeTogether(t *testing.T) {
	spec := apktest.Spec{Package: apk.Package{Name: "many", Version: "1-r0"}, Parents: true}
	for f := range 60 {
		spec.Files = append(spec.Files, apktest.File{Path: fmt.Sprintf("usr/lib/%d", f), Content: fmt.Sprint(f)})
	}
	tree, st := planned(t, spec)
	dir := tempDir(t)
	for round := range 5 {
		var g errgroup.Group
		for i := range 8 {
			g.Go(func() error {
				return Make(t.Context(), tree, st, filepath.Join(dir, fmt.Sprint("cache", round)), filepath.Join(dir, fmt.Sprint(round, "-", i)))
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		compare(t, tree, st, filepath.Join(dir, fmt.Sprint(round, "-", 7)))
	}
}

// Nothing is left of a guest that could not be made.
func TestMakeFails(t *testing.T) {
	tree, st := planned(t, tools())
	dir := tempDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := filepath.Join(dir, "root")
	if err := Make(ctx, tree, st, filepath.Join(dir, "cache"), root); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	base := *tree
	base.Base = &rootfs.Base{}
	if err := Make(t.Context(), &base, st, filepath.Join(dir, "cache"), root); err == nil || !strings.Contains(err.Error(), "on a base image") {
		t.Errorf("on a base: %v", err)
	}
	for _, path := range []string{"../out", "usr/bin/short/x", "nowhere/x"} {
		wrong := *tree
		wrong.Entries = append(append([]rootfs.Entry{}, tree.Entries...), rootfs.Entry{Entry: apk.Entry{Path: path, Type: apk.TypeFile}, Package: -1, Content: []byte("x")})
		if err := Make(t.Context(), &wrong, st, filepath.Join(dir, "cache"), root); err == nil || !strings.Contains(err.Error(), "no directory of the tree") {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Lstat(root); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("something is left: %v", err)
	}
	if err := os.RemoveAll(st.BlobPath(tree.Receipt(0))); err != nil {
		t.Fatal(err)
	}
	if err := Make(t.Context(), tree, st, filepath.Join(dir, "another"), root); err == nil {
		t.Error("made of a package that is not there")
	}
}

// large is a tree of the size of an environment with gcc.
func large(t testing.TB) (*rootfs.Tree, *store.Store) {
	t.Helper()
	var specs []apktest.Spec
	for p := range 60 {
		s := apktest.Spec{Package: apk.Package{Name: fmt.Sprintf("package%d", p), Version: "1-r0"}, Parents: true}
		for f := range 120 {
			s.Files = append(s.Files, apktest.File{Path: fmt.Sprintf("usr/lib/%d/%d", p, f), Content: fmt.Sprintf("%d %d", p, f)})
		}
		specs = append(specs, s)
	}
	return planned(t, specs...)
}

// BenchmarkMake makes a guest from a cache that has its files.
func BenchmarkMake(b *testing.B) {
	tree, st := large(b)
	dir := tempDir(b)
	root := filepath.Join(dir, "root")
	if err := Make(b.Context(), tree, st, filepath.Join(dir, "cache"), filepath.Join(dir, "first")); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := Make(b.Context(), tree, st, filepath.Join(dir, "cache"), root); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := os.RemoveAll(root); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}
