package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Limits on what is read into memory from an image that somebody else made.
const (
	maxManifest = 8 << 20 // index.json, manifests
	maxConfig   = 16 << 20
	maxEntry    = 256 << 20 // a file asked for by name, such as the installed db
)

// readLimited reads a local file of at most limit bytes.
func readLimited(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, limit)
}

func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return b, nil
}

// verifier passes on exactly size bytes and gives the end of file only when
// they have the digest.
type verifier struct {
	r      io.ReadCloser
	left   int64
	digest v1.Hash
	hash   hash.Hash
}

func verified(r io.ReadCloser, d *v1.Descriptor) (io.ReadCloser, error) {
	if d.Digest.Algorithm != "sha256" {
		r.Close()
		return nil, fmt.Errorf("blob %s: algorithm %q: expected sha256", d.Digest, d.Digest.Algorithm)
	}
	return &verifier{r: r, left: d.Size, digest: d.Digest, hash: sha256.New()}, nil
}

func (v *verifier) Read(p []byte) (int, error) {
	n, err := v.r.Read(p)
	v.left -= int64(n)
	v.hash.Write(p[:n])
	switch {
	case v.left < 0:
		return 0, fmt.Errorf("blob %s: larger than its descriptor says: %w", v.digest, ErrBlobChanged)
	case err == io.EOF && v.left > 0:
		return n, fmt.Errorf("blob %s: %d bytes missing: %w", v.digest, v.left, ErrBlobChanged)
	case err == io.EOF:
		if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.digest.Hex {
			return n, fmt.Errorf("blob %s: found sha256:%s: %w", v.digest, got, ErrBlobChanged)
		}
	}
	return n, err
}

func (v *verifier) Close() error { return v.r.Close() }
