package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// Any byte of a package file may be wrong: it is never taken.
func TestFlippedPackages(t *testing.T) {
	key := apktest.NewKey("test.rsa.pub")
	spec := sample("flip")
	spec.Sign = key
	raw, p := apktest.BuildEntry(spec)
	st := openTemp(t)
	data := int64(len(raw)) - mustData(t, st, raw)
	kinds := map[string]int{}
	for at := 0; at < len(raw); at += 1 + len(raw)/400 {
		bad := bytes.Clone(raw)
		bad[at] ^= 1 << (at % 8)
		_, err := st.Ingest(t.Context(), bytes.NewReader(bad), Expect{Name: p.Name, Version: p.Version, Checksum: p.Checksum, Size: p.Size, Key: keys(key)})
		switch inData := int64(at) >= data; {
		case err == nil && inSignatureHeader(raw, bad):
			continue // a gzip header's time or system: nothing covers it but the lock
		case err == nil:
			t.Fatalf("byte %d of %d: accepted", at, len(raw))
		case inData && !errors.Is(err, ErrMismatch):
			t.Errorf("byte %d, in the data section: %v", at, err)
		case inData && !strings.Contains(err.Error(), "sha256 of the data section"):
			t.Errorf("byte %d: the reason is said to be %v", at, err)
		case inData:
			kinds["data"]++
		default:
			kinds["head"]++
		}
	}
	if kinds["data"] < 20 || kinds["head"] < 20 {
		t.Errorf("%v", kinds)
	}
	// With the file's digest from a lock not even those are.
	for at := range 10 {
		bad := bytes.Clone(raw)
		bad[at] ^= 4
		if _, err := st.Ingest(t.Context(), bytes.NewReader(bad), Expect{FileSHA256: mustFind(t, st, p.Checksum).FileSHA256}); err == nil {
			t.Errorf("byte %d: accepted in spite of the file's digest", at)
		}
	}
}

// inSignatureHeader reports whether both files have the same signature and
// control section, apart from how the former is compressed.
func inSignatureHeader(a, b []byte) bool {
	x, errX := readHead(a)
	y, errY := readHead(b)
	return errX == nil && errY == nil && len(x.Signatures) == 1 && len(y.Signatures) == 1 &&
		bytes.Equal(x.Signatures[0].Bytes, y.Signatures[0].Bytes) && x.ControlSHA1 == y.ControlSHA1
}

// mustData ingests raw and returns the size of its data section.
func mustData(t *testing.T, st *Store, raw []byte) int64 {
	t.Helper()
	r, err := try(t, st, raw)
	if err != nil {
		t.Fatal(err)
	}
	return r.DataSize
}

func mustFind(t *testing.T, st *Store, checksum apk.SHA1) *Receipt {
	t.Helper()
	r, err := st.Find(Expect{Checksum: checksum})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Everything at once in one process; run it with the race detector.
func TestStress(t *testing.T) {
	st := openTemp(t)
	list := builtFleet()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	work := func(seed uint64, fn func(rnd *rand.Rand, p built) error) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 0))
			for ctx.Err() == nil {
				err := fn(rnd, list[rnd.IntN(len(list))])
				// What is pruned under one's feet is not found; nothing is corrupt.
				if err != nil && ctx.Err() == nil && (!errors.Is(err, ErrNotFound) && !errors.Is(err, os.ErrNotExist) || errors.Is(err, ErrCorrupt)) {
					t.Error(err)
				}
			}
		})
	}
	for i := range uint64(3) {
		work(i, func(_ *rand.Rand, p built) error {
			r, err := st.Ingest(ctx, bytes.NewReader(p.raw), Expect{Checksum: p.Checksum, Size: p.Size})
			if err == nil {
				err = st.Verify(ctx, r)
			}
			return err
		})
		work(10+i, func(_ *rand.Rand, p built) error {
			r, err := st.Find(Expect{Name: p.Name, Checksum: p.Checksum})
			if err != nil {
				return err
			}
			return readToEnd(t, st, r)
		})
		work(20+i, func(rnd *rand.Rand, p built) error {
			key := fmt.Sprint(rnd.IntN(3))
			_, err := st.PutObject(ctx, "stress", key, func(w io.Writer) error { _, err := io.WriteString(w, p.Name); return err })
			if err != nil {
				return err
			}
			_, err = st.ReadObject(ctx, "stress", key, 100)
			return err
		})
	}
	work(30, func(rnd *rand.Rand, _ built) error {
		time.Sleep(time.Duration(rnd.IntN(20)) * time.Millisecond)
		_, err := st.Prune(ctx, PruneOptions{MaxSize: rnd.Int64N(400_000)})
		return err
	})
	work(31, func(rnd *rand.Rand, _ built) error {
		time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
		_, err := st.Info()
		return err
	})
	wg.Wait()
	if problems, err := st.Check(t.Context(), true); err != nil || len(corrupt(problems)) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	if left, _ := filepath.Glob(st.path(tmpDir, "*", "*")); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

func corrupt(list []Problem) (out []Problem) {
	for _, p := range list {
		if errors.Is(p.Err, ErrCorrupt) {
			out = append(out, p)
		}
	}
	return out
}

// However an ingestion ends, its goroutines end with it.
func TestNoGoroutineIsLeftBehind(t *testing.T) {
	st := openTemp(t)
	p := builtFleet()[5]
	evil := apktest.Build(apktest.Spec{Package: apk.Package{Name: "evil", Version: "1-r0"}, RawTar: append(file("../x", "x"), bytes.Repeat(file("a", strings.Repeat("x", 5000)), 500)...)})
	ends := []func(){
		func() { _, _ = p.put(st) },
		func() { _, _ = try(t, st, p.raw[:len(p.raw)/2]) },
		func() { _, _ = try(t, st, evil) },
		func() {
			_, _ = st.Ingest(t.Context(), io.MultiReader(bytes.NewReader(p.raw[:60_000]), readerFunc(func([]byte) (int, error) { return 0, errors.New("broken") })), Expect{Checksum: p.Checksum})
		},
		func() {
			_, _ = st.Ingest(t.Context(), bytes.NewReader(p.raw), Expect{Checksum: p.Checksum, Size: p.Size / 2})
		},
		func() {
			ctx, cancel := context.WithCancel(t.Context())
			r := io.MultiReader(bytes.NewReader(p.raw[:60_000]), readerFunc(func(b []byte) (int, error) { cancel(); return 0, nil }))
			_, _ = st.Ingest(ctx, r, Expect{Checksum: p.Checksum})
		},
	}
	before := runtime.NumGoroutine()
	for range 5 {
		for _, end := range ends {
			end()
		}
	}
	for wait := time.Millisecond; runtime.NumGoroutine() > before; wait *= 2 {
		if wait > 5*time.Second {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(wait)
	}
	if left, _ := filepath.Glob(st.path(tmpDir, "*", "*")); len(left) > 0 {
		t.Errorf("temporary files left: %q", left)
	}
}

// A bad package in transit is told from a package that is bad in itself: only
// the former may be worth another try.
func TestDamageInTransitComesFirst(t *testing.T) {
	st := openTemp(t)
	evil, p := apktest.BuildEntry(apktest.Spec{Package: apk.Package{Name: "evil", Version: "1-r0"}, RawTar: archive(file("../x", "x"))})
	_, err := st.Ingest(t.Context(), bytes.NewReader(evil), Expect{Checksum: p.Checksum})
	if !errors.Is(err, ErrHostile) || errors.Is(err, ErrMismatch) {
		t.Errorf("hostile: %v", err)
	}
	bad := bytes.Clone(evil)
	bad[len(bad)-1] ^= 1
	_, err = st.Ingest(t.Context(), bytes.NewReader(bad), Expect{Checksum: p.Checksum})
	var m *MismatchError
	if !errors.As(err, &m) || m.What != "sha256 of the data section" || m.Cause == nil {
		t.Errorf("hostile and damaged: %v", err)
	}
	cut := evil[:len(evil)-3]
	_, err = st.Ingest(t.Context(), bytes.NewReader(cut), Expect{Checksum: p.Checksum, Size: p.Size})
	if !errors.As(err, &m) || m.What != "size" {
		t.Errorf("hostile and cut short: %v", err)
	}
}

// The receipt is a function of the file alone.
func TestReceiptsAreDeterministic(t *testing.T) {
	p := builtFleet()[2]
	var digests []apk.SHA256
	for _, chunk := range []int{1 << 20, 4096, 100} {
		st := openTemp(t)
		r, err := st.Ingest(t.Context(), &chunked{bytes.NewReader(p.raw), chunk}, Expect{Checksum: p.Checksum, Key: keys(), Unsafe: Unsafe{NoSignature: chunk == 100}})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := os.ReadFile(st.receiptPath(p.Checksum.Hex()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.HasSuffix(stored, r.digest[:]) {
			t.Error("the file does not end with the digest")
		}
		digests = append(digests, r.Digest())
	}
	if digests[0] != digests[1] || digests[0] != digests[2] {
		t.Errorf("digests %v", digests)
	}
}

// chunked hands out at most n bytes at a time.
type chunked struct {
	r io.Reader
	n int
}

func (c *chunked) Read(p []byte) (int, error) { return c.r.Read(p[:min(len(p), c.n)]) }

// A session whose directory was swept between its making and its locking is
// made again.
func TestSessionSurvivesASweep(t *testing.T) {
	parent := filepath.Join(t.TempDir(), tmpDir)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	sweeper := &Store{dir: filepath.Dir(parent)}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				sweeper.sweep()
			}
		}
	})
	for range 300 {
		n, err := newSession(parent)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(n.dir, "1")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
		if _, err := os.Stat(name); err != nil {
			t.Fatalf("the file of a living session: %v", err)
		}
		if err := n.close(); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
}
