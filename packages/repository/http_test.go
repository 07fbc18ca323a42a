package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
)

// answers gives one status after the other, then the content.
func answers(content []byte, header http.Header, codes ...int) http.HandlerFunc {
	var n atomic.Int32
	return func(w http.ResponseWriter, r *http.Request) {
		if i := int(n.Add(1)) - 1; i < len(codes) {
			for k, v := range header {
				w.Header()[k] = v
			}
			w.WriteHeader(codes[i])
			return
		}
		static(content)(w, r)
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		name     string
		codes    []int
		header   http.Header
		requests int
		want     string // error; empty: success
	}{
		{"at once", nil, nil, 1, ""},
		{"500, then well", []int{500}, nil, 2, ""},
		{"502, 503, 504, then well", []int{502, 503, 504}, nil, 4, ""},
		{"429, then well", []int{429}, http.Header{"Retry-After": {"0"}}, 2, ""},
		{"408, then well", []int{408}, nil, 2, ""},
		{"500 for ever", []int{500, 500, 500, 500, 500, 500}, nil, 4, "server answered 500 Internal Server Error after 4 attempts"},
		{"501", []int{501, 501}, nil, 1, "server answered 501 Not Implemented"},
		{"404", []int{404}, nil, 1, "…server answered 404 Not Found…"},
		{"403", []int{403}, nil, 1, "server answered 403 Forbidden\nhint: no credentials for 127.0.0.1:…: set HTTP_AUTH=basic:HOST:USER:PASSWORD or write them to ~/.netrc"},
		{"401", []int{401}, nil, 1, "server answered 401 Unauthorized\nhint: no credentials for …"},
		{"a long Retry-After", []int{429, 429}, http.Header{"Retry-After": {"3600"}}, 1, "server answered 429 Too Many Requests, try again in 1h0m0s"},
		{"Retry-After as date", []int{503, 503}, http.Header{"Retry-After": {time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat)}}, 1, "server answered 503 Service Unavailable, try again in 4…"},
		{"204", []int{204}, nil, 1, "server answered 204 No Content"},
		{"304 unasked", []int{304}, nil, 1, "server answered 304 Not Modified"},
		{"redirect to nowhere", []int{302}, nil, 1, "server answered 302 Found"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, answers(signedIndex(t), c.header, c.codes...))
			ix, err := mustClient(t, fast(Options{Retries: 3})).Load(ctx, srv.source(t))
			if c.want == "" && (err != nil || ix.Len() != 2) {
				t.Fatal(err)
			}
			if c.want != "" {
				wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: "+c.want)
			}
			if srv.count() != c.requests {
				t.Errorf("%d requests, want %d", srv.count(), c.requests)
			}
		})
	}
}

func TestRetryAfterIsWaited(t *testing.T) {
	srv := serve(t, answers(signedIndex(t), http.Header{"Retry-After": {"1"}}, 429))
	begin := time.Now()
	if _, err := mustClient(t, fast(Options{MaxRetryWait: 5 * time.Second})).Load(ctx, srv.source(t)); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 900*time.Millisecond {
		t.Errorf("asked again after %s", d)
	}
}

func TestBackoff(t *testing.T) {
	for attempt, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		if got := backoff(time.Second, 10*time.Second, attempt, nil); got != want*time.Second {
			t.Errorf("attempt %d: %s, want %d s", attempt, got, want)
		}
	}
	if got := backoff(time.Second, 10*time.Second, 80, nil); got != 10*time.Second {
		t.Error(got)
	}
}

func TestNoRetries(t *testing.T) {
	srv := serve(t, answers(nil, nil, 500, 500))
	_, err := mustClient(t, fast(Options{Retries: -1})).Load(ctx, srv.source(t))
	wantError(t, err, "…: server answered 500 Internal Server Error")
	if srv.count() != 1 {
		t.Errorf("%d requests", srv.count())
	}
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	src := Source{URL: "http://user:secret@" + host + "/r?token=secret", Arch: "x86_64"}
	_, err = mustClient(t, fast(Options{Retries: 2})).Load(ctx, src)
	wantError(t, err, "http://"+host+"/r/x86_64/APKINDEX.tar.gz?…: dial tcp "+host+": connect: connection refused (3 attempts)")
	src.URL = "http://no-such-host.invalid/r"
	_, err = mustClient(t, fast(Options{Retries: 2})).Load(ctx, src)
	wantError(t, err, "http://no-such-host.invalid/r/x86_64/APKINDEX.tar.gz: …")
	if strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

// breaking serves content, but breaks off after so many bytes, as often as said.
type breaking struct {
	content   []byte
	at        int
	times     int32
	etag      func(request int32) string
	noRanges  bool
	lie       string // Content-Range to send instead of the right one
	noLength  bool
	n         atomic.Int32
	ranges    []string
	ifRanges  []string
	otherText []byte // what follows the first request, if it is another file
}

func (b *breaking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := b.n.Add(1)
	b.ranges = append(b.ranges, r.Header.Get("Range"))
	b.ifRanges = append(b.ifRanges, r.Header.Get("If-Range"))
	content := b.content
	if n > 1 && b.otherText != nil {
		content = b.otherText
	}
	tag := `"v1"`
	if b.etag != nil {
		tag = b.etag(n)
	}
	if tag != "" {
		w.Header().Set("ETag", tag)
	}
	from := 0
	_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	if ir := r.Header.Get("If-Range"); b.noRanges || ir != "" && ir != tag {
		from = 0
	}
	rest := content[from:]
	if !b.noLength {
		w.Header().Set("Content-Length", strconv.Itoa(len(rest)))
	}
	if from > 0 {
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		if b.lie != "" {
			w.Header().Set("Content-Range", b.lie)
		}
		w.WriteHeader(http.StatusPartialContent)
	}
	if n > b.times {
		_, _ = w.Write(rest)
		return
	}
	_, _ = w.Write(rest[:min(b.at, len(rest))])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// openFrom downloads the package p-1 of 100,000 bytes from a server.
func openFrom(t *testing.T, h http.Handler, o Options) ([]byte, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	r, _, err := mustClient(t, fast(o)).OpenFile(ctx, Source{URL: srv.URL, Arch: "x86_64"}, &apk.Package{Name: "p", Version: "1"})
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(r)
	return b, errors.Join(err, r.Close())
}

func randomBytes(n int) []byte {
	out := make([]byte, 0, n+32)
	for sum := sha256.Sum256(nil); len(out) < n; sum = sha256.Sum256(sum[:]) {
		out = append(out, sum[:]...)
	}
	return out[:n]
}

func TestResume(t *testing.T) {
	content := randomBytes(100_000)
	for _, c := range []struct {
		name   string
		server *breaking
		ranges string
	}{
		{"with Range", &breaking{at: 40_000, times: 1}, "|bytes=40000-"},
		{"three times", &breaking{at: 30_000, times: 3}, "|bytes=30000-|bytes=60000-|bytes=90000-"},
		{"before the first byte", &breaking{at: 0, times: 1}, "|"},
		{"server without ranges", &breaking{at: 40_000, times: 1, noRanges: true}, "|bytes=40000-"},
		{"server without ETag", &breaking{at: 40_000, times: 1, etag: func(int32) string { return "" }}, "|bytes=40000-"},
		{"weak ETag", &breaking{at: 40_000, times: 1, etag: func(int32) string { return `W/"1"` }}, "|bytes=40000-"},
		{"without a length", &breaking{at: 40_000, times: 1, noLength: true}, "|bytes=40000-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.content = content
			got, err := openFrom(t, c.server, Options{})
			if err != nil || !bytes.Equal(got, content) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if r := strings.Join(c.server.ranges, "|"); r != c.ranges {
				t.Errorf("ranges %s, want %s", r, c.ranges)
			}
			if c.name == "with Range" && c.server.ifRanges[1] != `"v1"` {
				t.Errorf("If-Range %q", c.server.ifRanges[1])
			}
		})
	}
}

func TestResumeRefuses(t *testing.T) {
	content := randomBytes(100_000)
	next := func(n int32) string { return fmt.Sprintf(`"v%d"`, n) }
	for _, c := range []struct {
		name   string
		server *breaking
		want   string
	}{
		{"another file by ETag", &breaking{at: 40_000, times: 1, etag: next}, "broke off after 40000 of 100000 bytes: unexpected EOF; to resume: changed on the server while it was read"},
		{"another file by length", &breaking{at: 40_000, times: 1, etag: func(int32) string { return "" }, otherText: content[:90_000]}, "broke off after 40000 of 100000 bytes: unexpected EOF; to resume: changed on the server while it was read"},
		{"another file by length, no ranges", &breaking{at: 40_000, times: 1, noRanges: true, otherText: content[:90_000]}, "…: changed on the server while it was read"},
		{"wrong Content-Range", &breaking{at: 40_000, times: 1, lie: "bytes 39999-99999/100000"}, `…; to resume: server answered Content-Range "bytes 39999-99999/100000" to a request for bytes from 40000 on`},
		{"no Content-Range", &breaking{at: 40_000, times: 1, lie: "x"}, `…; to resume: server answered Content-Range "x" to a request for bytes from 40000 on`},
		{"never a byte more", &breaking{at: 0, times: 99}, "broke off after 0 of 100000 bytes: unexpected EOF"},
		{"ends again while skipping", &breaking{at: 40_000, times: 99, noRanges: true}, "broke off after 40000 of 100000 bytes: unexpected EOF"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.server.content = content
			_, err := openFrom(t, c.server, Options{Retries: 2})
			wantError(t, err, "package p-1: http://127.0.0.1:…/x86_64/p-1.apk: "+c.want)
		})
	}
}

func TestResumeThenGone(t *testing.T) {
	content := randomBytes(1000)
	var n atomic.Int32
	_, err := openFrom(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write(content[:500])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}), Options{})
	var missing *MissingPackageError
	if !errors.As(err, &missing) {
		t.Fatal(err)
	}
	wantError(t, err, "package p-1: …: broke off after 500 of 1000 bytes: unexpected EOF; to resume: server answered 404 Not Found\nhint: …")
}

func TestStalls(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	wait := func(r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}
	raw := signedIndex(t)
	var n atomic.Int32
	for _, c := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"no header", func(_ http.ResponseWriter, r *http.Request) { wait(r) }, "net/http: timeout awaiting response headers (2 attempts)"},
		{"no body", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "10")
			w.(http.Flusher).Flush()
			wait(r)
		}, "broke off after 0 of 10 bytes: no data for 50ms"},
		{"stops in the middle, then goes on", func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) > 1 {
				static(raw)(w, r)
				return
			}
			w.Header().Set("ETag", fmt.Sprintf(`"%x"`, len(raw)))
			w.Header().Set("Content-Length", strconv.Itoa(len(raw)))
			_, _ = w.Write(raw[:100])
			w.(http.Flusher).Flush()
			wait(r)
		}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := serve(t, c.h)
			timeout := 50 * time.Millisecond
			if c.want == "" {
				timeout = time.Second // must be enough for a busy machine
			}
			_, err := mustClient(t, fast(Options{Timeout: timeout, Retries: 1})).Load(ctx, srv.source(t))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: "+c.want)
		})
	}
}

// A slow server that does send something is waited for.
func TestSlowIsNotStalled(t *testing.T) {
	raw := signedIndex(t)
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for chunk := raw; len(chunk) > 0; {
			n := min(len(chunk), len(raw)/8+1)
			_, _ = w.Write(chunk[:n])
			w.(http.Flusher).Flush()
			chunk = chunk[n:]
			time.Sleep(150 * time.Millisecond)
		}
	})
	if _, err := mustClient(t, fast(Options{Timeout: time.Second})).Load(ctx, srv.source(t)); err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	cause := errors.New("interrupted")
	begun := make(chan struct{}, 9)
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = w.Write([]byte("12345"))
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	})
	c := mustClient(t, fast(Options{}))
	cctx, cancel := context.WithCancelCause(ctx)
	go func() { <-begun; cancel(cause) }()
	_, err := c.Load(cctx, srv.source(t))
	wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: interrupted")
	if _, err := c.Load(cctx, srv.source(t)); !errors.Is(err, cause) {
		t.Error(err)
	}
	if srv.count() != 1 {
		t.Errorf("%d requests", srv.count())
	}
	// While it waits to try again.
	failing := serve(t, answers(nil, nil, 500, 500, 500))
	o := fast(Options{MaxRetryWait: time.Hour})
	o.RetryWait = time.Hour
	short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
	defer stop()
	_, err = mustClient(t, o).Load(short, failing.source(t))
	wantIs(t, err, context.DeadlineExceeded)
}

func TestOversized(t *testing.T) {
	raw := signedIndex(t)
	announced := serve(t, static(raw))
	c := mustClient(t, fast(Options{Limits: Limits{Index: 100}, CacheDir: t.TempDir()}))
	_, err := c.Load(ctx, announced.source(t))
	wantError(t, err, fmt.Sprintf("…: size limit exceeded: %d bytes: at most 100 expected", len(raw)))
	endless := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(raw); err != nil {
				return
			}
		}
	})
	_, err = c.Load(ctx, endless.source(t))
	wantError(t, err, "…: size limit exceeded: more than 100 bytes")
	wantIs(t, err, ErrLimit)
	if info, err := c.CacheInfo(); err != nil || info != (CacheInfo{}) {
		t.Errorf("kept: %+v, %v", info, err)
	}
}

// The size of the body is what the server stores: no content coding is asked
// for, and one that is sent anyway is not undone.
func TestNoContentCoding(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "x-gzip")
		static(signedIndex(t))(w, r)
	})
	if _, err := mustClient(t, fast(Options{})).Load(ctx, srv.source(t)); err != nil {
		t.Error(err)
	}
	if got := srv.request(0).Header.Get("Accept-Encoding"); got != "" {
		t.Errorf("Accept-Encoding %q", got)
	}
	if got := srv.request(0).Header.Get("User-Agent"); got != "cairn" {
		t.Errorf("User-Agent %q", got)
	}
}

func TestParseContentRange(t *testing.T) {
	for in, want := range map[string]string{
		"bytes 0-9/10":                   "0 9 10 true",
		"bytes 5-9/*":                    "5 9 -1 true",
		"bytes */10":                     "0 0 0 false",
		"items 0-9/10":                   "0 0 0 false",
		"bytes 0-9":                      "0 0 0 false",
		"bytes a-9/10":                   "0 9 10 false",
		"bytes -5-9/10":                  "0 0 10 false",
		"bytes 0-99999999999999999999/1": "0 9223372036854775807 1 false",
	} {
		a, b, c, ok := parseContentRange(in)
		if got := fmt.Sprint(a, b, c, ok); ok != strings.HasSuffix(want, "true") || ok && got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
