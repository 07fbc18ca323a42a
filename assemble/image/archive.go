package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"
)

// tarWriter writes an archive whose bytes depend on its content alone: owner
// 0, fixed modes, time 0. It writes headers itself, by archive/tar, and lets
// contents go straight to the output, so that the kernel can copy them from
// file to file.
type tarWriter struct {
	w      io.Writer
	n      int64 // bytes written
	buffer bytes.Buffer
}

const tarBlock = 512

// Write counts what it passes on.
func (t *tarWriter) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	t.n += int64(n)
	return n, err
}

// ReadFrom keeps [os.File.ReadFrom] of the output within reach of io.Copy.
func (t *tarWriter) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(t.w, r)
	t.n += n
	return n, err
}

func (t *tarWriter) header(name string, size int64) error {
	h := &tar.Header{Name: name, Size: size, Mode: 0o644, Typeflag: tar.TypeReg, ModTime: time.Unix(0, 0)}
	if name[len(name)-1] == '/' {
		h.Typeflag, h.Mode = tar.TypeDir, 0o755
	}
	t.buffer.Reset()
	if err := tar.NewWriter(&t.buffer).WriteHeader(h); err != nil {
		return err
	}
	_, err := t.Write(t.buffer.Bytes())
	return err
}

// pad fills the last block of an entry of this size.
func (t *tarWriter) pad(size int64) error {
	_, err := t.Write(make([]byte, -size&(tarBlock-1)))
	return err
}

func (t *tarWriter) bytes(name string, b []byte) error {
	if err := t.header(name, int64(len(b))); err != nil {
		return err
	}
	if _, err := t.Write(b); err != nil {
		return err
	}
	return t.pad(int64(len(b)))
}

func (t *tarWriter) blob(ctx context.Context, b *blob, trusted bool) error {
	if err := t.header(blobName(b.digest), b.size); err != nil {
		return err
	}
	if err := b.copyTo(ctx, t, trusted); err != nil {
		return err
	}
	return t.pad(b.size)
}

// end writes the end-of-archive blocks.
func (t *tarWriter) end() error {
	_, err := t.Write(make([]byte, 2*tarBlock))
	return err
}

// writeTar writes a layout as an archive: first what tells readers where
// things are, then the blobs in the order of their digests.
func (c *content) writeTar(ctx context.Context, w io.Writer, n *names, trusted bool) (int64, error) {
	t := &tarWriter{w: w}
	if err := t.bytes("oci-layout", []byte(layoutMark)); err != nil {
		return 0, err
	}
	index, err := indexJSON(n.index)
	if err != nil {
		return 0, err
	}
	if err := t.bytes("index.json", index); err != nil {
		return 0, err
	}
	if n.docker != nil {
		var b bytes.Buffer
		if err := json.NewEncoder(&b).Encode(n.docker); err != nil {
			return 0, err
		}
		if err := t.bytes("manifest.json", b.Bytes()); err != nil {
			return 0, err
		}
	}
	for _, dir := range []string{"blobs/", "blobs/sha256/"} {
		if err := t.header(dir, 0); err != nil {
			return 0, err
		}
	}
	for i := range c.blobs {
		if err := t.blob(ctx, &c.blobs[i], trusted); err != nil {
			return 0, err
		}
	}
	err = t.end()
	return t.n, err
}
