package target

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func TestResolve(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		for _, ref := range []string{x.ref, x.ref + "@" + x.hash.String()} {
			d := mustResolve(t, mustOpen(t, ref))
			size, _ := x.index.Size()
			want := v1.Descriptor{MediaType: types.OCIImageIndex, Digest: x.hash, Size: size}
			if diff := cmp.Diff(want, d); diff != "" {
				t.Errorf("%s: %s", ref, diff)
			}
		}
	})
}

// A tag is looked up once: what moves it afterwards changes nothing.
func TestResolveOnce(t *testing.T) {
	s := newServer(t, true)
	x := s.image(t)
	o := mustOpen(t, x.ref)
	first := mustResolve(t, o)
	moved := s.image(t)
	if again := mustResolve(t, o); again.Digest != first.Digest || again.Digest == moved.hash {
		t.Errorf("the tag was looked up again: %s, %s", first.Digest, again.Digest)
	}
	if n := s.count("GET /v2/team/app/manifests/1"); n != 1 {
		t.Errorf("the tag was asked for %d times", n)
	}
}

func TestChildrenAndBlobs(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		o := mustOpen(t, x.ref)
		children, err := o.Children(t.Context(), mustResolve(t, o))
		if err != nil {
			t.Fatal(err)
		}
		var archs []string
		for _, c := range children {
			archs = append(archs, c.Platform.Architecture)
			raw, mt, err := o.Manifest(t.Context(), c.Digest)
			if err != nil || mt != types.DockerManifestSchema2 || int64(len(raw)) != c.Size {
				t.Errorf("child %s: %d bytes, %s, %v", c.Digest, len(raw), mt, err)
			}
			img, _ := x.index.Image(c.Digest)
			m, err := img.Manifest()
			if err != nil {
				t.Fatal(err)
			}
			config, err := o.Blob(t.Context(), m.Config, 1<<20)
			if err != nil || hashOf(config) != m.Config.Digest {
				t.Errorf("configuration: %v", err)
			}
			grand, err := o.Children(t.Context(), c)
			if len(grand) != 0 || err != nil {
				t.Errorf("children of an image: %v, %v", grand, err)
			}
		}
		if !slices.Equal(archs, []string{"amd64", "arm64"}) {
			t.Errorf("children %v", archs)
		}
	})
}

func TestPushAndReferrers(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		o := mustOpen(t, x.ref)
		subject := mustResolve(t, o)
		if list, err := o.Referrers(t.Context(), subject.Digest); err != nil || len(list) != 0 {
			t.Fatalf("before: %v, %v", list, err)
		}
		want := map[v1.Hash]string{}
		for i := range 3 {
			content := fmt.Sprint("referrer ", i)
			want[refer(t, o, subject, content).Digest] = content
			refer(t, o, subject, content) // again: nothing is listed twice
		}
		list, err := mustOpen(t, x.ref).Referrers(t.Context(), subject.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			content := want[d.Digest]
			delete(want, d.Digest)
			raw, _, err := o.Manifest(t.Context(), d.Digest)
			if err != nil {
				t.Fatal(err)
			}
			h, err := parseHeader(raw)
			if err != nil || h.ArtifactType != "application/vnd.test" || h.Subject.Digest != subject.Digest || h.Annotations["content"] != content {
				t.Errorf("%s: %+v, %v", raw, h, err)
			}
			if b, err := o.Blob(t.Context(), h.Layers[0], 100); err != nil || string(b) != content {
				t.Errorf("content %q, %v", b, err)
			}
		}
		if len(list) != 3 || len(want) != 0 {
			t.Errorf("listed %d, missing %v", len(list), want)
		}
		if d := mustResolve(t, mustOpen(t, x.ref)); d.Digest != x.hash {
			t.Errorf("the image is now %s", d.Digest)
		}
	})
}

// Where the registry has no API, the listing carries what the API's would:
// artifact type and annotations.
func TestReferrersTagIsComplete(t *testing.T) {
	s := newServer(t, false)
	x := s.image(t)
	o := mustOpen(t, x.ref)
	d := refer(t, o, mustResolve(t, o), "a")
	list, err := o.Referrers(t.Context(), x.hash)
	if err != nil {
		t.Fatal(err)
	}
	want := []v1.Descriptor{{MediaType: types.OCIManifestSchema1, Digest: d.Digest, Size: d.Size,
		ArtifactType: "application/vnd.test", Annotations: map[string]string{"content": "a"}}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Error(diff)
	}
	// And others find it there.
	ref, err := name.NewDigest(s.host + "/team/app@" + x.hash.String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := remote.Referrers(ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := theirs.IndexManifest()
	if err != nil || len(m.Manifests) != 1 || m.Manifests[0].Digest != d.Digest {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestTagged(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		o := mustOpen(t, x.ref)
		tag := "sha256-" + x.hash.Hex + ".sig"
		if _, err := o.Tagged(t.Context(), tag); !errors.Is(err, ErrNotFound) {
			t.Fatalf("before: %v", err)
		}
		var last v1.Descriptor
		for _, content := range []string{"one", "two"} {
			m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"x","digest":%q,"size":%d},"layers":[]}`,
				types.OCIManifestSchema1, hashOf([]byte(content)), len(content))
			d, err := o.Push(t.Context(), Artifact{Manifest: []byte(m), MediaType: types.OCIManifestSchema1, Blobs: [][]byte{[]byte(content)}, Tag: tag})
			if err != nil {
				t.Fatal(err)
			}
			last = d
		}
		got, err := mustOpen(t, x.ref).Tagged(t.Context(), tag)
		if err != nil || got.Digest != last.Digest || got.MediaType != types.OCIManifestSchema1 {
			t.Errorf("%+v, %v; want %s", got, err, last.Digest)
		}
		if list, err := o.Referrers(t.Context(), x.hash); err != nil || len(list) != 0 {
			t.Errorf("a tag is no referrer: %v, %v", list, err)
		}
		if d := mustResolve(t, mustOpen(t, x.ref)); d.Digest != x.hash {
			t.Errorf("the image is now %s", d.Digest)
		}
	})
}

// Writers at the same time lose none of their referrers, not even where the
// listing is read, changed and written.
func TestPushTogether(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		o := mustOpen(t, x.ref)
		subject := mustResolve(t, o)
		const writers = 8
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				a, err := Refer(subject, "t", nil, Layer{MediaType: "text/plain", Content: []byte{byte(i)}})
				if err != nil {
					t.Error(err)
				}
				if _, err := o.Push(t.Context(), a); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		list, err := mustOpen(t, x.ref).Referrers(t.Context(), x.hash)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != writers {
			t.Errorf("%d of %d referrers are listed", len(list), writers)
		}
	})
}

func TestLayoutStaysValid(t *testing.T) {
	x := layoutImage(t)
	o := mustOpen(t, "oci:"+x.ref)
	refer(t, o, mustResolve(t, o), "a")
	top, err := layout.ImageIndexFromPath(x.ref)
	if err != nil {
		t.Fatal(err)
	}
	m, err := top.IndexManifest()
	if err != nil || len(m.Manifests) != 2 || m.Manifests[0].Annotations[refName] != "1" || m.Manifests[1].ArtifactType != "application/vnd.test" {
		t.Errorf("index.json: %+v, %v", m, err)
	}
	if o.Repository() != "" || o.Ref().Layout() != x.ref {
		t.Errorf("%q, %q", o.Repository(), o.Ref().Layout())
	}
}

// regclient keeps the referrers tag in layouts.
func TestLayoutReferrersTag(t *testing.T) {
	x := layoutImage(t)
	o := mustOpen(t, x.ref+"/")
	list := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":3,"artifactType":"other"}]}`,
		types.OCIImageIndex, types.OCIManifestSchema1, hashOf([]byte("abc")))
	if _, err := o.Push(t.Context(), Artifact{Manifest: []byte(list), MediaType: types.OCIImageIndex, Tag: referrersTag(x.hash)}); err != nil {
		t.Fatal(err)
	}
	ours := refer(t, o, mustResolve(t, o), "a")
	got, err := o.Referrers(t.Context(), x.hash)
	if err != nil || len(got) != 2 || got[0].ArtifactType != "other" || got[1].Digest != ours.Digest {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLayoutWithSeveralImages(t *testing.T) {
	x := layoutImage(t)
	other := newIndex(t)
	if err := layout.Path(x.ref).AppendIndex(other); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, x.ref)
	_, err := o.Resolve(t.Context())
	h, _ := other.Digest()
	want := fmt.Sprintf("oci:%s: several images: %s, %s\nhint: name one with @sha256:…", x.ref, x.hash, h)
	if !errors.Is(err, ErrAmbiguous) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if d := mustResolve(t, mustOpen(t, x.ref+"@"+h.String())); d.Digest != h {
		t.Errorf("by digest: %s", d.Digest)
	}
}

// An image that index.json lists beside the index that contains it is not a
// second image.
func TestLayoutListsChildrenToo(t *testing.T) {
	x := layoutImage(t)
	m, _ := x.index.IndexManifest()
	child, err := x.index.Image(m.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Path(x.ref).AppendImage(child); err != nil {
		t.Fatal(err)
	}
	if d := mustResolve(t, mustOpen(t, x.ref)); d.Digest != x.hash {
		t.Errorf("resolved to %s", d.Digest)
	}
}

// Nothing of a layout's opening or reading makes a connection.
func TestLayoutNeedsNoNetwork(t *testing.T) {
	x := layoutImage(t)
	r, _ := Parse(x.ref)
	o, err := Open(t.Context(), r, Options{Transport: nil, Keychain: nil})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := o.backend.(*layoutBackend); !ok {
		t.Errorf("backend %T", o.backend)
	}
}

func TestLayoutFailuresChangeNothing(t *testing.T) {
	x := layoutImage(t)
	before, err := os.ReadFile(filepath.Join(x.ref, "index.json"))
	if err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, x.ref)
	a, err := Refer(mustResolve(t, o), "t", nil, Layer{Content: []byte("abc")})
	if err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(x.ref, blobFile(hashOf([]byte("abc"))))
	if err := os.MkdirAll(filepath.Join(blob, "in the way"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := o.Push(t.Context(), a); err == nil {
		t.Error("a directory in the place of a blob went unnoticed")
	}
	after, err := os.ReadFile(filepath.Join(x.ref, "index.json"))
	if err != nil || string(before) != string(after) {
		t.Errorf("index.json changed: %v", err)
	}
	if _, err := os.Stat(filepath.Join(x.ref, blobFile(hashOf(a.Manifest)))); err == nil {
		t.Error("the manifest stayed")
	}
}

// A tag that somebody else wrote meanwhile is not overwritten.
func TestPrevious(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		o := mustOpen(t, x.ref)
		artifact := func(content string, previous v1.Hash) Artifact {
			m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"x","digest":%q,"size":%d},"layers":[]}`,
				types.OCIManifestSchema1, hashOf([]byte(content)), len(content))
			return Artifact{Manifest: []byte(m), MediaType: types.OCIManifestSchema1, Blobs: [][]byte{[]byte(content)}, Tag: "t", Previous: &previous}
		}
		first := artifact("one", v1.Hash{})
		for range 2 { // the second time it is there already
			if _, err := o.Push(t.Context(), first); err != nil {
				t.Fatal(err)
			}
		}
		second := artifact("two", v1.Hash{})
		n, err := o.PushAll(t.Context(), []Artifact{second})
		if n != 0 || !errors.Is(err, ErrChanged) {
			t.Errorf("overwritten: %d, %v", n, err)
		}
		if _, err := o.Push(t.Context(), artifact("two", hashOf(first.Manifest))); err != nil {
			t.Error(err)
		}
		if d, err := o.Tagged(t.Context(), "t"); err != nil || d.Digest != hashOf(second.Manifest) {
			t.Errorf("%v, %v", d, err)
		}
	})
}

// What fails half-way says how far it came; a layout shows all or nothing.
func TestPushAllFailsHalfWay(t *testing.T) {
	places(t, func(t *testing.T, x fixture) {
		o := mustOpen(t, x.ref)
		subject := mustResolve(t, o)
		var list []Artifact
		for _, content := range []string{"a", "b"} {
			a, err := Refer(subject, "t", nil, Layer{Content: []byte(content)})
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, a)
		}
		stale := v1.Hash{Algorithm: "sha256", Hex: hexA}
		m := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"layers":[]}`, types.OCIManifestSchema1)
		list = append(list, Artifact{Manifest: []byte(m), MediaType: types.OCIManifestSchema1, Tag: "t", Previous: &stale})
		n, err := o.PushAll(t.Context(), list)
		if !errors.Is(err, ErrChanged) {
			t.Fatal(err)
		}
		listed, err := mustOpen(t, x.ref).Referrers(t.Context(), x.hash)
		if err != nil || len(listed) != n || n != 0 && o.Ref().IsLayout() || n != 2 && !o.Ref().IsLayout() {
			t.Errorf("said %d, listed %d, %v", n, len(listed), err)
		}
	})
}
