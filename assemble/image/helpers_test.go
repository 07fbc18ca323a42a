package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"chainguard.dev/apko/pkg/build/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// testTime is when every test image was made.
var testTime = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

// testFile is a member of a test layer.
type testFile struct {
	name, content, link string
	typ                 byte
	mode                int64
}

// tarGzip makes a layer blob.
func tarGzip(t testing.TB, files []testFile) (blob, inflated []byte) {
	t.Helper()
	var raw bytes.Buffer
	tw := tar.NewWriter(&raw)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Linkname: f.link, Typeflag: f.typ, Mode: f.mode, Size: int64(len(f.content)), ModTime: testTime}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(f.content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	if _, err := zw.Write(raw.Bytes()); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	return z.Bytes(), raw.Bytes()
}

func hashOf(b []byte) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%x", sha256.Sum256(b))}
}

// memoryLayer is a layer without a file.
func memoryLayer(t testing.TB, files ...testFile) layer.Layer {
	t.Helper()
	blob, raw := tarGzip(t, files)
	return layer.Layer{
		Kind: layer.Top, Digest: hashOf(blob), DiffID: hashOf(raw),
		Size: int64(len(blob)), Inflated: int64(len(raw)), Blob: blob,
	}
}

// storedLayer is a layer with a file in dir.
func storedLayer(t testing.TB, dir string, files ...testFile) layer.Layer {
	t.Helper()
	l := memoryLayer(t, files...)
	l.Kind, l.Path = layer.Verbatim, filepath.Join(dir, l.Digest.Hex)
	if err := os.WriteFile(l.Path, l.Blob, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(l.Path, 0o444); err != nil {
		t.Fatal(err)
	}
	l.Blob = nil
	return l
}

var testSettings = Settings{
	Entrypoint:  []string{"/usr/bin/hello", "-v"},
	Env:         []string{"PATH=/usr/bin"},
	User:        "65532",
	WorkDir:     "/home",
	Volumes:     []string{"/data"},
	StopSignal:  "SIGTERM",
	Annotations: map[string]string{"org.opencontainers.image.title": "hello"},
	VCSURL:      "https://example.org/hello.git@c0ffee",
}

// testImage is an image of two layers, one of them a file in a store.
func testImage(t testing.TB, arch string) *Image {
	t.Helper()
	img, err := New(Input{
		Layers: []layer.Layer{
			storedLayer(t, t.TempDir(), testFile{name: "usr/bin/hello", content: "hello " + arch, mode: 0o755}),
			memoryLayer(t, testFile{name: "etc/os-release", content: "ID=test\n"}),
		},
		Comments: []string{"hello-1.0-r0", "top layer"},
		Arch:     types.ParseArchitecture(arch),
		Settings: testSettings,
		Created:  testTime,
		Author:   "tests",
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func testIndex(t testing.TB, arches ...string) *Index {
	t.Helper()
	var images []*Image
	for _, a := range arches {
		images = append(images, testImage(t, a))
	}
	x, err := NewIndex(images, IndexInput{Settings: testSettings, Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func mustTag(t testing.TB, s string) Ref {
	t.Helper()
	r, err := ParseTag(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func mustOutput(t testing.TB, s string) Output {
	t.Helper()
	o, err := ParseOutput(s)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
