package baseimage

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cairn-dev/cairn/packages/apk"
)

// ReadFile returns the content of the regular file that is entry i. It reads
// the file's layer up to it; callers compare the bytes with the entry's digest.
func (b *Base) ReadFile(ctx context.Context, i int) (_ []byte, err error) {
	e := &b.Entries[i]
	if e.Type != apk.TypeFile {
		return nil, fmt.Errorf("base image: /%s: expected a regular file", e.Path)
	}
	if content, ok := b.Contents[e.Path]; ok {
		return content, nil
	}
	if e.Size > maxContent {
		return nil, fmt.Errorf("base image: /%s: %d bytes: expected at most %d", e.Path, e.Size, maxContent)
	}
	layers, err := b.Image.Layers()
	if err != nil {
		return nil, err
	}
	at := b.places[i]
	rc, err := layers[at.layer].Uncompressed()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	tr := tar.NewReader(io.LimitReader(rc, maxInflated))
	for n := 0; ; n++ {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if _, err := tr.Next(); err != nil {
			return nil, fmt.Errorf("base image: /%s: layer %d: %w", e.Path, at.layer+1, err)
		}
		if n == at.member {
			return io.ReadAll(io.LimitReader(tr, e.Size))
		}
	}
}
