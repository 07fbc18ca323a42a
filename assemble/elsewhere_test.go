package assemble

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/receipts"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
)

// counted serves what another handler does, and counts what of it is read.
type counted struct {
	inner http.Handler
	mu    sync.Mutex
	got   map[string]int64 // bytes of answers to GET, by the end of the path
}

func (c *counted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := &sized{ResponseWriter: w}
	c.inner.ServeHTTP(n, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Method == http.MethodGet && n.n > 0 && n.status < 300 {
		c.got[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]] += n.n
	}
}

// taken returns what was read since the last call.
func (c *counted) taken() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = map[string]int64{}
	return got
}

type sized struct {
	http.ResponseWriter
	n      int64
	status int
}

func (s *sized) WriteHeader(code int) { s.status = code; s.ResponseWriter.WriteHeader(code) }
func (s *sized) Write(b []byte) (int, error) {
	s.n += int64(len(b))
	return s.ResponseWriter.Write(b)
}

func serveCounted(t *testing.T, h http.Handler) (*counted, string) {
	t.Helper()
	c := &counted{inner: h, got: map[string]int64{}}
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	return c, strings.TrimPrefix(srv.URL, "http://")
}

// sharing is a package repository and a registry, both on HTTP and counted.
type sharing struct {
	*fixture
	packages, registry *counted
	url, host          string
	options            PublishOptions
}

func newSharing(t *testing.T) *sharing {
	t.Helper()
	s := &sharing{fixture: newFixture(t)}
	s.fixture.packages(bothArches, sharedSpecs()...)
	s.packages, s.url = serveCounted(t, http.FileServer(http.Dir(s.dir+"/repo")))
	shelf, _ := newShelf(t)
	s.registry, s.host = serveCounted(t, shelf.inner)
	s.options = PublishOptions{Registry: target.Options{Attempts: 1, Wait: time.Millisecond}}
	return s
}

// sharedSpecs have a package that is rewritten, because a path of it leads through
// another's symlink.
func sharedSpecs() []apktest.Spec {
	large := strings.Repeat("0123456789abcdef", 40<<10)
	plain := func(name string, files ...apktest.File) apktest.Spec {
		return apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0", Origin: name, BuildTime: 100, License: "MIT"}, Files: files, Parents: true}
	}
	return []apktest.Spec{base(), lib(), app(),
		plain("merged", apktest.File{Path: "usr/lib64", Type: apk.TypeSymlink, Link: "lib"}),
		plain("through", apktest.File{Path: "usr/lib64/large", Content: large}),
	}
}

func (s *sharing) config(more string) *config.Config {
	s.t.Helper()
	return s.load("image.yaml", "contents:\n  repositories: [http://"+s.url+"]\n  keyring: ["+s.dir+"/key.rsa.pub]\n  packages: [base, app, merged, through]\narchs: [x86_64, aarch64]\n"+more)
}

// publish publishes with an empty store.
func (s *sharing) publish(cfg *config.Config, l *lock.Lock, from bool, names ...string) (*Result, []Published) {
	s.t.Helper()
	ws := s.open(s.t.TempDir())
	o := s.options
	for _, n := range names {
		o.References = append(o.References, s.host+"/"+n)
	}
	o.Receipts, o.FromReceipts = true, from
	r, list, err := Publish(s.t.Context(), ws, cfg, Options{Lock: l, Kit: true}, o)
	if err != nil {
		s.t.Fatal(err)
	}
	return r, list
}

// data are the data sections that were read from the registry.
func data(r *Result, got map[string]int64) (out []string) {
	for _, p := range r.Packages {
		if got["sha256:"+p.Receipt.DataHash.Hex()] > 0 {
			out = append(out, p.Receipt.Package.Name)
		}
	}
	return out
}

func apks(got map[string]int64) (out []string) {
	for name := range maps.Keys(got) {
		if strings.HasSuffix(name, ".apk") {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// With receipts in the registry an image is made, and published, without a byte of a
// package's data; it is the same image.
func TestPublishFromReceipts(t *testing.T) {
	for name, layering := range map[string]string{
		"default": "", "packed": "layering: {strategy: package, budget: 3}\n", "single": "layering: {strategy: single}\n", "origin": "layering: {strategy: origin, budget: 4}\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSharing(t)
			cfg := s.config(layering)
			l := s.lock(cfg, LockOptions{})
			first, list := s.publish(cfg, l, false, "team/app:1")
			if list[0].Receipts == 0 {
				t.Error("no receipt was stored")
			}
			s.packages.taken()
			s.registry.taken()
			again, list := s.publish(cfg, l, true, "team/app:1")
			if again.Digest != first.Digest || again.KitDigest != first.KitDigest {
				t.Errorf("image %s with kit %s, expected %s with %s", again.Digest, again.KitDigest, first.Digest, first.KitDigest)
			}
			if list[0].Transfer.Uploaded.Bytes != 0 || list[0].Transfer.Manifests != 0 || list[0].Receipts != 0 {
				t.Errorf("%+v", list[0])
			}
			if read, got := apks(s.packages.taken()), data(again, s.registry.taken()); len(read) > 0 || len(got) > 0 {
				t.Errorf("read %v from the package repository, %v from the registry", read, got)
			}
			// Another image of the same packages, in another repository: its layers are
			// mounted.
			other := s.config(layering + "cmd: other\n")
			s.options.MountFrom = []string{s.host + "/team/app"}
			want := s.build(other, Options{Lock: l})
			s.packages.taken()
			got, list := s.publish(other, l, true, "team/other:1")
			if got.Digest != want.Digest {
				t.Errorf("image %s, expected %s", got.Digest, want.Digest)
			}
			if list[0].Transfer.Mounted.Blobs+list[0].Transfer.Present.Blobs == 0 && layering != "layering: {strategy: single}\n" {
				t.Errorf("%+v", list[0])
			}
			read := s.registry.taken()
			if apks := apks(s.packages.taken()); len(apks) > 0 {
				t.Errorf("read %v from the package repository", apks)
			}
			// The end of a single layer is what the top layer would be: it is made anew, of
			// packages that are in no layer of their own.
			if d := data(got, read); len(d) > 0 {
				t.Errorf("read %v from the registry", d)
			}
		})
	}
}

// A new version of a package is all that is read, and it goes from the package
// repository to the registry without a stop.
func TestPublishFromReceiptsReadsWhatIsNew(t *testing.T) {
	s := newSharing(t)
	cfg := s.config("")
	s.publish(cfg, s.lock(cfg, LockOptions{}), false, "team/app:1")
	specs := sharedSpecs()
	specs[2].Package.Version = "9-r0"
	specs[2].Files = append(specs[2].Files, apktest.File{Path: "usr/share/new", Content: strings.Repeat("new", 1000)})
	s.fixture.packages(bothArches, specs...)
	for _, arch := range bothArches { // HTTP knows times to the second
		later := time.Now().Add(time.Minute)
		if err := os.Chtimes(filepath.Join(s.dir, "repo", arch, "APKINDEX.tar.gz"), later, later); err != nil {
			t.Fatal(err)
		}
	}
	l := s.lock(cfg, LockOptions{})
	s.packages.taken()
	s.registry.taken()
	ws := s.open(t.TempDir())
	o := s.options
	o.References, o.FromReceipts = []string{s.host + "/team/app:2"}, true
	r, list, err := Publish(t.Context(), ws, cfg, Options{Lock: l}, o)
	if err != nil {
		t.Fatal(err)
	}
	if want := s.build(cfg, Options{Lock: l}); r.Digest != want.Digest {
		t.Errorf("image %s, expected %s", r.Digest, want.Digest)
	}
	got := s.packages.taken()
	if read := apks(got); !slices.Equal(read, []string{"app-9-r0.apk"}) {
		t.Errorf("read %v", read)
	}
	if d := data(r, s.registry.taken()); len(d) > 0 {
		t.Errorf("read %v from the registry", d)
	}
	if list[0].Receipts == 0 || list[0].Transfer.Present.Blobs == 0 {
		t.Errorf("%+v", list[0])
	}
}

// Whoever may push to the repository can write receipts and layers as he likes: they
// do not count.
func TestForgedReceiptsDoNotCount(t *testing.T) {
	s := newSharing(t)
	cfg := s.config("layering: {strategy: package, budget: 3}\n")
	l := s.lock(cfg, LockOptions{})
	first, _ := s.publish(cfg, l, false, "team/app:1")
	x := at(t, s.host+"/team/app:1")
	forge := func(tag, artifactType string, there []v1.Descriptor, layers ...target.Layer) {
		t.Helper()
		a, err := target.Standalone(artifactType, nil, there, layers...)
		if err != nil {
			t.Fatal(err)
		}
		a.Tag = tag
		if _, err := x.Push(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	zipped := func(b []byte) []byte {
		var out bytes.Buffer
		z := gzip.NewWriter(&out)
		z.Write(b)
		z.Close()
		return out.Bytes()
	}
	for n, p := range first.Packages {
		r := *p.Receipt
		annotations := map[string]string{receipts.AnnotationReceipt: r.Digest().String()}
		content := [][]byte{[]byte("no gzip"), zipped([]byte("no receipt")), zipped(bytes.Replace(r.Marshal(), []byte("1-r0"), []byte("2-r0"), 1)), zipped(first.Packages[0].Receipt.Marshal())}[n%4]
		forge(receipts.Tag(r.DataHash), receipts.TypeReceipts, nil, target.Layer{MediaType: receipts.TypeReceipt, Annotations: annotations, Content: content})
	}
	for _, j := range first.jobs {
		for i := range j.written {
			key, err := j.layers.Key(i)
			if err != nil {
				t.Fatal(err)
			}
			if key == "" {
				continue
			}
			// Another layer, and the right one compressed in another way.
			rc, err := j.written[i].AsV1().Uncompressed()
			if err != nil {
				t.Fatal(err)
			}
			var tar bytes.Buffer
			if _, err := tar.ReadFrom(rc); err != nil {
				t.Fatal(err)
			}
			rc.Close()
			content := zipped(tar.Bytes())
			if i%2 == 0 {
				content = zipped(bytes.Repeat([]byte{0}, 1024))
			}
			forge(receipts.LayerTag(key), receipts.TypeLayer, nil, target.Layer{MediaType: "application/vnd.oci.image.layer.v1.tar+gzip", Content: content})
		}
	}
	s.packages.taken()
	again, _ := s.publish(cfg, l, true, "team/app:2")
	if again.Digest != first.Digest {
		t.Errorf("image %s, expected %s", again.Digest, first.Digest)
	}
	if read := apks(s.packages.taken()); len(read) == 0 {
		t.Error("no package was read")
	}
}

func TestFromReceiptsNeedsALock(t *testing.T) {
	s := newSharing(t)
	cfg := s.config("")
	o := s.options
	o.References, o.FromReceipts = []string{s.host + "/app:1"}, true
	if _, _, err := Publish(t.Context(), s.ws, cfg, Options{}, o); !errors.Is(err, ErrNoLock) {
		t.Errorf("without a lock: %v", err)
	}
	l := s.lock(cfg, LockOptions{})
	l.Contents.Packages[1].Cairn.Receipt = apk.SHA256{}
	if _, _, err := Publish(t.Context(), s.ws, cfg, Options{Lock: l}, o); !errors.Is(err, ErrNoLock) || !strings.Contains(fmt.Sprint(err), l.Contents.Packages[1].Name) {
		t.Errorf("with a lock that does not pin: %v", err)
	}
}
