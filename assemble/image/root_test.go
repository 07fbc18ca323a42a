package image

import (
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// Images that others made, and indexes of indexes, are written and opened too.
func TestForeignRoots(t *testing.T) {
	inner, err := random.Index(500, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	single, err := random.Image(500, 1)
	if err != nil {
		t.Fatal(err)
	}
	nested := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: inner}, mutate.IndexAddendum{Add: single})
	for name, root := range map[string]Root{"nested": nested, "image": single} {
		for _, kind := range []Kind{Layout, OCIArchive, DockerArchive} {
			path := filepath.Join(t.TempDir(), "out")
			w := mustWrite(t, Output{Kind: kind, Path: path}, root, WriteOptions{Trusted: true, Tags: []Ref{mustTag(t, "foreign")}})
			o := mustOpen(t, path)
			images, err := o.Images()
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := root.Digest(); o.Roots[0].Descriptor.Digest != want || w.Digest != want {
				t.Errorf("%s as %s: opened as %s", name, kind, o.Roots[0].Descriptor.Digest)
			}
			for _, img := range images {
				if err := validate.Image(img.Image); err != nil {
					t.Errorf("%s as %s: %v", name, kind, err)
				}
			}
			if want := map[string]int{"nested": 3, "image": 1}[name]; len(images) != want {
				t.Errorf("%s as %s: %d images, want %d", name, kind, len(images), want)
			}
			if x, ok := o.Roots[0].Root.(v1.ImageIndex); ok {
				if err := validate.Index(x); err != nil {
					t.Errorf("%s as %s: %v", name, kind, err)
				}
				if _, err := x.Image(hashOf(nil)); err == nil {
					t.Error("found what is not there")
				}
			} else if _, err := o.Roots[0].Root.(v1.Image).LayerByDigest(hashOf(nil)); err == nil {
				t.Error("found what is not there")
			}
		}
	}
}

// A base whose layers are plain tars keeps them so, under OCI's names.
func TestBaseWithPlainLayers(t *testing.T) {
	_, raw := tarGzip(t, []testFile{{name: "a", content: "1"}})
	base, err := mutate.AppendLayers(empty.Image, static.NewLayer(raw, types.DockerUncompressedLayer))
	if err != nil {
		t.Fatal(err)
	}
	img, err := New(Input{Base: base, Layers: []layer.Layer{memoryLayer(t, testFile{name: "b"})}, Arch: "amd64", Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := img.Manifest()
	if m.Layers[0].MediaType != types.OCIUncompressedLayer || img.Platform().Architecture != "amd64" {
		t.Errorf("%+v", m.Layers[0])
	}
}

// An index may hold things that are no images; a writer must not drop them.
func TestIndexOfArtifactsIsRefused(t *testing.T) {
	x := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
		Add:        static.NewLayer([]byte("x"), "application/x"),
		Descriptor: v1.Descriptor{MediaType: "application/x"},
	})
	_, err := Write(t.Context(), Output{Kind: OCIArchive, Path: filepath.Join(t.TempDir(), "x.tar")}, x, WriteOptions{})
	if err == nil || !strings.Contains(err.Error(), `media type "application/x": expected an image or an image index`) {
		t.Error(err)
	}
}

// brokenImage fails in one of its methods.
type brokenImage struct {
	v1.Image
	in string
}

var errBroken = errors.New("broken")

func (b brokenImage) fail(method string) error {
	if b.in == method {
		return errBroken
	}
	return nil
}

func (b brokenImage) MediaType() (types.MediaType, error) {
	return types.OCIManifestSchema1, b.fail("MediaType")
}

func (b brokenImage) Digest() (v1.Hash, error) {
	h, _ := b.Image.Digest()
	return h, b.fail("Digest")
}

func (b brokenImage) Size() (int64, error) {
	n, _ := b.Image.Size()
	return n, b.fail("Size")
}

func (b brokenImage) RawManifest() ([]byte, error) {
	m, _ := b.Image.RawManifest()
	return m, b.fail("RawManifest")
}

func (b brokenImage) RawConfigFile() ([]byte, error) {
	c, _ := b.Image.RawConfigFile()
	return c, b.fail("RawConfigFile")
}

func (b brokenImage) ConfigFile() (*v1.ConfigFile, error) {
	c, _ := b.Image.ConfigFile()
	return c, b.fail("ConfigFile")
}

func (b brokenImage) ConfigName() (v1.Hash, error) {
	h, _ := b.Image.ConfigName()
	return h, b.fail("ConfigName")
}

func (b brokenImage) Layers() ([]v1.Layer, error) {
	l, _ := b.Image.Layers()
	return l, b.fail("Layers")
}

// Every error of an image on its way is kept, and no output appears.
func TestErrorsOfImagesAreKept(t *testing.T) {
	good := testImage(t, "amd64")
	for _, method := range []string{"MediaType", "Digest", "Size", "RawManifest", "RawConfigFile", "ConfigFile", "ConfigName", "Layers"} {
		dir := t.TempDir()
		_, err := Write(t.Context(), Output{Kind: DockerArchive, Path: filepath.Join(dir, "x.tar")}, brokenImage{good, method}, WriteOptions{})
		if !errors.Is(err, errBroken) {
			t.Errorf("%s: %v", method, err)
		}
		if got := listing(t, dir); len(got) != 1 {
			t.Errorf("%s: left %v", method, got)
		}
		_, err = New(Input{Base: brokenImage{good, method}, Layers: []layer.Layer{memoryLayer(t, testFile{name: "b"})}, Arch: "amd64", Created: testTime})
		if wantErr := method == "Layers" || method == "ConfigFile"; (err != nil) != wantErr {
			t.Errorf("base, %s: %v", method, err)
		}
	}
}

func TestLayersThatCannotBeRead(t *testing.T) {
	l := storedLayer(t, t.TempDir(), testFile{name: "a"})
	l.Path += "-gone"
	img, err := New(Input{Layers: []layer.Layer{l}, Arch: "amd64", Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), Output{Kind: Layout, Path: filepath.Join(t.TempDir(), "out")}, img, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "layer "+l.Digest.String()+": open ") {
		t.Errorf("a layer whose file is gone: %v", err)
	}
	if _, err := Files(t.Context(), img); err == nil {
		t.Error("read nevertheless")
	}
	junk := []byte("no gzip at all")
	img, err = New(Input{Layers: []layer.Layer{{Digest: hashOf(junk), DiffID: hashOf(nil), Size: int64(len(junk)), Blob: junk}}, Arch: "amd64", Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(t.Context(), img, "a"); err == nil {
		t.Error("junk was read")
	}
}

func TestInflateKeepsCloseErrors(t *testing.T) {
	blob, raw := tarGzip(t, []testFile{{name: "a"}})
	rc, err := inflate(func() (io.ReadCloser, error) { return failingClose{strings.NewReader(string(blob))}, nil })
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(rc)
	if err != nil || len(b) != len(raw) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := rc.Close(); !errors.Is(err, errBroken) {
		t.Errorf("close: %v", err)
	}
	if _, err := inflate(func() (io.ReadCloser, error) { return nil, errBroken }); !errors.Is(err, errBroken) {
		t.Errorf("open: %v", err)
	}
}

type failingClose struct{ io.Reader }

func (failingClose) Close() error { return errBroken }
