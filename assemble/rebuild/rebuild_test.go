package rebuild_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// built is an image in a layout, moved away from all that it was built from.
type built struct {
	dir    string // the layout
	digest v1.Hash
	result *assemble.Result
}

func pkg(name string, files ...apktest.File) apktest.Spec {
	return apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", Origin: name, BuildTime: 100, License: "MIT"}, Files: files, Parents: true}
}

// specs have a path that leads through a symlink of another package, so that its
// package is rewritten.
func specs() []apktest.Spec {
	return []apktest.Spec{
		pkg("base", apktest.File{Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"}, apktest.File{Path: "etc/group", Content: "root:x:0:\n"}),
		pkg("merged", apktest.File{Path: "usr/lib64", Type: apk.TypeSymlink, Link: "lib"}),
		pkg("through", apktest.File{Path: "usr/lib64/large", Content: strings.Repeat("0123456789abcdef", 40<<10)}),
		pkg("app", apktest.File{Path: "usr/bin/app", Mode: 0o755, Content: "#!program\n"}, apktest.File{Path: "usr/bin/same", Type: apk.TypeHardlink, Link: "usr/bin/app"}),
		pkg("lib", apktest.File{Path: "usr/lib/lib.so.1", Content: "library"}),
	}
}

const packagesLine = "  packages: [base, merged, through, app, lib]\n"

// build builds an image with its kit, deletes everything that it was built from,
// and moves it.
func build(t *testing.T, more string, extra ...string) *built {
	t.Helper()
	work := t.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	write := func(name, content string) string {
		t.Helper()
		path := filepath.Join(work, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write("key.rsa.pub", string(key.PublicPEM()))
	for i := 0; i < len(extra); i += 2 {
		write(extra[i], extra[i+1])
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		apktest.Repository{Arch: arch, Key: key, Packages: specs()}.Write(t, filepath.Join(work, "repo"))
	}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(work, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	head := "contents:\n  repositories: [" + work + "/repo]\n  keyring: [" + work + "/key.rsa.pub]\n"
	if strings.Contains(more, "baseimage:") {
		under := filepath.Join(work, "under")
		cfg, err := config.Load(write("under.yaml", head+"  packages: [base, lib]\narchs: [x86_64]\n"), config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r, err := assemble.Build(t.Context(), ws, cfg, assemble.Options{Outputs: []string{under + "/"}})
		if err != nil {
			t.Fatal(err)
		}
		installed, err := image.ReadFile(t.Context(), r.Index.Images()[0], "usr/lib/apk/db/installed", "lib/apk/db/installed")
		if err == nil {
			err = os.MkdirAll(under+"-metadata/x86_64", 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		write("under-metadata/x86_64/APKINDEX", string(installed))
		more = strings.ReplaceAll(more, "UNDER", under)
	}
	text := head + packagesLine + more
	if !strings.Contains(more, "archs:") {
		text += "\narchs: [x86_64]\n"
	}
	cfg, err := config.Load(write("image.yaml", text), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(work, "out")
	r, err := assemble.Build(t.Context(), ws, cfg, assemble.Options{Kit: true, Outputs: []string{out + "/"}, Version: "v1.2.3", Author: "Organization: Test"})
	if err = errors.Join(err, ws.Close()); err != nil {
		t.Fatal(err)
	}
	b := &built{dir: filepath.Join(t.TempDir(), "elsewhere"), digest: r.Digest, result: r}
	if err := os.CopyFS(b.dir, os.DirFS(out)); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(work); err != nil {
		t.Fatal(err)
	}
	return b
}

func open(t testing.TB, dir string) *target.Target {
	t.Helper()
	ref, err := target.Parse(dir + "/")
	if err != nil {
		t.Fatal(err)
	}
	tg, err := target.Open(t.Context(), ref, target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return tg
}

func (b *built) run(t testing.TB, o rebuild.Options) *rebuild.Report {
	t.Helper()
	o.TempDir = t.TempDir()
	r, err := rebuild.Run(t.Context(), open(t, b.dir), o)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(o.TempDir); err != nil || len(left) != 0 {
		t.Errorf("left in the directory for temporary files: %v (%v)", left, err)
	}
	return r
}

func TestTheSameImage(t *testing.T) {
	for _, c := range []struct{ name, more, kinds string }{
		{"package", "layering: {strategy: package, budget: 20}\n", "verbatim verbatim verbatim rewritten verbatim top"},
		{"packed", "layering: {strategy: package, budget: 3}\n", "rewritten packed top"},
		{"origin", "layering: {strategy: origin, budget: 20}\n", "verbatim verbatim verbatim rewritten verbatim top"},
		{"single", "layering: {strategy: single}\n", "packed"},
		{"inline files", "files: [{path: /etc/motd, content: hello}, {path: /app/data, source: data.bin, sha256: c860502e3d06347355f804c16b7bdacfd623dd8d0201ee85a691d9d5321f6adb}]\n", ""},
		{"on a base image", "  baseimage: {image: UNDER, apkindex: UNDER-metadata}\n", "base base base verbatim rewritten verbatim top"},
		{"two architectures", "archs: [x86_64, aarch64]\nentrypoint: {command: /usr/bin/app}\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := build(t, c.more, "data.bin", strings.Repeat("data", 100<<10))
			again := filepath.Join(t.TempDir(), "again")
			archive := filepath.Join(t.TempDir(), "again.tar")
			r := b.run(t, rebuild.Options{Outputs: []string{again + "/", "oci-archive:" + archive}})
			if err := r.Err(); err != nil || r.Digest != b.digest || r.Subject != b.digest || r.Cairn != "v1.2.3" {
				t.Fatalf("%+v: %v, expected %s", r, err, b.digest)
			}
			for _, img := range r.Images {
				var kinds []string
				for i, l := range img.Layers {
					kinds = append(kinds, l.Kind)
					want := "made again, byte for byte"
					switch l.Kind {
					case "verbatim":
						want = "the package's data section"
					case "base":
						want = "the base image's"
					}
					if l.How != want || l.Difference != "" {
						t.Errorf("%s: layer %d: %+v", img.Arch, i, l)
					}
				}
				if got := strings.Join(kinds, " "); c.kinds != "" && got != c.kinds {
					t.Errorf("layers %s, expected %s", got, c.kinds)
				}
			}
			// Every blob of the image and of its kit is there again, and the image can
			// be made again from that.
			sameBlobs(t, b.dir, again)
			if r := (&built{dir: again}).run(t, rebuild.Options{}); r.Err() != nil || r.Digest != b.digest {
				t.Errorf("from what was made again: %v", r.Err())
			}
			if fi, err := os.Stat(archive); err != nil || fi.Size() == 0 {
				t.Errorf("%v, %v", fi, err)
			}
		})
	}
}

func sameBlobs(t *testing.T, a, b string) {
	t.Helper()
	list := func(dir string) (out []string) {
		err := fs.WalkDir(os.DirFS(filepath.Join(dir, "blobs")), ".", func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				raw, e := os.ReadFile(filepath.Join(dir, "blobs", p))
				sum := sha256.Sum256(raw)
				if hex.EncodeToString(sum[:]) != d.Name() {
					t.Errorf("%s: %s has another digest", dir, p)
				}
				out, err = append(out, p), e
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	if x, y := list(a), list(b); !slices.Equal(x, y) {
		t.Errorf("blobs %v\nexpected %v", y, x)
	}
}

// edit changes a layout: it replaces a blob and everything above that names it,
// as somebody can who writes to a registry.
type edit struct {
	t   *testing.T
	dir string
}

func (e edit) read(h v1.Hash) []byte {
	e.t.Helper()
	b, err := os.ReadFile(filepath.Join(e.dir, "blobs/sha256", h.Hex))
	if err != nil {
		e.t.Fatal(err)
	}
	return b
}

func (e edit) put(b []byte) v1.Descriptor {
	e.t.Helper()
	sum := sha256.Sum256(b)
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	if err := os.WriteFile(filepath.Join(e.dir, "blobs/sha256", h.Hex), b, 0o644); err != nil {
		e.t.Fatal(err)
	}
	return v1.Descriptor{Digest: h, Size: int64(len(b))}
}

func (e edit) json(v any) v1.Descriptor {
	e.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		e.t.Fatal(err)
	}
	return e.put(b)
}

// image lets change alter the only image, and makes index, kit and index.json fit.
func (e edit) image(change func(m *v1.Manifest, c *v1.ConfigFile)) {
	e.t.Helper()
	var top, index v1.IndexManifest
	decode(e.t, must(os.ReadFile(filepath.Join(e.dir, "index.json"))), &top)
	at := slices.IndexFunc(top.Manifests, func(d v1.Descriptor) bool { return d.ArtifactType == "" })
	decode(e.t, e.read(top.Manifests[at].Digest), &index)
	var m v1.Manifest
	var c v1.ConfigFile
	decode(e.t, e.read(index.Manifests[0].Digest), &m)
	decode(e.t, e.read(m.Config.Digest), &c)
	change(&m, &c)
	point(&m.Config, e.json(&c))
	point(&index.Manifests[0], e.json(&m))
	point(&top.Manifests[at], e.json(&index))
	for i := range top.Manifests {
		if d := &top.Manifests[i]; d.ArtifactType == kit.ArtifactType {
			var k v1.Manifest
			decode(e.t, e.read(d.Digest), &k)
			point(k.Subject, top.Manifests[at])
			point(d, e.json(&k))
		}
	}
	b, err := json.Marshal(&top)
	if err != nil {
		e.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(e.dir, "index.json"), b, 0o644); err != nil {
		e.t.Fatal(err)
	}
}

// layer replaces the tar of a layer.
func (e edit) layer(n func(m *v1.Manifest) int, change func(tar []byte) []byte) {
	e.t.Helper()
	e.image(func(m *v1.Manifest, c *v1.ConfigFile) {
		i := n(m)
		z, err := gzip.NewReader(bytes.NewReader(e.read(m.Layers[i].Digest)))
		if err != nil {
			e.t.Fatal(err)
		}
		var tar, out bytes.Buffer
		if _, err := tar.ReadFrom(z); err != nil {
			e.t.Fatal(err)
		}
		changed := change(tar.Bytes())
		w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
		w.Write(changed)
		w.Close()
		point(&m.Layers[i], e.put(out.Bytes()))
		sum := sha256.Sum256(changed)
		c.RootFS.DiffIDs[i] = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	})
}

func point(d *v1.Descriptor, to v1.Descriptor) { d.Digest, d.Size = to.Digest, to.Size }

func decode(t *testing.T, b []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func last(m *v1.Manifest) int { return len(m.Layers) - 1 }

func TestDifferences(t *testing.T) {
	appLayer := func(b *built) func(m *v1.Manifest) int {
		return func(m *v1.Manifest) int {
			return slices.IndexFunc(m.Layers, func(d v1.Descriptor) bool {
				for _, p := range b.result.Packages {
					if p.Receipt.Package.Name == "app" && d.Digest.Hex == p.Receipt.DataHash.Hex() {
						return true
					}
				}
				return false
			})
		}
	}
	for _, c := range []struct {
		name   string
		change func(e edit, b *built)
		want   []string
	}{
		{"a setting", func(e edit, _ *built) {
			e.image(func(_ *v1.Manifest, c *v1.ConfigFile) { c.Config.User = "0" })
		}, []string{`linux/amd64: configuration: at config.User: found "0", expected`, "linux/amd64: manifest: ", "image index: "}},
		{"an annotation", func(e edit, _ *built) {
			e.image(func(m *v1.Manifest, _ *v1.ConfigFile) { m.Annotations = map[string]string{"by": "me"} })
		}, []string{`linux/amd64: manifest: at annotations`}},
		{"a file in the top layer", func(e edit, _ *built) {
			e.layer(last, func(tar []byte) []byte { return bytes.Replace(tar, []byte("hello"), []byte("hallo"), 1) })
		}, []string{"linux/amd64: layer 5 (top): member etc/motd: content has sha256 "}},
		{"a file in a package", func(e edit, b *built) {
			e.layer(appLayer(b), func(tar []byte) []byte { return bytes.Replace(tar, []byte("#!program"), []byte("#!evildoe"), 1) })
		}, []string{"(verbatim, app-1-r0): found sha256:", ": member usr/bin/app: content has sha256 "}},
		{"a package's file is longer", func(e edit, b *built) {
			e.layer(appLayer(b), func(tar []byte) []byte { return append(tar[:len(tar)-1024:len(tar)-1024], tar[:2048]...) })
		}, []string{"(verbatim, app-1-r0): found sha256:", "expected the end of the archive"}},
		{"a package compressed otherwise", func(e edit, b *built) {
			e.layer(appLayer(b), func(tar []byte) []byte { return tar })
		}, []string{"the same files, compressed otherwise"}},
		{"a layer more", func(e edit, _ *built) {
			e.image(func(m *v1.Manifest, c *v1.ConfigFile) {
				m.Layers = append(m.Layers, m.Layers[0])
				c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, c.RootFS.DiffIDs[0])
			})
		}, []string{"found one more, expected 6 layers"}},
		{"a layer less", func(e edit, _ *built) {
			e.image(func(m *v1.Manifest, c *v1.ConfigFile) { m.Layers = m.Layers[:5] })
		}, []string{"linux/amd64: layer 5 (top): not in the image"}},
		{"a media type", func(e edit, _ *built) {
			e.image(func(m *v1.Manifest, c *v1.ConfigFile) { m.Layers[5].MediaType = "application/x-tar" })
		}, []string{`layer 5 (top): found media type "application/x-tar"`}},
		{"no gzip", func(e edit, _ *built) {
			e.image(func(m *v1.Manifest, c *v1.ConfigFile) { point(&m.Layers[5], e.put([]byte("no gzip"))) })
		}, []string{"layer 5 (top): not gzip"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := build(t, "files: [{path: /etc/motd, content: hello}]\n")
			c.change(edit{t, b.dir}, b)
			out := filepath.Join(t.TempDir(), "out")
			r := b.run(t, rebuild.Options{Outputs: []string{out + "/"}})
			err := r.Err()
			if !errors.Is(err, rebuild.ErrDiffers) {
				t.Fatalf("error %v", err)
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %v\nexpected %s", err, w)
				}
			}
			if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
				t.Error("an output was written all the same")
			}
		})
	}
}

// TestOtherCompression: the image's own top layer counts when what it inflates to
// is right.
func TestOtherCompression(t *testing.T) {
	b := build(t, "")
	edit{t, b.dir}.layer(last, func(tar []byte) []byte { return tar })
	out := filepath.Join(t.TempDir(), "out")
	r := b.run(t, rebuild.Options{Outputs: []string{out + "/"}})
	if err := r.Err(); err != nil || r.Digest != r.Subject || r.Digest == b.digest {
		t.Fatalf("%+v: %v", r, err)
	}
	layers := r.Images[0].Layers
	if how := layers[len(layers)-1].How; how != "made again: equal when inflated, compressed by another version" {
		t.Errorf("%s", how)
	}
}

// TestTamperedKits: every part of a kit is altered, with the digests above it made
// to fit, and without.
func TestTamperedKits(t *testing.T) {
	b := build(t, "files: [{path: /etc/motd, content: hello}]\n")
	var top v1.IndexManifest
	decode(t, must(os.ReadFile(filepath.Join(b.dir, "index.json"))), &top)
	at := slices.IndexFunc(top.Manifests, func(d v1.Descriptor) bool { return d.ArtifactType == kit.ArtifactType })
	var m v1.Manifest
	decode(t, edit{t, b.dir}.read(top.Manifests[at].Digest), &m)
	for i := range m.Layers {
		for _, fits := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/%v", strings.TrimPrefix(string(m.Layers[i].MediaType), "application/vnd.cairn.kit."), fits), func(t *testing.T) {
				e := edit{t, filepath.Join(t.TempDir(), "out")}
				if err := os.CopyFS(e.dir, os.DirFS(b.dir)); err != nil {
					t.Fatal(err)
				}
				raw := e.read(m.Layers[i].Digest)
				raw[len(raw)/2] ^= 1
				if !fits {
					if err := os.WriteFile(filepath.Join(e.dir, "blobs/sha256", m.Layers[i].Digest.Hex), raw, 0o644); err != nil {
						t.Fatal(err)
					}
				} else {
					var top v1.IndexManifest
					decode(t, must(os.ReadFile(filepath.Join(e.dir, "index.json"))), &top)
					k := m
					k.Layers = slices.Clone(m.Layers)
					point(&k.Layers[i], e.put(raw))
					point(&top.Manifests[at], e.json(&k))
					if err := os.WriteFile(filepath.Join(e.dir, "index.json"), must(json.Marshal(&top)), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				r, err := rebuild.Run(t.Context(), open(t, e.dir), rebuild.Options{})
				if err == nil {
					err = r.Err()
				}
				if err == nil {
					t.Error("nothing was found")
				}
			})
		}
	}
}

// TestSeveralKits: one that does not give the image is passed over.
func TestSeveralKits(t *testing.T) {
	b := build(t, "")
	e := edit{t, b.dir}
	var top v1.IndexManifest
	path := filepath.Join(e.dir, "index.json")
	decode(t, must(os.ReadFile(path)), &top)
	at := slices.IndexFunc(top.Manifests, func(d v1.Descriptor) bool { return d.ArtifactType == kit.ArtifactType })
	for n := range 4 { // whatever the order of the digests
		var m v1.Manifest
		decode(t, e.read(top.Manifests[at].Digest), &m)
		point(&m.Layers[0], e.put(fmt.Appendf(nil, "no settings %d", n)))
		d := top.Manifests[at]
		point(&d, e.json(&m))
		top.Manifests = append(top.Manifests, d)
	}
	if err := os.WriteFile(path, must(json.Marshal(&top)), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := b.run(t, rebuild.Options{}); r.Err() != nil || r.Kit != top.Manifests[at].Digest {
		t.Errorf("%+v", r)
	}
}

func TestNothingToGoBy(t *testing.T) {
	b := build(t, "")
	tg := open(t, b.dir)
	if _, err := rebuild.Run(t.Context(), tg, rebuild.Options{Outputs: []string{"x.zip:"}}); err == nil {
		t.Error("an output that is none was accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := rebuild.Run(ctx, tg, rebuild.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(b.dir, "blobs/sha256", b.result.KitDigest[len("sha256:"):])); err != nil {
		t.Fatal(err)
	}
	if _, err := rebuild.Run(t.Context(), open(t, b.dir), rebuild.Options{}); err == nil {
		t.Error("a kit that is not there was read")
	}
}
