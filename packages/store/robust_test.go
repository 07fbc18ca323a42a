package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFlips changes one byte at 200 places in all kinds of files and uses
// everything: the change is noticed, named, and healed by the next ingestion.
func TestFlips(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st := openAt(t, dir, Options{})
	specs := builtFleet()[:3]
	put := func() {
		for _, p := range specs {
			if _, err := p.put(st); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := st.PutObject(t.Context(), "derived", "key", func(w io.Writer) error { _, err := w.Write(make([]byte, 5000)); return err }); err != nil {
			t.Fatal(err)
		}
	}
	put()
	list := append(files(t, st), formatFile)
	rnd := rand.New(rand.NewPCG(7, 7))
	kinds := map[string]int{}
	for n := 0; n < 200; {
		name := st.path(list[rnd.IntN(len(list))])
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) == 0 {
			continue
		}
		n++
		at := rnd.IntN(len(b))
		bad := bytes.Clone(b)
		bad[at] ^= byte(1 + rnd.IntN(255))
		overwrite(t, name, bad)
		err = useEverything(t, dir, st, specs)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("byte %d of %s: %v", at, name, err)
		}
		kinds[strings.SplitN(strings.TrimPrefix(name, dir+"/"), "/", 2)[0]]++
		if name == st.path(formatFile) {
			overwrite(t, name, b)
		}
		put()
		if err := useEverything(t, dir, st, specs); err != nil {
			t.Fatalf("after healing byte %d of %s: %v", at, name, err)
		}
	}
	t.Log(kinds)
	for _, kind := range []string{"blobs", "receipts", "objects", formatFile} {
		if kinds[kind] == 0 {
			t.Errorf("no byte of %s was flipped", kind)
		}
	}
}

// useEverything returns the first error of using all that was put.
func useEverything(t *testing.T, dir string, st *Store, specs []built) error {
	again, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	if err := again.Close(); err != nil {
		return err
	}
	for _, p := range specs {
		r, err := st.Lookup(p.Checksum)
		if err == nil {
			err = readToEnd(t, st, r)
		}
		if err != nil {
			return err
		}
		if err := st.Verify(t.Context(), r); err != nil {
			return fmt.Errorf("only Verify noticed: %w", err)
		}
	}
	_, err = st.Object(t.Context(), "derived", "key")
	return err
}

func readToEnd(t *testing.T, st *Store, r *Receipt) error {
	tr, err := st.OpenTar(t.Context(), r)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, tr)
	return errors.Join(err, tr.Close())
}

// childFull runs into a limit of file sizes, which is like a full disk.
func childFull(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	limit := syscall.Rlimit{Cur: 20_000, Max: 20_000}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	st, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	p := builtFleet()[5]
	if _, err := p.put(st); !errors.Is(err, ErrNoSpace) ||
		!strings.HasPrefix(err.Error(), "package fleet5-1.0-r0: store: no space left: write ") {
		return fmt.Errorf("Ingest: %v", err)
	}
	if _, err := st.PutObject(context.Background(), "big", "k", func(w io.Writer) error { _, err := w.Write(p.raw); return err }); !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("PutObject: %v", err)
	}
	if _, err := st.Lookup(p.Checksum); !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("Lookup: %v", err)
	}
	return st.Close()
}

func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	cmd, out := child(t, "full", dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	st := openAt(t, dir, Options{})
	if left := files(t, st); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// The same on a real file system that fills up, at every possible point.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	st, err := Open(filepath.Join(dir, "store"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	ballast := filepath.Join(dir, "ballast")
	full, good := 0, 0
	for free := 256 << 10; free > 0; free -= 4 << 10 {
		if err := os.WriteFile(ballast, make([]byte, 256<<10-free), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		p := builtFleet()[2]
		_, err := p.put(st)
		switch {
		case err == nil:
			good++
		case errors.Is(err, ErrNoSpace):
			full++
			if _, err := st.Lookup(p.Checksum); err == nil {
				t.Errorf("%d bytes free: the package is there after all", free)
			}
		default:
			t.Errorf("%d bytes free: %v", free, err)
		}
		if list, _ := filepath.Glob(st.path(tmpDir, "*", "*")); len(list) > 0 {
			t.Errorf("%d bytes free: left behind: %q", free, list)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		if problems, err := st.Check(t.Context(), true); err != nil || len(problems) > 0 {
			t.Errorf("%d bytes free: %v, %v", free, problems, err)
		}
		if err := st.Clean(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if full == 0 || good == 0 {
		t.Errorf("%d times full, %d times good", full, good)
	}
}

// childRead uses a store that it cannot write to.
func childRead(dir string) error {
	st, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	p := builtFleet()[0]
	r, err := st.Lookup(p.Checksum)
	if err != nil {
		return err
	}
	if err := st.Verify(context.Background(), r); err != nil {
		return err
	}
	if _, err := st.Object(context.Background(), "derived", "key"); err != nil {
		return err
	}
	if problems, err := st.Check(context.Background(), true); err != nil || len(problems) > 0 {
		return fmt.Errorf("Check: %v, %v", problems, err)
	}
	_, err = p.put(st)
	if !errors.Is(err, fs.ErrPermission) || !strings.HasPrefix(err.Error(), "store: create a temporary directory: ") {
		return fmt.Errorf("Ingest: %v", err)
	}
	return st.Close()
}

func TestReadOnly(t *testing.T) {
	top, err := os.MkdirTemp("", "cairn-store-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(top)
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "store")
	st, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := builtFleet()[0].put(st); err != nil {
		t.Fatal(err)
	}
	if _, err := st.PutObject(t.Context(), "derived", "key", func(w io.Writer) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	cmd, out := child(t, "read", dir)
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	} else {
		for _, d := range []string{dir, filepath.Join(dir, tmpDir)} {
			if err := os.Chmod(d, 0o555); err != nil {
				t.Fatal(err)
			}
			defer os.Chmod(d, 0o755)
		}
	}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func childUmask(dir string) error {
	syscall.Umask(0o777)
	return childOnce(dir)
}

// Modes do not depend on the umask.
func TestUmask(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	cmd, out := child(t, "umask", dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := map[string]fs.FileMode{lockFile: 0o644, formatFile: 0o444}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode, ok := want[d.Name()]
		switch {
		case d.IsDir():
			mode = 0o755
		case !ok:
			mode = 0o444
		}
		if info.Mode().Perm() != mode {
			t.Errorf("%s: mode %o, want %o", p, info.Mode().Perm(), mode)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFormatFile(t *testing.T) {
	for _, c := range []struct{ content, want string }{
		{"cairn store 2\n", "store: DIR: format 2, this version knows up to 1: use a newer cairn or another cache directory"},
		{"cairn store 0\n", `store: DIR/format holds "cairn store 0\n", expected "cairn store 1"`},
		{"cairn store x\n", `store: DIR/format holds "cairn store x\n", expected "cairn store 1"`},
		{"something else\n", `store: DIR/format holds "something else\n", expected "cairn store 1"`},
		{"", `store: DIR/format holds "", expected "cairn store 1"`},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, formatFile), []byte(c.content), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir, Options{})
		wantError(t, err, ErrFormat, strings.ReplaceAll(c.want, "DIR", dir))
	}
	dir := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(dir, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, syscall.ENOTDIR) {
		t.Errorf("a file for a directory: %v", err)
	}
}
