package image_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
)

// hello makes a layer with one file.
func hello() (layer.Layer, error) {
	var blob, inflated bytes.Buffer
	zw := gzip.NewWriter(&blob)
	tw := tar.NewWriter(io.MultiWriter(zw, &inflated))
	if err := tw.WriteHeader(&tar.Header{Name: "hello", Mode: 0o644, Size: 6}); err != nil {
		return layer.Layer{}, err
	}
	if _, err := io.WriteString(tw, "hello\n"); err != nil {
		return layer.Layer{}, err
	}
	if err := tw.Close(); err != nil {
		return layer.Layer{}, err
	}
	if err := zw.Close(); err != nil {
		return layer.Layer{}, err
	}
	l := layer.Layer{Kind: layer.Top, Blob: blob.Bytes(), Size: int64(blob.Len()), Inflated: int64(inflated.Len())}
	var err error
	if l.Digest, _, err = v1.SHA256(bytes.NewReader(blob.Bytes())); err != nil {
		return l, err
	}
	l.DiffID, _, err = v1.SHA256(&inflated)
	return l, err
}

func Example() {
	l, err := hello()
	if err != nil {
		fmt.Println(err)
		return
	}
	img, err := image.New(image.Input{Layers: []layer.Layer{l}, Comments: []string{"hello"}, Arch: "arm/v7", Created: time.Unix(0, 0)})
	if err != nil {
		fmt.Println(err)
		return
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	tag, err := image.ParseTag("hello")
	if err != nil {
		fmt.Println(err)
		return
	}
	out, err := image.ParseOutput(filepath.Join(dir, "hello.tar"))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := image.Write(context.Background(), out, img, image.WriteOptions{Tags: []image.Ref{tag}}); err != nil {
		fmt.Println(err)
		return
	}

	opened, err := image.Open(out.Path)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer opened.Close()
	files, err := image.Files(context.Background(), opened.Roots[0].Root.(v1.Image))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(opened.Kind, opened.Roots[0].Names, files[0].Path, files[0].Size)
	// Output: docker-archive [docker.io/library/hello:latest] hello 6
}
