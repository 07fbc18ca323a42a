package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func mustOpen(t testing.TB, path string) *Opened {
	t.Helper()
	o, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	})
	return o
}

// What is written can be opened, is valid, and written again gives the same.
func TestOpenReadsWhatIsWritten(t *testing.T) {
	x := testIndex(t, "amd64", "arm/v6", "arm/v7")
	for _, kind := range []Kind{Layout, OCIArchive, DockerArchive} {
		t.Run(string(kind), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			mustWrite(t, Output{Kind: kind, Path: path}, x, WriteOptions{Tags: []Ref{mustTag(t, "hello:1")}})
			o := mustOpen(t, path)
			if o.Kind != kind || o.Roots[0].Descriptor.Digest != x.hash || !cmp.Equal(o.Roots[0].Names, []string{"docker.io/library/hello:1"}) {
				t.Errorf("opened: %+v", o)
			}
			if err := validate.Index(o.Roots[0].Root.(v1.ImageIndex)); err != nil {
				t.Error(err)
			}
			images, err := o.Images()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for i, img := range images {
				got = append(got, img.Platform.String())
				if img.Digest != x.images[i].hash {
					t.Errorf("%s: another image", img.Platform.String())
				}
			}
			if want := []string{"linux/amd64", "linux/arm/v6", "linux/arm/v7"}; !cmp.Equal(got, want) {
				t.Errorf("images for %v, want %v", got, want)
			}
			again := filepath.Join(t.TempDir(), "again")
			mustWrite(t, Output{Kind: OCIArchive, Path: again}, o.Roots[0].Root, WriteOptions{})
			b, err := os.ReadFile(again)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(b, archive(t, OCIArchive, x)) {
				t.Error("written again it differs")
			}
			if prefixed := mustOpen(t, string(kind)+":"+path); prefixed.Kind != kind {
				t.Error("the transport before the path is not understood")
			}
		})
	}
}

// An archive of `docker save` before version 25 has no index.json.
func TestOpenOldDockerArchive(t *testing.T) {
	a, err := random.Image(1000, 2)
	if err != nil {
		t.Fatal(err)
	}
	b, err := random.Image(1000, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag := func(s string) name.Tag { return must(name.NewTag(s)) }
	path := filepath.Join(t.TempDir(), "old.tar")
	if err := tarball.MultiWriteToFile(path, map[name.Tag]v1.Image{tag("one:1"): a, tag("two:1"): b}); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, path)
	images, err := o.Images()
	if err != nil {
		t.Fatal(err)
	}
	if o.Kind != DockerArchive || len(images) != 2 {
		t.Fatalf("%s with %d images", o.Kind, len(images))
	}
	for _, img := range images {
		if err := validate.Image(img.Image); err != nil {
			t.Error(err)
		}
		if len(img.Names) != 1 {
			t.Errorf("names %v", img.Names)
		}
	}
}

func tarOf(t testing.TB, files map[string]string, order ...string) string {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, name := range order {
		if err := tw.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestOpenRefuses(t *testing.T) {
	write := func(content string) string {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	digest := "sha256:" + strings.Repeat("0", 64)
	index := func(mediaType, digest string, size string) string {
		return `{"schemaVersion":2,"manifests":[{"mediaType":"` + mediaType + `","digest":"` + digest + `","size":` + size + `}]}`
	}
	const manifest = "application/vnd.oci.image.manifest.v1+json"
	two := map[string]string{"oci-layout": layoutMark}
	layoutOf := func(index string) string {
		two["index.json"] = index
		return tarOf(t, two, "oci-layout", "index.json")
	}
	for _, test := range []struct{ name, path, want string }{
		{"nothing there", "/no/such", "stat /no/such: no such file or directory"},
		{"gzip", write("\x1f\x8b\x08..."), "compressed with gzip\nhint: gunzip it first"},
		{"no tar", write(strings.Repeat("x", 1024)), "archive: archive/tar: invalid tar header"},
		{"empty", write(""), "neither an OCI layout nor a docker archive: file manifest.json not found in tar"},
		{"empty directory", t.TempDir(), "open DIR/index.json: no such file or directory"},
		{"no mark", tarOf(t, map[string]string{"index.json": "{}"}, "index.json"), "open oci-layout: file does not exist"},
		{"other version", tarOf(t, map[string]string{"index.json": "{}", "oci-layout": `{"imageLayoutVersion":"2"}`}, "index.json", "oci-layout"), `oci-layout is "{\"imageLayoutVersion\":\"2\"}": expected version 1.0.0`},
		{"index cut off", layoutOf(`{"manifests":[`), "index.json: unexpected EOF"},
		{"blob missing", layoutOf(index(manifest, digest, "10")), "manifest " + digest + ": blob " + digest + ": open blobs/sha256/" + strings.Repeat("0", 64) + ": file does not exist"},
		{"huge manifest", layoutOf(index(manifest, digest, "99999999999")), "manifest " + digest + ": blob " + digest + ": 99999999999 bytes, expected at most 8388608"},
		{"path for a digest", layoutOf(index(manifest, "sha256:../../../../etc/passwd", "10")), "index.json: "},
		{"other algorithm", layoutOf(index(manifest, "sha512:"+strings.Repeat("0", 128), "10")), "index.json: unsupported hash: \"sha512\""},
	} {
		_, err := Open(test.path)
		want := "image " + test.path + ": " + strings.ReplaceAll(test.want, "DIR", test.path)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", test.name, err, want)
		}
	}
}

// Every byte of an opened image is checked against its digest: flipping any
// one is noticed when it is read.
func TestOpenVerifies(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	img := testImage(t, "amd64")
	readThrough := func() error {
		o, err := Open(dir)
		if err != nil {
			return err
		}
		defer o.Close()
		images, err := o.Images()
		if err != nil {
			return err
		}
		if _, err := images[0].ConfigFile(); err != nil {
			return err
		}
		_, err = Files(context.Background(), images[0].Image)
		return err
	}
	mustWrite(t, Output{Kind: Layout, Path: dir}, img, WriteOptions{})
	if err := readThrough(); err != nil {
		t.Fatal(err)
	}
	for path := range listing(t, filepath.Join(dir, "blobs", "sha256")) {
		if path == "." {
			continue
		}
		file := filepath.Join(dir, "blobs", "sha256", path)
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(good); i += 1 + len(good)/40 {
			bad := bytes.Clone(good)
			bad[i] ^= 0x10
			if err := os.WriteFile(file, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if readThrough() == nil {
				t.Errorf("%s: byte %d changed, and nobody noticed", path, i)
			}
		}
		for _, bad := range [][]byte{good[:len(good)-1], append(bytes.Clone(good), 0)} {
			if err := os.WriteFile(file, bad, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := readThrough(); !errors.Is(err, ErrBlobChanged) {
				t.Errorf("%s: %d bytes instead of %d: %v", path, len(bad), len(good), err)
			}
		}
		if err := os.WriteFile(file, good, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenIgnoresArtifacts(t *testing.T) {
	path := tarOf(t, map[string]string{"oci-layout": layoutMark, "index.json": `{"manifests":[{"mediaType":"application/x","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}]}`}, "oci-layout", "index.json")
	o := mustOpen(t, path)
	if images, err := o.Images(); err != nil || len(images) != 0 {
		t.Errorf("%v, %v", images, err)
	}
}

func FuzzOpenArchive(f *testing.F) {
	f.Add(archive(f, OCIArchive, testIndex(f, "amd64"), "hello"))
	f.Add(archive(f, DockerArchive, testImage(f, "arm/v7"), "hello"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.tar")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := Open(path)
		if err != nil {
			return
		}
		defer o.Close()
		images, err := o.Images()
		if err != nil {
			return
		}
		for _, img := range images {
			_, _ = img.ConfigFile()
			_, _ = Installed(t.Context(), img.Image)
			_, _ = Files(t.Context(), img.Image)
		}
	})
}

// FuzzOpenLayout changes the index of a layout.
func FuzzOpenLayout(f *testing.F) {
	good := must(testIndex(f, "amd64").RawManifest())
	f.Add(good)
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:","size":-1}]}`))
	f.Add([]byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json"}]}`))
	f.Fuzz(func(t *testing.T, index []byte) {
		dir := t.TempDir()
		for name, content := range map[string][]byte{"oci-layout": []byte(layoutMark), "index.json": index} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		// The same bytes as a blob, so that an index may name itself.
		if err := os.MkdirAll(filepath.Join(dir, blobsDir), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, blobName(hashOf(index))), index, 0o600); err != nil {
			t.Fatal(err)
		}
		markUsed(dir, listed(dir), map[string]bool{}, 0)
		o, err := Open(dir)
		if err != nil {
			return
		}
		defer o.Close()
		_, _ = o.Images()
	})
}

func TestInstalledAndReadFile(t *testing.T) {
	const installed = "P:hello\nV:1.0-r0\nA:x86_64\nF:usr\nF:usr/bin\nR:hello\n\n"
	img := imageOf(t,
		[]testFile{{name: "lib/apk/db/installed", content: "P:old\nV:1\n\n"}, {name: "etc/gone", content: "x"}, {name: "etc/dir/gone", content: "x"}, {name: "opt/a/b", content: "x"}},
		[]testFile{{name: "./lib/apk/db/installed", content: installed}, {name: "etc/.wh.gone"}, {name: "etc/.wh.dir"}, {name: "opt/a/.wh..wh..opq"}},
		[]testFile{{name: "top", content: "y"}},
	)
	got, err := Installed(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Name != "hello" || len(got[0].Dirs) != 2 || got[0].Dirs[1].Files[0].Name != "hello" {
		t.Errorf("installed: %+v", got)
	}
	for name, want := range map[string]string{"top": "y", "lib/apk/db/installed": installed} {
		if b, err := ReadFile(t.Context(), img, "nowhere", name); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"etc/gone", "etc/dir/gone", "opt/a/b", "never"} {
		if _, err := ReadFile(t.Context(), img, name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v, want that it is not there", name, err)
		}
	}
	if _, err := Installed(t.Context(), imageOf(t, []testFile{{name: "a"}})); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "lib/apk/db/installed or usr/lib/apk/db/installed") {
		t.Errorf("no database: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Files(ctx, img); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// imageOf makes an image of layers given by their members.
func imageOf(t testing.TB, layers ...[]testFile) *Image {
	t.Helper()
	in := Input{Arch: "amd64", Created: testTime}
	for _, l := range layers {
		in.Layers = append(in.Layers, memoryLayer(t, l...))
	}
	img, err := New(in)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestFiles(t *testing.T) {
	img := imageOf(t,
		[]testFile{
			{name: "etc/", typ: tar.TypeDir, mode: 0o755}, {name: "etc/a", content: "1"}, {name: "etc/b", content: "2"},
			{name: "opt/", typ: tar.TypeDir, mode: 0o755}, {name: "opt/x/", typ: tar.TypeDir, mode: 0o755}, {name: "opt/x/y", content: "3"},
			{name: "usr-x", content: "4"}, {name: "usr/", typ: tar.TypeDir, mode: 0o1777}, {name: "usr/z", content: "5"},
			{name: "bin", typ: tar.TypeSymlink, link: "usr/bin", mode: 0o777}, {name: "hard", typ: tar.TypeLink, link: "./etc/a"},
		},
		[]testFile{
			{name: "etc/.wh.b"}, {name: "opt/x", content: "now a file"},
			{name: "usr/new", content: "6"}, {name: "usr/.wh..wh..opq"},
		},
	)
	entries, err := Files(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, strings.TrimSpace(string(e.Type)+" "+e.Path+" "+e.Link))
	}
	want := []string{"l bin usr/bin", "d etc", "f etc/a", "h hard etc/a", "d opt", "f opt/x", "d usr", "f usr/new", "f usr-x"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if a := entries[2]; a.Size != 1 || a.SHA256.Hex() != hashOf([]byte("1")).Hex || a.Mode != 0o644 || a.MTime != testTime.Unix() || a.SHA1.IsZero() {
		t.Errorf("etc/a: %+v", a)
	}
	if usr := entries[6]; usr.Mode != 0o1777 {
		t.Errorf("usr has mode %o", usr.Mode)
	}
	odd := imageOf(t, []testFile{{name: "x", typ: '7'}})
	if _, err := Files(t.Context(), odd); err == nil || !strings.Contains(err.Error(), "x: type '7' is not known") {
		t.Errorf("unknown type: %v", err)
	}
}

// What a descriptor says of the index is read by encoding/json alone; make sure
// that an index may hold more than cairn writes.
func TestOpenKeepsForeignAnnotations(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	mustWrite(t, Output{Kind: Layout, Path: dir}, testImage(t, "amd64"), WriteOptions{})
	path := filepath.Join(dir, "index.json")
	var index map[string]any
	raw, _ := os.ReadFile(path)
	if err := json.Unmarshal(raw, &index); err != nil {
		t.Fatal(err)
	}
	d := index["manifests"].([]any)[0].(map[string]any)
	d["annotations"] = map[string]string{annotationRefName: "just-a-tag", "x": "y"}
	raw, _ = json.Marshal(index)
	if err := os.WriteFile(path, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	o := mustOpen(t, dir)
	if !cmp.Equal(o.Roots[0].Names, []string{"just-a-tag"}) || o.Roots[0].Descriptor.Annotations["x"] != "y" {
		t.Errorf("%+v", o.Roots[0])
	}
}

func TestAttachedTag(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	for tag, want := range map[string]bool{
		"sha256-" + hex:           true,
		"sha256-" + hex + ".sig":  true,
		"sha256-" + hex + ".att":  true,
		"sha256-" + hex + ".sbom": true,
		"":                        false,
		"latest":                  false,
		"sha256-" + hex[1:]:       false,
		"sha256-" + hex + ".":     false,
		"sha256-" + hex + ".s2":   false,
		"sha256-" + hex + "0.sig": false,
		"sha256:" + hex:           false,
		"sha256-" + strings.ToUpper(hex) + ".sig": false,
		"v1-sha256-" + hex + ".sig":               false,
	} {
		if got := AttachedTag(tag); got != want {
			t.Errorf("%q: %t, expected %t", tag, got, want)
		}
	}
}

// A layout that signatures were added to shows the image that they are about.
func TestOpenSignedLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	mustWrite(t, Output{Kind: Layout, Path: dir}, testIndex(t, "amd64", "arm64"), WriteOptions{Tags: []Ref{mustTag(t, "hello:1")}})
	list := func() (digests []string) {
		images, err := mustOpen(t, dir).Images()
		if err != nil {
			t.Fatal(err)
		}
		for i := range images {
			digests = append(digests, images[i].Digest.String())
		}
		return digests
	}
	before := list()
	p, err := layout.FromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag := "sha256-" + strings.TrimPrefix(before[0], "sha256:") + ".sig"
	if err := p.AppendImage(signature, layout.WithAnnotations(map[string]string{annotationRefName: tag})); err != nil {
		t.Fatal(err)
	}
	if after := list(); !slices.Equal(before, after) {
		t.Errorf("%v, before the signature %v", after, before)
	}
}
