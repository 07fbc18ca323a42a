package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store/internal/multisha"
)

// putBlobs writes blobs of the given sizes where the store would have them.
func putBlobs(t testing.TB, st *Store, sizes ...int) []checked {
	t.Helper()
	r := rand.NewChaCha8([32]byte{1})
	var out []checked
	for i, size := range sizes {
		b := make([]byte, size)
		r.Read(b)
		c := checked{what: fmt.Sprintf("blob %d", i), want: sha256.Sum256(b), size: int64(size)}
		name := st.blobPath(c.want)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

func change(t testing.TB, st *Store, d apk.SHA256, f func(b []byte) []byte) {
	t.Helper()
	name := st.blobPath(d)
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, f(b), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestVerifyBlobs hashes blobs of all sorts of sizes, good and damaged, at once.
func TestVerifyBlobs(t *testing.T) {
	for _, workers := range []int{1, 2, 7} {
		st := openTemp(t)
		var sizes []int
		for i := range 60 {
			sizes = append(sizes, i*i*371, i)
		}
		sizes = append(sizes, 3<<20, 2<<20+1, 64, 128)
		blobs := putBlobs(t, st, sizes...)
		flipped, short, long, gone := 100, 90, 121, 75
		change(t, st, blobs[flipped].want, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
		change(t, st, blobs[short].want, func(b []byte) []byte { return b[:len(b)-1] })
		change(t, st, blobs[long].want, func(b []byte) []byte { return append(b, 0) })
		if err := os.Remove(st.blobPath(blobs[gone].want)); err != nil {
			t.Fatal(err)
		}
		err := st.verifyBlobs(t.Context(), blobs, workers)
		if !errors.Is(err, ErrCorrupt) || strings.Count(err.Error(), "blob ") != 4 {
			t.Fatalf("%d workers: %v", workers, err)
		}
		for i, b := range blobs {
			_, statErr := os.Stat(st.blobPath(b.want))
			switch i {
			case flipped, short, long:
				if !errors.Is(b.err, ErrCorrupt) || statErr == nil {
					t.Errorf("%d workers, blob %d: %v, file: %v", workers, i, b.err, statErr)
				}
			case gone:
				if !errors.Is(b.err, ErrNotFound) || errors.Is(b.err, ErrCorrupt) {
					t.Errorf("%d workers, blob %d: %v", workers, i, b.err)
				}
			default:
				if b.err != nil {
					t.Errorf("%d workers, blob %d of %d bytes: %v", workers, i, b.size, b.err)
				}
			}
		}
	}
}

// TestVerifyTruncated takes away the bytes of a blob while it is read: that blob
// is damaged, the others are verified.
func TestVerifyTruncated(t *testing.T) {
	for _, count := range []int{1, 2, 3, multisha.Lanes} {
		t.Run(fmt.Sprint(count), func(t *testing.T) {
			st := openTemp(t)
			blobs := putBlobs(t, st, slices.Repeat([]int{1 << 20}, count)...)
			v := &verification{s: st}
			for i := range blobs {
				v.queue = append(v.queue, &blobs[i])
			}
			cut := count / 2
			var once atomic.Bool
			v.ctx = onErr{t.Context(), func() {
				if v.taken.Load() >= int64(count) && once.CompareAndSwap(false, true) {
					if err := os.Truncate(st.blobPath(blobs[cut].want), 1000); err != nil {
						t.Error(err)
					}
				}
			}}
			v.work()
			if !once.Load() {
				t.Fatal("nothing was truncated")
			}
			for i, b := range blobs {
				if bad := errors.Is(b.err, ErrCorrupt); bad != (i == cut) {
					t.Errorf("blob %d: %v", i, b.err)
				}
			}
		})
	}
}

// onErr is a context that calls something when it is asked whether it is done.
type onErr struct {
	context.Context
	f func()
}

func (c onErr) Err() error {
	c.f()
	return c.Context.Err()
}

// TestVerifyCancelled gives up within the work and harms nothing.
func TestVerifyCancelled(t *testing.T) {
	st := openTemp(t)
	blobs := putBlobs(t, st, 5<<20, 5<<20, 5<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var asked atomic.Int64
	err := st.verifyBlobs(onErr{ctx, func() {
		if asked.Add(1) == 8 {
			cancel()
		}
	}}, blobs, 1)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for i := range blobs {
		blobs[i].err = nil
	}
	if err := st.verifyBlobs(t.Context(), blobs, 1); err != nil {
		t.Errorf("after a cancelled run: %v", err)
	}
}

// TestVerifyUnreadable has a blob that cannot be read among others.
func TestVerifyUnreadable(t *testing.T) {
	st := openTemp(t)
	blobs := putBlobs(t, st, 300_000, 0, 10)
	name := st.blobPath(blobs[0].want)
	if err := errors.Join(os.Remove(name), os.Mkdir(name, 0o755)); err != nil {
		t.Fatal(err)
	}
	err := st.verifyBlobs(t.Context(), blobs, 1)
	if err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "blob 0: read "+name) || blobs[1].err != nil || blobs[2].err != nil {
		t.Errorf("a directory: %v", err)
	}
}
