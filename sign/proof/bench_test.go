package proof_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/proof"
)

// metered counts at the registry what goes out, by the digest of the blob; what is
// no blob counts under "".
type metered struct {
	http.Handler
	mu       sync.Mutex
	bytes    map[string]int64
	requests int64
}

func (m *metered) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, digest, _ := strings.Cut(r.URL.Path, "/blobs/")
	m.Handler.ServeHTTP(&meteredWriter{w, m, digest}, r)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests++
}

type meteredWriter struct {
	http.ResponseWriter
	m      *metered
	digest string
}

func (w *meteredWriter) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.m.bytes[w.digest] += int64(n)
	return n, err
}

// seventyFive builds an image of 75 layers, each package of 100 files and 256 KB.
func seventyFive(b *testing.B) (*assemble.Result, []repository.Key) {
	b.Helper()
	dir := b.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	var specs []apktest.Spec
	var names []string
	x := uint32(1)
	for i := range 74 {
		name := fmt.Sprintf("package-%02d", i)
		s := apktest.Spec{Package: apk.Package{Name: name, Version: "1-r0"}, Parents: true, Sign: key, Algorithm: "RSA256"}
		noise := make([]byte, 2600)
		for n := range 100 {
			for k := range noise {
				x = x*1664525 + 1013904223
				noise[k] = byte(x >> 24)
			}
			s.Files = append(s.Files, apktest.File{Path: fmt.Sprintf("usr/share/%s/file-%03d", name, n), Content: string(noise)})
		}
		specs, names = append(specs, s), append(names, name)
	}
	apktest.Repository{Arch: "x86_64", Key: key, Packages: specs}.Write(b, filepath.Join(dir, "repo"))
	return buildWithKit(b, dir, key, names, "x86_64")
}

// BenchmarkProve75FromARegistry is the proof of an image of 75 layers in a registry
// on loopback, from the first contact on. It looks at the registry's end of the
// connection that no byte of a package's layer is asked for.
func BenchmarkProve75FromARegistry(b *testing.B) {
	r, keys := seventyFive(b)
	meter := &metered{Handler: registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))), bytes: map[string]int64{}}
	server := httptest.NewServer(meter)
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/app:1"
	push(b, ref, r)
	o := sign.ProveOptions{Options: proof.Options{Keys: keys, Lock: lockOf(b, r)}}
	if n := len(r.Images[0].Layers); n != 75 {
		b.Fatalf("%d layers", n)
	}
	clear(meter.bytes)
	meter.requests = 0
	for b.Loop() {
		report, err := sign.Prove(b.Context(), ref, o)
		if err != nil || report.Verdict != proof.Proved {
			b.Fatalf("%+v, %v", report, err)
		}
	}
	var sum, packages int64
	for _, n := range meter.bytes {
		sum += n
	}
	for _, l := range r.Images[0].Layers {
		if l.Kind == layer.Verbatim {
			packages += meter.bytes[l.Digest.String()]
		}
	}
	if packages != 0 {
		b.Errorf("%d bytes of layers that are packages went out", packages)
	}
	b.ReportMetric(float64(packages), "package-bytes/op")
	b.ReportMetric(float64(sum)/float64(b.N), "bytes/op")
	b.ReportMetric(float64(meter.requests)/float64(b.N), "requests/op")
}
