package subject_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/lock"
)

func small(arch, content string) subjecttest.Image {
	return subjecttest.Image{Arch: arch, Layers: []subjecttest.Layer{{Comment: "hello-1-r0", Members: []string{"f hello 0644 " + content}}}}
}

func open(t *testing.T, name string) *subject.Subject {
	t.Helper()
	s, err := subject.Open(t.Context(), name, subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestLocal(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "layout"), 0o755), os.WriteFile(filepath.Join(dir, "archive"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	digest := "@sha256:" + strings.Repeat("0", 64)
	for name, want := range map[string]subject.Kind{
		"layout": subject.Layout, "layout/": subject.Layout, "gone/": subject.Layout, "oci:anything": subject.Layout, "layout" + digest: subject.Layout,
		"archive": subject.Archive, "a.tar": subject.Archive, "A.TAR": subject.Archive, "./a": subject.Archive, "oci-archive:x": subject.Archive,
		"docker-archive:x": subject.Archive, "a.tar" + digest: subject.Archive,
		"image.lock.json": subject.Lock,
		"app":             subject.Registry, "app:1": subject.Registry, "registry.example/app" + digest: subject.Registry, "localhost:5000/app": subject.Registry,
	} {
		if kind, _ := subject.Local(dir, name); kind != want {
			t.Errorf("%s: found %s, expected %s", name, kind, want)
		}
	}
	if _, path := subject.Local(dir, "oci:layout"+digest); path != filepath.Join(dir, "layout") {
		t.Errorf("path %s", path)
	}
}

// The same image is the same whatever it lies in.
func TestOpenEverywhere(t *testing.T) {
	images := []subjecttest.Image{small("amd64", "one"), small("arm64", "two")}
	dir := subjecttest.Layout(t, images...)
	index := subjecttest.Index(t, images...)
	want, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer srv.Close()
	repo := strings.TrimPrefix(srv.URL, "http://") + "/team/app"
	ref, err := name.ParseReference(repo + ":1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	out, err := image.ParseOutput("oci-archive:" + archive)
	if err == nil {
		_, err = image.Write(t.Context(), out, index, image.WriteOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]subject.Kind{
		dir + "/": subject.Layout, "oci:" + dir: subject.Layout, dir + "@" + want.String(): subject.Layout, archive: subject.Archive,
		archive + "@" + want.String(): subject.Archive, repo + ":1": subject.Registry, repo + "@" + want.String(): subject.Registry,
	} {
		s := open(t, name)
		if s.Kind != kind || s.Descriptor.Digest != want || len(s.Images) != 2 {
			t.Errorf("%s: %s %s with %d images", name, s.Kind, s.Descriptor.Digest, len(s.Images))
			continue
		}
		if a, b := s.Images[0].PlatformText(), s.Images[1].PlatformText(); a != "amd64" || b != "arm64" {
			t.Errorf("%s: platforms %s and %s", name, a, b)
		}
		layers, err := s.Images[0].Layers()
		if err != nil {
			t.Fatal(err)
		}
		l, err := image.List(t.Context(), layers[0], func(string) bool { return true })
		if err != nil || len(l.Entries) != 1 || string(l.Kept["hello"]) != "one" {
			t.Errorf("%s: listing %+v: %v", name, l, err)
		}
		if got := s.Images[0].Comments(); len(got) != 1 || got[0] != "hello-1-r0" {
			t.Errorf("%s: comments %q", name, got)
		}
		if has := s.Target() != nil; has == (kind == subject.Archive) {
			t.Errorf("%s: target %v", name, has)
		}
		if l, err := s.KitLock(t.Context()); l != nil || err != nil {
			t.Errorf("%s: a kit's lock: %v, %v", name, l, err)
		}
	}
	child, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{archive, dir} {
		if s := open(t, name+"@"+child.Manifests[1].Digest.String()); len(s.Images) != 1 || s.Images[0].PlatformText() != "arm64" {
			t.Errorf("%s: an image of the index: %d images", name, len(s.Images))
		}
	}
}

func TestOpenDockerArchive(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "docker.tar")
	tag, err := name.NewTag("app:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := tarball.WriteToFile(archive, tag, small("amd64", "one").Build(t)); err != nil {
		t.Fatal(err)
	}
	if s := open(t, archive); s.Kind != subject.Archive || len(s.Images) != 1 || s.Annotations != nil {
		t.Errorf("%+v", s)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	several := filepath.Join(dir, "several")
	p, err := layout.Write(several, empty.Index)
	for _, content := range []string{"one", "two"} {
		if err == nil {
			err = p.AppendImage(small("amd64", content).Build(t))
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	bad := filepath.Join(dir, "bad.lock.json")
	if err := os.WriteFile(bad, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	ids := subjecttest.Layout(t, small("amd64", "one"))
	for _, c := range []struct {
		name, text string
		is         error
	}{
		{filepath.Join(dir, "gone") + "/", "no index.json", target.ErrNotFound},
		{filepath.Join(dir, "gone.tar"), "no such file", os.ErrNotExist},
		{several + "/", "several images", target.ErrAmbiguous},
		{bad, "invalid lock", lock.ErrInvalid},
		{"UPPER/case:x", "not a reference", target.ErrReference},
		{ids + "@sha256:" + strings.Repeat("1", 64), "not found", target.ErrNotFound},
		{ids + "@sha256:11", "digest", target.ErrReference},
		{"127.0.0.1:1/app:1", "unreachable", target.ErrUnreachable},
	} {
		_, err := subject.Open(t.Context(), c.name, subject.Options{Target: target.Options{Attempts: 1}})
		if err == nil || !errors.Is(err, c.is) {
			t.Errorf("%s: found %v, expected %v", c.name, err, c.is)
		}
	}
}

// A configuration that does not fit its manifest is refused.
func TestOpenChecksDiffIDs(t *testing.T) {
	img := small("amd64", "one").Build(t)
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendImage(wrong{img})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := subject.Open(context.Background(), dir+"/", subject.Options{}); !errors.Is(err, target.ErrMalformed) ||
		!strings.Contains(err.Error(), "0 diff IDs for 1 layers") {
		t.Errorf("found %v", err)
	}
}

// wrong has a configuration of no layers.
type wrong struct{ v1.Image }

var noLayers = []byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`)

func (w wrong) RawConfigFile() ([]byte, error) { return noLayers, nil }
func (w wrong) ConfigName() (v1.Hash, error) {
	h, _, err := v1.SHA256(strings.NewReader(string(noLayers)))
	return h, err
}
func (w wrong) Manifest() (*v1.Manifest, error) {
	m, err := w.Image.Manifest()
	if err != nil {
		return nil, err
	}
	m = m.DeepCopy()
	m.Config.Size = int64(len(noLayers))
	m.Config.Digest, err = w.ConfigName()
	return m, err
}
func (w wrong) RawManifest() ([]byte, error) {
	m, err := w.Manifest()
	if err != nil {
		return nil, err
	}
	return marshal(m)
}
func (w wrong) Digest() (v1.Hash, error) {
	raw, err := w.RawManifest()
	if err != nil {
		return v1.Hash{}, err
	}
	h, _, err := v1.SHA256(strings.NewReader(string(raw)))
	return h, err
}
func (w wrong) Size() (int64, error) {
	raw, err := w.RawManifest()
	return int64(len(raw)), err
}

func TestOwners(t *testing.T) {
	owners := subject.Owners([]apkPackage{
		subjecttest.Package("a", "1", "usr/bin/a", "usr/share/a/x"), subjecttest.Package("b", "1", "usr/bin/b", ".top"),
	})
	for path, want := range map[string]string{"usr/bin/a": "a", "usr/bin/b": "b", "usr/bin": "", "usr/share/a": "a", ".top": "b", "etc": ""} {
		if owners[path] != want {
			t.Errorf("%s: found %q, expected %q", path, owners[path], want)
		}
	}
}

func TestWords(t *testing.T) {
	if got := subject.Words([]string{"/bin/sh", "-c", "echo hello", "", "a\"b"}); got != `/bin/sh -c "echo hello" "" "a\"b"` {
		t.Error(got)
	}
}

func TestPlatformText(t *testing.T) {
	for want, p := range map[string]v1.Platform{
		"amd64": {OS: "linux", Architecture: "amd64"}, "arm/v7": {Architecture: "arm", Variant: "v7"}, "arm64": {Architecture: "arm64", Variant: "v8"},
	} {
		if got := subject.PlatformText(p); got != want {
			t.Errorf("found %s, expected %s", got, want)
		}
	}
}
