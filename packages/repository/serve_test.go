package repository

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestHandler(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret")
	for name, content := range map[string]string{outside: "secret", filepath.Join(dir, "x86_64/a-1-r0.apk"): "0123456789",
		filepath.Join(dir, "x86_64/APKINDEX.tar.gz"): "i", filepath.Join(dir, "x86_64/APKINDEX.tar.gz.lock"): "",
		filepath.Join(dir, "me.rsa"): "private", filepath.Join(dir, "me.rsa.pub"): "public", filepath.Join(dir, ".git/config"): "x"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.apk")); err != nil {
		t.Fatal(err)
	}
	h, err := NewHandler(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	ask := func(method, path string, header map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "/", nil)
		r.URL.Path = path
		for k, v := range header {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := ask("GET", "/x86_64/a-1-r0.apk", nil)
	tag := w.Header().Get("ETag")
	if w.Code != 200 || w.Body.String() != "0123456789" || w.Header().Get("Cache-Control") != cachePackage ||
		w.Header().Get("Content-Type") != "application/vnd.alpine.apk" || w.Header().Get("Last-Modified") == "" || tag == "" {
		t.Errorf("package: %d %v", w.Code, w.Header())
	}
	if w := ask("GET", "/x86_64/APKINDEX.tar.gz", nil); w.Code != 200 || w.Header().Get("Cache-Control") != cacheOther || w.Header().Get("Content-Type") != "application/gzip" {
		t.Errorf("index: %d %v", w.Code, w.Header())
	}
	if w := ask("GET", "/x86_64/a-1-r0.apk", map[string]string{"Range": "bytes=2-4"}); w.Code != http.StatusPartialContent || w.Body.String() != "234" {
		t.Errorf("range: %d %q", w.Code, w.Body)
	}
	if w := ask("GET", "/x86_64/a-1-r0.apk", map[string]string{"If-None-Match": tag}); w.Code != http.StatusNotModified {
		t.Errorf("entity tag: %d", w.Code)
	}
	if w := ask("HEAD", "/me.rsa.pub", nil); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD: %d %q", w.Code, w.Body)
	}
	if w := ask("POST", "/me.rsa.pub", nil); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", w.Code)
	}
	for _, p := range []string{"/", "", "/x86_64", "/x86_64/", "/nothing", "/link.apk", "/../secret", "/x86_64/../me.rsa.pub", "/.git/config",
		"/me.rsa", "/x86_64/APKINDEX.tar.gz.lock", "//me.rsa.pub", "/x86_64\\..\\me.rsa.pub"} {
		if w := ask("GET", p, nil); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", p, w.Code)
		}
	}
	if _, err := NewHandler(filepath.Join(dir, "missing")); err == nil {
		t.Error("a missing directory gave no error")
	}
}
