package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func TestIndexIsRevalidated(t *testing.T) {
	raw := signedIndex(t)
	var mu sync.Mutex
	current := raw
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		sum := sha256.Sum256(current)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum[:4]))
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(current))
	})
	cache := t.TempDir()
	load := func(want int) *Index {
		t.Helper()
		ix, err := mustClient(t, fast(Options{CacheDir: cache})).Load(ctx, srv.source(t))
		if err != nil {
			t.Fatal(err)
		}
		if ix.Len() != want || ix.SignedBy.Name != "test.rsa.pub" {
			t.Fatalf("%d packages signed by %q", ix.Len(), ix.SignedBy.Name)
		}
		return ix
	}
	load(2)
	load(2)
	if h := srv.request(1).Header; h.Get("If-None-Match") == "" || h.Get("If-Modified-Since") == "" {
		t.Errorf("second request had no condition: %v", h)
	}
	mu.Lock()
	current = signedIndex(t, pkg("new", "1-r0"))
	mu.Unlock()
	if ix := load(1); ix.Package(0).Name != "new" {
		t.Errorf("%+v", ix.Package(0))
	}
	if srv.count() != 3 {
		t.Errorf("%d requests, want one per load", srv.count())
	}
}

func TestNoValidatorNoCondition(t *testing.T) {
	raw := signedIndex(t)
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(raw) })
	cache := t.TempDir()
	for range 2 {
		if _, err := mustClient(t, fast(Options{CacheDir: cache})).Load(ctx, srv.source(t)); err != nil {
			t.Fatal(err)
		}
	}
	if h := srv.request(1).Header; h.Get("If-None-Match") != "" || h.Get("If-Modified-Since") != "" {
		t.Errorf("%v", h)
	}
	if _, err := mustClient(t, fast(Options{CacheDir: cache, Offline: true})).Load(ctx, srv.source(t)); err != nil {
		t.Errorf("offline: %v", err)
	}
}

func TestNoStore(t *testing.T) {
	raw := signedIndex(t)
	control := "public"
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", control)
		if control == "public" {
			static(raw)(w, r)
		} else {
			_, _ = w.Write(raw)
		}
	})
	c := mustClient(t, fast(Options{CacheDir: t.TempDir()}))
	for _, step := range []struct {
		control string
		urls    int
	}{{"public", 1}, {"max-age=60, No-Store", 0}} {
		control = step.control
		if _, err := c.Load(ctx, srv.source(t)); err != nil {
			t.Fatal(err)
		}
		if info, err := c.CacheInfo(); err != nil || info.URLs != step.urls {
			t.Errorf("%s: %+v, %v", step.control, info, err)
		}
	}
}

func TestOffline(t *testing.T) {
	srv := serve(t, static(signedIndex(t)))
	cache := t.TempDir()
	off := mustClient(t, fast(Options{CacheDir: cache, Offline: true}))
	_, err := off.Load(ctx, srv.source(t))
	wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: offline: not in the cache\nhint: run once with the network")
	wantIs(t, err, ErrOffline)
	_, err = mustClient(t, Options{Offline: true}).Load(ctx, srv.source(t))
	wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: offline: not in the cache, because there is none")
	if srv.count() != 0 {
		t.Fatal("the network was used")
	}
	if _, err := mustClient(t, fast(Options{CacheDir: cache})).Load(ctx, srv.source(t)); err != nil {
		t.Fatal(err)
	}
	// Credentials in the URL are not part of what is asked for.
	src := srv.source(t)
	src.URL = strings.Replace(src.URL, "://", "://user:pw@", 1)
	ix, err := off.Load(ctx, src)
	if err != nil || ix.Len() != 2 {
		t.Fatal(err)
	}
	// The signature counts offline as well.
	src.Keyring = NewKeyring(testKey(t, "other.rsa.pub"))
	_, err = off.Load(ctx, src)
	wantError(t, err, "…: index: signed by unknown key test.rsa.pub; trusted here: other.rsa.pub…")
	_, _, err = off.OpenPackage(ctx, ix, ix.Package(0))
	wantError(t, err, "package hello-1.0-r0: "+srv.URL+"/repo/x86_64/hello-1.0-r0.apk: offline")
	wantIs(t, err, ErrOffline)
	if srv.count() != 1 {
		t.Errorf("%d requests", srv.count())
	}
}

// apko takes the newest file by its time stamp for the index (apko.md 1.5).
func TestApkoDefect_OfflineIndexIsTheOneLastFetched(t *testing.T) {
	first, second := signedIndex(t), signedIndex(t, pkg("second", "1-r0"))
	current := first
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(current) })
	dir := t.TempDir()
	c := mustClient(t, fast(Options{CacheDir: dir}))
	for _, current = range [][]byte{first, second} {
		if _, err := c.Load(ctx, srv.source(t)); err != nil {
			t.Fatal(err)
		}
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(c.cache.filePath(sha256.Sum256(first)), later, later); err != nil {
		t.Fatal(err)
	}
	ix, err := mustClient(t, fast(Options{CacheDir: dir, Offline: true})).Load(ctx, srv.source(t))
	if err != nil || ix.SHA256 != sha256.Sum256(second) {
		t.Errorf("%v", err)
	}
}

// What is not found good is not kept.
func TestBadIndexIsNotKept(t *testing.T) {
	good := signedIndex(t)
	bad := bytes.Clone(good)
	bad[len(bad)-30] ^= 1
	current := good
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(current)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(current))
	})
	cache := t.TempDir()
	c := mustClient(t, fast(Options{CacheDir: cache}))
	if _, err := c.Load(ctx, srv.source(t)); err != nil {
		t.Fatal(err)
	}
	current = bad
	_, err := c.Load(ctx, srv.source(t))
	wantError(t, err, "…: index: signature RSA256 by test.rsa.pub does not fit the content: …")
	ix, err := mustClient(t, fast(Options{CacheDir: cache, Offline: true})).Load(ctx, srv.source(t))
	if err != nil || ix.SHA256 != sha256.Sum256(good) {
		t.Errorf("the good one is gone: %v", err)
	}
}

// files lists the cache's files below sub.
func cacheFiles(t *testing.T, dir, sub string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, sub, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A cached byte that flipped is never used: the index is fetched or parsed
// again.
func TestFlippedCacheIsNotUsed(t *testing.T) {
	srv := serve(t, static(signedIndex(t, manyPackages(20)...)))
	cache := t.TempDir()
	load := func(o Options) error {
		o.CacheDir = cache
		ix, err := mustClient(t, fast(o)).Load(ctx, srv.source(t))
		if err == nil && (ix.Len() != 20 || ix.Package(7).Name != "p007" || len(ix.Providers("cmd:p")) != 20) {
			return fmt.Errorf("wrong index: %d packages", ix.Len())
		}
		return err
	}
	if err := load(Options{}); err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"urls", "files", "parsed"} {
		names := cacheFiles(t, cache, sub)
		if len(names) != 1 {
			t.Fatalf("%s: %v", sub, names)
		}
		good := mustRead(t, names[0])
		for i := 0; i < len(good); i += len(good)/40 + 1 {
			bad := bytes.Clone(good)
			bad[i] ^= 0x04
			writeFile(t, names[0], bad)
			err := load(Options{Offline: true})
			if sub == "parsed" && err != nil || sub == "files" && !errors.Is(err, ErrOffline) {
				t.Fatalf("%s byte %d: offline: %v", sub, i, err)
			}
			if err != nil && !errors.Is(err, ErrOffline) {
				t.Fatalf("%s byte %d: offline: %v", sub, i, err)
			}
			bads, err := mustClient(t, Options{CacheDir: cache}).CheckCache(ctx)
			if sub != "parsed" && (err != nil || len(bads) != 1 || bads[0] != names[0]) {
				t.Fatalf("%s byte %d: check: %v, %v", sub, i, bads, err)
			}
			if err := load(Options{}); err != nil {
				t.Fatalf("%s byte %d: online: %v", sub, i, err)
			}
			if bads, err := mustClient(t, Options{CacheDir: cache}).CheckCache(ctx); err != nil || len(bads) != 0 {
				t.Fatalf("%s byte %d: not repaired: %v, %v", sub, i, bads, err)
			}
			writeFile(t, names[0], good)
		}
	}
}

// apko trusts cached bytes by their name (apko.md §3, GHSA-3fqg-8hpf-5682). A
// parsed index put in place of the real one, sealed right, is refused when the
// seal is keyed.
func TestApkoDefect_PlantedCacheEntryIsRefused(t *testing.T) {
	raw := signedIndex(t)
	srv := serve(t, static(raw))
	dir, secret := t.TempDir(), []byte("0123456789abcdef")
	o := fast(Options{CacheDir: dir, CacheSecret: secret})
	if _, err := mustClient(t, o).Load(ctx, srv.source(t)); err != nil {
		t.Fatal(err)
	}
	b := newBuilder()
	b.add(pkg("evil", "1-r0"))
	forged, err := b.finish(sha256.Sum256(raw), int64(len(raw)), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, cacheFiles(t, dir, "parsed")[0], forged)
	ix, err := mustClient(t, o).Load(ctx, srv.source(t))
	if err != nil || len(ix.Providers("evil")) != 0 || ix.Len() != 2 {
		t.Errorf("the planted entry was used: %v", err)
	}
	// A key document likewise.
	keySrv := serve(t, static(apktest.NewKey("test.rsa.pub").PublicPEM()))
	ref := keySrv.URL + "/k.rsa.pub"
	if _, err := mustClient(t, o).Key(ctx, ref); err != nil {
		t.Fatal(err)
	}
	if err := (&cache{dir: dir}).store(ref, record{}, apktest.NewKey("evil.rsa.pub").PublicPEM()); err != nil {
		t.Fatal(err)
	}
	o.Offline = true
	_, err = mustClient(t, o).Key(ctx, ref)
	wantIs(t, err, ErrOffline)
}

func TestConcurrentLoads(t *testing.T) {
	srv := serve(t, static(signedIndex(t, manyPackages(50)...)))
	cache := t.TempDir()
	src := srv.source(t)
	var wg sync.WaitGroup
	for i := range 8 {
		c := mustClient(t, fast(Options{CacheDir: cache}))
		wg.Add(1)
		go func() {
			defer wg.Done()
			for range 5 {
				ix, err := c.Load(ctx, src)
				if err != nil || ix.Len() != 50 || ix.Package(i).Name != fmt.Sprintf("p%03d", i) {
					t.Errorf("%v", err)
				}
			}
		}()
	}
	wg.Wait()
	if bad, err := mustClient(t, Options{CacheDir: cache}).CheckCache(ctx); err != nil || len(bad) != 0 {
		t.Errorf("%v, %v", bad, err)
	}
	for _, sub := range []string{"urls", "files", "parsed"} {
		if names := cacheFiles(t, cache, sub); len(names) != 1 {
			t.Errorf("%v", names)
		}
	}
}

func TestCacheModes(t *testing.T) {
	srv := serve(t, static(signedIndex(t)))
	cache := filepath.Join(t.TempDir(), "a", "b")
	if _, err := mustClient(t, fast(Options{CacheDir: cache})).Load(ctx, srv.source(t)); err != nil {
		t.Fatal(err)
	}
	err := filepath.Walk(cache, func(p string, st os.FileInfo, err error) error {
		if err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: mode %s, %v", p, st.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	b := mustRead(t, cacheFiles(t, cache, "urls")[0])
	var r record
	if err := json.Unmarshal(b, &r); err != nil || r.URL != srv.URL+"/repo/x86_64/APKINDEX.tar.gz" {
		t.Errorf("%s", b)
	}
}

func TestSecretsAreNotKept(t *testing.T) {
	srv := serve(t, static(signedIndex(t)))
	cache := t.TempDir()
	src := srv.source(t)
	src.URL = strings.Replace(src.URL, "://", "://user:hunter2@", 1) + "?token=hunter2"
	ix, err := mustClient(t, fast(Options{CacheDir: cache})).Load(ctx, src)
	if err != nil || strings.Contains(ix.URL, "hunter2") {
		t.Fatalf("%+v, %v", ix, err)
	}
	if b := mustRead(t, cacheFiles(t, cache, "urls")[0]); bytes.Contains(b, []byte("hunter2")) {
		t.Errorf("%s", b)
	}
}

func TestPruneCache(t *testing.T) {
	cache := t.TempDir()
	c := mustClient(t, fast(Options{CacheDir: cache}))
	old := time.Now().Add(-72 * time.Hour)
	age := func(names ...string) {
		for _, n := range names {
			if err := os.Chtimes(n, old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	oldSrv, newSrv := serve(t, static(signedIndex(t))), serve(t, static(signedIndex(t, pkg("x", "1-r0"))))
	for _, s := range []*recorder{oldSrv, newSrv} {
		if _, err := c.Load(ctx, s.source(t)); err != nil {
			t.Fatal(err)
		}
	}
	left := filepath.Join(cache, "files", "abc"+temporaryMark+"1")
	writeFile(t, left, []byte("left by a killed process"))
	for _, sub := range []string{"urls", "files", "parsed"} {
		age(cacheFiles(t, cache, sub)...)
	}
	// The new one is used again, which makes its URL and parsed form young.
	if _, err := c.Load(ctx, newSrv.source(t)); err != nil {
		t.Fatal(err)
	}
	before, err := c.CacheInfo()
	if err != nil || before.URLs != 2 || before.Files != 3 || before.Parsed != 2 || before.Bytes == 0 {
		t.Errorf("%+v, %v", before, err)
	}
	files, size, err := c.PruneCache(ctx, time.Now().Add(-48*time.Hour))
	after, err2 := c.CacheInfo()
	if err != nil || err2 != nil || files != 4 || after.URLs != 1 || after.Files != 1 || after.Parsed != 1 || before.Bytes-after.Bytes != size {
		t.Errorf("%d files, %d bytes, left %+v, %v %v", files, size, after, err, err2)
	}
	off := mustClient(t, fast(Options{CacheDir: cache, Offline: true}))
	if _, err := off.Load(ctx, newSrv.source(t)); err != nil {
		t.Error(err)
	}
	if _, err := off.Load(ctx, oldSrv.source(t)); !errors.Is(err, ErrOffline) {
		t.Error(err)
	}
	none := mustClient(t, Options{})
	if files, _, err := none.PruneCache(ctx, time.Now()); files != 0 || err != nil {
		t.Error(err)
	}
}

func TestCacheDirErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	writeFile(t, file, nil)
	_, err := NewClient(Options{CacheDir: file})
	wantError(t, err, "cache "+file+": not a directory")
	_, err = NewClient(Options{Builtins: map[string]fs.FS{"demo": nil}})
	wantError(t, err, `builtin repository "demo": no name or no files`)
}

func TestCacheSecretFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "config", "secret")
	var wg sync.WaitGroup
	got := make([][]byte, 8)
	for i := range got {
		wg.Add(1)
		go func() {
			defer wg.Done()
			b, err := CacheSecretFile(name)
			if err != nil {
				t.Error(err)
			}
			got[i] = b
		}()
	}
	wg.Wait()
	for _, b := range got {
		if len(b) != 32 || !bytes.Equal(b, got[0]) {
			t.Errorf("%x, %x", b, got[0])
		}
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}
	writeFile(t, name, []byte("short"))
	_, err := CacheSecretFile(name)
	wantError(t, err, "cache secret "+name+": 5 bytes: expected at least 16; remove the file to have a new one made")
}

func TestURLKey(t *testing.T) {
	same := []string{"https://h/a?x=1", "https://u@h/a?x=1", "https://u:p@h/a?x=1", "https://u:p@q@h/a?x=1"}
	for _, u := range same {
		if urlKey(u) != urlKey(same[0]) {
			t.Errorf("%s has a key of its own", u)
		}
	}
	for _, u := range []string{"https://h/a?x=2", "http://h/a?x=1", "https://h/u@h/a?x=1", "https://h:1/a?x=1", "https://h", "no URL"} {
		if urlKey(u) == urlKey(same[0]) {
			t.Errorf("%s has the key of %s", u, same[0])
		}
	}
}

func TestCacheWorkEndsWithItsContext(t *testing.T) {
	srv := serve(t, static(signedIndex(t)))
	c := mustClient(t, fast(Options{CacheDir: t.TempDir()}))
	if _, err := c.Load(ctx, srv.source(t)); err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.CheckCache(ended); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n, _, err := c.PruneCache(ended, time.Now().Add(time.Hour)); !errors.Is(err, context.Canceled) || n != 0 {
		t.Error(n, err)
	}
	if info, err := c.CacheInfo(); err != nil || info.URLs+info.Files+info.Parsed != 3 {
		t.Errorf("%+v, %v", info, err)
	}
}

// A client whose secret changed starts anew, and repairs what it finds.
func TestChangedSecret(t *testing.T) {
	srv := serve(t, static(signedIndex(t)))
	dir := t.TempDir()
	for i, secret := range []string{"", "one", "two", "two"} {
		c := mustClient(t, fast(Options{CacheDir: dir, CacheSecret: []byte(secret)}))
		bad, err := c.CheckCache(ctx)
		if want := []int{0, 2, 2, 0}[i]; err != nil || len(bad) != want {
			t.Errorf("%d: %d files of another secret, want %d (%v)", i, len(bad), want, err)
		}
		if _, err := c.Load(ctx, srv.source(t)); err != nil {
			t.Error(err)
		}
		condition := srv.request(i).Header.Get("If-None-Match")
		if want := i == 3; (condition != "") != want {
			t.Errorf("%d: If-None-Match %q", i, condition)
		}
	}
}
