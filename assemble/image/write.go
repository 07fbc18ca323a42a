package image

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// WriteOptions say how an image is written.
type WriteOptions struct {
	// Tags name the image in the output; several are allowed, and none.
	Tags []Ref
	// Trusted tells the writers that the layer files were hashed by the
	// caller, in this process, and need not be hashed again: then a layout of
	// hard links costs nothing, and archives are copied by the kernel. Without
	// it every blob is checked against its digest on the way.
	Trusted bool
	// Engine is where a DockerEngine output goes; see [EngineFromEnvironment].
	Engine Engine
	// Artifacts refer to the image and are written beside it, into a layout or
	// an OCI archive. Other outputs cannot hold any.
	Artifacts []Artifact
}

// Artifact is an OCI artifact that refers to an image.
type Artifact struct {
	Descriptor v1.Descriptor // of its manifest
	// Blobs are the bytes of the manifest and of all that it names.
	Blobs [][]byte
}

// HoldsArtifacts tells whether an output of this kind can hold artifacts.
func (k Kind) HoldsArtifacts() bool { return k == Layout || k == OCIArchive }

// Written says what was written.
type Written struct {
	Digest   v1.Hash  // of the root manifest
	Size     int64    // of the file, or of all blobs of the layout, in bytes
	Tags     []string // as they can be given to an engine
	Transfer Transfer // only for layouts
	// Dropped is the number of signatures and other attachments that were in the
	// layout, of images that are there no more.
	Dropped  int
	Messages []string // what an engine said
}

// Write writes root, an image or an image index, to out. The previous output
// stays as it was when anything goes wrong.
func Write(ctx context.Context, out Output, root Root, o WriteOptions) (*Written, error) {
	if out.Ref != nil {
		o.Tags = append(slices.Clone(o.Tags), *out.Ref)
	}
	w, err := write(ctx, out, root, &o)
	if err != nil {
		return nil, fmt.Errorf("output %s: %w", strings.TrimPrefix(out.String(), string(Layout)+":"), err)
	}
	return w, nil
}

func write(ctx context.Context, out Output, root Root, o *WriteOptions) (*Written, error) {
	c, err := gather(root)
	if err != nil {
		return nil, err
	}
	names, err := c.name(uniqueRefs(o.Tags), out.Kind)
	if err != nil {
		return nil, err
	}
	if out.Kind.HoldsArtifacts() {
		c.addArtifacts(o.Artifacts)
		for _, a := range o.Artifacts {
			names.index = append(names.index, a.Descriptor)
		}
	} else if len(o.Artifacts) > 0 {
		return nil, fmt.Errorf("artifacts: a %s output cannot hold any", out.Kind)
	}
	w := &Written{Digest: c.root.Digest, Tags: names.tags()}
	switch out.Kind {
	case Layout:
		for i := range c.blobs {
			w.Size += c.blobs[i].size
		}
		w.Transfer, w.Dropped, err = writeLayout(ctx, out.Path, c, names, o.Trusted)
	case OCIArchive, DockerArchive:
		w.Size, err = writeArchive(ctx, out.Path, c, names, o.Trusted)
	case DockerEngine:
		w.Messages, err = o.Engine.load(ctx, root, uniqueRefs(o.Tags), o.Trusted)
	default:
		err = fmt.Errorf("kind %q is not known", string(out.Kind))
	}
	return w, err
}

func uniqueRefs(refs []Ref) []Ref {
	var out []Ref
	for _, r := range refs {
		if !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	return out
}

func writeArchive(ctx context.Context, path string, c *content, n *names, trusted bool) (int64, error) {
	f, err := createAtomic(resolve(path), 0o644)
	if err != nil {
		return 0, err
	}
	defer f.abort()
	size, err := c.writeTar(ctx, f.File, n, trusted)
	if err != nil {
		return 0, err
	}
	return size, f.commit()
}

// WriteArchive streams root to w as an archive of the given kind (OCIArchive
// or DockerArchive) and returns its size in bytes. When it returns an error, w
// has got an incomplete archive.
func WriteArchive(ctx context.Context, w io.Writer, kind Kind, root Root, o WriteOptions) (int64, error) {
	c, err := gather(root)
	if err != nil {
		return 0, err
	}
	n, err := c.name(uniqueRefs(o.Tags), kind)
	if err != nil {
		return 0, err
	}
	return c.writeTar(ctx, w, n, o.Trusted)
}

// created remembers directories that a write made, to take them back.
type created []string

func (c *created) mkdir(path string) error {
	made, err := mkdir(path, 0o755)
	if made {
		*c = append(*c, path)
	}
	return err
}

func (c created) takeBack() {
	for _, path := range slices.Backward(c) {
		if os.Remove(path) != nil {
			return
		}
	}
}
