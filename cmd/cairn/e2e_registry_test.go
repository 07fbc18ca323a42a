//go:build e2e

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// `make e2e-registry` builds CNCF Distribution and cosign, and runs these: what goes
// over the wire between cairn and real registries, counted by a proxy in between.

// wire counts what passes a proxy.
type wire struct {
	mu     sync.Mutex
	up     int64            // bytes of blobs that were uploaded
	down   map[string]int64 // bytes of blobs that were read, by digest
	put    []string         // manifests that were written
	mounts int
}

func (w *wire) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.up, w.down, w.put, w.mounts = 0, map[string]int64{}, nil, 0
}

// counting puts a proxy that counts in front of a server.
func counting(t *testing.T, host string) (*wire, string) {
	t.Helper()
	w := &wire{down: map[string]int64{}}
	inner := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	inner.ErrorLog = log.New(io.Discard, "", 0)
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body := &countedReader{r: r.Body}
		r.Body = io.NopCloser(body)
		out := &sizedWriter{ResponseWriter: rw}
		inner.ServeHTTP(out, r)
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case strings.Contains(r.URL.Path, "/blobs/uploads/"):
			w.up += body.n
			if r.Method == http.MethodPost && r.URL.Query().Has("mount") && out.status == http.StatusCreated {
				w.mounts++
			}
		case r.Method == http.MethodPut:
			w.put = append(w.put, filepath.Base(r.URL.Path))
		case r.Method == http.MethodGet && out.status == http.StatusOK:
			w.down[filepath.Base(r.URL.Path)] += out.n
		}
	}))
	t.Cleanup(srv.Close)
	return w, strings.TrimPrefix(srv.URL, "http://")
}

type countedReader struct {
	r io.Reader
	n int64
}

func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

type sizedWriter struct {
	http.ResponseWriter
	n      int64
	status int
}

func (s *sizedWriter) WriteHeader(code int) { s.status = code; s.ResponseWriter.WriteHeader(code) }
func (s *sizedWriter) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	n, err := s.ResponseWriter.Write(b)
	s.n += int64(n)
	return n, err
}
func (s *sizedWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// depot is a repository of packages behind a counting proxy, and what is built of it.
type depot struct {
	t    *testing.T
	dir  string
	key  *apktest.Key
	wire *wire
	host string
}

func newDepot(t *testing.T) *depot {
	t.Helper()
	d := &depot{t: t, dir: t.TempDir(), key: apktest.NewKey("key.rsa.pub")}
	srv := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(d.dir, "repo"))))
	t.Cleanup(srv.Close)
	d.wire, d.host = counting(t, strings.TrimPrefix(srv.URL, "http://"))
	d.write("1-r0")
	d.file("key.rsa.pub", string(d.key.PublicPEM()))
	t.Setenv("CAIRN_CACHE_DIR", filepath.Join(d.dir, "cache"))
	t.Setenv("CAIRN_PASSWORD", "secret")
	mustCairn(t, "key", "generate", "--output", filepath.Join(d.dir, "k"))
	return d
}

// write writes the packages; one of them in the version given.
func (d *depot) write(version string) {
	d.t.Helper()
	noise := func(n int) string { // that no compression makes small
		random := rand.New(rand.NewPCG(1, uint64(n)))
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	pkg := func(name, version string, size int) apktest.Spec {
		return apktest.Spec{Package: apk.Package{Name: name, Version: version, Origin: name, BuildTime: 100, License: "MIT"}, Parents: true,
			Files: []apktest.File{{Path: "usr/share/" + name, Content: name + version + noise(size)}}}
	}
	base := pkg("base", "1-r0", 10_000)
	base.Files = append(base.Files, apktest.File{Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"}, apktest.File{Path: "etc/group", Content: "root:x:0:\n"})
	apktest.Repository{Arch: "x86_64", Key: d.key, Packages: []apktest.Spec{base, pkg("lib", "1-r0", 3_000_000), pkg("app", version, 400_000), pkg("tool", "1-r0", 200_000)}}.Write(d.t, filepath.Join(d.dir, "repo"))
	later := time.Now().Add(time.Duration(len(version)) * time.Minute) // HTTP knows times to the second
	if err := os.Chtimes(filepath.Join(d.dir, "repo/x86_64/APKINDEX.tar.gz"), later, later); err != nil {
		d.t.Fatal(err)
	}
}

func (d *depot) file(name, content string) string {
	d.t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		d.t.Fatal(err)
	}
	return path
}

func (d *depot) config(name, packages string) string {
	return d.file(name, "contents:\n  repositories: [http://"+d.host+"]\n  keyring: ["+d.dir+"/key.rsa.pub]\n  packages: ["+packages+"]\narchs: [x86_64]\n")
}

// parts are the blobs of an image in a registry, by digest: configuration and layers.
func parts(t *testing.T, ref string) map[string]int64 {
	t.Helper()
	r, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(r, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, d := range m.Manifests {
		img, err := index.Image(d.Digest)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := img.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range append([]v1.Descriptor{manifest.Config}, manifest.Layers...) {
			out[l.Digest.String()] = l.Size
		}
	}
	return out
}

func sum(of map[string]int64, without ...map[string]int64) (n int64) {
	for digest, size := range of {
		if !slices.ContainsFunc(without, func(o map[string]int64) bool { _, ok := o[digest]; return ok }) {
			n += size
		}
	}
	return n
}

// dataOf are the digests of packages' data sections that a lock names.
func dataOf(t *testing.T, lockfile string) map[string]bool {
	t.Helper()
	var l struct {
		Contents struct {
			Packages []struct{ Data struct{ Checksum string } }
		}
	}
	raw, err := os.ReadFile(lockfile)
	if err == nil {
		err = json.Unmarshal(raw, &l)
	}
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, p := range l.Contents.Packages {
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(p.Data.Checksum, "sha256-"))
		if err != nil {
			t.Fatal(err)
		}
		out[fmt.Sprintf("sha256:%x", b)] = true
	}
	return out
}

// Nothing is sent that the registry has: counted at the registry, in bytes.
func TestE2ERegistryBytes(t *testing.T) {
	for kind, host := range registries(t) {
		t.Run(kind, func(t *testing.T) {
			d := newDepot(t)
			w, host := counting(t, host)
			app, tool := d.config("app.yaml", "base, lib, app"), d.config("tool.yaml", "base, lib, tool")
			mustCairn(t, "lock", app)
			mustCairn(t, "publish", app, host+"/team/app:1")
			first := parts(t, host+"/team/app:1")
			if w.up != sum(first) {
				t.Errorf("the first image: %d bytes sent, expected %d", w.up, sum(first))
			}

			w.reset()
			mustCairn(t, "publish", app, host+"/team/app:1")
			if w.up != 0 || len(w.put) != 0 {
				t.Errorf("the same image: %d bytes sent, manifests %v", w.up, w.put)
			}

			w.reset()
			mustCairn(t, "publish", "--mount-from", host+"/team/app", tool, host+"/team/tool:1")
			second := parts(t, host+"/team/tool:1")
			if own := sum(second, first); w.up != own || own > 210_000 {
				t.Errorf("another image that shares packages: %d bytes sent, its own are %d", w.up, own)
			}
			if kind == "distribution" && w.mounts == 0 {
				t.Error("nothing was mounted")
			}

			d.write("1.1-r0")
			mustCairn(t, "lock", "--update=app", app)
			w.reset()
			mustCairn(t, "publish", app, host+"/team/app:2")
			bumped := parts(t, host+"/team/app:2")
			if own := sum(bumped, first); w.up != own || len(bumped) != len(first) {
				t.Errorf("a new version of one package: %d bytes sent, expected %d", w.up, own)
			}
			fresh := 0
			for digest := range bumped {
				if _, had := first[digest]; !had {
					fresh++
				}
			}
			if fresh != 3 { // the package, the top layer, the configuration
				t.Errorf("a new version of one package: %d blobs are new, expected 3", fresh)
			}
			t.Logf("first image %d bytes, another with shared packages %d, a new version %d", sum(first), sum(second, first), sum(bumped, first))
		})
	}
}

// A machine with an empty cache publishes without reading package data, counted at
// both servers, and makes the image again from the registry alone.
func TestE2ERegistryReceipts(t *testing.T) {
	for kind, host := range registries(t) {
		t.Run(kind, func(t *testing.T) {
			d := newDepot(t)
			w, host := counting(t, host)
			app := d.config("app.yaml", "base, lib, app")
			lockfile := filepath.Join(d.dir, "app.lock.json")
			mustCairn(t, "lock", app)
			digest := mustCairn(t, "publish", "--receipts", "--kit", lockfile, host+"/team/app:1")
			for n, change := range []string{"", "cmd: another\n"} {
				d.file("app.yaml", d.read("app.yaml")+change)
				t.Setenv("CAIRN_CACHE_DIR", filepath.Join(d.dir, fmt.Sprint("empty", n)))
				w.reset()
				d.wire.reset()
				got := mustCairn(t, "publish", "--from-receipts", lockfile, host+"/team/app:2")
				if change == "" && got != digest {
					t.Errorf("published %s, expected %s", got, digest)
				}
				if len(d.wire.down) != 0 {
					t.Errorf("read from the package repository: %v", d.wire.down)
				}
				for data := range dataOf(t, lockfile) {
					if n := w.down[data]; n != 0 {
						t.Errorf("%s: %d bytes read from the registry", data, n)
					}
				}
				if change == "" && w.up != 0 {
					t.Errorf("%d bytes sent", w.up)
				}
				t.Logf("read %d bytes from the registry, sent %d", sum(w.down), w.up)
			}
			// The repository is gone; the image is made again from what it carries.
			if err := os.RemoveAll(filepath.Join(d.dir, "repo")); err != nil {
				t.Fatal(err)
			}
			again := filepath.Join(t.TempDir(), "again")
			out := mustCairn(t, "rebuild", host+"/team/app:1", "-o", again+"/")
			if !strings.Contains(digest, strings.TrimSpace(out)) {
				t.Errorf("made %s again, expected %s", out, digest)
			}
			mustCairn(t, "prove", "--key", d.dir+"/key.rsa.pub", "--lockfile", lockfile, host+"/team/app:1")
		})
	}
}

func (d *depot) read(name string) string {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(d.dir, name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(b)
}

// A copy has every referrer and every signature; cosign verifies it, from each kind of
// registry to each other. There are few attestations: cosign 2.6.5 leaves the bundles
// that it reads open, and with a current go-containerregistry waits for ever for the
// fifth.
func TestE2ERegistryCopy(t *testing.T) {
	hosts := registries(t)
	d := newDepot(t)
	app := d.config("app.yaml", "base, app")
	public := filepath.Join(d.dir, "k.pub")
	root := d.file("root.json", `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`)
	for from := range hosts {
		source := hosts[from] + "/copy/app:1"
		digest := strings.TrimSpace(mustCairn(t, "publish", "--kit", "--key", filepath.Join(d.dir, "k.key"), "--no-log", "--attest", "sbom", app, source))
		digest = digest[strings.Index(digest, "@")+1:]
		for to := range hosts {
			destination := fmt.Sprintf("%s/from-%s/app:1", hosts[to], from)
			out := mustCairn(t, "copy", source, destination)
			if !strings.Contains(out, digest) {
				t.Errorf("%s to %s: copied %s, expected %s", from, to, out, digest)
			}
			if a, b := referrersOf(t, source, digest), referrersOf(t, destination, digest); len(a) < 2 || !slices.Equal(a, b) {
				t.Errorf("%s to %s: referrers %v, expected %v", from, to, b, a)
			}
			at := destination[:strings.LastIndexByte(destination, ':')] + "@" + digest
			for _, what := range [][]string{{"verify"}, {"verify-attestation", "--type", "spdxjson"}} {
				mustReference(t, "cosign2", append(what, "--key", public, "--insecure-ignore-tlog", "--trusted-root", root, at)...)
			}
			mustCairn(t, "prove", "--key", d.dir+"/key.rsa.pub", "--config", app, "--full", at)
		}
	}
}

// referrersOf are the digests of what refers to an image, by whatever way the registry
// has.
func referrersOf(t *testing.T, ref, digest string) (out []string) {
	t.Helper()
	r, err := name.NewDigest(ref[:strings.LastIndexByte(ref, ':')] + "@" + digest)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Referrers(r)
	if err != nil {
		t.Fatal(err)
	}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		out = append(out, d.Digest.String())
	}
	slices.Sort(out)
	return out
}

// Credentials are those of docker login: distribution asks for a name and password.
func TestE2ERegistryPassword(t *testing.T) {
	addr, dir := "127.0.0.1:"+freePort(t), t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	passwords := file("htpasswd", "user:$2a$05$nv25up6auxnCFUA8Zbcsye2teeugSseyLfk.bfbChae70aHheKhMe\n")
	config := file("config.yml", fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nlog: {level: error}\nauth: {htpasswd: {realm: test, path: %s}}\n", dir, addr, passwords))
	serve(t, addr, "registry", "serve", config)
	d := newDepot(t)
	app := d.config("app.yaml", "base, app")
	docker := t.TempDir()
	t.Setenv("DOCKER_CONFIG", docker)
	for password, want := range map[string]bool{"": false, "wrong": false, "secret": true} {
		auths := map[string]any{"auths": map[string]any{}}
		if password != "" {
			auths["auths"] = map[string]any{addr: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte("user:" + password))}}
		}
		b, err := json.Marshal(auths)
		if err == nil {
			err = os.WriteFile(filepath.Join(docker, "config.json"), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		var out, errs strings.Builder
		code := run(t.Context(), []string{"publish", app, addr + "/team/app:1"}, streams{strings.NewReader(""), &out, &errs})
		if want != (code == exitOK) || !want && (code != exitUnreachable || !regexp.MustCompile(`hint: .*docker login`).MatchString(errs.String())) {
			t.Errorf("password %q: exit code %d: %s", password, code, errs.String())
		}
	}
	if len(parts(t, addr+"/team/app:1")) == 0 {
		t.Error("nothing was published")
	}
}
