package repository_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
)

// A repository is made, signed, offered under builtin://example, and read back.
func Example() {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	key := repository.SigningKey{Name: "me@example.org.rsa.pub", Private: private}
	var index bytes.Buffer
	err = repository.WriteIndex(&index, []*apk.Package{{Name: "hello", Version: "1.0-r0", Arch: "x86_64"}},
		repository.WriteOptions{Description: "example v1", Keys: []repository.SigningKey{key}})
	if err != nil {
		panic(err)
	}

	client, err := repository.NewClient(repository.Options{Builtins: map[string]fs.FS{
		"example": fstest.MapFS{"x86_64/APKINDEX.tar.gz": {Data: index.Bytes()}},
	}})
	if err != nil {
		panic(err)
	}
	src, err := repository.ParseSource("builtin://example", "x86_64")
	if err != nil {
		panic(err)
	}
	public, err := key.Public()
	if err != nil {
		panic(err)
	}
	src.Keyring = repository.NewKeyring(public)
	ix, err := client.Load(context.Background(), src)
	if err != nil {
		panic(err)
	}
	fmt.Println(ix.Description, ix.SignedBy.Name, ix.SignedBy.Algorithm)
	for _, i := range ix.Providers("hello") {
		fmt.Println(ix.Package(i).ID())
	}
	fmt.Println(ix.Nearest("helo", 3))
	// Output:
	// example v1 me@example.org.rsa.pub RSA256
	// hello-1.0-r0
	// [hello]
}
