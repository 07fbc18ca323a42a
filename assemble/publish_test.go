package assemble

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/cairn-dev/cairn/assemble/target"
)

// shelf is a registry that notes what is written to it.
type shelf struct {
	inner http.Handler
	mu    sync.Mutex
	puts  []string // paths, in their order
	fail  string   // requests whose path has this in it fail
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	fail := s.fail != "" && r.Method != http.MethodGet && strings.Contains(r.URL.Path, s.fail)
	if r.Method == http.MethodPut {
		s.puts = append(s.puts, r.URL.Path)
	}
	s.mu.Unlock()
	if fail {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	s.inner.ServeHTTP(w, r)
}

func newShelf(t *testing.T) (*shelf, string) {
	t.Helper()
	s := &shelf{inner: registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0)))}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return s, strings.TrimPrefix(srv.URL, "http://")
}

func at(t *testing.T, name string) *target.Target {
	t.Helper()
	ref, err := target.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	x, err := target.Open(t.Context(), ref, target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// An image is stored whole, its kit too, and only then do tags move, after
// whatever is attached to it. Another image sends what is its own.
func TestPublish(t *testing.T) {
	f := newFixture(t)
	f.packages([]string{"x86_64", "aarch64"}, base(), lib(), app())
	s, host := newShelf(t)
	var attachedBefore []string
	o := PublishOptions{References: []string{host + "/team/app:1", host + "/team/copy:1"}, Registry: target.Options{Attempts: 1, Wait: time.Millisecond},
		Attach: func(_ context.Context, image string) error {
			attachedBefore = append(attachedBefore, image)
			s.mu.Lock()
			defer s.mu.Unlock()
			if slices.ContainsFunc(s.puts, func(p string) bool { return strings.HasSuffix(p, "/manifests/1") }) {
				t.Error("a tag moved before the image was signed")
			}
			return nil
		}}
	r, list, err := Publish(t.Context(), f.ws, f.config(""), Options{Kit: true}, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) != 2 || len(attachedBefore) != 2 || list[0].Digest != r.Digest || list[0].Transfer.Uploaded.Blobs == 0 || list[1].Transfer.Uploaded.Blobs != 0 {
		t.Errorf("published %+v, attached to %q", list, attachedBefore)
	}
	x := at(t, host+"/team/app:1")
	d, err := x.Resolve(t.Context())
	if err != nil || d.Digest != r.Digest {
		t.Errorf("the tag names %s, %v", d.Digest, err)
	}
	if referrers, err := x.Referrers(t.Context(), d.Digest); err != nil || len(referrers) != 1 || referrers[0].Digest.String() != r.KitDigest {
		t.Errorf("referrers %v, %v", referrers, err)
	}
	o.Attach = nil
	again, err := r.Publish(t.Context(), o)
	if err != nil || again[0].Transfer.Uploaded.Bytes != 0 || again[0].Before != "" {
		t.Errorf("again: %+v, %v", again, err)
	}
	// Another entrypoint: configurations and top layers at most.
	other, list, err := Publish(t.Context(), f.ws, f.config("cmd: other\n"), Options{}, o)
	if err != nil || list[0].Before != r.Digest.String() || list[0].Transfer.Present.Blobs == 0 || other.Digest == r.Digest {
		t.Errorf("another: %+v, %v", list, err)
	}
}

// What fails leaves the tag where it was.
func TestPublishMovesNoTagWhenItFails(t *testing.T) {
	f := newFixture(t)
	f.packages([]string{"x86_64", "aarch64"}, base(), lib(), app())
	for _, fail := range []string{"/blobs/uploads/", "/manifests/sha256:"} {
		s, host := newShelf(t)
		s.fail = fail
		o := PublishOptions{References: []string{host + "/team/app:1"}, Registry: target.Options{Attempts: 1, Wait: time.Millisecond}}
		if _, _, err := Publish(t.Context(), f.ws, f.config(""), Options{}, o); !errors.Is(err, target.ErrUnreachable) {
			t.Errorf("%s: found %v", fail, err)
		}
		s.fail = ""
		if _, err := at(t, host+"/team/app:1").Resolve(t.Context()); !errors.Is(err, target.ErrNotFound) {
			t.Errorf("%s: the tag moved: %v", fail, err)
		}
	}
	stop := errors.New("not signed")
	_, host := newShelf(t)
	_, _, err := Publish(t.Context(), f.ws, f.config(""), Options{}, PublishOptions{References: []string{host + "/app:1"},
		Attach: func(context.Context, string) error { return stop }})
	if !errors.Is(err, stop) {
		t.Errorf("found %v", err)
	}
	if _, err := at(t, host+"/app:1").Resolve(t.Context()); !errors.Is(err, target.ErrNotFound) {
		t.Errorf("the tag moved: %v", err)
	}
}

// A copy has everything that refers to the image, and what refers to that: out of
// a registry, into a layout, and back.
func TestCopyKeepsWhatIsAttached(t *testing.T) {
	f := newFixture(t)
	f.packages([]string{"x86_64", "aarch64"}, base(), lib(), app())
	_, host := newShelf(t)
	from := host + "/team/app:1"
	r, _, err := Publish(t.Context(), f.ws, f.config(""), Options{Kit: true}, PublishOptions{References: []string{from}})
	if err != nil {
		t.Fatal(err)
	}
	x := at(t, from)
	root, err := x.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	push := func(a target.Artifact, tag string) target.Artifact {
		a.Tag = tag
		if _, err := x.Push(t.Context(), a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	refer := func(text string) target.Artifact {
		a, err := target.Refer(root, "application/vnd.test", nil, target.Layer{MediaType: "text/plain", Content: []byte(text)})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	signature := target.Artifact{MediaType: "application/vnd.oci.image.manifest.v1+json", Manifest: []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}`)}
	push(signature, "sha256-"+root.Digest.Hex+".sig")
	push(refer("a referrer"), "")
	dir := filepath.Join(t.TempDir(), "copy") + "/"
	_, elsewhere := newShelf(t)
	for _, step := range [][2]string{{from, dir}, {dir, elsewhere + "/other/app:2"}} {
		got, err := Copy(t.Context(), step[0], step[1], PublishOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got.Digest != r.Digest || got.Attached != 3 {
			t.Errorf("%v: %+v", step, got)
		}
		again, err := Copy(t.Context(), step[0], step[1], PublishOptions{})
		if err != nil || again.Transfer.Uploaded.Blobs != 0 {
			t.Errorf("%v again: %+v, %v", step, again, err)
		}
	}
	y := at(t, elsewhere+"/other/app:2")
	if d, err := y.Resolve(t.Context()); err != nil || d.Digest != r.Digest {
		t.Errorf("found %s, %v", d.Digest, err)
	}
	if list, err := y.Referrers(t.Context(), r.Digest); err != nil || len(list) != 2 {
		t.Errorf("referrers %v, %v", list, err)
	}
	if _, err := y.Tagged(t.Context(), "sha256-"+root.Digest.Hex+".sig"); err != nil {
		t.Error(err)
	}
	// Signatures that only the destination has are not lost.
	mine := target.Artifact{MediaType: signature.MediaType, Manifest: []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[{"mediaType":"text/plain","size":0,"digest":"sha256:` + sumOf("") + `"}]}`),
		Blobs: [][]byte{{}}, Tag: "sha256-" + root.Digest.Hex + ".sig"}
	if _, err := y.Push(t.Context(), mine); err != nil {
		t.Fatal(err)
	}
	if _, err := Copy(t.Context(), from, elsewhere+"/other/app:2", PublishOptions{}); !errors.Is(err, target.ErrChanged) {
		t.Errorf("found %v", err)
	}
}

func TestPublishRefusesReferences(t *testing.T) {
	for _, c := range []struct {
		refs []string
		want string
	}{
		{nil, "publish: no reference"},
		{[]string{"app@sha256:" + sumOf("")}, "it has a digest, expected a tag"},
		{[]string{"app:1", "docker.io/library/app:1"}, "it stands twice"},
		{[]string{"UPPER:1"}, "not a reference"},
	} {
		o := PublishOptions{References: c.refs}
		if err := o.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: found %v", c.refs, err)
		}
	}
}
