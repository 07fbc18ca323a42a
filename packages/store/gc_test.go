package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// aged is a store with the first n of the fleet, used one hour apart, the first
// one longest ago, and an object used before all of them.
func aged(t *testing.T, n int, now time.Time) (*Store, []*Receipt) {
	t.Helper()
	st := openTemp(t)
	age := func(name string, hours int) {
		at := now.Add(-time.Duration(hours) * time.Hour)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	var list []*Receipt
	for i, p := range builtFleet()[:n] {
		r, err := p.put(st)
		if err != nil {
			t.Fatal(err)
		}
		age(st.receiptPath(r.Package.Checksum.Hex()), n-i)
		list = append(list, r)
	}
	if _, err := st.PutObject(t.Context(), "derived", "key", func(w io.Writer) error { _, err := w.Write(make([]byte, 1000)); return err }); err != nil {
		t.Fatal(err)
	}
	ref, err := st.objectPath("derived", "key")
	if err != nil {
		t.Fatal(err)
	}
	age(ref, n+1)
	return st, list
}

// held returns the names of the packages in the store, and "object".
func held(t *testing.T, st *Store, list []*Receipt) (names []string) {
	t.Helper()
	for _, r := range list {
		// Not Lookup: that is a use.
		_, a := os.Stat(st.receiptPath(r.Package.Checksum.Hex()))
		_, b := os.Stat(st.BlobPath(r))
		if (a == nil) != (b == nil) {
			t.Errorf("%s: receipt: %v, blob: %v", r.ID(), a, b)
		}
		if a == nil {
			names = append(names, r.Package.Name)
		}
	}
	if _, err := st.findObject("derived", "key"); err == nil {
		names = append(names, "object")
	}
	return names
}

func TestPrune(t *testing.T) {
	now := time.Now()
	st, list := aged(t, 5, now)
	info, err := st.Info()
	if err != nil {
		t.Fatal(err)
	}
	size := func(i int) int64 {
		b, err := os.Stat(st.receiptPath(list[i].Package.Checksum.Hex()))
		if err != nil {
			t.Fatal(err)
		}
		return list[i].DataSize + b.Size()
	}
	newest := size(4) + size(3)
	for _, c := range []struct {
		name string
		o    PruneOptions
		want string
	}{
		{"no limits", PruneOptions{}, "fleet0 fleet1 fleet2 fleet3 fleet4 object"},
		{"large enough", PruneOptions{MaxSize: info.Total}, "fleet0 fleet1 fleet2 fleet3 fleet4 object"},
		{"a byte too small", PruneOptions{MaxSize: info.Total - 1}, "fleet0 fleet1 fleet2 fleet3 fleet4"},
		{"room for two", PruneOptions{MaxSize: newest}, "fleet3 fleet4"},
		{"almost room for two", PruneOptions{MaxSize: newest - 1}, "fleet4"},
		{"nothing fits", PruneOptions{MaxSize: 1}, ""},
		{"what was used in the last three hours", PruneOptions{KeepNewerThan: now.Add(-3 * time.Hour)}, "fleet2 fleet3 fleet4"},
		{"that, above the size", PruneOptions{MaxSize: 1, KeepNewerThan: now.Add(-3 * time.Hour)}, "fleet2 fleet3 fleet4"},
		{"both, below the size", PruneOptions{MaxSize: info.Total, KeepNewerThan: now.Add(-3 * time.Hour)}, "fleet0 fleet1 fleet2 fleet3 fleet4 object"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, list := aged(t, 5, now)
			dry := c.o
			dry.DryRun = true
			before := files(t, st)
			planned, err := st.Prune(t.Context(), dry)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(before, files(t, st)); d != "" {
				t.Errorf("a dry run changed something:\n%s", d)
			}
			report, err := st.Prune(t.Context(), c.o)
			if err != nil || report != planned {
				t.Errorf("%+v, %v; the dry run said %+v", report, err, planned)
			}
			if got := strings.Join(held(t, st, list), " "); got != c.want {
				t.Errorf("%q stay, want %q", got, c.want)
			}
			after, err := st.Info()
			if err != nil || report.Kept.Bytes != after.Total || report.Kept.Bytes+report.Removed.Bytes != info.Total {
				t.Errorf("report %+v, before %d bytes, after %+v, %v", report, info.Total, after, err)
			}
			if problems, err := st.Check(t.Context(), false); err != nil || len(problems) > 0 {
				t.Errorf("%v, %v", problems, err)
			}
		})
	}
}

// A look-up is a use: what was looked up stays.
func TestUseCounts(t *testing.T) {
	st, list := aged(t, 4, time.Now())
	if _, err := st.Lookup(list[0].Package.Checksum); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Prune(t.Context(), PruneOptions{KeepNewerThan: st.opened}); err != nil {
		t.Fatal(err)
	}
	if got := held(t, st, list); !slices.Equal(got, []string{"fleet0"}) {
		t.Errorf("%q stay", got)
	}
}

func TestPruneRemovesGarbage(t *testing.T) {
	st, list := aged(t, 1, time.Now())
	r := list[0]
	orphan := st.blobPath(apk.SHA256{7})
	mark := st.dataMarkPath(apk.SHA256{7}, apk.SHA1{7}.Hex())
	foreign := []string{st.path("blobs", "README"), st.path("objects", "derived", "zz", "x"), st.path("receipts", "aa", "bb")}
	for _, name := range append([]string{orphan, mark}, foreign...) {
		if err := errors.Join(makeDir(filepath.Dir(name)), os.WriteFile(name, []byte("garbage"), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := st.Info()
	if err != nil || info.Garbage.Count != 5 || info.Garbage.Bytes != 35 {
		t.Errorf("%+v, %v", info, err)
	}
	problems, err := st.Check(t.Context(), false)
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	slices.Sort(foreign)
	if !slices.Equal(got, foreign) || err != nil {
		t.Errorf("problems %v, %v", problems, err)
	}
	report, err := st.Prune(t.Context(), PruneOptions{})
	if err != nil || report.Removed != (Usage{5, 35}) {
		t.Errorf("%+v, %v", report, err)
	}
	if err := st.Verify(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestPruneCancelled(t *testing.T) {
	st, list := aged(t, 2, time.Now())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := st.Prune(ctx, PruneOptions{MaxSize: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if err := st.Clean(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if got := held(t, st, list); len(got) != 3 {
		t.Errorf("%q stay", got)
	}
}

func TestMaxSizeOnClose(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	old := openAt(t, dir, Options{})
	first, err := builtFleet()[3].put(old)
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old.receiptPath(first.Package.Checksum.Hex()), past, past); err != nil {
		t.Fatal(err)
	}
	// Reading alone prunes nothing.
	st, err := Open(dir, Options{MaxSize: 10})
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(st.BlobPath(first)); err != nil {
		t.Error(err)
	}
	// Adding does, but what this session used stays.
	if st, err = Open(dir, Options{MaxSize: 10}); err != nil {
		t.Fatal(err)
	}
	second, err := builtFleet()[4].put(st)
	if err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(st.BlobPath(first)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old package is still there: %v", err)
	}
	if _, err := os.Stat(st.BlobPath(second)); err != nil {
		t.Error(err)
	}
	// Somebody else's use is no reason to fail.
	end := hold(t, dir)
	if st, err = Open(dir, Options{MaxSize: 10}); err != nil {
		t.Fatal(err)
	}
	if _, err := builtFleet()[5].put(st); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	end()
}

func TestClean(t *testing.T) {
	st, list := aged(t, 2, time.Now())
	if err := st.Clean(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left := files(t, st); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if _, err := builtFleet()[0].put(st); err != nil {
		t.Errorf("not usable afterwards: %v", err)
	}
	if _, err := st.Lookup(list[0].Package.Checksum); err != nil {
		t.Error(err)
	}
}

func TestInfo(t *testing.T) {
	st, list := aged(t, 2, time.Now())
	info, err := st.Info()
	if err != nil {
		t.Fatal(err)
	}
	data := list[0].DataSize + list[1].DataSize
	object := info.Objects["derived"]
	if info.Dir != st.Dir() || info.Receipts.Count != 2 || info.Data != (Usage{2, data}) || object.Count != 1 || object.Bytes < 1000 ||
		info.Garbage.Count+info.Temporary.Count != 0 || info.Total != info.Receipts.Bytes+data+object.Bytes {
		t.Errorf("%+v", info)
	}
	f, err := st.temp()
	if err != nil {
		t.Fatal(err)
	}
	defer discard(f)
	if _, err := f.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if info, err := st.Info(); err != nil || info.Temporary != (Usage{1, 4}) {
		t.Errorf("%+v, %v", info.Temporary, err)
	}
}

func TestCheck(t *testing.T) {
	fresh := func(t *testing.T) (*Store, []*Receipt) { return aged(t, 3, time.Now()) }
	receipt := func(st *Store, r *Receipt) string { return st.receiptPath(r.Package.Checksum.Hex()) }
	flip := func(t *testing.T, name string) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/3] ^= 1
		overwrite(t, name, b)
	}
	t.Run("data", func(t *testing.T) {
		st, list := fresh(t)
		blob := st.BlobPath(list[1])
		flip(t, blob)
		p, err := st.Check(t.Context(), false)
		if err != nil || len(p) != 1 || p[0].Path != blob || !errors.Is(p[0].Err, ErrCorrupt) || !strings.HasPrefix(p[0].String(), "data: "+blob+": ") {
			t.Errorf("%v, %v", p, err)
		}
		p, err = st.Check(t.Context(), false)
		if err != nil || len(p) != 1 || p[0].String() != receipt(st, list[1])+": its data "+list[1].DataHash.String()+" is missing" {
			t.Errorf("again: %v, %v", p, err)
		}
	})
	t.Run("receipt", func(t *testing.T) {
		st, list := fresh(t)
		flip(t, receipt(st, list[2]))
		p, err := st.Check(t.Context(), true)
		if err != nil || len(p) != 1 || p[0].Path != receipt(st, list[2]) || !errors.Is(p[0].Err, ErrCorrupt) {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("object", func(t *testing.T) {
		st, _ := fresh(t)
		ref, _ := st.objectPath("derived", "key")
		flip(t, ref)
		p, err := st.Check(t.Context(), false)
		if err != nil || len(p) != 1 || p[0].Path != ref || !errors.Is(p[0].Err, ErrCorrupt) {
			t.Errorf("%v, %v", p, err)
		}
	})
	t.Run("receipts exchanged", func(t *testing.T) {
		st, list := fresh(t)
		b, err := os.ReadFile(receipt(st, list[0]))
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, receipt(st, list[1]), b)
		p, err := st.Check(t.Context(), false)
		if err != nil || len(p) != 1 || p[0].Path != receipt(st, list[1]) || !strings.Contains(p[0].String(), "it is that of fleet0-1.0-r0") {
			t.Errorf("%v, %v", p, err)
		}
	})
	// Forged together with its hash: only a full check finds it, or a lock that
	// has the receipt's digest.
	t.Run("forged receipt", func(t *testing.T) {
		st, list := fresh(t)
		forged := list[0].copy()
		forged.Entries = slices.Clone(forged.Entries)
		forged.Entries[1].Mode = 0o4777
		b := appendReceipt(nil, forged)
		sum := sha256.Sum256(b)
		overwrite(t, receipt(st, list[0]), append(b, sum[:]...))
		if p, err := st.Check(t.Context(), false); err != nil || len(p) > 0 {
			t.Errorf("%v, %v", p, err)
		}
		if _, err := st.Find(Expect{Checksum: list[0].Package.Checksum, ReceiptSHA256: list[0].Digest()}); !errors.Is(err, ErrMismatch) {
			t.Errorf("Find with the receipt's digest: %v", err)
		}
		p, err := st.Check(t.Context(), true)
		if err != nil || len(p) != 1 || p[0].Path != receipt(st, list[0]) || !strings.Contains(p[0].String(), "the data makes it "+list[0].Digest().String()) {
			t.Errorf("%v, %v", p, err)
		}
		if _, err := st.Lookup(list[0].Package.Checksum); !errors.Is(err, ErrNotFound) {
			t.Errorf("the forged receipt is still there: %v", err)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		st, _ := fresh(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if p, err := st.Check(ctx, true); !errors.Is(err, context.Canceled) || len(p) > 0 {
			t.Errorf("%v, %v", p, err)
		}
	})
}

func TestVerifyAll(t *testing.T) {
	st, list := aged(t, 5, time.Now())
	list = append(list, list[2]) // twice is once
	if err := st.VerifyAll(t.Context(), list, 2); err != nil {
		t.Error(err)
	}
	for _, i := range []int{1, 3} {
		b, err := os.ReadFile(st.BlobPath(list[i]))
		if err != nil {
			t.Fatal(err)
		}
		overwrite(t, st.BlobPath(list[i]), append(bytes.Clone(b), 0))
	}
	err := st.VerifyAll(t.Context(), list, 0)
	if err == nil || !errors.Is(err, ErrCorrupt) || strings.Count(err.Error(), "\n") != 1 ||
		!strings.HasPrefix(err.Error(), "package fleet1-1.0-r0: "+st.BlobPath(list[1])+": ") || !strings.Contains(err.Error(), "\npackage fleet3-1.0-r0: ") {
		t.Errorf("error %v", err)
	}
	for _, i := range []int{1, 3} {
		if _, err := builtFleet()[i].put(st); err != nil {
			t.Error(err)
		}
	}
	if err := st.VerifyAll(t.Context(), list, 3); err != nil {
		t.Errorf("after ingesting them again: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := st.VerifyAll(ctx, list, 2); err != context.Canceled {
		t.Errorf("error %v", err)
	}
}
