package sign

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign/proof"
	"github.com/cairn-dev/cairn/sign/provenance"
)

// contents reads what is in images of a target.
type contents struct{ t *target.Target }

// Installed implements policy.Contents.
func (c contents) Installed(ctx context.Context, digest v1.Hash) ([]apk.InstalledPackage, error) {
	raw, mt, err := c.t.Manifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	r := &remoteImage{ctx: ctx, t: c.t, raw: raw, mt: mt}
	if err := json.Unmarshal(raw, &r.manifest); err != nil {
		return nil, fmt.Errorf("manifest %s: %w: %w", digest, target.ErrMalformed, err)
	}
	img, err := partial.CompressedToImage(r)
	if err != nil {
		return nil, err
	}
	return image.Installed(ctx, img)
}

// prover makes composition proofs of what a target names.
type prover struct{ t *target.Target }

// maxLocks bounds the locks that a proof is tried with.
const maxLocks = 4

// Prove implements policy.Prover. It is tried with each lock that provenance
// names, and without one where none does, which pins nothing.
func (p prover) Prove(ctx context.Context, _ v1.Hash, keys []repository.Key, predicates []json.RawMessage) ([]string, error) {
	var locks []apk.SHA256
	for _, raw := range predicates {
		l, err := provenance.Lock(raw)
		if err == nil && !slices.Contains(locks, l) && len(locks) < maxLocks {
			locks = append(locks, l)
		}
	}
	named := len(locks) > 0
	if !named {
		locks = []apk.SHA256{{}}
	}
	var unproved []string
	for _, l := range locks {
		report, err := proof.Prove(ctx, p.t, proof.Options{Keys: keys, Lock: l})
		if err != nil {
			return nil, err
		}
		if report.Verdict == proof.Proved {
			return nil, nil
		}
		for _, line := range slices.Concat(report.Problems, report.Unproved, report.NotPinned) {
			line, _, _ = strings.Cut(line, "\nhint: ") // about flags of prove
			unproved = append(unproved, line)
		}
	}
	if !named {
		unproved = append(unproved, "no accepted provenance names the lock")
	}
	return unproved, nil
}

// remoteImage is an image of a target in ggcr's smallest form. Nothing of it is
// read before it is asked for.
type remoteImage struct {
	ctx      context.Context // of the one call that the image lives for
	t        *target.Target
	raw      []byte
	mt       types.MediaType
	manifest v1.Manifest
}

// maxConfig bounds an image's configuration, in bytes.
const maxConfig = 8 << 20

func (r *remoteImage) RawManifest() ([]byte, error)        { return r.raw, nil }
func (r *remoteImage) MediaType() (types.MediaType, error) { return r.mt, nil }
func (r *remoteImage) RawConfigFile() ([]byte, error) {
	return r.t.Blob(r.ctx, r.manifest.Config, maxConfig)
}

func (r *remoteImage) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	for _, d := range r.manifest.Layers {
		if d.Digest == h {
			return remoteLayer{r, d}, nil
		}
	}
	return nil, fmt.Errorf("layer %s: %w", h, target.ErrNotFound)
}

type remoteLayer struct {
	image *remoteImage
	d     v1.Descriptor
}

func (l remoteLayer) Digest() (v1.Hash, error)            { return l.d.Digest, nil }
func (l remoteLayer) Size() (int64, error)                { return l.d.Size, nil }
func (l remoteLayer) MediaType() (types.MediaType, error) { return l.d.MediaType, nil }
func (l remoteLayer) Compressed() (io.ReadCloser, error)  { return l.image.t.OpenBlob(l.image.ctx, l.d) }
