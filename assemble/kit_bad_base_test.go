package assemble

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/kit"
)

// memory is a kit in memory, whose part with the base images can be changed.
type memory map[v1.Hash][]byte

func (m memory) put(b []byte) v1.Descriptor {
	sum := sha256.Sum256(b)
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	m[h] = b
	return v1.Descriptor{Digest: h, Size: int64(len(b))}
}

func (m memory) Manifest(_ context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	return m[h], types.OCIManifestSchema1, nil
}

func (m memory) Blob(_ context.Context, d v1.Descriptor, _ int64) ([]byte, error) {
	return m[d.Digest], nil
}

// file is a member of the part, in order.
type file struct {
	name string
	b    []byte
}

// change stores a kit with other files of base images, or no part for them when
// change gives none, and returns the digest of its manifest.
func (m memory) change(t *testing.T, k *kit.Kit, change func([]file) []file) v1.Hash {
	t.Helper()
	a, err := k.Artifact()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range a.Blobs {
		m.put(b.Bytes)
	}
	var manifest map[string]json.RawMessage
	var layers []v1.Descriptor
	if err := errors.Join(json.Unmarshal(a.Manifest, &manifest), json.Unmarshal(manifest["layers"], &layers)); err != nil {
		t.Fatal(err)
	}
	for i := range layers {
		if layers[i].MediaType != kit.TypeBase {
			continue
		}
		files := change(untar(t, m[layers[i].Digest]))
		if files == nil {
			layers = append(layers[:i], layers[i+1:]...)
			break
		}
		d := m.put(retar(t, files))
		layers[i].Digest, layers[i].Size = d.Digest, d.Size
	}
	if manifest["layers"], err = json.Marshal(layers); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	return m.put(raw).Digest
}

func untar(t *testing.T, b []byte) []file {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var out []file
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, file{h.Name, b})
	}
}

func retar(t *testing.T, files []file) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(f.b))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.b); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestBaseImagesOfAKitAreRefused where they are not what settings and lock say, or
// cannot be those of an image.
func TestBaseImagesOfAKitAreRefused(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	r := f.build(f.onBase("over", ""), Options{Kit: true})
	only := func(edit func(*file)) func([]file) []file {
		return func(list []file) []file { edit(&list[0]); return list }
	}
	for _, c := range []struct {
		name  string
		parts func([]file) []file
		names func([]kit.BaseName) []kit.BaseName
		want  string
	}{
		{name: "part left out", parts: func([]file) []file { return nil }, want: "base images: "},
		{name: "file left out", parts: func(list []file) []file { return list[1:] }, want: "base image (x86_64): manifest.json: missing"},
		{name: "file twice", parts: func(list []file) []file { return append(list, list[0]) }, want: `base images: "x86_64/manifest.json" stands twice`},
		{name: "one file more", parts: func(list []file) []file { return append(list, file{"x", nil}) }, want: "base images: 1 files that belong to none"},
		{name: "no manifest", parts: only(func(f *file) { f.b = []byte("hello") }), want: "base image (x86_64): "},
		{name: "another manifest", parts: only(func(f *file) { f.b = append(f.b, '\n') }), want: "base image (x86_64): manifest sha256:"},
		{name: "list of files cut short", parts: func(list []file) []file { list[3].b = list[3].b[:9]; return list },
			want: "base image (x86_64): not the list of files of an image: "},
		{name: "image in no settings", names: func(n []kit.BaseName) []kit.BaseName { return n[:1] }, want: "base images: 4 files that belong to none"},
		{name: "image twice in the settings", names: func(n []kit.BaseName) []kit.BaseName { return append(n, n[0]) }, want: "base image (x86_64): stands twice"},
		{name: "another architecture", names: func(n []kit.BaseName) []kit.BaseName { n[0].Arch = "armv7"; return n },
			want: "base image (armv7): not an architecture of the image"},
		{name: "architectures swapped", parts: func(list []file) []file {
			for i := range list {
				arch, name, _ := strings.Cut(list[i].name, "/")
				list[i].name = map[string]string{"x86_64": "aarch64", "aarch64": "x86_64"}[arch] + "/" + name
			}
			return list
		}, want: "base image (x86_64): image for linux/arm64: expected one for linux/amd64"},
	} {
		k := *r.Kit
		k.Settings.Bases = append([]kit.BaseName{}, k.Settings.Bases...)
		if c.names != nil {
			k.Settings.Bases = c.names(k.Settings.Bases)
		}
		if c.parts == nil {
			c.parts = func(list []file) []file { return list }
		}
		m := memory{}
		digest := m.change(t, &k, c.parts)
		got, err := kit.Read(t.Context(), m, digest, k.Subject.Digest)
		if !errors.Is(err, kit.ErrInvalid) || got != nil && err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v\nexpected %s", c.name, err, c.want)
		}
	}
}

// TestNewRefusesABaseThatNoReaderTakes: such a kit would be found out much later.
func TestNewRefusesABaseThatNoReaderTakes(t *testing.T) {
	f := newBaseFixture(t)
	f.base("base", baseConfig)
	cfg := f.onBase("over", "archs: [x86_64]\n")
	k := f.build(cfg, Options{Kit: true}).Kit
	for _, c := range []struct {
		bases []kit.Base
		want  string
	}{
		{nil, "kit: contents.baseimage: the base image is not at hand"},
		{[]kit.Base{{Arch: "aarch64", Image: k.Bases[0].Image}}, "kit: base image (aarch64): image for linux/amd64: expected one for linux/arm64"},
	} {
		in := kit.Input{Subject: k.Subject, Config: cfg, Lock: k.Lock, Packages: k.Packages, Bases: c.bases}
		if got, err := kit.New(t.Context(), in); err == nil || got != nil || err.Error() != c.want {
			t.Errorf("error %v, expected %s", err, c.want)
		}
	}
}

// ExampleOptionsOf: the base of a kit, with the layers of the image on it.
func ExampleOptionsOf() {
	open := func(k *kit.Kit, layers func(v1.Descriptor) (io.ReadCloser, error)) (map[string]*baseimage.Base, error) {
		bases := OptionsOf(k).Bases
		for arch, b := range bases {
			own, err := b.WithLayers(layers)
			if err != nil {
				return nil, err
			}
			bases[arch] = own
		}
		return bases, nil
	}
	bases, err := open(&kit.Kit{}, nil)
	fmt.Println(len(bases), err)
	// Output: 0 <nil>
}
