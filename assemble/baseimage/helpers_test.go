package baseimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
)

var amd64 = config.Arch{APK: "x86_64", OS: "linux", Architecture: "amd64"}

// archive makes a tar of short descriptions: "d etc 0755", "f etc/motd hello",
// "l bin usr/bin" (symbolic link), "h a b" (hard link to b), "c dev/null".
func archive(t testing.TB, lines ...string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, l := range lines {
		h, content := member(t, l)
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func member(t testing.TB, line string) (*tar.Header, string) {
	t.Helper()
	kind, rest, _ := strings.Cut(line, " ")
	name, more, _ := strings.Cut(rest, " ")
	h := &tar.Header{Name: name, Mode: 0o644}
	switch kind {
	case "d":
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		if more != "" {
			if _, err := fmt.Sscanf(more, "%o", &h.Mode); err != nil {
				t.Fatal(err)
			}
		}
	case "f":
		h.Typeflag, h.Size = tar.TypeReg, int64(len(more))
		return h, more
	case "x":
		h.Typeflag, h.PAXRecords = tar.TypeReg, map[string]string{"SCHILY.xattr.user.a": more}
	case "l":
		h.Typeflag, h.Linkname = tar.TypeSymlink, more
	case "h":
		h.Typeflag, h.Linkname = tar.TypeLink, more
	case "c":
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	case "?":
		h.Typeflag = 'V'
	default:
		t.Fatalf("%q: unknown kind", line)
	}
	return h, ""
}

// blob is a layer as it is stored.
type blob struct {
	v1.Layer
	diffID v1.Hash
}

func (b blob) DiffID() (v1.Hash, error) { return b.diffID, nil }

func newBlob(t testing.TB, tar []byte, mt types.MediaType) v1.Layer {
	t.Helper()
	diffID, _, err := v1.SHA256(bytes.NewReader(tar))
	if err != nil {
		t.Fatal(err)
	}
	return blob{static.NewLayer(compress(t, tar, mt), mt), diffID}
}

func compress(t testing.TB, b []byte, mt types.MediaType) []byte {
	t.Helper()
	var out bytes.Buffer
	switch mt {
	case types.OCIUncompressedLayer, types.DockerUncompressedLayer:
		return b
	case types.OCILayerZStd:
		w, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		w.Close()
	default:
		w := gzip.NewWriter(&out)
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		w.Close()
	}
	return out.Bytes()
}

func newImage(t testing.TB, p v1.Platform, layers ...v1.Layer) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant})
	if err != nil {
		t.Fatal(err)
	}
	var adds []mutate.Addendum
	for _, l := range layers {
		mt, _ := l.MediaType()
		adds = append(adds, mutate.Addendum{Layer: l, MediaType: mt})
	}
	if img, err = mutate.Append(img, adds...); err != nil {
		t.Fatal(err)
	}
	return img
}

var linuxAMD64 = v1.Platform{OS: "linux", Architecture: "amd64"}

// gzipped is an image of gzip layers.
func gzipped(t testing.TB, layers ...[]byte) v1.Image {
	t.Helper()
	var all []v1.Layer
	for _, l := range layers {
		all = append(all, newBlob(t, l, types.OCILayer))
	}
	return newImage(t, linuxAMD64, all...)
}

// write makes a layout of images, and an index of no packages beside it.
func write(t testing.TB, images ...v1.Image) Source {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "base")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range images {
		c, err := img.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		platform := v1.Platform{OS: c.OS, Architecture: c.Architecture, Variant: c.Variant}
		if err := p.AppendImage(img, layout.WithPlatform(platform)); err != nil {
			t.Fatal(err)
		}
	}
	src := Source{Image: dir, Packages: filepath.Join(dir, "metadata")}
	src.index(t, "")
	return src
}

// index writes the list of packages.
func (s Source) index(t testing.TB, text string) Source {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.Packages, amd64.APK), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.Packages, amd64.APK, "APKINDEX"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return s
}

// dump spells entries, one each.
func dump(b *Base) []string {
	var out []string
	for i := range b.Entries {
		e := &b.Entries[i]
		s := fmt.Sprintf("%c %s", e.Type, e.Path)
		switch e.Type {
		case apk.TypeDir:
			s += fmt.Sprintf(" %04o", e.Mode)
		case apk.TypeSymlink, apk.TypeHardlink:
			s += " " + e.Link
		case apk.TypeFile:
			s += fmt.Sprintf(" %d", e.Size)
		}
		for k, v := range e.Xattrs {
			s += " " + k + "=" + v
		}
		out = append(out, s)
	}
	return out
}

// message cuts a temporary directory out of an error.
func message(err error, dir string) string {
	if err == nil {
		return "none"
	}
	return strings.ReplaceAll(err.Error(), dir, "DIR")
}
