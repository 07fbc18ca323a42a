// Package receipts keeps packages' receipts, and what is known of layers that were
// made of several packages, in the repositories of a registry that hold images made
// of them. Another machine can then plan and publish an image without the packages:
// their data sections are there already, as layers.
//
// It trusts nothing of what it finds: a receipt counts only when a lock pins its
// digest, and a made layer only when it was read and compared. It does not build.
//
//	err := receipts.Push(ctx, t, list)                         // beside an image
//	r, err := receipts.Find(ctx, t, dataHash, receiptDigest)   // on another machine
//
// Formats: OCI artifacts that are found by tags, cairn-receipt-HEX with the SHA-256
// of a data section, and cairn-layer-HEX with that of a layer's key. docs/receipts.md
// describes them.
package receipts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// The artifacts' types, and what stands in their manifests.
const (
	TypeReceipts = "application/vnd.cairn.receipts.v1+json" // artifact: all receipts of a data section
	TypeReceipt  = "application/vnd.cairn.receipt.v1+gzip"  // a layer of it: one receipt
	TypeLayer    = "application/vnd.cairn.layer.v1+json"    // artifact: a made layer

	// AnnotationReceipt is on a receipt: its digest, "sha256:…".
	AnnotationReceipt = "dev.cairn.receipt"
)

// Limits on what is read.
const (
	maxManifest = 1 << 20
	maxStored   = 64 << 20 // bytes of a receipt as it is stored
	maxVariants = 32       // receipts of one data section
	parallel    = 8
	attempts    = 4 // where others write the same tags
)

// ErrNotFound: the repository has no such receipt or layer, or one that cannot be
// read.
var ErrNotFound = store.ErrNotFound

// Tag is where the receipts of a data section are.
func Tag(data apk.SHA256) string { return "cairn-receipt-" + data.Hex() }

// LayerTag is where a layer that was made from what the key names is; see
// [layer.Plan.Key].
func LayerTag(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "cairn-layer-" + hex.EncodeToString(sum[:])
}

// manifest is what is read of an artifact.
type manifest struct {
	ArtifactType string          `json:"artifactType"`
	Layers       []v1.Descriptor `json:"layers"`
}

// tagged reads the manifest with a tag.
func tagged(ctx context.Context, t *target.Target, tag, artifactType string) (*manifest, v1.Hash, error) {
	d, err := t.Tagged(ctx, tag)
	if errors.Is(err, target.ErrNotFound) {
		return nil, v1.Hash{}, fmt.Errorf("tag %s: %w", tag, ErrNotFound)
	}
	if err != nil {
		return nil, v1.Hash{}, err
	}
	raw, _, err := t.Manifest(ctx, d.Digest)
	if err != nil {
		return nil, d.Digest, err
	}
	var m manifest
	if len(raw) > maxManifest || json.Unmarshal(raw, &m) != nil || m.ArtifactType != artifactType {
		return nil, d.Digest, fmt.Errorf("tag %s: no %s: %w", tag, artifactType, ErrNotFound)
	}
	return &m, d.Digest, nil
}

// Push stores the receipts that a repository does not have yet. Others may do the
// same at the same time.
func Push(ctx context.Context, t *target.Target, list []*store.Receipt) (stored int, err error) {
	return again(func() (int, error) { return push(ctx, t, list) })
}

// again repeats what somebody else came between.
func again(do func() (int, error)) (n int, err error) {
	for range attempts {
		var more int
		more, err = do()
		n += more
		if !errors.Is(err, target.ErrChanged) {
			break
		}
	}
	return n, err
}

func push(ctx context.Context, t *target.Target, list []*store.Receipt) (stored int, err error) {
	groups := map[apk.SHA256][]*store.Receipt{}
	var order []apk.SHA256
	for _, r := range list {
		if !slices.ContainsFunc(groups[r.DataHash], func(o *store.Receipt) bool { return o.Digest() == r.Digest() }) {
			if len(groups[r.DataHash]) == 0 {
				order = append(order, r.DataHash)
			}
			groups[r.DataHash] = append(groups[r.DataHash], r)
		}
	}
	artifacts := make([]*target.Artifact, len(order))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i, data := range order {
		g.Go(func() (err error) {
			artifacts[i], err = artifact(gctx, t, groups[data])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	var missing []target.Artifact
	for _, a := range artifacts {
		if a != nil {
			missing = append(missing, *a)
		}
	}
	return t.PushAll(ctx, missing)
}

// artifact is the artifact of receipts of one data section, with those that are
// there already; nil when they all are.
func artifact(ctx context.Context, t *target.Target, list []*store.Receipt) (*target.Artifact, error) {
	tag := Tag(list[0].DataHash)
	m, before, err := tagged(ctx, t, tag, TypeReceipts)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	var there []v1.Descriptor
	if m != nil {
		there = m.Layers
	}
	var more []target.Layer
	for _, r := range list {
		digest := r.Digest().String()
		if slices.ContainsFunc(there, func(d v1.Descriptor) bool { return d.Annotations[AnnotationReceipt] == digest }) {
			continue
		}
		content, err := compressed(r.Marshal())
		if err != nil {
			return nil, err
		}
		more = append(more, target.Layer{MediaType: TypeReceipt, Annotations: map[string]string{AnnotationReceipt: digest}, Content: content})
	}
	if len(more) == 0 {
		return nil, nil
	}
	if n := len(there) + len(more) - maxVariants; n > 0 { // the oldest are forgotten
		there = there[min(n, len(there)):]
	}
	a, err := target.Standalone(TypeReceipts, nil, there, more...)
	a.Tag, a.Previous = tag, &before
	return &a, err
}

func compressed(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := gzip.NewWriterLevel(&out, gzip.DefaultCompression)
	if err != nil {
		return nil, err
	}
	_, err = z.Write(b)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// Find reads a receipt. It has the digest that was asked for, so that a lock that
// pins it vouches for everything in it.
func Find(ctx context.Context, t *target.Target, data, digest apk.SHA256) (*store.Receipt, error) {
	m, _, err := tagged(ctx, t, Tag(data), TypeReceipts)
	if err != nil {
		return nil, err
	}
	for _, d := range m.Layers {
		if d.MediaType != TypeReceipt || d.Annotations[AnnotationReceipt] != digest.String() {
			continue
		}
		raw, err := t.Blob(ctx, d, maxStored)
		if err != nil {
			return nil, err
		}
		r, err := parse(raw)
		if err != nil || r.Digest() != digest || r.DataHash != data {
			continue // whoever may push can write what he likes
		}
		return r, nil
	}
	return nil, fmt.Errorf("receipt %s: %w", digest, ErrNotFound)
}

// parse reads a stored receipt within the limits.
func parse(raw []byte) (*store.Receipt, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(z, store.MaxCarried+1))
	if err != nil {
		return nil, err
	}
	return store.ParseReceipt(b)
}

// PushLayers says of layers that a repository has what they were made from: those of
// outline that are no package as they are, by their keys.
func PushLayers(ctx context.Context, t *target.Target, plan *layer.Plan, layers []layer.Layer) (stored int, err error) {
	return again(func() (int, error) { return pushLayers(ctx, t, plan, layers) })
}

func pushLayers(ctx context.Context, t *target.Target, plan *layer.Plan, layers []layer.Layer) (stored int, err error) {
	var missing []target.Artifact
	for i := range layers {
		l := &layers[i]
		if l.Kind == layer.Verbatim || l.Kind == layer.Base {
			continue
		}
		key, err := plan.Key(i)
		if err != nil {
			return 0, err
		}
		if key == "" {
			continue
		}
		_, before, err := tagged(ctx, t, LayerTag(key), TypeLayer)
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrNotFound) {
			return 0, err
		}
		a, err := target.Standalone(TypeLayer, nil, []v1.Descriptor{{MediaType: types.OCILayer, Digest: l.Digest, Size: l.Size}})
		if err != nil {
			return 0, err
		}
		a.Tag, a.Previous = LayerTag(key), &before
		missing = append(missing, a)
	}
	return t.PushAll(ctx, missing)
}

// FindLayer returns the blob that a repository says is the layer with a key. Nothing
// of it is known to be true; see [layer.Plan.Remake].
func FindLayer(ctx context.Context, t *target.Target, key string) (v1.Descriptor, error) {
	m, _, err := tagged(ctx, t, LayerTag(key), TypeLayer)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if len(m.Layers) != 1 || m.Layers[0].MediaType != types.OCILayer {
		return v1.Descriptor{}, fmt.Errorf("tag %s: %d layers, expected one: %w", LayerTag(key), len(m.Layers), ErrNotFound)
	}
	return m.Layers[0], nil
}
