package proof

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// maxMember bounds a file that planning reads, in bytes.
const maxMember = 64 << 20

// source gives planning the receipts of a kit, and the few files that receipts
// do not hold from the image's own layers.
type source struct {
	*packages.Held
	p *prover
	// unreadable is the error of reading the image, as opposed to not finding.
	unreadable error
}

// ReadFile finds a file of a package: in the layer that is the package as it is,
// or else, by its digest, in any layer that is no package as it is. Such a file
// goes into something that planning makes, such as a bundle of certificates.
func (s *source) ReadFile(ctx context.Context, r *store.Receipt, member int) ([]byte, error) {
	e := &r.Entries[member]
	if b, ok := r.Contents[e.Path]; ok {
		return b, nil
	}
	if e.Type != apk.TypeFile || e.Size > maxMember {
		return nil, fmt.Errorf("package %s: %s: found a file of %d bytes, at most %d are read", r.ID(), e.Path, e.Size, maxMember)
	}
	for _, d := range s.candidates(r) {
		b, err := s.find(ctx, d, e)
		if err != nil {
			return nil, err
		}
		if b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("package %s: %s: in no layer of the image: %w", r.ID(), e.Path, store.ErrNotFound)
}

// candidates are the layers that the file can be in, the package's own first.
func (s *source) candidates(r *store.Receipt) []v1.Descriptor {
	var own, derived []v1.Descriptor
	verbatim := map[string]bool{}
	for i := range s.p.kit.Packages {
		verbatim[s.p.kit.Packages[i].Receipt.DataHash.Hex()] = true
	}
	seen := map[v1.Hash]bool{}
	for _, c := range s.p.children {
		for _, d := range c.manifest.Layers {
			switch {
			case seen[d.Digest]:
			case d.Digest.Hex == r.DataHash.Hex():
				own = append(own, d)
			case !verbatim[d.Digest.Hex]:
				derived = append(derived, d)
			}
			seen[d.Digest] = true
		}
	}
	return append(own, derived...)
}

// find looks for a file of the entry's size and digest in a layer; nil when it
// has none.
func (s *source) find(ctx context.Context, d v1.Descriptor, e *apk.Entry) (_ []byte, err error) {
	rc, err := s.p.img.OpenBlob(ctx, d)
	if err != nil {
		s.unreadable = err
		return nil, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	blob := &tee{r: rc}
	z, err := gzip.NewReader(blob)
	if err != nil {
		s.unreadable = blob.err
		return nil, blob.err
	}
	t := tar.NewReader(io.LimitReader(z, maxLayer))
	for {
		h, err := t.Next()
		if err != nil { // the end, or a layer that is refused when it is compared
			s.unreadable = blob.err
			return nil, blob.err
		}
		if h.Typeflag != tar.TypeReg || h.Size != e.Size {
			continue
		}
		b, err := io.ReadAll(t)
		if err != nil {
			s.unreadable = blob.err
			return nil, blob.err
		}
		if sha256.Sum256(b) == e.SHA256 {
			return b, nil
		}
	}
}
