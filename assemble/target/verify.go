package target

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func newHash() hash.Hash { return sha256.New() }

func hashOf(b []byte) v1.Hash {
	sum := sha256.Sum256(b)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// verifier passes on exactly left bytes and gives the end of file only when
// they have the digest.
type verifier struct {
	io.ReadCloser
	where  string
	left   int64
	digest v1.Hash
	hash   hash.Hash
	err    error // sticky
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	n, err := v.ReadCloser.Read(p)
	v.left -= int64(n)
	v.hash.Write(p[:n])
	switch {
	case v.left < 0:
		n, err = 0, v.fail("longer than its descriptor says")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		err = v.end()
	case err != nil:
		err = fmt.Errorf("%s: blob %s: %w: %w", v.where, v.digest, ErrUnreachable, err)
	}
	v.err = err
	return n, err
}

func (v *verifier) end() error {
	if v.left > 0 {
		return v.fail(fmt.Sprintf("%d bytes missing", v.left))
	}
	if got := hex.EncodeToString(v.hash.Sum(nil)); got != v.digest.Hex {
		return v.fail("found sha256:" + got)
	}
	return io.EOF
}

func (v *verifier) fail(what string) error {
	return fmt.Errorf("%s: blob %s: %s: %w", v.where, v.digest, what, ErrMismatch)
}

// readLimited reads at most limit bytes.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("more than %d bytes: %w", limit, ErrLimit)
	}
	return b, nil
}

// parseIndex reads an image index and looks at every descriptor in it.
func parseIndex(raw []byte) (*v1.IndexManifest, error) {
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	for i := range m.Manifests {
		if err := checkDescriptor(&m.Manifests[i]); err != nil {
			return nil, fmt.Errorf("manifests[%d]: %w", i, err)
		}
	}
	return m, nil
}

func checkDescriptor(d *v1.Descriptor) error {
	if d.Size < 0 {
		return fmt.Errorf("a size of %d bytes: %w", d.Size, ErrMalformed)
	}
	return checkDigest(d.Digest)
}

// header is what every kind of manifest has in common.
type header struct {
	MediaType    types.MediaType   `json:"mediaType"`
	ArtifactType string            `json:"artifactType"`
	Subject      *v1.Descriptor    `json:"subject"`
	Annotations  map[string]string `json:"annotations"`
	Config       *v1.Descriptor    `json:"config"`
	Layers       []v1.Descriptor   `json:"layers"`
	Manifests    []v1.Descriptor   `json:"manifests"`
}

func parseHeader(raw []byte) (*header, error) {
	var h header
	if err := json.Unmarshal(raw, &h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return &h, nil
}

// artifactType is the type by which referrers are listed: the configuration's
// media type where the manifest gives none (distribution specification 1.1,
// "Listing Referrers").
func (h *header) artifactType() string {
	if h.ArtifactType == "" && h.Config != nil {
		return string(h.Config.MediaType)
	}
	return h.ArtifactType
}

func nopCloser(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
