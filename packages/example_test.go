package packages_test

import (
	"context"
	"fmt"
	"os"

	"github.com/cairn-dev/cairn/packages"
)

// A request is resolved against the built-in demonstration repository, for two
// architectures, and what the lock names is brought into the store.
func Example() {
	dir, err := os.MkdirTemp("", "cairn-example-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ws, err := packages.Open(packages.Options{CacheDir: dir, Offline: true})
	if err != nil {
		panic(err)
	}
	defer ws.Close()

	ctx := context.Background()
	lock, err := ws.Resolve(ctx, packages.Request{
		Packages:      []string{"hello-http"},
		Repositories:  []string{"builtin://demo"},
		Keyring:       []string{"builtin://demo/cairn-demo.rsa.pub"},
		Architectures: []string{"x86_64", "aarch64"},
	})
	if err != nil {
		panic(err)
	}
	receipts, err := ws.Fetch(ctx, lock, "aarch64", packages.FetchOptions{})
	if err != nil {
		panic(err)
	}
	for i, p := range lock.For("aarch64") {
		fmt.Println(p.Name, p.Cairn.Reason.Kind, len(receipts[i].Entries) > 0)
	}
	// Output:
	// cairn-baselayout depends true
	// hello-http requested true
}
