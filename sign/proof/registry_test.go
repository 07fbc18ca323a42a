package proof_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/proof"
)

// counting notes which blobs are asked for, and how many bytes come back.
type counting struct {
	mu    sync.Mutex
	blobs map[string]bool
	bytes int64
}

func (c *counting) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, digest, ok := strings.Cut(r.URL.Path, "/blobs/"); ok && r.Method == http.MethodGet {
		c.blobs[digest] = true
	}
	c.bytes += resp.ContentLength
	return resp, nil
}

// TestProofFromARegistry proves an image of two architectures without reading
// the layers that are packages, and looks at the wire for that.
func TestProofFromARegistry(t *testing.T) {
	for _, api := range []bool{true, false} {
		name := "referrers API"
		if !api {
			name = "referrers tag"
		}
		t.Run(name, func(t *testing.T) { fromRegistry(t, api) })
	}
}

func fromRegistry(t *testing.T, api bool) {
	server := httptest.NewServer(registry.New(registry.WithReferrersSupport(api), registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	r, keys := buildBoth(t)
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/app:1"
	push(t, ref, r)

	wire := &counting{blobs: map[string]bool{}}
	report, err := sign.Prove(t.Context(), ref, sign.ProveOptions{Options: proof.Options{Keys: keys, Lock: lockOf(t, r)}, Target: target.Options{Transport: wire}})
	if err != nil || report.Verdict != proof.Proved || len(report.Images) != 2 {
		t.Fatalf("%+v, %v", report, err)
	}
	var verbatim int64
	for _, img := range r.Images {
		for _, l := range img.Layers {
			if l.Kind != layer.Verbatim {
				continue
			}
			verbatim += l.Size
			if wire.blobs[l.Digest.String()] {
				t.Errorf("layer %s, a package as it is, was downloaded", l.Digest)
			}
		}
	}
	if wire.bytes > 200<<10 || verbatim < 1<<20 {
		t.Errorf("%d bytes came over the wire, the packages have %d", wire.bytes, verbatim)
	}
}

// lockOf is the digest of the lock that an image was built from.
func lockOf(t testing.TB, r *assemble.Result) apk.SHA256 {
	t.Helper()
	b, err := r.Lock.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lock.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	return l.Cairn.Digest
}

// buildBoth builds an image whose packages are large.
func buildBoth(t *testing.T) (*assemble.Result, []repository.Key) {
	t.Helper()
	dir := t.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	noise := make([]byte, 0, 1<<20)
	for i := uint32(1); len(noise) < 1<<20; i = i*1664525 + 1013904223 {
		noise = append(noise, byte(i>>24))
	}
	for _, arch := range []string{"x86_64", "aarch64"} {
		apktest.Repository{Arch: arch, Key: key, Packages: []apktest.Spec{
			{Package: apk.Package{Name: "large", Version: "1-r0"}, Parents: true, Files: []apktest.File{{Path: "usr/bin/" + arch, Content: string(noise)}}},
		}}.Write(t, filepath.Join(dir, "repo"))
	}
	return buildWithKit(t, dir, key, []string{"large"}, "x86_64, aarch64")
}

// buildWithKit builds an image, with its kit, of packages from the repository in
// dir/repo.
func buildWithKit(t testing.TB, dir string, key *apktest.Key, names []string, archs string) (*assemble.Result, []repository.Key) {
	t.Helper()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	file("key.rsa.pub", string(key.PublicPEM()))
	cfg, err := config.Load(file("image.yaml", "contents: {repositories: ["+dir+"/repo], keyring: ["+dir+"/key.rsa.pub], packages: ["+
		strings.Join(names, ", ")+"]}\narchs: ["+archs+"]\n"), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	r, err := assemble.Build(t.Context(), ws, cfg, assemble.Options{Kit: true})
	if err != nil {
		t.Fatal(err)
	}
	pinned, err := repository.ParseKey("key.rsa.pub", key.PublicPEM())
	if err != nil {
		t.Fatal(err)
	}
	return r, []repository.Key{pinned}
}

// push puts an image and its kit into a registry.
func push(t testing.TB, to string, r *assemble.Result) {
	t.Helper()
	tag, err := name.ParseReference(to)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, r.Index); err != nil {
		t.Fatal(err)
	}
	ref, err := target.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	tg, err := target.Open(t.Context(), ref, target.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Kit.Artifact()
	if err != nil {
		t.Fatal(err)
	}
	out := target.Artifact{Manifest: a.Manifest, MediaType: a.Descriptor.MediaType}
	for _, b := range a.Blobs {
		out.Blobs = append(out.Blobs, b.Bytes)
	}
	if _, err := tg.Push(t.Context(), out); err != nil {
		t.Fatal(err)
	}
}

func TestNoSuchImage(t *testing.T) {
	if _, err := sign.Prove(t.Context(), filepath.Join(t.TempDir(), "nothing")+"/", sign.ProveOptions{}); err == nil {
		t.Error("a layout that is not there was proved")
	}
	if _, err := sign.Prove(t.Context(), "NOT A REFERENCE", sign.ProveOptions{}); err == nil {
		t.Error("what is no reference was proved")
	}
}
