package sign_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"

	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/keys"
)

// An image in an OCI layout is signed with a key, and with no other service.
func ExampleSign() {
	dir, err := os.MkdirTemp("", "sign")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	image := filepath.Join(dir, "image")
	p, err := layout.Write(image, empty.Index)
	if err != nil {
		log.Fatal(err)
	}
	if err := p.AppendImage(empty.Image); err != nil {
		log.Fatal(err)
	}

	pair, err := keys.Generate([]byte("secret"))
	if err != nil {
		log.Fatal(err)
	}
	if err := pair.Write(filepath.Join(dir, "release")); err != nil {
		log.Fatal(err)
	}
	environment := map[string]string{"CAIRN_PASSWORD": "secret"}
	result, err := sign.Sign(context.Background(), sign.SignOptions{
		Image: image,
		Key:   filepath.Join(dir, "release.key"),
		Keys:  keys.Options{LookupEnv: func(n string) (string, bool) { v, ok := environment[n]; return v, ok }},
		NoLog: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, o := range result.Outcomes {
		fmt.Println(o.Format, o.Kind, o.State)
	}
	// Output:
	// legacy signature written
	// bundle signature written
}
