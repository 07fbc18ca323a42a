package proof

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// world is a repository, a store and an image built from it.
type world struct {
	t     testing.TB
	dir   string
	ws    *packages.Workspace
	key   *apktest.Key
	specs []apktest.Spec
	// under is the directory of a base image, compat is Options.Compat.
	under, compat string
}

func newWorld(t testing.TB, specs ...apktest.Spec) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), key: apktest.NewKey("key.rsa.pub"), specs: specs}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(w.dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ws.Close(); err != nil {
			t.Error(err)
		}
	})
	w.ws = ws
	w.write("key.rsa.pub", string(w.key.PublicPEM()))
	if specs == nil {
		w.specs = []apktest.Spec{w.base(), app("1-r0", "program\n"), pkg("empty", "1-r0")}
	}
	apktest.Repository{Arch: "x86_64", Key: w.key, Packages: w.specs}.Write(t, filepath.Join(w.dir, "repo"))
	return w
}

func pkg(name, version string, files ...apktest.File) apktest.Spec {
	return apktest.Spec{Package: apk.Package{Name: name, Version: version, BuildTime: 100, License: "MIT"}, Files: files, Parents: true}
}

// base is signed itself, the others only by the index.
func (w *world) base() apktest.Spec {
	s := pkg("base", "1-r0",
		apktest.File{Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"},
		apktest.File{Path: "etc/group", Content: "root:x:0:\n"},
		apktest.File{Path: "etc/os-release", Content: "ID=test\n"})
	s.Sign, s.Algorithm = w.key, "RSA256"
	return s
}

func app(version, content string) apktest.Spec {
	return pkg("app", version, apktest.File{Path: "usr/bin/app", Mode: 0o755, Content: strings.Repeat(content, 200)})
}

func (w *world) write(name, content string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		w.t.Fatal(err)
	}
	return path
}

func (w *world) pinned() []repository.Key {
	w.t.Helper()
	k, err := repository.ParseKey("pinned.pub", w.key.PublicPEM())
	if err != nil {
		w.t.Fatal(err)
	}
	return []repository.Key{k}
}

// trusted is everything that makes an honest image a proved one: the key, and
// the lock.
func (w *world) trusted(f *forger) Options {
	w.t.Helper()
	return Options{Keys: w.pinned(), Lock: digestOf(w.t, f)}
}

// fetch reads packages from the world's repository.
func (w *world) fetch(ctx context.Context, l *lock.Lock, arch string) ([]*store.Receipt, error) {
	return w.ws.Fetch(ctx, l, arch, packages.FetchOptions{})
}

// build builds an image with its kit into a layout.
func (w *world) build(more string) (*assemble.Result, string) {
	w.t.Helper()
	var names []string
	for _, s := range w.specs {
		names = append(names, s.Package.Name)
	}
	if w.under != "" {
		more = "  baseimage: {image: " + w.under + ", apkindex: " + w.under + "-metadata}\n" + more
	}
	cfg := w.load("image.yaml", strings.Join(names, ", "), more)
	out := filepath.Join(w.t.TempDir(), "out")
	r, err := assemble.Build(w.t.Context(), w.ws, cfg, assemble.Options{Kit: true, Compat: w.compat, Outputs: []string{out + "/"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return r, out
}

// load writes a configuration; more begins within contents when it is indented.
func (w *world) load(name, packages, more string) *config.Config {
	w.t.Helper()
	entrypoint := "entrypoint: {command: /usr/bin/app}\n"
	if w.under != "" {
		entrypoint = "" // the base image has it
	}
	path := w.write(name, "archs: [x86_64]\n"+entrypoint+"contents:\n  repositories: ["+w.dir+"/repo]\n  keyring: ["+w.dir+"/key.rsa.pub]\n  packages: ["+
		packages+"]\n"+more)
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	return cfg
}

// onBase builds a base image of the package base, and puts the images that are
// built from now on on top of it.
func (w *world) onBase() v1.Hash {
	w.t.Helper()
	under := filepath.Join(w.dir, "under")
	r, err := assemble.Build(w.t.Context(), w.ws, w.load("under.yaml", "base", ""), assemble.Options{Outputs: []string{under + "/"}})
	if err != nil {
		w.t.Fatal(err)
	}
	img := r.Index.Images()[0]
	installed, err := image.ReadFile(w.t.Context(), img, "usr/lib/apk/db/installed", "lib/apk/db/installed")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll(under+"-metadata/x86_64", 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.write("under-metadata/x86_64/APKINDEX", string(installed))
	w.under = under
	digest, err := img.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	return digest
}

// forger holds an image in memory, changes it and makes all digests fit again,
// as somebody can who controls the registry.
type forger struct {
	t      testing.TB
	blobs  map[v1.Hash][]byte
	index  v1.IndexManifest
	image  v1.Manifest
	config v1.ConfigFile
	kit    *kit.Kit
	// noKit, sameKit: the kit is left out, or is not made to fit the image.
	noKit, sameKit bool
	sizes          int64 // what the index says too much of the image's size
	key            *apktest.Key
	read           map[v1.Hash]int64 // bytes by blob
	sealed         v1.Descriptor
	referrers      []v1.Descriptor
}

func (w *world) forger(more string) *forger {
	w.t.Helper()
	r, out := w.build(more)
	f := &forger{t: w.t, key: w.key, blobs: map[v1.Hash][]byte{}, kit: r.Kit, read: map[v1.Hash]int64{}}
	names, err := os.ReadDir(filepath.Join(out, "blobs/sha256"))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, n := range names {
		b, err := os.ReadFile(filepath.Join(out, "blobs/sha256", n.Name()))
		if err != nil {
			w.t.Fatal(err)
		}
		f.put(b)
	}
	f.decode(r.Digest, &f.index)
	f.decode(f.index.Manifests[0].Digest, &f.image)
	f.decode(f.image.Config.Digest, &f.config)
	return f
}

func (f *forger) decode(h v1.Hash, v any) {
	f.t.Helper()
	if err := json.Unmarshal(f.blobs[h], v); err != nil {
		f.t.Fatal(err)
	}
}

func (f *forger) put(b []byte) v1.Descriptor {
	sum := sha256.Sum256(b)
	h := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
	f.blobs[h] = b
	return v1.Descriptor{Digest: h, Size: int64(len(b))}
}

func (f *forger) encode(v any) v1.Descriptor {
	f.t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.put(b)
}

// point makes a descriptor point to other bytes.
func point(d *v1.Descriptor, to v1.Descriptor) { d.Digest, d.Size = to.Digest, to.Size }

// seal makes everything above the layers fit.
func (f *forger) seal() *forger {
	f.t.Helper()
	point(&f.image.Config, f.encode(&f.config))
	point(&f.index.Manifests[0], f.encode(&f.image))
	f.index.Manifests[0].Size += f.sizes
	f.sealed = f.encode(&f.index)
	f.sealed.MediaType = types.OCIImageIndex
	if f.noKit {
		return f
	}
	if !f.sameKit {
		f.kit.Subject = f.sealed
	}
	a, err := f.kit.Artifact()
	if err != nil {
		f.t.Fatal(err)
	}
	f.put(a.Manifest)
	for _, b := range a.Blobs {
		f.put(b.Bytes)
	}
	f.referrers = append(f.referrers, a.Descriptor)
	return f
}

// layer replaces the content of a layer, with the right digests everywhere.
func (f *forger) layer(i int, tar []byte) {
	f.t.Helper()
	point(&f.image.Layers[i], f.put(zipped(f.t, tar)))
	f.config.RootFS.DiffIDs[i] = f.put(tar).Digest
}

// tar is the inflated content of a layer.
func (f *forger) tar(i int) []byte {
	f.t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(f.blobs[f.image.Layers[i].Digest]))
	if err != nil {
		f.t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

// layerOf is the position of the layer that is a package as it is.
func (f *forger) layerOf(name string) int {
	f.t.Helper()
	i := slices.IndexFunc(f.image.Layers, func(d v1.Descriptor) bool { return d.Digest.Hex == f.pkg(name).Receipt.DataHash.Hex() })
	if i < 0 {
		f.t.Fatalf("no layer is package %s", name)
	}
	return i
}

func (f *forger) pkg(name string) *kit.Package {
	f.t.Helper()
	for i := range f.kit.Packages {
		if f.kit.Packages[i].Receipt.Package.Name == name {
			return &f.kit.Packages[i]
		}
	}
	f.t.Fatalf("no package %s", name)
	return nil
}

func (f *forger) top() int { return len(f.image.Layers) - 1 }

// What follows makes a forger an Image.

func (f *forger) Resolve(context.Context) (v1.Descriptor, error) { return f.sealed, nil }

func (f *forger) Manifest(_ context.Context, h v1.Hash) ([]byte, types.MediaType, error) {
	b, ok := f.blobs[h]
	if !ok {
		return nil, "", fmt.Errorf("%s: %w", h, fs.ErrNotExist)
	}
	return b, "", nil
}

var errLimit = errors.New("over the limit")

func (f *forger) Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, errLimit
	}
	rc, err := f.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	return io.ReadAll(rc)
}

func (f *forger) OpenBlob(_ context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	b, ok := f.blobs[d.Digest]
	if !ok || int64(len(b)) != d.Size {
		return nil, fmt.Errorf("blob %s: %w", d.Digest, fs.ErrNotExist)
	}
	f.read[d.Digest] += int64(len(b))
	return io.NopCloser(bytes.NewReader(b)), nil
}

func (f *forger) Referrers(_ context.Context, h v1.Hash) ([]v1.Descriptor, error) {
	if h != f.sealed.Digest {
		return nil, nil
	}
	return f.referrers, nil
}

var digests = regexp.MustCompile(`[0-9a-f]{64}`)

// plain replaces the digests in a text, which no test can spell.
func plain(s string) string { return digests.ReplaceAllString(s, "…") }
