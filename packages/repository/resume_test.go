package repository

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Whatever way a server breaks off, what arrives is the file or an error.
func TestResumeAtRandom(t *testing.T) {
	rnd := rand.New(rand.NewSource(7))
	whole := 0
	for i := range 60 {
		content := randomBytes(1 + rnd.Intn(200_000))
		s := &breaking{content: content, at: rnd.Intn(len(content) + 1), times: int32(rnd.Intn(6)), noRanges: rnd.Intn(4) == 0, noLength: rnd.Intn(4) == 0}
		if rnd.Intn(3) == 0 {
			s.etag = func(int32) string { return "" }
		}
		if rnd.Intn(6) == 0 {
			s.etag = func(n int32) string { return fmt.Sprintf(`"%d"`, n/3) }
		}
		got, err := openFrom(t, s, Options{Retries: 3})
		if err == nil {
			whole++
			if !bytes.Equal(got, content) {
				t.Fatalf("case %d: %d of %d bytes, and no error", i, len(got), len(content))
			}
		} else if !bytes.HasPrefix(content, got) {
			t.Fatalf("case %d: wrong bytes before the error", i)
		}
	}
	if whole < 20 {
		t.Errorf("only %d downloads came through", whole)
	}
}

func TestResumeStatuses(t *testing.T) {
	content := randomBytes(1000)
	for code, want := range map[int]string{
		416: "broke off after 500 of 1000 bytes: unexpected EOF; to resume: changed on the server while it was read",
		403: "broke off after 500 of 1000 bytes: unexpected EOF; to resume: server answered 403 Forbidden\nhint: no credentials for …",
		503: "broke off after 500 of 1000 bytes: unexpected EOF; to resume: server answered 503 Service Unavailable after 3 attempts",
	} {
		n := 0
		_, err := openFrom(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if n++; n > 1 {
				w.WriteHeader(code)
				return
			}
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write(content[:500])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}), Options{Retries: 2})
		wantError(t, err, "package p-1: …: "+want)
	}
}

// A server that ends again while what is known is skipped is tried once more.
func TestResumeEndsWhileSkipping(t *testing.T) {
	content := randomBytes(1000)
	n := 0
	_, err := openFrom(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(content[:500/n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}), Options{Retries: 2})
	wantError(t, err, "package p-1: …: broke off after 500 of 1000 bytes: unexpected EOF; to resume: broke off again after 250 bytes: unexpected EOF")
}

func TestStreamCloses(t *testing.T) {
	srv := serve(t, static(randomBytes(1<<20)))
	c := mustClient(t, fast(Options{}))
	r, size, err := c.OpenFile(ctx, Source{URL: srv.URL, Arch: "x86_64"}, &apk.Package{Name: "p", Version: "1"})
	if err != nil || size != 1<<20 {
		t.Fatal(size, err)
	}
	if _, err := io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Error(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || !strings.Contains(err.Error(), "read after close") {
		t.Error(n, err)
	}
	if err := r.Close(); err != nil {
		t.Errorf("closed twice: %v", err)
	}
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	srv := serve(t, static(signedIndex(t)))
	for _, sub := range []string{"parsed", "files", "urls"} {
		c := mustClient(t, fast(Options{CacheDir: t.TempDir()}))
		if err := os.Remove(filepath.Join(c.cache.dir, sub)); err != nil {
			t.Fatal(err)
		}
		_, err := c.Load(ctx, srv.source(t))
		wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: cache: open "+c.cache.dir+"/"+sub+"/…: no such file or directory")
		_, err = c.CacheInfo()
		wantError(t, err, "cache "+c.cache.dir+": …")
		if _, err := c.CheckCache(ctx); err == nil {
			t.Error("checked a cache that is not there")
		}
	}
	// A cache that is mounted read-only is read from, and that is that.
	if err := readOnly(&fs.PathError{Op: "open", Err: unix.EROFS}); err != nil {
		t.Error(err)
	}
	if err := readOnly(unix.ENOSPC); !errors.Is(err, unix.ENOSPC) {
		t.Error("a full disk was hidden")
	}
}
