package sbom_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/assemble/sbom"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

func Example() {
	hello := rootfs.Package{Receipt: &store.Receipt{Package: apk.Package{Name: "hello", Version: "1.0-r0", Arch: "x86_64", License: "MIT"}}}
	tree := &rootfs.Tree{
		Arch:     "x86_64",
		Packages: []rootfs.Package{hello},
		Entries: []rootfs.Entry{{
			Entry: apk.Entry{Path: "hello", Type: apk.TypeFile, Mode: 0o755, Size: 5, SHA256: sha256.Sum256([]byte("hello"))},
			Owner: rootfs.Owner{Kind: rootfs.OwnedByPackage, Name: "hello"},
		}},
	}
	g, err := sbom.New(sbom.Input{
		Tree: tree,
		Image: sbom.Image{
			Name: "hello", Arch: "amd64", Created: time.Unix(0, 0),
			Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)},
		},
		Author: "Example Org",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	owner := g.Owner("hello")
	fmt.Println(owner.PURL, owner.License, owner.Bytes)
	// Output: pkg:apk/hello@1.0-r0?arch=x86_64&origin=hello MIT 5
}
