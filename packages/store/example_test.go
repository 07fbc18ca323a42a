package store_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// A package file goes in once; after that its receipt says everything.
func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer st.Close()

	file, entry := apktest.BuildEntry(apktest.Spec{
		Package: apk.Package{Name: "hello", Version: "1.0-r0"},
		Files:   []apktest.File{{Path: "etc/motd", Content: "hello\n"}},
		Parents: true,
	})
	want := store.Expect{Name: "hello", Version: "1.0-r0", Checksum: entry.Checksum}
	if _, err := st.Ingest(context.Background(), bytes.NewReader(file), want); err != nil {
		log.Fatal(err)
	}

	receipt, err := st.Find(want)
	if err != nil {
		log.Fatal(err)
	}
	for i, e := range receipt.Entries {
		fmt.Printf("%c %o %s\n", e.Type, e.Mode, e.Path)
		if e.Type == apk.TypeFile {
			content, err := st.ReadFile(context.Background(), receipt, i)
			if err != nil {
				log.Fatal(err)
			}
			fmt.Printf("%s", content)
		}
	}
	fmt.Println("a layer as it is:", receipt.Verbatim == "")
	// Output:
	// d 755 etc
	// f 644 etc/motd
	// hello
	// a layer as it is: true
}
