package disk

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	one, err := Lock(t.Context(), name, unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	two, err := Lock(t.Context(), name, unix.LOCK_SH)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := Lock(ctx, name, unix.LOCK_EX); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside others: %v", err)
	}
	if err := errors.Join(one.Close(), two.Close()); err != nil {
		t.Error(err)
	}
	alone, err := Lock(t.Context(), name, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.Close(); err != nil {
		t.Error(err)
	}
	if _, err := Lock(t.Context(), filepath.Join(name, "below"), unix.LOCK_EX); err == nil {
		t.Error("below a file: locked")
	}
}

// Whoever has the lock may remove its file: nobody else is in at the same time.
func TestLockedFileIsRemoved(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	var inside atomic.Int32
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for range 50 {
				f, err := Lock(t.Context(), name, unix.LOCK_EX)
				if err != nil {
					return err
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d at a time", n)
				}
				inside.Add(-1)
				if err := errors.Join(os.Remove(name), f.Close()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

func TestRemoveAll(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.MkdirAll(filepath.Join(dir, "closed", "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"closed/below", "closed"} {
		if err := os.Chmod(filepath.Join(dir, path), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := RemoveAll(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
	if err := RemoveAll(dir); err != nil {
		t.Errorf("nothing there: %v", err)
	}
}
