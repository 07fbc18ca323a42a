package target

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func openNew(t testing.TB, ref string, o Options) *Target {
	t.Helper()
	r, err := Parse(ref)
	if err != nil {
		t.Fatal(err)
	}
	if o.Attempts == 0 {
		o.Attempts = 1
	}
	o.Wait, o.Create = time.Millisecond, true
	x, err := Open(t.Context(), r, o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func takenApart(t testing.TB) (v1.ImageIndex, []Blob, []Manifest) {
	t.Helper()
	index := newIndex(t)
	blobs, manifests, err := Content(index)
	if err != nil {
		t.Fatal(err)
	}
	return index, blobs, manifests
}

// What is stored is the image; stored again nothing is sent, and the tag moves
// when it is told to and not before.
func TestStore(t *testing.T) {
	for kind, ref := range map[string]string{
		"referrers API": newServer(t, true).host + "/new/app:1", "referrers tag": newServer(t, false).host + "/new/app:1",
		"layout": filepath.Join(t.TempDir(), "made") + "/",
	} {
		t.Run(kind, func(t *testing.T) {
			index, blobs, manifests := takenApart(t)
			x := openNew(t, ref, Options{})
			got, err := x.Store(t.Context(), blobs, manifests)
			if err != nil {
				t.Fatal(err)
			}
			if got.Uploaded.Blobs != 4 || got.Uploaded.Bytes < 4*64 || got.Present.Blobs+got.Mounted.Blobs != 0 || got.Manifests != 3 {
				t.Errorf("first: %+v", got)
			}
			want, err := index.Digest()
			if err != nil {
				t.Fatal(err)
			}
			if kind != "layout" {
				if _, err := x.Tagged(t.Context(), "1"); !errors.Is(err, ErrNotFound) {
					t.Errorf("the tag moved: %v", err)
				}
			}
			root := manifests[len(manifests)-1]
			if before, err := x.Tag(t.Context(), "1", root); err != nil || before != (v1.Hash{}) {
				t.Errorf("tag: before %v, %v", before, err)
			}
			if before, err := x.Tag(t.Context(), "1", root); err != nil || before != want {
				t.Errorf("tag again: before %v, %v", before, err)
			}
			if d, err := x.Tagged(t.Context(), "1"); err != nil || d.Digest != want {
				t.Errorf("the tag names %v, %v", d.Digest, err)
			}
			again, err := x.Store(t.Context(), blobs, manifests)
			if err != nil || again.Uploaded.Blobs != 0 || again.Present != got.Uploaded {
				t.Errorf("again: %+v, %v", again, err)
			}
			back := readBack(t, ref, want)
			if got, err := back.Digest(); err != nil || got != want {
				t.Errorf("read back: %s, %v", got, err)
			}
			m, err := back.IndexManifest()
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range m.Manifests {
				img, err := back.Image(d.Digest)
				if err == nil {
					err = validate.Image(img)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// readBack reads with go-containerregistry what was stored.
func readBack(t *testing.T, ref string, digest v1.Hash) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex
	if dir, ok := strings.CutSuffix(ref, "/"); ok {
		all, err := layout.ImageIndexFromPath(dir)
		if err == nil {
			index, err = all.ImageIndex(digest)
		}
		if err != nil {
			t.Fatal(err)
		}
		return index
	}
	r, err := name.ParseReference(ref)
	if err == nil {
		index, err = remote.Index(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return index
}

// Blobs that another repository of the registry has are mounted, those of other
// registries are not asked for, and one that nobody has is an error.
func TestStoreMounts(t *testing.T) {
	s := newServer(t, true)
	_, blobs, manifests := takenApart(t)
	there := map[string]bool{}
	s.hook = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/"):
			if there[filepath.Base(r.URL.Path)] {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		case r.Method == http.MethodPost && r.URL.Query().Get("mount") != "":
			if r.URL.Query().Get("from") == "team/base" {
				w.WriteHeader(http.StatusCreated)
				return true
			}
			w.Header().Set("Location", "/v2/new/app/blobs/uploads/unused")
			w.WriteHeader(http.StatusAccepted)
			return true
		}
		return false
	}
	for i := range blobs[:2] {
		blobs[i].Open, blobs[i].From = nil, []string{"other.example/team/base", s.host + "/team/none", s.host + "/team/base"}
	}
	got, err := openNew(t, s.host+"/new/app:1", Options{}).Store(t.Context(), blobs, nil)
	if err != nil || got.Mounted.Blobs != 2 || got.Uploaded.Blobs != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if n := s.count("DELETE /v2/new/app/blobs/uploads/unused"); n != 2 {
		t.Errorf("%d uploads that were not needed were ended", n)
	}
	blobs[0].From = []string{s.host + "/team/none"}
	if _, err := openNew(t, s.host+"/new/app:1", Options{}).Store(t.Context(), blobs, manifests); !errors.Is(err, ErrMissing) {
		t.Errorf("found %v", err)
	}
}

// registryOfUploads is as much of a registry as stores blobs, and tells how far
// an upload came.
type registryOfUploads struct {
	mu       sync.Mutex
	parts    map[string][]byte
	blobs    map[string][]byte
	received int64
	// cut ends the connection of the n-th PATCH after as many bytes, when that is
	// more than nothing.
	cut []int
	n   int
}

func (u *registryOfUploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := filepath.Base(r.URL.Path)
	at := func(code int) {
		u.mu.Lock()
		defer u.mu.Unlock()
		w.Header().Set("Location", "/v2/app/blobs/uploads/"+id+"?state="+strconv.Itoa(len(u.parts[id])))
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, len(u.parts[id])-1)))
		w.WriteHeader(code)
	}
	switch {
	case r.URL.Path == "/v2/":
	case r.Method == http.MethodHead:
		if b, ok := u.blobs[id]; ok {
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			return
		}
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPost:
		u.mu.Lock()
		id = strconv.Itoa(len(u.parts))
		u.parts[id] = nil
		u.mu.Unlock()
		at(http.StatusAccepted)
	case r.Method == http.MethodGet:
		at(http.StatusNoContent)
	case r.Method == http.MethodPatch:
		u.patch(w, r, id)
		at(http.StatusAccepted)
	case r.Method == http.MethodPut:
		digest := r.URL.Query().Get("digest")
		if got := hashOf(u.parts[id]).String(); got != digest {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		u.blobs[digest] = u.parts[id]
		w.WriteHeader(http.StatusCreated)
	}
}

func (u *registryOfUploads) patch(w http.ResponseWriter, r *http.Request, id string) {
	limit := -1
	if u.n < len(u.cut) {
		limit = u.cut[u.n]
	}
	u.n++
	body := io.Reader(r.Body)
	if limit >= 0 {
		body = io.LimitReader(r.Body, int64(limit))
	}
	b, err := io.ReadAll(body)
	u.mu.Lock()
	u.parts[id] = append(u.parts[id], b...)
	u.received += int64(len(b))
	u.mu.Unlock()
	if limit >= 0 || err != nil {
		panic(http.ErrAbortHandler)
	}
}

// An upload that breaks off goes on where it stopped, from a source that is
// opened again.
func TestStoreResumes(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	reg := &registryOfUploads{parts: map[string][]byte{}, blobs: map[string][]byte{}, cut: []int{1 << 20, 1<<20 + 7}}
	srv := httptest.NewServer(reg)
	defer srv.Close()
	opened := 0
	b := Blob{Descriptor: describe("a/b", content, nil), Open: func(context.Context) (io.ReadCloser, error) { opened++; return nopCloser(content), nil }}
	got, err := openNew(t, strings.TrimPrefix(srv.URL, "http://")+"/app:1", Options{Attempts: 4}).Store(t.Context(), []Blob{b}, nil)
	if err != nil || got.Uploaded.Blobs != 1 {
		t.Fatalf("%+v, %v", got, err)
	}
	if !bytes.Equal(reg.blobs[hashOf(content).String()], content) {
		t.Error("the blob is another one")
	}
	if reg.received != int64(len(content)) || opened != 3 {
		t.Errorf("received %d bytes of %d, opened %d times", reg.received, len(content), opened)
	}
}

// A source that is not what it should be is never stored, and not tried again.
func TestStoreChecksTheSource(t *testing.T) {
	content := []byte(strings.Repeat("content", 1000))
	d := describe("a/b", content, nil)
	for name, open := range map[string]func() (io.ReadCloser, error){
		"another content": func() (io.ReadCloser, error) { return nopCloser(bytes.ToUpper(content)), nil },
		"too short":       func() (io.ReadCloser, error) { return nopCloser(content[:100]), nil },
		"too long":        func() (io.ReadCloser, error) { return nopCloser(append(slices.Clone(content), 'x')), nil },
		"gone":            func() (io.ReadCloser, error) { return nil, os.ErrNotExist },
	} {
		for _, dir := range []bool{false, true} {
			s := newServer(t, true)
			ref := s.host + "/app:1"
			if dir && name == "too long" {
				continue // no more than the blob is read, and that is right
			}
			if dir {
				ref = filepath.Join(t.TempDir(), "out") + "/"
			}
			opened := 0
			b := Blob{Descriptor: d, Open: func(context.Context) (io.ReadCloser, error) { opened++; return open() }}
			_, err := openNew(t, ref, Options{Attempts: 3}).Store(t.Context(), []Blob{b}, nil)
			if err == nil || name == "gone" != errors.Is(err, os.ErrNotExist) || name != "gone" && !errors.Is(err, ErrMismatch) && !strings.Contains(err.Error(), "bytes") {
				t.Errorf("%s, layout %v: found %v", name, dir, err)
			}
			if opened != 1 {
				t.Errorf("%s, layout %v: opened %d times", name, dir, opened)
			}
			if s.count("PUT /v2/app/blobs") > 0 || dir && isThere(filepath.Join(ref, blobFile(d.Digest))) {
				t.Errorf("%s, layout %v: it was stored", name, dir)
			}
		}
	}
}

func isThere(path string) bool { _, err := os.Stat(path); return err == nil }

// What a registry says is not believed: another digest, another size, a place
// elsewhere.
func TestStoreDoesNotBelieve(t *testing.T) {
	content := []byte("content")
	b := Blob{Descriptor: describe("a/b", content, nil), Open: func(context.Context) (io.ReadCloser, error) { return nopCloser(content), nil }}
	for what, answer := range map[string]http.HandlerFunc{
		"HEAD /v2/app/blobs": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "99") },
		"POST /v2/app/blobs": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusAccepted) },
		"PUT /v2/app/blobs": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Docker-Content-Digest", "sha256:"+hexA)
			w.WriteHeader(http.StatusCreated)
		},
	} {
		s := newServer(t, true)
		s.on(what, answer)
		if _, err := openNew(t, s.host+"/app:1", Options{}).Store(t.Context(), []Blob{b}, nil); !errors.Is(err, ErrMismatch) && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: found %v", what, err)
		}
	}
}

func TestStoreIsCancelled(t *testing.T) {
	s := newServer(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	s.on("PATCH", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the end of the connection is not noticed
		cancel()
		<-r.Context().Done()
	})
	content := []byte("content")
	b := Blob{Descriptor: describe("a/b", content, nil), Open: func(context.Context) (io.ReadCloser, error) { return nopCloser(content), nil }}
	if _, err := openNew(t, s.host+"/app:1", Options{Attempts: 5}).Store(ctx, []Blob{b}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("found %v", err)
	}
}

func TestTagRefuses(t *testing.T) {
	x := openNew(t, newServer(t, true).host+"/app:1", Options{})
	if _, err := x.Tag(t.Context(), "no/tag", Manifest{}); !errors.Is(err, ErrMalformed) {
		t.Errorf("found %v", err)
	}
}
