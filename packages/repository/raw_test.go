package repository

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

// TestRawIndexFromTheCache: what was loaded over HTTP is had again without a
// connection, and only as long as it is what it was.
func TestRawIndexFromTheCache(t *testing.T) {
	content := signedIndex(t)
	sum := apk.SHA256(sha256.Sum256(content))
	r := serve(t, static(content))
	dir := t.TempDir()
	c := mustClient(t, fast(Options{CacheDir: dir}))
	ix, err := c.Load(ctx, r.source(t))
	if err != nil {
		t.Fatal(err)
	}
	asked := r.count()
	b, err := c.RawIndex(ctx, ix.URL, "x86_64", sum)
	if err != nil || string(b) != string(content) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	if r.count() != asked {
		t.Error("the server was asked")
	}
	name := filepath.Join(dir, "files", sum.Hex())
	if err := os.WriteFile(name, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = c.RawIndex(ctx, ix.URL, "x86_64", sum)
	wantError(t, err, ix.URL+": index "+sum.String()+": …")
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("error %v, want ErrNotFound", err)
	}
}

func TestRawIndexOfALocalRepository(t *testing.T) {
	dir := t.TempDir()
	content := signedIndex(t)
	sum := apk.SHA256(sha256.Sum256(content))
	name := filepath.Join(dir, "x86_64", IndexFile)
	writeFile(t, name, content)
	c := mustClient(t, Options{})
	b, err := c.RawIndex(ctx, name, "x86_64", sum)
	if err != nil || string(b) != string(content) {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := c.RawIndex(cancelled, name, "x86_64", sum); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	for what, ask := range map[string]func() ([]byte, error){
		"another architecture": func() ([]byte, error) { return c.RawIndex(ctx, name, "aarch64", sum) },
		"another digest":       func() ([]byte, error) { return c.RawIndex(ctx, name, "x86_64", apk.SHA256{1}) },
		"no index's name":      func() ([]byte, error) { return c.RawIndex(ctx, dir, "x86_64", sum) },
		"a URL, no cache":      func() ([]byte, error) { return c.RawIndex(ctx, "https://example.org/x86_64/"+IndexFile, "x86_64", sum) },
		"nothing there":        func() ([]byte, error) { return c.RawIndex(ctx, dir+"/no/x86_64/"+IndexFile, "x86_64", sum) },
	} {
		if b, err := ask(); !errors.Is(err, ErrNotFound) || b != nil {
			t.Errorf("%s: %d bytes, error %v, want ErrNotFound", what, len(b), err)
		}
	}
}
