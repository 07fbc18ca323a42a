// Package subjecttest makes small images for tests that compare or show them,
// the same bytes in every run.
//
// It is for tests only, and knows nothing of how cairn builds images: layers are
// written as they are described.
//
//	dir := subjecttest.Layout(t, subjecttest.Image{Arch: "amd64", Layers: []subjecttest.Layer{
//		{Comment: "hello-1-r0", Members: []string{"d usr", "f usr/hello 0755 hello"}},
//	}})
package subjecttest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Layer is a layer: members and the comment of its history.
type Layer struct {
	Comment string
	// Members are short descriptions: "d etc 0755", "f etc/motd 0644 hello",
	// "l bin usr/bin" (symbolic link), "h a b" (hard link to b), "c dev/null",
	// "x file name value" (a file with an extended attribute), "w path"
	// (whiteout).
	Members []string
	// Installed, where it is set, is written as the installed database.
	Installed []apk.InstalledPackage
}

// Image is an image.
type Image struct {
	Arch        string // OCI's
	Layers      []Layer
	Config      v1.Config
	Annotations map[string]string
}

// Created is when every image was made.
var Created = time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)

// Build makes the image.
func (i Image) Build(t testing.TB) v1.Image {
	t.Helper()
	var adds []mutate.Addendum
	for _, l := range i.Layers {
		adds = append(adds, mutate.Addendum{Layer: l.build(t), History: v1.History{Comment: l.Comment, Created: v1.Time{Time: Created}}})
	}
	img, err := mutate.Append(mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1), adds...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c = c.DeepCopy()
	c.OS, c.Architecture, c.Created, c.Config = "linux", i.Arch, v1.Time{Time: Created}, i.Config
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	if i.Annotations != nil {
		img = mutate.Annotations(img, i.Annotations).(v1.Image)
	}
	return img
}

func (l Layer) build(t testing.TB) v1.Layer {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	w := tar.NewWriter(z)
	for _, m := range l.Members {
		h, content := member(t, m)
		write(t, w, h, content)
	}
	if l.Installed != nil {
		var db []byte
		for i := range l.Installed {
			db = apk.AppendInstalled(db, &l.Installed[i])
		}
		write(t, w, &tar.Header{Name: "usr/lib/apk/db/installed", Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(db))}, string(db))
	}
	for _, c := range []io.Closer{w, z} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Its diff ID is computed from what it inflates to.
	return gzipped{static.NewLayer(out.Bytes(), types.OCILayer), out.Bytes()}
}

// gzipped is a layer whose blob is compressed.
type gzipped struct {
	v1.Layer
	blob []byte
}

func (g gzipped) Uncompressed() (io.ReadCloser, error) {
	return gzip.NewReader(bytes.NewReader(g.blob))
}

func (g gzipped) DiffID() (v1.Hash, error) {
	rc, err := g.Uncompressed()
	if err != nil {
		return v1.Hash{}, err
	}
	h, _, err := v1.SHA256(rc)
	return h, err
}

func write(t testing.TB, w *tar.Writer, h *tar.Header, content string) {
	t.Helper()
	h.ModTime = Created
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
}

func member(t testing.TB, line string) (*tar.Header, string) {
	t.Helper()
	f := strings.SplitN(line, " ", 4)
	h := &tar.Header{Name: f[1], Mode: 0o644, Typeflag: tar.TypeReg}
	mode := func(i int) {
		if len(f) > i {
			if _, err := fmt.Sscanf(f[i], "%o", &h.Mode); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	}
	switch f[0] {
	case "d":
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
		mode(2)
	case "f":
		mode(2)
		content := ""
		if len(f) > 3 {
			content = f[3]
		}
		h.Size = int64(len(content))
		return h, content
	case "x":
		h.PAXRecords = map[string]string{"SCHILY.xattr." + f[2]: f[3]}
	case "l":
		h.Typeflag, h.Linkname, h.Mode = tar.TypeSymlink, f[2], 0o777
	case "h":
		h.Typeflag, h.Linkname = tar.TypeLink, f[2]
	case "c":
		h.Typeflag, h.Devmajor, h.Devminor = tar.TypeChar, 1, 3
	case "w":
		i := strings.LastIndexByte(f[1], '/') + 1
		h.Name = f[1][:i] + ".wh." + f[1][i:]
	default:
		t.Fatalf("%q: unknown kind", line)
	}
	return h, ""
}

// Index makes an image index of images.
func Index(t testing.TB, images ...Image) v1.ImageIndex {
	t.Helper()
	x := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, i := range images {
		x = mutate.AppendManifests(x, mutate.IndexAddendum{Add: i.Build(t), Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: i.Arch}}})
	}
	return x
}

// Layout writes an OCI layout with an image index of the images and returns its
// directory.
func Layout(t testing.TB, images ...Image) string {
	t.Helper()
	dir := t.TempDir()
	p, err := layout.Write(dir, empty.Index)
	if err == nil {
		err = p.AppendIndex(Index(t, images...))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Package is an entry of the installed database: a package with files of these
// contents by path, whose directories come with it.
func Package(name, version string, files ...string) apk.InstalledPackage {
	p := apk.InstalledPackage{Package: apk.Package{Name: name, Version: version, Arch: "x86_64", License: "MIT", Origin: name, InstalledSize: 1000}}
	p.Checksum = apk.SHA1([]byte(fmt.Sprintf("%-20.20s", name+version)))
	for _, f := range files {
		i := strings.LastIndexByte(f, '/')
		dir, base := "", f
		if i >= 0 {
			dir, base = f[:i], f[i+1:]
		}
		file := apk.InstalledFile{Name: base, Mode: 0o644, SHA1: apk.SHA1([]byte(fmt.Sprintf("%-20.20s", f)))}
		if n := len(p.Dirs); n > 0 && p.Dirs[n-1].Path == dir {
			p.Dirs[n-1].Files = append(p.Dirs[n-1].Files, file)
			continue
		}
		p.Dirs = append(p.Dirs, apk.InstalledDir{Path: dir, Mode: 0o755, Files: []apk.InstalledFile{file}})
	}
	return p
}
