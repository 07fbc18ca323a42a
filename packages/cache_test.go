package packages

import (
	"os"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/store"
)

func TestCacheMaintenance(t *testing.T) {
	s := newSample(t)
	w := open(t, Options{})
	receipts, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	info, err := w.CacheInfo()
	if err != nil || info.Store.Data.Count != 2 || info.Store.Total <= 0 {
		t.Fatalf("info: %+v, %v", info, err)
	}
	if bad, err := w.CheckCache(t.Context(), true); err != nil || len(bad) != 0 {
		t.Errorf("check of a good cache: %q, %v", bad, err)
	}

	damaged := w.Store().BlobPath(receipts[1])
	if err := os.Chmod(damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, []byte("rubbish"), 0o644); err != nil {
		t.Fatal(err)
	}
	bad, err := w.CheckCache(t.Context(), true)
	if err != nil || len(bad) == 0 {
		t.Errorf("check of a damaged cache: %q, %v", bad, err)
	}
	if _, err := os.Stat(damaged); err == nil {
		t.Error("the damaged blob is still there")
	}
	w.Forget()
	if _, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
		t.Error("after the check:", err)
	}
}

func TestPruneAndClean(t *testing.T) {
	cache := t.TempDir()
	s := newSample(t)
	w := open(t, Options{CacheDir: cache})
	if _, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
		t.Fatal(err)
	}
	old := store.PruneOptions{KeepNewerThan: time.Now().Add(-time.Hour)}
	if r, err := w.PruneCache(t.Context(), old); err != nil || r.Removed.Count != 0 {
		t.Errorf("prune of what was just used: %+v, %v", r, err)
	}
	dry := store.PruneOptions{KeepNewerThan: time.Now().Add(time.Hour), DryRun: true}
	if _, err := w.PruneCache(t.Context(), dry); err != nil {
		t.Error(err)
	}
	if info, err := w.CacheInfo(); err != nil || info.Store.Data.Count != 2 {
		t.Errorf("after a dry run: %+v, %v", info, err)
	}
	r, err := w.CleanCache(t.Context())
	if err != nil || r.Removed.Bytes <= 0 || r.Removed.Count < 4 {
		t.Errorf("clean: %+v, %v", r, err)
	}
	if info, err := w.CacheInfo(); err != nil || info.Store.Total != 0 {
		t.Errorf("after clean: %+v, %v", info, err)
	}
	w.Forget()
	if _, err := w.Fetch(t.Context(), s.lock, "x86_64", FetchOptions{}); err != nil {
		t.Error("after clean:", err)
	}
}
