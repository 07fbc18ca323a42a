package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAtomicFile(t *testing.T) {
	for name, create := range map[string]func(string, fs.FileMode) (*atomicFile, error){"without a name": createAtomic, "with a name": createNamed} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			content := func() string {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			begin := func() *atomicFile {
				f, err := create(path, 0o640)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := f.WriteString("new"); err != nil {
					t.Fatal(err)
				}
				return f
			}
			f := begin()
			if content() != "old" {
				t.Error("visible before it is complete")
			}
			f.abort()
			f.abort()
			if entries, _ := os.ReadDir(dir); content() != "old" || len(entries) != 1 {
				t.Errorf("after abort: %q, %d files", content(), len(entries))
			}
			f = begin()
			if err := f.commit(); err != nil {
				t.Fatal(err)
			}
			f.abort()
			entries, _ := os.ReadDir(dir)
			if fi, _ := os.Stat(path); content() != "new" || fi.Mode() != 0o640 || len(entries) != 1 {
				t.Errorf("after commit: %q, mode %v, %d files", content(), fi.Mode(), len(entries))
			}
		})
	}
}

func TestAtomicFileErrors(t *testing.T) {
	dir := t.TempDir()
	for _, create := range []func(string, fs.FileMode) (*atomicFile, error){createAtomic, createNamed} {
		if _, err := create(filepath.Join(dir, "no", "file"), 0o644); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("no directory: %v", err)
		}
		// The directory goes away, or something takes the name, while writing.
		sub := filepath.Join(dir, "sub")
		if err := os.Mkdir(sub, 0o755); err != nil {
			t.Fatal(err)
		}
		f, err := create(filepath.Join(sub, "file"), 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(sub); err != nil {
			t.Fatal(err)
		}
		if err := f.commit(); err == nil {
			t.Error("committed into a directory that is gone")
		}
		f.abort()
	}
	taken := filepath.Join(dir, "taken")
	f, err := createAtomic(taken, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(taken, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := f.commit(); err == nil {
		t.Error("a directory was replaced")
	}
	f.abort()
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			t.Errorf("left behind: %s", e.Name())
		}
	}
	if err := writeFile(taken, nil, 0o644); err == nil || !strings.Contains(err.Error(), "a directory is in its place") {
		t.Errorf("over a directory: %v", err)
	}
}

func TestMkdir(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "new")
	for _, want := range []bool{true, false} {
		if made, err := mkdir(path, 0o751); made != want || err != nil {
			t.Errorf("made %v, %v", made, err)
		}
	}
	if fi, _ := os.Stat(path); fi.Mode().Perm() != 0o751 {
		t.Errorf("mode %v", fi.Mode())
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := mkdir(file, 0o755); err == nil || err.Error() != "mkdir "+file+": a file is in its place" {
		t.Errorf("%v", err)
	}
	if _, err := mkdir(filepath.Join(dir, "no", "new"), 0o755); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestResolveEndsInALoop(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := errors.Join(os.Symlink(a, b), os.Symlink(b, a)); err != nil {
		t.Fatal(err)
	}
	if got := resolve(a); got != a && got != b {
		t.Errorf("resolved to %s", got)
	}
	o := Output{Kind: OCIArchive, Path: a}
	if err := o.CheckWritable(); !errors.Is(err, ErrNotWritable) {
		t.Errorf("a loop of links: %v", err)
	}
}
