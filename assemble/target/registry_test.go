package target

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const other = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func resolveError(t *testing.T, ref string) error {
	t.Helper()
	r, err := Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	o, err := Open(t.Context(), r, Options{Attempts: 1})
	if err != nil {
		return err
	}
	_, err = o.Resolve(t.Context())
	return err
}

func TestHostileManifests(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	byDigest := s.host + "/team/app@" + x.hash.String()
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		is     error
		want   string // {} is the reference, HOST the host
	}{
		{"another manifest", status(200, `{"schemaVersion":2}`), ErrMismatch,
			"{}: found " + hashOf([]byte(`{"schemaVersion":2}`)).String() + ": bytes are not those of the digest"},
		{"endless", endless, ErrLimit, "{}: more than 8388608 bytes: over the limit"},
		{"gone", status(404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"Unknown manifest"}]}`), ErrNotFound,
			"{}: not found: GET http://HOST/v2/team/app/manifests/" + x.hash.String() + ": MANIFEST_UNKNOWN: Unknown manifest"},
		{"unauthorized", status(401, ""), ErrUnreachable,
			"{}: unreachable: GET http://HOST/v2/team/app/manifests/" + x.hash.String() + ": unexpected status code 401 Unauthorized\nhint: docker login, or a config.json in DOCKER_CONFIG, gives credentials"},
		{"too many requests", status(429, ""), ErrUnreachable,
			"{}: unreachable: GET http://HOST/v2/team/app/manifests/" + x.hash.String() + ": unexpected status code 429 Too Many Requests"},
		{"broken", status(500, "<html>"), ErrUnreachable,
			"{}: unreachable: GET http://HOST/v2/team/app/manifests/" + x.hash.String() + ": unexpected status code 500 Internal Server Error: <html>"},
		{"endless failure", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500); endless(w, r) }, ErrUnreachable, ""},
		{"redirect elsewhere", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		}, ErrUnreachable, `{}: unreachable: Get "http://169.254.169.254/latest": redirect to the private address 169.254.169.254`},
		{"redirect in circles", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
		}, ErrUnreachable, `{}: unreachable: Get "/v2/team/app/manifests/` + x.hash.String() + `": more than 5 redirects`},
		{"hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrUnreachable,
			`{}: unreachable: Get "http://HOST/v2/team/app/manifests/` + x.hash.String() + `": EOF`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.on("GET /v2/team/app/manifests/", c.answer)
			err := resolveError(t, byDigest)
			if !errors.Is(err, c.is) {
				t.Fatalf("%v: want %v", err, c.is)
			}
			want := strings.NewReplacer("{}", byDigest, "HOST", s.host).Replace(c.want)
			if want != "" && err.Error() != want {
				t.Errorf("found %s\nwant  %s", err, want)
			}
		})
	}
}

func TestHostileBlobs(t *testing.T) {
	s := newServer(t, true)
	o := mustOpen(t, s.image(t).ref)
	good := []byte("0123456789")
	d := describe("text/plain", good, nil)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"other bytes", status(200, "0123456780"), "found " + hashOf([]byte("0123456780")).String() + ": bytes are not those of the digest"},
		{"short", status(200, "012"), "3 bytes, expected 10: bytes are not those of the digest"},
		{"short, of unknown length", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "012")
			w.(http.Flusher).Flush()
		}, "7 bytes missing: bytes are not those of the digest"},
		{"endless", endless, "longer than its descriptor says: bytes are not those of the digest"},
	} {
		s.on("GET /v2/team/app/blobs/", c.answer)
		_, err := o.Blob(t.Context(), d, 100)
		want := s.host + "/team/app: blob " + d.Digest.String() + ": " + c.want
		if err == nil || err.Error() != want || !errors.Is(err, ErrMismatch) {
			t.Errorf("%s: found %v\nwant %s", c.name, err, want)
		}
	}
	s.on("GET /v2/team/app/blobs/", status(200, string(good)))
	rc, err := o.OpenBlob(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if b, err := io.ReadAll(rc); err != nil || string(b) != string(good) {
		t.Errorf("%q, %v", b, err)
	}
	_, err = o.Blob(t.Context(), d, 9)
	if want := s.host + "/team/app: blob " + d.Digest.String() + ": 10 bytes, expected at most 9: over the limit"; err == nil || err.Error() != want {
		t.Errorf("found %v\nwant %s", err, want)
	}
}

func TestBadDigestsAreNotAskedFor(t *testing.T) {
	s := newServer(t, true)
	o := mustOpen(t, s.image(t).ref)
	before := s.count("")
	for _, h := range []v1.Hash{{}, {Algorithm: "sha512", Hex: strings.Repeat("a", 128)}, {Algorithm: "sha256", Hex: "../../secret"}, {Algorithm: "sha256", Hex: strings.Repeat("A", 64)}} {
		_, _, err1 := o.Manifest(t.Context(), h)
		_, err2 := o.Blob(t.Context(), v1.Descriptor{Digest: h}, 10)
		_, err3 := o.Referrers(t.Context(), h)
		for _, err := range []error{err1, err2, err3} {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%s: %v", h, err)
			}
		}
	}
	if _, err := o.Blob(t.Context(), v1.Descriptor{Digest: hashOf(nil), Size: -1}, 10); !errors.Is(err, ErrMalformed) {
		t.Errorf("negative size: %v", err)
	}
	if after := s.count(""); after != before {
		t.Errorf("%d requests were made", after-before)
	}
}

// many is a listing of n referrers.
func many(n int) string {
	m := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for i := range n {
		m.Manifests = append(m.Manifests, v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: 1, Digest: hashOf(fmt.Append(nil, i))})
	}
	b, _ := json.Marshal(m)
	return string(b)
}

func listing(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		fmt.Fprint(w, body)
	}
}

func TestHostileReferrers(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	o := mustOpen(t, x.ref)
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		is     error
		want   string
	}{
		{"as many as are allowed", listing(many(1024)), nil, ""},
		{"one more", listing(many(1025)), ErrLimit, "more than 1024: over the limit"},
		{"endless", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			endless(w, r)
		}, ErrLimit, "more than 8388608 bytes: over the limit"},
		{"not JSON", listing("{"), ErrMalformed, "malformed: unexpected EOF"},
		{"a digest that is none", listing(`{"manifests":[{"digest":"sha256:abc","size":1}]}`), ErrMalformed, ""},
		{"another algorithm", listing(`{"manifests":[{"digest":"sha512:` + strings.Repeat("a", 128) + `","size":1}]}`), ErrMalformed,
			`malformed: unsupported hash: "sha512"`},
		{"a negative size", listing(`{"manifests":[{"digest":"` + other + `","size":-1}]}`), ErrMalformed, "manifests[0]: a size of -1 bytes: malformed"},
		{"pages without end", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", `<`+r.URL.Path+`?n=1>; rel="next"`)
			listing(many(1))(w, r)
		}, ErrLimit, "more than 64 pages: over the limit"},
	} {
		s.on("GET /v2/team/app/referrers/", c.answer)
		_, err := o.Referrers(t.Context(), x.hash)
		if !errors.Is(err, c.is) {
			t.Errorf("%s: %v: want %v", c.name, err, c.is)
		}
		if want := s.host + "/team/app: referrers of " + x.hash.String() + ": " + c.want; c.want != "" && err.Error() != want {
			t.Errorf("%s: found %s\nwant %s", c.name, err, want)
		}
	}
}

// All pages are read, and links to other hosts are not followed.
func TestReferrersPages(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	o := mustOpen(t, x.ref)
	s.on("GET /v2/team/app/referrers/", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("page") {
		case "":
			w.Header().Add("Link", `<http://elsewhere.invalid/x>; rel=next`)
			w.Header().Add("Link", `<`+r.URL.Path+`?page=2>; rel="next"`)
			listing(many(2))(w, r)
		case "2":
			listing(many(5))(w, r)
		}
	})
	list, err := o.Referrers(t.Context(), x.hash)
	if err != nil || len(list) != 5 {
		t.Errorf("%d referrers, %v", len(list), err)
	}
}

// What a registry without the API may answer; the referrers tag is then asked.
func TestNoReferrersAPI(t *testing.T) {
	s := newServer(t, false)
	x := s.image(t)
	o := mustOpen(t, x.ref)
	refer(t, o, mustResolve(t, o), "a")
	for name, answer := range map[string]http.HandlerFunc{
		"404": status(404, ""), "400": status(400, ""), "405": status(405, ""), "406": status(406, ""),
		"a web page": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<html>")
		},
	} {
		s.on("GET /v2/team/app/referrers/", answer)
		if list, err := o.Referrers(t.Context(), x.hash); err != nil || len(list) != 1 {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	// But an API that fails is not one that is missing: an empty answer would
	// hide what is there.
	for _, code := range []int{401, 403, 429, 500, 503} {
		s.on("GET /v2/team/app/referrers/", status(code, ""))
		if list, err := o.Referrers(t.Context(), x.hash); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%d: %v, %v", code, list, err)
		}
	}
	s.on("manifests/sha256-", listing(many(1025)))
	if _, err := o.Referrers(t.Context(), x.hash); !errors.Is(err, ErrLimit) {
		t.Errorf("too many under the tag: %v", err)
	}
	s.on("manifests/sha256-", status(200, `{"mediaType":"`+string(types.OCIManifestSchema1)+`"}`))
	if _, err := o.Referrers(t.Context(), x.hash); !errors.Is(err, ErrMalformed) {
		t.Errorf("an image under the tag: %v", err)
	}
}

func TestRetries(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	failures := 0
	s.on("GET /v2/team/app/manifests/1", func(w http.ResponseWriter, r *http.Request) {
		if failures++; failures < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(503)
			return
		}
		s.inner.ServeHTTP(w, r)
	})
	r, _ := Parse(x.ref)
	o, err := Open(t.Context(), r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d, err := o.Resolve(t.Context()); err != nil || d.Digest != x.hash {
		t.Errorf("%v, %v", d, err)
	}
}

// A deadline ends the waiting between two attempts.
func TestDeadlineEndsRetries(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	r, _ := Parse(x.ref)
	o, err := Open(t.Context(), r, Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.on("manifests", status(503, ""))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = o.Resolve(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 400*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}

func TestUnreachable(t *testing.T) {
	h := httptest.NewServer(http.NotFoundHandler())
	host := strings.TrimPrefix(h.URL, "http://")
	h.Close()
	err := resolveError(t, host+"/app:1")
	if !errors.Is(err, ErrUnreachable) || !strings.HasPrefix(err.Error(), "registry "+host+": unreachable: ") {
		t.Errorf("%v", err)
	}
}

func TestPushFailures(t *testing.T) {
	s := newServer(t, false)
	x := s.image(t)
	o := mustOpen(t, x.ref)
	a, err := Refer(mustResolve(t, o), "t", nil, Layer{Content: []byte("abc")})
	if err != nil {
		t.Fatal(err)
	}
	digest := hashOf(a.Manifest)
	for _, c := range []struct{ name, on, want string }{
		{"blob", "POST /v2/team/app/blobs/uploads", "push: blob " + hashOf([]byte("{}")).String() + ": unreachable: POST http://HOST/v2/team/app/blobs/uploads/: DENIED: no"},
		{"manifest", "PUT /v2/team/app/manifests/sha256:", "push: manifest " + digest.String() + ": unreachable: PUT http://HOST/v2/team/app/manifests/" + digest.String() + ": DENIED: no"},
		{"listing", "PUT /v2/team/app/manifests/sha256-", "push: manifest " + digest.String() + ": stored, but not listed among the referrers of " + x.hash.String() +
			": unreachable: PUT http://HOST/v2/team/app/manifests/sha256-" + x.hash.Hex + ": DENIED: no"},
	} {
		s.on(c.on, status(http.StatusPaymentRequired, `{"errors":[{"code":"DENIED","message":"no"}]}`))
		_, err := o.Push(t.Context(), a)
		want := s.host + "/team/app: " + strings.ReplaceAll(c.want, "HOST", s.host)
		// Which of the two blobs fails first is not said.
		found := strings.ReplaceAll(fmt.Sprint(err), hashOf([]byte("abc")).String(), hashOf([]byte("{}")).String())
		if found != want || !errors.Is(err, ErrUnreachable) {
			t.Errorf("%s: found %v\nwant %s", c.name, err, want)
		}
	}
	s.on("PUT /v2/team/app/manifests/sha256-", status(201, "")) // says yes and forgets
	if _, err := o.Push(t.Context(), a); err == nil || !strings.HasSuffix(err.Error(), "the registry lost the listing 4 times: unreachable") {
		t.Errorf("forgetful: %v", err)
	}
}

func TestArtifactsThatAreNone(t *testing.T) {
	s := newServer(t, true)
	o := mustOpen(t, s.image(t).ref)
	good := `{"schemaVersion":2,"config":{"digest":"` + other + `","size":1},"layers":[]}`
	for _, c := range []struct {
		name string
		a    Artifact
		want string
	}{
		{"no JSON", Artifact{Manifest: []byte("x"), MediaType: types.OCIManifestSchema1}, "manifest: malformed: invalid character 'x' looking for beginning of value"},
		{"no manifest", Artifact{Manifest: []byte(good), MediaType: "text/plain"}, `media type "text/plain": expected that of a manifest: malformed`},
		{"bad tag", Artifact{Manifest: []byte(good), MediaType: types.OCIManifestSchema1, Tag: "../x"}, `tag "../x": malformed`},
		{"stray blob", Artifact{Manifest: []byte(good), MediaType: types.OCIManifestSchema1, Blobs: [][]byte{[]byte("abc")}},
			"blob " + hashOf([]byte("abc")).String() + " of 3 bytes: the manifest does not name it: malformed"},
		{"bad subject", Artifact{Manifest: []byte(`{"subject":{"digest":"sha512:` + strings.Repeat("a", 128) + `"}}`), MediaType: types.OCIManifestSchema1},
			`manifest: malformed: unsupported hash: "sha512"`},
		{"subject without a digest", Artifact{Manifest: []byte(`{"subject":{}}`), MediaType: types.OCIManifestSchema1},
			`subject: digest ":": expected sha256 and 64 hexadecimal digits: malformed`},
	} {
		before := s.count("P")
		_, err := o.Push(t.Context(), c.a)
		if want := s.host + "/team/app: push: " + c.want; err == nil || err.Error() != want {
			t.Errorf("%s: found %v\nwant %s", c.name, err, want)
		}
		if s.count("P") != before {
			t.Errorf("%s: something was written", c.name)
		}
	}
}

// Plain HTTP is spoken to strangers only when that is asked for.
func TestInsecureOption(t *testing.T) {
	r, err := Parse("registry.invalid/app:1")
	if err != nil {
		t.Fatal(err)
	}
	var schemes []string
	tr := roundTripper(func(req *http.Request) (*http.Response, error) {
		schemes = append(schemes, req.URL.Scheme)
		return nil, errors.New("no network")
	})
	for _, insecure := range []bool{false, true} {
		schemes = nil
		_, err = Open(t.Context(), r, Options{Insecure: insecure, Transport: tr, Attempts: 1})
		if !errors.Is(err, ErrUnreachable) || strings.Contains(strings.Join(schemes, " "), "http ") && !insecure {
			t.Errorf("insecure %v: %v, %v", insecure, schemes, err)
		}
	}
	if len(schemes) != 2 {
		t.Errorf("insecure: %v", schemes)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
