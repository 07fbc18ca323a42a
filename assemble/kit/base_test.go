package kit_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
)

// based is the kit of an image of two architectures on a base image, with what it
// was made from.
func based(t testing.TB) (*kit.Kit, *config.Config) {
	t.Helper()
	dir := t.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	spec := func(name, path string) apktest.Spec {
		return apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0"}, Parents: true, Files: []apktest.File{{Path: path, Content: name}}}
	}
	for _, arch := range archs {
		apktest.Repository{Arch: arch, Key: key, Packages: []apktest.Spec{spec("base", "etc/base"), spec("app", "usr/bin/app")}}.Write(t, filepath.Join(dir, "repo"))
	}
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("key.rsa.pub", string(key.PublicPEM()))
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	build := func(name, contents string, o assemble.Options) (*assemble.Result, *config.Config) {
		cfg, err := config.Load(write(name, "archs: [x86_64, aarch64]\ncontents:\n  repositories: ["+dir+"/repo]\n  keyring: ["+dir+"/key.rsa.pub]\n"+contents), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := assemble.Build(context.Background(), ws, cfg, o)
		if err != nil {
			t.Fatal(err)
		}
		return r, cfg
	}
	below, _ := build("base.yaml", "  packages: [base]\n", assemble.Options{Outputs: []string{dir + "/base/"}})
	for i, img := range below.Index.Images() {
		text, err := image.ReadFile(context.Background(), img, "usr/lib/apk/db/installed", "lib/apk/db/installed")
		if err != nil {
			t.Fatal(err)
		}
		write(filepath.Join("metadata", archs[i], "APKINDEX"), string(text))
	}
	r, cfg := build("image.yaml", "  packages: [app]\n  baseimage: {image: "+dir+"/base, apkindex: "+dir+"/metadata}\n", assemble.Options{Kit: true})
	return r.Kit, cfg
}

var archs = []string{"x86_64", "aarch64"}

// TestAKitHoldsTheBase: all of it but its layers, and written again it is the same.
func TestAKitHoldsTheBase(t *testing.T) {
	k, _ := based(t)
	s := store(t, k)
	again, err := kit.Read(t.Context(), s, s.manifest, s.subject)
	if err != nil {
		t.Fatal(err)
	}
	if got := store(t, again).manifest; got != s.manifest {
		t.Errorf("written again it is %s, was %s", got, s.manifest)
	}
	for i, arch := range archs {
		got, want := again.Base(arch), k.Base(arch)
		if got == nil || got.Digest != want.Digest || got.FilesDigest() != want.FilesDigest() || len(got.Layers) != len(want.Layers) ||
			len(got.Installed) != 1 || got.Installed[0].Name != "base" {
			t.Errorf("%s: %+v", arch, got)
		}
		if n := again.Settings.Bases[i]; n.Arch != arch || n.Digest != want.Digest || n.Name != want.Name {
			t.Errorf("%s: named %+v", arch, n)
		}
		if l := again.Lock.Base(arch); l.Image.String() != want.Digest.String() || l.Files != want.FilesDigest() {
			t.Errorf("%s: locked %+v", arch, l)
		}
		if layers, err := got.Image.Layers(); err != nil || len(layers) == 0 {
			t.Errorf("%s: %v", arch, err)
		} else if _, err := layers[0].Compressed(); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a layer of it is there: %v", arch, err)
		}
	}
	if again.Base("armv7") != nil {
		t.Error("a base image for an architecture without one")
	}
}

// file is a member of the part, in order.
type file struct {
	name string
	b    []byte
}

// bases changes the files of base images; none: the part is left out.
func (s *shelf) bases(t *testing.T, change func([]file) []file) {
	t.Helper()
	s.edit(t, func(m *editable) {
		i := at(m, kit.TypeBase)
		files := change(untar(t, s.blobs[m.Layers[i].Digest]))
		if files == nil {
			m.Layers = slices.Delete(m.Layers, i, i+1)
			return
		}
		d := s.put(retar(t, files))
		m.Layers[i].Digest, m.Layers[i].Size = d.Digest, d.Size
	})
}

func untar(t testing.TB, b []byte) []file {
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

func retar(t testing.TB, files []file) []byte {
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
	whole, _ := based(t)
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
		k := *whole
		k.Settings.Bases = append([]kit.BaseName{}, k.Settings.Bases...)
		if c.names != nil {
			k.Settings.Bases = c.names(k.Settings.Bases)
		}
		s := store(t, &k)
		if c.parts != nil {
			s.bases(t, c.parts)
		}
		got, err := kit.Read(t.Context(), s, s.manifest, s.subject)
		if !errors.Is(err, kit.ErrInvalid) || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v\nexpected %s", c.name, err, c.want)
		}
	}
}

// TestNewRefusesABaseThatNoReaderTakes: such a kit would be found out much later.
func TestNewRefusesABaseThatNoReaderTakes(t *testing.T) {
	k, cfg := based(t)
	for _, c := range []struct {
		bases []kit.Base
		want  string
	}{
		{nil, "kit: contents.baseimage: the base image is not at hand"},
		{[]kit.Base{{Arch: "x86_64", Image: k.Bases[0].Image}, {Arch: "aarch64", Image: k.Bases[0].Image}}, "kit: base image (aarch64): image for linux/amd64: expected one for linux/arm64"},
	} {
		in := kit.Input{Subject: k.Subject, Config: cfg, Lock: k.Lock, Packages: k.Packages, Bases: c.bases}
		if got, err := kit.New(t.Context(), in); err == nil || got != nil || err.Error() != c.want {
			t.Errorf("error %v, expected %s", err, c.want)
		}
	}
}

// TestAKitOfAnotherLock is not read further than that.
func TestAKitOfAnotherLock(t *testing.T) {
	k := made(t)
	s := store(t, k)
	read, err := kit.Read(t.Context(), s, s.manifest, s.subject)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kit.ReadLocked(t.Context(), s, s.manifest, s.subject, read.Lock.Cairn.Digest); err != nil {
		t.Error(err)
	}
	s.part(t, kit.TypeReceipts, func([]byte) []byte { return nil }) // nobody gets there
	got, err := kit.ReadLocked(t.Context(), s, s.manifest, s.subject, apk.SHA256{1})
	if want := "of another lock: lock " + read.Lock.Cairn.Digest.String() + ", expected sha256:01"; !errors.Is(err, kit.ErrOtherLock) || errors.Is(err, kit.ErrInvalid) || got != nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v, expected %s", err, want)
	}
	k.Lock.Cairn = nil
	for i := range k.Lock.Contents.Packages {
		k.Lock.Contents.Packages[i].Cairn = nil
	}
	s = store(t, k)
	if _, err := kit.ReadLocked(t.Context(), s, s.manifest, s.subject, apk.SHA256{1}); !errors.Is(err, kit.ErrOtherLock) {
		t.Errorf("apko's lock: error %v", err)
	}
}

// TestMuchWorkIsRefused: what is small in a kit can be much to plan with.
func TestMuchWorkIsRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*lock.Lock)
		want   string
	}{
		{"packages", func(l *lock.Lock) {
			p := l.Contents.Packages[0]
			for i := range 20_001 {
				p.Name = fmt.Sprintf("p%d", i)
				l.Contents.Packages = append(l.Contents.Packages, p)
			}
		}, "lock: 20005 packages, expected at most 20000"},
		{"layers", func(l *lock.Lock) {
			l.Cairn.Layers = []lock.Layers{{Architecture: "x86_64", Segments: slices.Repeat([][]string{{"app"}}, 128)}}
		}, "lock: 128 layers for x86_64, expected at most 127"},
	} {
		k := made(t)
		s := store(t, k)
		c.change(k.Lock)
		b, err := k.Lock.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		s.part(t, kit.TypeLock, func([]byte) []byte { return b })
		if got, err := kit.Read(t.Context(), s, s.manifest, s.subject); !errors.Is(err, kit.ErrInvalid) || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
	}
}

// TestDigests are those of the files that a kit has.
func TestDigests(t *testing.T) {
	k := made(t)
	cfg, err := k.Load()
	if err != nil {
		t.Fatal(err)
	}
	got, err := kit.Digests(cfg)
	if err != nil || len(got) != len(k.Files) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range got {
		if got[i] != k.Files[i].SHA256 {
			t.Errorf("file %d is %s, expected %s", i, got[i], k.Files[i].SHA256)
		}
	}
	if _, err := kit.Digests(&config.Config{}); err == nil || err.Error() != "kit: the configuration is from no file" {
		t.Errorf("no file: %v", err)
	}
}

// FuzzReadBase gives one file of a base image after the other any content.
func FuzzReadBase(f *testing.F) {
	k, _ := based(f)
	whole := store(f, k)
	var m editable
	if err := json.Unmarshal(whole.blobs[whole.manifest], &m); err != nil {
		f.Fatal(err)
	}
	files := untar(f, whole.blobs[m.Layers[at(&m, kit.TypeBase)].Digest])
	for i := range 4 {
		f.Add(uint8(i), files[i].b)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		s := store(t, k)
		s.bases(t, func(list []file) []file {
			list[int(which)%len(list)].b = b
			return list
		})
		again, err := kit.Read(t.Context(), s, s.manifest, s.subject)
		if err != nil {
			return
		}
		if _, err := again.Artifact(); err != nil {
			t.Errorf("read, and not written again: %v", err)
		}
	})
}
