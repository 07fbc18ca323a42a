// Package layer decides how a planned tree travels: which packages are layers
// of their own as they are, which are rewritten or packed together, and what is
// left for the top layer; and it produces those layers.
//
// It does not know what an image is; [github.com/cairn-dev/cairn/assemble/image]
// puts layers into manifests.
//
//	plan, err := layer.New(tree, layer.Options{Strategy: layer.PerPackage, Budget: 100})
//	layers, err := plan.Write(ctx, st)
//
// The promise: unpacking the layers in order gives exactly the tree, path by
// path, in every OCI unpacker. Where unpackers disagree (a file below a path
// that is a symlink in a layer further down, directories that are only
// implied), the plan avoids the situation or says the outcome outright in the
// top layer.
package layer

import (
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Kind says how a layer's bytes come about.
type Kind string

// The kinds of layers.
const (
	Verbatim  Kind = "verbatim"  // a package's data section as it is
	Rewritten Kind = "rewritten" // a package's data section with some members left out or moved
	Packed    Kind = "packed"    // several packages' segments, gzip members concatenated
	Top       Kind = "top"       // everything else
	App       Kind = "app"       // an application: what one entry of app brings
	Base      Kind = "base"      // a layer of the base image, as it is; no plan writes one
)

// Layer is one finished layer of an image.
type Layer struct {
	Kind Kind
	// Packages are positions in the tree's Packages, in order; empty for Top and App.
	Packages []int
	// App is what the layer's entries have as [rootfs.Entry.App]; 0 unless Kind is App.
	App      int
	Digest   v1.Hash // of the compressed blob: the layer's digest in the manifest
	DiffID   v1.Hash // of the inflated tar
	Size     int64   // compressed, bytes
	Inflated int64   // bytes
	// MediaType is that of the blob; empty for the one that plans write, OCI's
	// "application/vnd.oci.image.layer.v1.tar+gzip".
	MediaType types.MediaType

	// Of these one is set.

	// Path is a local file that holds exactly the blob (in the store or its
	// segment cache) and may be hard-linked.
	Path string
	// Blob is the blob itself, for small layers that are stored nowhere.
	Blob []byte
	// Source opens a blob that is elsewhere, such as in a registry, each time it
	// is wanted. Its bytes have not been hashed.
	Source func() (io.ReadCloser, error)
}
