package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
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
		"memory": childMemory,
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

// childMemory ingests one large package from a file and prints the most memory
// it ever had, in KiB.
func childMemory(dir string) error {
	f, err := os.Open(filepath.Join(dir, "big.apk"))
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := Open(filepath.Join(dir, "store"), Options{})
	if err != nil {
		return err
	}
	if _, err := st.Ingest(context.Background(), f, Expect{Unsafe: Unsafe{NoChecksum: true}}); err != nil {
		return err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	fmt.Println(strings.Fields(after)[0])
	return st.Close()
}

// A large package takes little memory, even with a large ELF file in it.
func TestMemory(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector takes memory of its own")
	}
	dir := t.TempDir()
	body := make([]byte, 40<<20)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range body {
		body[i] = "abcdefghijklmnop"[rnd.IntN(16)]
	}
	copy(body, madeELF(binary.LittleEndian, true, 4096, 1000, 2000))
	raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: "big", Version: "1-r0"}, Parents: true,
		Files: []apktest.File{{Path: "usr/lib/big.so", Content: string(body)}, {Path: "usr/share/big", Content: string(body)}}})
	if err := os.WriteFile(filepath.Join(dir, "big.apk"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out := child(t, "memory", dir)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var kib int
	if _, err := fmt.Sscan(out.String(), &kib); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d KiB at most, for a package of %d KiB inflated", kib, 2*len(body)>>10)
	if kib > 40<<10 {
		t.Errorf("%d KiB, expected at most 40 MiB", kib)
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
