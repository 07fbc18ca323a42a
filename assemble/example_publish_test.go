package assemble_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/registry"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
)

// demo is the configuration and the store of the examples.
func demo(dir string) (*packages.Workspace, *config.Config) {
	path := filepath.Join(dir, "hello.yaml")
	err := os.WriteFile(path, []byte(`
contents:
  repositories: [builtin://demo]
  keyring: [builtin://demo/cairn-demo.rsa.pub]
  packages: [hello-http]
archs: [x86_64]
`), 0o644)
	if err != nil {
		panic(err)
	}
	cfg, err := config.Load(path, config.Options{})
	if err != nil {
		panic(err)
	}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache"), Offline: true})
	if err != nil {
		panic(err)
	}
	return ws, cfg
}

// aRegistry is one in this process.
func aRegistry() (host string, stop func()) {
	srv := httptest.NewServer(registry.New(registry.WithReferrersSupport(true), registry.Logger(log.New(io.Discard, "", 0))))
	return strings.TrimPrefix(srv.URL, "http://"), srv.Close
}

// An image is published, and once more: nothing is sent that the registry has.
func ExamplePublish() {
	dir, err := os.MkdirTemp("", "cairn-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ws, cfg := demo(dir)
	defer ws.Close()
	host, stop := aRegistry()
	defer stop()
	for range 2 {
		_, published, err := assemble.Publish(context.Background(), ws, cfg, assemble.Options{Kit: true}, assemble.PublishOptions{
			References: []string{host + "/team/hello:1"},
		})
		if err != nil {
			panic(err)
		}
		t := published[0].Transfer
		fmt.Println(t.Uploaded.Blobs, "blobs sent,", t.Present.Blobs, "there,", t.Manifests, "manifests written")
	}
	// Output:
	// 4 blobs sent, 0 there, 2 manifests written
	// 0 blobs sent, 4 there, 0 manifests written
}

// A machine that has no packages makes the image from the receipts in the registry
// and the lock that pins them.
func ExamplePublish_fromReceipts() {
	dir, err := os.MkdirTemp("", "cairn-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	host, stop := aRegistry()
	defer stop()
	ctx := context.Background()
	ws, cfg := demo(dir)
	lock, err := assemble.Lock(ctx, ws, cfg, assemble.LockOptions{})
	if err != nil {
		panic(err)
	}
	o := assemble.PublishOptions{References: []string{host + "/team/hello:1"}, Receipts: true}
	first, _, err := assemble.Publish(ctx, ws, cfg, assemble.Options{Lock: lock}, o)
	if err != nil {
		panic(err)
	}
	ws.Close()

	empty, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "empty"), Offline: true})
	if err != nil {
		panic(err)
	}
	defer empty.Close()
	o.FromReceipts = true
	second, published, err := assemble.Publish(ctx, empty, cfg, assemble.Options{Lock: lock}, o)
	if err != nil {
		panic(err)
	}
	held, err := empty.Store().Info()
	if err != nil {
		panic(err)
	}
	fmt.Println(second.Digest == first.Digest, published[0].Transfer.Uploaded.Bytes, held.Data.Count)
	// Output: true 0 0
}

// An image is copied with everything that refers to it, here its rebuild kit.
func ExampleCopy() {
	dir, err := os.MkdirTemp("", "cairn-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ws, cfg := demo(dir)
	defer ws.Close()
	host, stop := aRegistry()
	defer stop()
	ctx := context.Background()
	from := host + "/team/hello:1"
	if _, _, err := assemble.Publish(ctx, ws, cfg, assemble.Options{Kit: true}, assemble.PublishOptions{References: []string{from}}); err != nil {
		panic(err)
	}
	copied, err := assemble.Copy(ctx, from, filepath.Join(dir, "copy")+"/", assemble.PublishOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(copied.Attached, "that refers to it")
	// Output: 1 that refers to it
}
