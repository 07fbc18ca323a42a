package repository

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func tlsServer(t *testing.T, h http.HandlerFunc) *recorder {
	t.Helper()
	r := &recorder{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.requests = append(r.requests, req.Clone(context.Background()))
		r.mu.Unlock()
		h(w, req)
	}))
	r.Config.ErrorLog = nil
	t.Cleanup(r.Close)
	return r
}

func trusting(servers ...*recorder) *tls.Config {
	pool := x509.NewCertPool()
	for _, s := range servers {
		pool.AddCert(s.Certificate())
	}
	return &tls.Config{RootCAs: pool}
}

// Credentials go to the host they are for, and to no other that a redirect names.
func TestRedirectsLeakNothing(t *testing.T) {
	raw := signedIndex(t)
	final := serve(t, static(raw))
	target := strings.Replace(final.URL, "127.0.0.1", "localhost", 1) // another host
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target+r.URL.Path+"?signature=x", http.StatusFound)
	})
	u, err := url.Parse(first.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		url   string
		auth  *Auth
		want1 string
		want2 string
	}{
		{"credential of the first host", first.URL, &Auth{[]Credential{{Host: u.Host, Token: "t"}}}, "Bearer t", ""},
		{"user information", "http://user:pw@" + u.Host, nil, "Basic dXNlcjpwdw==", ""},
		{"credential for any host", first.URL, &Auth{[]Credential{{Token: "any"}}}, "Bearer any", ""},
		{"credential of the second host", first.URL, &Auth{[]Credential{{Host: "localhost", Token: "two"}}}, "", "Bearer two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			n1, n2 := first.count(), final.count()
			src := first.source(t)
			src.URL = c.url
			if _, err := mustClient(t, fast(Options{Auth: c.auth})).Load(ctx, src); err != nil {
				t.Fatal(err)
			}
			for i, h := range []http.Header{first.request(n1).Header, final.request(n2).Header} {
				if got := h.Get("Authorization"); got != []string{c.want1, c.want2}[i] {
					t.Errorf("server %d got %q", i+1, got)
				}
				if h.Get("Referer") != "" || h.Get("Cookie") != "" {
					t.Errorf("server %d got %v", i+1, h)
				}
			}
		})
	}
}

// Go keeps the Authorization header when only the port changes or for
// subdomains; here it is sent to the same scheme, host and port only.
func TestRedirectToAnotherPortLeaksNothing(t *testing.T) {
	final := serve(t, static(signedIndex(t)))
	first := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(final.URL, "://", "://evil:evil@", 1)+r.URL.Path, http.StatusTemporaryRedirect)
	})
	src := first.source(t)
	src.URL = strings.Replace(src.URL, "://", "://user:pw@", 1)
	if _, err := mustClient(t, fast(Options{})).Load(ctx, src); err != nil {
		t.Fatal(err)
	}
	if got := final.request(0).Header.Get("Authorization"); got != "" {
		t.Errorf("the second server got %q", got)
	}
}

func TestRedirectsRefused(t *testing.T) {
	plain := serve(t, static(signedIndex(t)))
	down := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL+"/x?secret", http.StatusFound)
	})
	var loop *recorder
	loop = serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, loop.URL+r.URL.Path+"x", http.StatusFound)
	})
	odd := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
	})
	c := mustClient(t, fast(Options{TLS: trusting(down)}))
	for _, x := range []struct {
		srv  *recorder
		n    int
		want string
	}{
		{down, 1, "redirect refused: from https to " + plain.URL + "/x?…"},
		{loop, 10, "redirect refused: more than 10 in a row"},
		{odd, 1, `redirect refused: to scheme "file"`},
	} {
		_, err := c.Load(ctx, x.srv.source(t))
		wantError(t, err, x.srv.URL+"/repo/x86_64/APKINDEX.tar.gz: "+x.want)
		if x.srv.count() != x.n {
			t.Errorf("%s: %d requests, want %d", x.want, x.srv.count(), x.n)
		}
	}
	if plain.count() != 0 {
		t.Error("the redirect to plain http was followed")
	}
}

func TestTLS(t *testing.T) {
	srv := tlsServer(t, static(signedIndex(t)))
	if _, err := mustClient(t, fast(Options{TLS: trusting(srv)})).Load(ctx, srv.source(t)); err != nil {
		t.Error(err)
	}
	srv.Config.ErrorLog = discardLog()
	_, err := mustClient(t, fast(Options{})).Load(ctx, srv.source(t))
	wantError(t, err, srv.URL+"/repo/x86_64/APKINDEX.tar.gz: tls: failed to verify certificate: …")
	if srv.count() != 1 {
		t.Errorf("%d requests", srv.count())
	}
}

func TestProxy(t *testing.T) {
	proxy := serve(t, static(signedIndex(t)))
	u, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	src := proxy.source(t)
	src.URL = "http://repository.invalid/r"
	if _, err := mustClient(t, fast(Options{Proxy: http.ProxyURL(u)})).Load(ctx, src); err != nil {
		t.Fatal(err)
	}
	if got := proxy.request(0).URL.String(); got != "http://repository.invalid/r/x86_64/APKINDEX.tar.gz" {
		t.Errorf("asked the proxy for %s", got)
	}
}

func TestAuthHints(t *testing.T) {
	srv := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) })
	src := srv.source(t)
	src.URL = strings.Replace(src.URL, "://", "://user:secret@", 1)
	_, err := mustClient(t, fast(Options{})).Load(ctx, src)
	wantError(t, err, "…: server answered 401 Unauthorized\nhint: the credentials for 127.0.0.1:… were not accepted")
}
