package assemble_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
)

// A web server is built from the built-in demonstration repository, for two
// architectures, without a network.
func Example() {
	dir, err := os.MkdirTemp("", "cairn-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "hello.yaml")
	err = os.WriteFile(path, []byte(`
contents:
  repositories: [builtin://demo]
  keyring: [builtin://demo/cairn-demo.rsa.pub]
  packages: [hello-http]
entrypoint: {command: /usr/bin/hello-http}
archs: [x86_64, aarch64]
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
	defer ws.Close()
	res, err := assemble.Build(context.Background(), ws, cfg, assemble.Options{
		Tags:    []string{"hello:latest"},
		Outputs: []string{filepath.Join(dir, "hello.tar")},
	})
	if err != nil {
		panic(err)
	}
	for _, img := range res.Images {
		fmt.Println(img.Arch, img.Packages, img.Kinds)
	}
	// Output:
	// linux/amd64 2 map[top:1 verbatim:2]
	// linux/arm64 2 map[top:1 verbatim:2]
}
