package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

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
	listings, found := make([]*image.Listing, len(layers)), make([]*watcher, len(layers))
	errs := make([]error, len(layers))
	var kept atomic.Int64
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, l := range layers {
		found[i] = &watcher{options: o, total: &kept}
		group.Go(func() error {
			listings[i], errs[i] = image.ListWith(ctx, l, nil, found[i])
			return nil
		})
	}
	_ = group.Wait() // the error of the lowest layer is told, whichever came first
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	r := newReader(layers, found)
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

// watcher looks at the contents of one layer while they go by.
type watcher struct {
	options Options
	total   *atomic.Int64 // bytes that are kept of all layers
	files   []seen

	path    string
	content *bytes.Buffer // nil: not kept
	facts   store.ELFReader
}

// seen is a regular file of a layer.
type seen struct {
	path    string
	sum     apk.SHA256
	content []byte // nil: not kept
	elf     *apk.ELF
}

// Begin is for [image.Watcher].
func (w *watcher) Begin(path string, size int64) io.Writer {
	w.path, w.content = path, nil
	var out []io.Writer
	wanted := subject.IsDatabase(path) || w.options.Keep != nil && w.options.Keep(path, size)
	if wanted && w.total.Add(size) <= maxKept {
		w.content = &bytes.Buffer{}
		out = append(out, w.content)
	}
	if w.options.ELF {
		w.facts.Begin(size)
		out = append(out, &w.facts)
	}
	return io.MultiWriter(out...)
}

// End is for [image.Watcher].
func (w *watcher) End(e *apk.Entry) {
	s := seen{path: w.path, sum: e.SHA256}
	if w.content != nil {
		s.content = w.content.Bytes()
	}
	if w.options.ELF {
		s.elf = w.facts.Facts()
	}
	w.files = append(w.files, s)
}

// reader knows where contents lie and reads layers again.
type reader struct {
	layers []v1.Layer
	where  map[apk.SHA256]member
	at     map[member]apk.SHA256
	kept   map[apk.SHA256][]byte
	elf    map[apk.SHA256]*apk.ELF
}

func newReader(layers []v1.Layer, found []*watcher) *reader {
	r := &reader{layers: layers, where: map[apk.SHA256]member{}, at: map[member]apk.SHA256{}, kept: map[apk.SHA256][]byte{}, elf: map[apk.SHA256]*apk.ELF{}}
	for i, w := range found {
		for _, s := range w.files {
			m := member{i, s.path}
			r.where[s.sum], r.at[m] = m, s.sum
			if s.content != nil {
				r.kept[s.sum] = s.content
			}
			if s.elf != nil {
				r.elf[s.sum] = s.elf
			}
		}
	}
	return r
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
