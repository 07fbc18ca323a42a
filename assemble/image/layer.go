package image

import (
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// fileLayer is a finished layer as a [v1.Layer]. Both digests are known, so
// nothing is read until somebody wants the bytes.
type fileLayer struct {
	layer.Layer
}

func (l *fileLayer) Digest() (v1.Hash, error)             { return l.Layer.Digest, nil }
func (l *fileLayer) DiffID() (v1.Hash, error)             { return l.Layer.DiffID, nil }
func (l *fileLayer) Size() (int64, error)                 { return l.Layer.Size, nil }
func (l *fileLayer) MediaType() (types.MediaType, error)  { return types.OCILayer, nil }
func (l *fileLayer) Uncompressed() (io.ReadCloser, error) { return inflate(l.Compressed) }

// Compressed opens the blob. The bytes are not checked here; those who copy
// them to an output check them.
func (l *fileLayer) Compressed() (io.ReadCloser, error) { return l.Open() }

// localPath names the file that holds exactly the blob, if there is one. The
// layout writer links it.
func (l *fileLayer) localPath() string { return l.Path }

// check says what is wrong with a layer as it was handed over.
func check(l *layer.Layer) error {
	switch {
	case l.Digest.Algorithm != "sha256" || len(l.Digest.Hex) != 64:
		return fmt.Errorf("digest %q: expected a sha256 digest", l.Digest)
	case l.DiffID.Algorithm != "sha256" || len(l.DiffID.Hex) != 64:
		return fmt.Errorf("diff ID %q: expected a sha256 digest", l.DiffID)
	case l.Path != "" && l.Blob != nil || l.Source != nil && (l.Path != "" || l.Blob != nil):
		return fmt.Errorf("its bytes are in more than one place: expected one of a file, memory and elsewhere")
	case l.Path == "" && l.Source == nil && int64(len(l.Blob)) != l.Size:
		return fmt.Errorf("%d bytes in memory: expected %d", len(l.Blob), l.Size)
	case l.Size <= 0:
		return fmt.Errorf("size %d: expected more than 0", l.Size)
	}
	return nil
}

// inflate opens a gzip stream over what open opens.
func inflate(open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	rc, err := open()
	if err != nil {
		return nil, err
	}
	zr, err := gzip.NewReader(rc)
	if err != nil {
		rc.Close()
		return nil, err
	}
	return &readCloser{Reader: zr, closers: []io.Closer{zr, rc}}, nil
}

// readCloser closes several things in order and keeps the first error.
type readCloser struct {
	io.Reader
	closers []io.Closer
}

func (r *readCloser) Close() error {
	var first error
	for _, c := range r.closers {
		if err := c.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
