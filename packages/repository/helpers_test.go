package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

var ctx = context.Background()

// testKey returns the public half of a deterministic test key.
func testKey(t testing.TB, name string) Key {
	t.Helper()
	k, err := NewKey(name, apktest.NewKey(name).Public())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func signingKey(name string) SigningKey {
	return SigningKey{Name: name, Private: apktest.NewKey(name).Private}
}

func pkg(name, version string, more ...func(*apk.Package)) *apk.Package {
	p := &apk.Package{Name: name, Version: version, Arch: "x86_64", BuildTime: 1_700_000_000}
	for _, f := range more {
		f(p)
	}
	return p
}

// signedIndex is a small index signed by test.rsa.pub.
func signedIndex(t testing.TB, packages ...*apk.Package) []byte {
	t.Helper()
	if len(packages) == 0 {
		packages = []*apk.Package{pkg("hello", "1.0-r0"), pkg("world", "2.0-r1")}
	}
	var out bytes.Buffer
	err := WriteIndex(&out, packages, WriteOptions{Description: "test v1", Keys: []SigningKey{signingKey("test.rsa.pub")}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func writeFile(t testing.TB, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// fast is the options of a client that does not wait.
func fast(o Options) Options {
	o.RetryWait = time.Millisecond
	if o.MaxRetryWait == 0 {
		o.MaxRetryWait = 20 * time.Millisecond
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	return o
}

// recorder is a server that keeps what it was asked.
type recorder struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

func serve(t testing.TB, h http.HandlerFunc) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req.Clone(context.Background()))
		r.mu.Unlock()
		h(w, req)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) count() int { r.mu.Lock(); defer r.mu.Unlock(); return len(r.requests) }

func (r *recorder) request(i int) *http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests[i]
}

// source is the server as a repository whose index test.rsa.pub signs.
func (r *recorder) source(t testing.TB) Source {
	return Source{URL: r.URL + "/repo", Arch: "x86_64", Keyring: NewKeyring(testKey(t, "test.rsa.pub"))}
}

// static serves content with an ETag, conditions and ranges.
func static(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, len(content)))
		http.ServeContent(w, r, "", time.Unix(1_700_000_000, 0), bytes.NewReader(content))
	}
}

// wantError checks an error's text; "…" in want stands for anything.
func wantError(t testing.TB, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %q", want)
	}
	rest, first := err.Error(), true
	for _, part := range strings.Split(want, "…") {
		i := strings.Index(rest, part)
		if i < 0 || first && i > 0 {
			t.Fatalf("error %q\nwant  %q", err, want)
		}
		rest, first = rest[i+len(part):], false
	}
	if rest != "" && !strings.HasSuffix(want, "…") {
		t.Fatalf("error %q\nwant  %q (left over: %q)", err, want, rest)
	}
}

func wantIs(t testing.TB, err error, targets ...error) {
	t.Helper()
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("error %q is no %q", err, target)
		}
	}
}

func readAll(t testing.TB, r io.ReadCloser) []byte {
	t.Helper()
	b, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	return b
}

func discardLog() *log.Logger { return log.New(io.Discard, "", 0) }
