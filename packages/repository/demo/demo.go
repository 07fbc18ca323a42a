// Package demo is the repository builtin://demo: a handful of signed packages
// embedded in the program, so that a first image can be built without a network
// and without trusting anybody. It holds a base layout, a CA bundle (from the
// Go x509roots module), the time zones (from the Go distribution) and a web
// server of one page, for x86_64 and aarch64.
//
// It is no distribution: nothing here is updated between releases of cairn.
//
//	client, err := repository.NewClient(repository.Options{
//		Builtins: map[string]fs.FS{"demo": demo.FS()},
//	})
//
// The packages are real ones, read and verified like any other's, and cairn's own
// builder makes them from the definitions in src, to the same bytes each time. `go
// generate` makes them anew, with a new key, whose private half is forgotten.
package demo

//go:generate go run ./gen

import (
	"embed"
	"io/fs"
)

//go:embed repo
var files embed.FS

// KeyName is the file name of the key that signs the repository.
const KeyName = "cairn-demo.rsa.pub"

// Architectures are those that the repository has packages for.
var Architectures = []string{"x86_64", "aarch64"}

// FS returns the repository's files: KeyName, and for each architecture
// ARCH/APKINDEX.tar.gz and the packages it lists.
func FS() fs.FS {
	sub, err := fs.Sub(files, "repo")
	if err != nil {
		panic("demo: " + err.Error()) // the embedded folder is there
	}
	return sub
}
