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
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// childMode names what this test binary does when a test starts it again.
const childMode = "CAIRN_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	modes := map[string]func(dir string) error{
		"ingest": childIngest, "once": childOnce, "full": childFull, "read": childRead, "umask": childUmask, "hold": childHold,
	}
	mode, dir, _ := strings.Cut(os.Getenv(childMode), ":")
	if mode == "" {
		os.Exit(m.Run())
	}
	if err := modes[mode](dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child prepares this binary to run in another mode.
func child(t testing.TB, mode, dir string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), childMode+"="+mode+":"+dir)
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// fleet is a number of packages of different sizes, the same in each process.
func fleet() (list []apktest.Spec) {
	rnd := rand.New(rand.NewPCG(5, 5))
	for i := range 12 {
		body := make([]byte, 20_000*(i+1))
		for j := range body {
			body[j] = "abcdefghijklmnop"[rnd.IntN(16)]
		}
		spec := sample(fmt.Sprintf("fleet%d", i))
		spec.Files = append(spec.Files, apktest.File{Path: "usr/share/body", Content: string(body)})
		list = append(list, spec)
	}
	return list
}

// built is a package file with its index entry.
type built struct {
	raw []byte
	apk.Package
}

var builtFleet = sync.OnceValue(func() (list []built) {
	for _, spec := range fleet() {
		raw, p := apktest.BuildEntry(spec)
		list = append(list, built{raw, p})
	}
	return list
})

// put ingests one of the fleet.
func (b built) put(st *Store) (*Receipt, error) {
	return st.Ingest(context.Background(), bytes.NewReader(b.raw), Expect{Checksum: b.Checksum})
}

// childIngest adds and removes things until it is killed.
func childIngest(dir string) error {
	specs := builtFleet()
	for round := 0; ; round++ {
		st, err := Open(dir, Options{})
		if err != nil {
			return err
		}
		var wg sync.WaitGroup
		errs := make([]error, len(specs))
		for i, p := range specs {
			wg.Go(func() {
				if _, errs[i] = p.put(st); errs[i] == nil {
					_, errs[i] = st.PutObject(context.Background(), "derived", p.Name, func(w io.Writer) error {
						_, err := w.Write(p.raw[:len(p.raw)-round%10])
						return err
					})
				}
			})
		}
		wg.Wait()
		_, err = st.Prune(context.Background(), PruneOptions{MaxSize: int64(100_000 * (1 + round%8))})
		if err := errors.Join(errors.Join(errs...), err, st.Close()); err != nil {
			return err
		}
	}
}

func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dir := filepath.Join(t.TempDir(), "store")
	rnd := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	for round := range rounds {
		cmd, out := child(t, "ingest", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.IntN(400)) * time.Millisecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || out.Len() > 0 {
			t.Fatalf("round %d: the child ended by itself: %v: %s", round, err, out)
		}
		afterKill(t, dir, round)
	}
}

// afterKill checks that everything visible is whole and that work can go on.
func afterKill(t *testing.T, dir string, round int) {
	t.Helper()
	st, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("round %d: %v", round, err)
	}
	defer st.Close()
	if list, _ := os.ReadDir(st.path(tmpDir)); len(list) > 0 {
		t.Errorf("round %d: temporary files are left: %v", round, list)
	}
	problems, err := st.Check(t.Context(), true)
	if err != nil || len(problems) > 0 {
		t.Fatalf("round %d: %v, %v", round, problems, err)
	}
	for _, p := range builtFleet() {
		r, err := st.Lookup(p.Checksum)
		if errors.Is(err, ErrNotFound) && !errors.Is(err, ErrCorrupt) {
			r, err = p.put(st)
		}
		if err == nil {
			err = st.Verify(t.Context(), r)
		}
		if err != nil {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

// childOnce ingests the fleet once, in an order of its own.
func childOnce(dir string) error {
	st, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	specs := builtFleet()
	for _, i := range rand.Perm(len(specs)) {
		r, err := specs[i].put(st)
		if err == nil {
			err = st.Verify(context.Background(), r)
		}
		if err != nil {
			return err
		}
	}
	return st.Close()
}

func TestProcessesTogether(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	var cmds []*exec.Cmd
	var outs []*bytes.Buffer
	for range 5 {
		cmd, out := child(t, "once", dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outs = append(cmds, cmd), append(outs, out)
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %s", err, outs[i])
		}
	}
	st := openAt(t, dir, Options{})
	if problems, err := st.Check(t.Context(), true); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	info, err := st.Info()
	if n := len(fleet()); err != nil || info.Receipts.Count != n || info.Data.Count != n || info.Garbage.Count != 0 || info.Temporary.Count != 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

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

// childHold keeps the store open until its standard input ends.
func childHold(dir string) error {
	st, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	if _, err := builtFleet()[0].put(st); err != nil {
		return err
	}
	fmt.Println("open")
	_, _ = io.ReadAll(os.Stdin)
	return st.Close()
}

// hold starts a process that has the store open, and returns how to end it.
func hold(t *testing.T, dir string) func() {
	t.Helper()
	cmd, _ := child(t, "hold", dir)
	cmd.Stdout = nil
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("open\n"))); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
}

func TestPruneWaitsForOthers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st := openAt(t, dir, Options{})
	end := hold(t, dir)
	_, err := st.Prune(t.Context(), PruneOptions{MaxSize: 1})
	wantError(t, err, ErrBusy, "store "+dir+": in use by another process")
	wantError(t, st.Clean(t.Context()), ErrBusy, "store "+dir+": in use by another process")
	// The other's unfinished files stay as long as it lives.
	if list, _ := os.ReadDir(st.path(tmpDir)); len(list) != 1 {
		t.Errorf("temporary directories: %v", list)
	}
	again := openAt(t, dir, Options{})
	if list, _ := os.ReadDir(st.path(tmpDir)); len(list) != 1 {
		t.Errorf("temporary directories after opening again: %v", list)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
	end()
	report, err := st.Prune(t.Context(), PruneOptions{MaxSize: 1})
	if err != nil || report.Removed.Count != 1 || report.Kept.Count != 0 {
		t.Errorf("%+v, %v", report, err)
	}
}

// What a dead process left is removed by the next one, and nothing else.
func TestSweep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	st := openAt(t, dir, Options{})
	f, err := st.temp()
	if err != nil {
		t.Fatal(err)
	}
	dead := st.path(tmpDir, "123-dead")
	if err := errors.Join(os.Mkdir(dead, 0o700), os.WriteFile(filepath.Join(dead, "1"), []byte("half"), 0o600)); err != nil {
		t.Fatal(err)
	}
	openAt(t, dir, Options{})
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is still there: %v", dead, err)
	}
	if _, err := os.Stat(f.Name()); err != nil {
		t.Errorf("the file of a living process is gone: %v", err)
	}
	discard(f)
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
