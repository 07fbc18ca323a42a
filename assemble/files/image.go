package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// Options say what is looked at while an image is read.
type Options struct {
	// ELF asks for the ELF facts of regular files.
	ELF bool
	// Keep says which files' contents will be wanted, so that they need not be
	// read a second time; it may be nil.
	Keep func(path string, size int64) bool
}

// maxKept bounds the contents that are kept on the first reading, in bytes;
// others are read again when they are asked for.
const maxKept = 64 << 20

// OfImage reads every layer of an image, within limits.
func OfImage(ctx context.Context, img *subject.Image, o Options) (*Tree, error) {
	layers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	r := &reader{layers: layers, options: o, where: map[apk.SHA256]member{}, at: map[member]apk.SHA256{}, kept: map[apk.SHA256][]byte{}, elf: map[apk.SHA256]*apk.ELF{}}
	var listings []*image.Listing
	for i, l := range layers {
		r.layer = i
		listing, err := image.ListWith(ctx, l, nil, r)
		if err != nil {
			return nil, err
		}
		listings = append(listings, listing)
	}
	placed, err := image.Unpack(listings)
	if err != nil {
		return nil, err
	}
	nodes := make([]*Node, 0, len(placed))
	for _, p := range placed {
		n := &Node{Entry: p.Entry, HardLink: p.HardLink, Layer: p.Layer}
		if n.Type == apk.TypeFile {
			n.ELF = r.elf[n.SHA256]
		}
		nodes = append(nodes, n)
	}
	t := newTree(img.PlatformText(), nodes)
	t.kept, t.read, t.source = r.kept, r.read, r
	return t, t.database(ctx)
}

// database reads the installed database and whose each path is.
func (t *Tree) database(ctx context.Context) error {
	for _, name := range subject.Databases {
		n := t.nodes[name]
		if n == nil || n.Type != apk.TypeFile {
			continue
		}
		b, err := t.Read(ctx, n)
		if err != nil {
			return err
		}
		if t.Installed, err = apk.ParseInstalled(bytes.NewReader(b[0])); err != nil {
			return fmt.Errorf("%s: %w", n.Name(), err)
		}
		t.Database = true
		owners := subject.Owners(t.Installed)
		for _, n := range t.list {
			n.Package = owners[n.Path]
		}
		return nil
	}
	return nil
}

// member is where a content lies.
type member struct {
	layer int
	path  string
}

// reader watches the layers of an image go by, and reads them again.
type reader struct {
	layers  []v1.Layer
	options Options
	where   map[apk.SHA256]member
	at      map[member]apk.SHA256
	kept    map[apk.SHA256][]byte
	elf     map[apk.SHA256]*apk.ELF
	total   int64

	layer   int
	path    string
	content *bytes.Buffer // nil: not kept
	facts   store.ELFReader
}

// Begin is for [image.Watcher].
func (r *reader) Begin(path string, size int64) io.Writer {
	r.path, r.content = path, nil
	var out []io.Writer
	wanted := subject.IsDatabase(path) || r.options.Keep != nil && r.options.Keep(path, size)
	if wanted && r.total+size <= maxKept {
		r.total += size
		r.content = &bytes.Buffer{}
		out = append(out, r.content)
	}
	if r.options.ELF {
		r.facts.Begin(size)
		out = append(out, &r.facts)
	}
	return io.MultiWriter(out...)
}

// End is for [image.Watcher].
func (r *reader) End(e *apk.Entry) {
	m := member{r.layer, r.path}
	r.where[e.SHA256], r.at[m] = m, e.SHA256
	if r.content != nil {
		r.kept[e.SHA256] = r.content.Bytes()
	}
	if r.options.ELF {
		if f := r.facts.Facts(); f != nil {
			r.elf[e.SHA256] = f
		}
	}
}

// read reads the layers again that have the contents.
func (r *reader) read(ctx context.Context, nodes []*Node) ([][]byte, error) {
	found := map[apk.SHA256][]byte{}
	for i, l := range r.layers {
		wanted := map[string]bool{}
		for _, n := range nodes {
			if m, ok := r.where[n.SHA256]; ok && m.layer == i && found[n.SHA256] == nil {
				wanted[m.path] = true
			}
		}
		if len(wanted) == 0 {
			continue
		}
		listing, err := image.List(ctx, l, func(path string) bool { return wanted[path] })
		if err != nil {
			return nil, err
		}
		for _, b := range listing.Kept {
			found[sha256.Sum256(b)] = b
		}
	}
	out := make([][]byte, len(nodes))
	for i, n := range nodes {
		b, ok := found[n.SHA256]
		if !ok {
			return nil, fmt.Errorf("%s: %w: not found again in its layer", n.Name(), ErrUnread)
		}
		out[i] = slices.Clip(b)
	}
	return out, nil
}
