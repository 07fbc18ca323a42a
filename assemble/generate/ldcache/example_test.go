package ldcache_test

import (
	"fmt"

	"github.com/cairn-dev/cairn/assemble/generate/ldcache"
	"github.com/cairn-dev/cairn/packages/apk"
)

func ExampleBuild() {
	dirs, err := ldcache.Dirs(map[string][]byte{ldcache.ConfPath: []byte("/usr/local/lib\n")})
	if err != nil {
		fmt.Println(err)
		return
	}
	facts := &apk.ELF{Class: 2, Data: 1, Type: 3, Machine: 183, SONAME: "libz.so.1"}
	cache, err := ldcache.Build(ldcache.Input{Dirs: dirs, Libraries: []ldcache.Library{
		{Path: "usr/lib/libz.so.1.3", ELF: facts},
		{Path: "usr/lib/libz.so.1", Link: true, ELF: facts},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	entries, err := ldcache.Parse(cache)
	fmt.Println(entries, err)
	// Output: [{libz.so.1 /usr/lib/libz.so.1 2563 }] <nil>
}
