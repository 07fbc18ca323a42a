package rebuild

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

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
	c *Carried
}

// ReadFiles finds files of a package: in the layer that is the package as it is,
// or else, by their digests, in any layer that is no package as it is. Such files
// go into something that planning makes, such as a bundle of certificates. A
// layer is gone through once for all of them.
func (s *source) ReadFiles(ctx context.Context, r *store.Receipt, members []int) ([][]byte, error) {
	found := map[apk.SHA256][]byte{}
	for _, m := range members {
		e := &r.Entries[m]
		if _, known := r.Contents[e.Path]; known {
			continue
		}
		if e.Type != apk.TypeFile || e.Size > maxMember {
			return nil, fmt.Errorf("package %s: %s: found a file of %d bytes, at most %d are read", r.ID(), e.Path, e.Size, maxMember)
		}
		found[e.SHA256] = nil
	}
	missing := len(found)
	for _, d := range s.candidates(r) {
		if missing == 0 {
			break
		}
		n, err := s.find(ctx, d, found, missing)
		if err != nil {
			return nil, err
		}
		missing -= n
	}
	out := make([][]byte, len(members))
	for i, m := range members {
		e := &r.Entries[m]
		var known bool
		if out[i], known = r.Contents[e.Path]; known {
			continue
		}
		if out[i] = found[e.SHA256]; out[i] == nil {
			return nil, fmt.Errorf("package %s: %s: in no layer of the image: %w", r.ID(), e.Path, store.ErrNotFound)
		}
	}
	return out, nil
}

// candidates are the layers that the file can be in, the package's own first.
func (s *source) candidates(r *store.Receipt) []v1.Descriptor {
	var own, derived []v1.Descriptor
	verbatim := map[string]bool{}
	for i := range s.c.Kit.Packages {
		verbatim[s.c.Kit.Packages[i].Receipt.DataHash.Hex()] = true
	}
	seen := map[v1.Hash]bool{}
	for _, child := range s.c.Children {
		for _, d := range child.Manifest.Layers {
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

// find looks in a layer for files by their digests, those that are nil in wanted,
// puts their contents there, and says how many it found of the missing ones.
func (s *source) find(ctx context.Context, d v1.Descriptor, wanted map[apk.SHA256][]byte, missing int) (n int, err error) {
	rc, err := s.c.img.OpenBlob(ctx, d)
	if err != nil {
		s.c.lost = err
		return 0, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	blob := &Tee{R: rc}
	z, err := gzip.NewReader(blob)
	if err != nil {
		s.c.lost = blob.Err
		return 0, blob.Err
	}
	t := tar.NewReader(s.c.budget.reader(z))
	for n < missing {
		h, err := t.Next()
		if err != nil { // the end, or a layer that is refused when it is compared
			s.c.lost = blob.Err
			return n, blob.Err
		}
		if h.Typeflag != tar.TypeReg || h.Size > maxMember || sparse(h) {
			continue
		}
		b, err := io.ReadAll(t)
		if err != nil {
			s.c.lost = blob.Err
			return n, blob.Err
		}
		if have, ok := wanted[sha256.Sum256(b)]; ok && have == nil {
			wanted[sha256.Sum256(b)] = b
			n++
		}
	}
	return n, nil
}

// sparse tells whether a member is more than what is stored of it: no package has
// such.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return false
}
