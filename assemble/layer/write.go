package layer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// compressor names what makes our compressed bytes. It is part of every key
// under which such bytes are cached; a test compares it with go.mod.
const (
	compressor       = "github.com/klauspost/compress v1.19.1 gzip 6"
	compressionLevel = 6
)

// Kinds of objects in the store.
const (
	kindSegment = "segment"    // a package's part of a packed layer
	kindLayer   = "layer"      // a layer's blob
	kindInfo    = "layer-info" // what is known about a layer's blob
)

// keepSegments is the size of a packed layer, in bytes of compressed data
// sections, above which its segments are stored one by one, so that a change
// of one package does not compress the others again. Below it that costs more
// disk than it saves time.
const keepSegments = 16 << 20

// holdTop is the largest top layer that is kept in memory only, in bytes before
// compression.
const holdTop = 128 << 10

// Write produces the layers, bottom to top. Blobs that exist are hashed again,
// several at a time; what has to be made is put into the store and found there
// the next time. The result is the same whatever the store held before.
func (p *Plan) Write(ctx context.Context, st *store.Store) ([]Layer, error) {
	return p.WriteOthers(ctx, st, nil)
}

// WriteOthers is Write where some layers are elsewhere: those in have, by their
// position in [Plan.Outline], are taken as they are. The caller answers for their
// being the ones that Write would give.
func (p *Plan) WriteOthers(ctx context.Context, st *store.Store, have map[int]Layer) ([]Layer, error) {
	if p.opts.Compat {
		l, err := WriteApko(ctx, p.t.tree, st)
		if err != nil {
			return nil, err
		}
		return []Layer{l}, nil
	}
	w := &writer{p: p, st: st, have: have, out: make([]Layer, len(p.layers)), made: make([]*blob, len(p.layers))}
	for _, stage := range []func(*errgroup.Group, context.Context) error{w.collect, w.pack} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		if err := errors.Join(stage(g, ctx), g.Wait()); err != nil {
			return nil, err
		}
	}
	for i, b := range w.made {
		if b != nil {
			w.out[i].set(b)
		}
	}
	for n, above := range p.above() {
		l, ok := have[len(p.layers)+n]
		if !ok {
			l = Layer{Kind: above.kind(), App: above.app}
			l.set(w.above[n])
		}
		w.out = append(w.out, l)
	}
	return w.out, nil
}

// Key identifies what the blob of layer i, of those that [Plan.Outline] lists, is
// made of and how: equal keys give equal blobs. It is empty for a layer that is a
// package as it is, and for apko's.
func (p *Plan) Key(i int) (string, error) {
	if p.opts.Compat {
		return "", nil
	}
	w := &writer{p: p}
	if n := i - len(p.layers); n >= 0 {
		t, err := p.t.tar(p.above()[n])
		if err != nil {
			return "", err
		}
		return t.blobKey(), nil
	}
	l := &p.layers[i]
	if l.kind == Verbatim {
		return "", nil
	}
	recipes, err := w.recipes(l)
	if err != nil {
		return "", err
	}
	if l.kind == Rewritten {
		return recipes[0].blobKey(), nil
	}
	t, err := w.packing(i, recipes)
	return t.key, err
}

// Needs lists the packages, by position in the tree's, whose data sections Write
// reads to make layer i, in ascending order. Those of a layer that is a package as it
// is are only hashed, and are not listed.
func (p *Plan) Needs(i int) []int {
	need := map[int]bool{}
	switch {
	case p.opts.Compat:
		for pkg := range p.t.tree.Packages {
			need[pkg] = true
		}
	case i < len(p.layers) && p.layers[i].kind != Verbatim:
		for n, pkg := range p.layers[i].packages {
			if len(p.layers[i].members[n]) > 0 {
				need[pkg] = true
			}
		}
	}
	if !p.opts.Compat && (i >= len(p.layers) || p.single) {
		from := p.top
		if n := i - len(p.layers); n >= 0 {
			from = p.above()[n]
		}
		for _, it := range from.items {
			if it.entry < 0 || it.header.Type != apk.TypeFile || it.header.Size == 0 {
				continue
			}
			s, ok := p.t.sourceOf(it.entry)
			if !ok || p.t.tree.OfBase(s.pkg) {
				continue
			}
			r := p.t.tree.Receipt(s.pkg)
			if b, ok := r.Contents[r.Entries[s.member].Path]; !ok || int64(len(b)) != r.Entries[s.member].Size {
				need[s.pkg] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(need))
}

// writer is one run of Write.
type writer struct {
	p    *Plan
	st   *store.Store
	have map[int]Layer
	out  []Layer
	made []*blob // by layer: what is not verbatim
	// above are the layers above those of packages, as far as they are made here.
	above []*blob
	todo  []packing
}

// blob is a finished layer blob.
type blob struct {
	path           string
	bytes          []byte
	digest, diffID apk.SHA256
	size, inflated int64
}

func (l *Layer) set(b *blob) {
	l.Path, l.Blob, l.Size, l.Inflated = b.path, b.bytes, b.size, b.inflated
	l.Digest, l.DiffID = ociHash(b.digest), ociHash(b.diffID)
}

func ociHash(d apk.SHA256) v1.Hash { return v1.Hash{Algorithm: "sha256", Hex: d.Hex()} }

// packing is a packed layer that the store does not have.
type packing struct {
	layer    int
	key      string
	dirs     []byte // headers
	recipes  []*recipe
	segments []store.Object // of the recipes; nil: nothing is to be kept
	top      *topTar        // of a single layer
}

// collect starts everything that does not depend on something else.
func (w *writer) collect(g *errgroup.Group, ctx context.Context) error {
	w.verbatim(g, ctx)
	var packed []packing
	for i := range w.p.layers {
		l := &w.p.layers[i]
		w.out[i] = Layer{Kind: l.kind, Packages: l.packages}
		if given, ok := w.have[i]; ok {
			w.out[i] = given
			continue
		}
		if l.kind == Verbatim {
			continue
		}
		recipes, err := w.recipes(l)
		if err != nil {
			return err
		}
		if l.kind == Rewritten {
			g.Go(func() (err error) {
				w.made[i], err = w.rewritten(ctx, recipes[0])
				return err
			})
			continue
		}
		t, err := w.packing(i, recipes)
		if err != nil {
			return err
		}
		packed = append(packed, t)
	}
	// All at once: they are hashed side by side.
	if err := w.planPacking(g, ctx, packed); err != nil {
		return err
	}
	above := w.p.above()
	w.above = make([]*blob, len(above))
	for n, l := range above {
		if _, given := w.have[len(w.p.layers)+n]; given {
			continue
		}
		g.Go(func() (err error) {
			w.above[n], err = w.aboveLayer(ctx, l)
			return err
		})
	}
	return nil
}

// verbatim takes the layers that are packages as they are, and hashes them.
func (w *writer) verbatim(g *errgroup.Group, ctx context.Context) {
	var receipts []*store.Receipt
	for i := range w.p.layers {
		if _, given := w.have[i]; given {
			continue
		}
		if l := &w.p.layers[i]; l.kind == Verbatim {
			r := w.p.t.tree.Packages[l.packages[0]].Receipt
			w.made[i] = &blob{path: w.st.BlobPath(r), digest: r.DataHash, diffID: r.DiffID, size: r.DataSize, inflated: r.InflatedSize}
			receipts = append(receipts, r)
		}
	}
	g.Go(func() error { return w.st.VerifyAll(ctx, receipts, runtime.GOMAXPROCS(0)) })
}

func (w *writer) recipes(l *planned) ([]*recipe, error) {
	var out []*recipe
	for i, pkg := range l.packages {
		if len(l.members[i]) == 0 {
			continue
		}
		r, err := w.p.recipe(pkg, l.members[i])
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// blobKey is the key of the layer that is rewritten so.
func (r *recipe) blobKey() string { return "rewritten\n" + compressor + "\n" + r.key() }

// blobKey is the key of the layer.
func (t *topTar) blobKey() string { return string(t.kind) + "\n" + compressor + "\n" + t.key }

// rewritten returns the layer of one package that is not taken as it is.
func (w *writer) rewritten(ctx context.Context, r *recipe) (*blob, error) {
	return w.cached(ctx, r.blobKey(), func(tar io.Writer) error {
		if err := r.write(ctx, w.st, tar); err != nil {
			return err
		}
		return writeAll(tar, zeroBlocks[:])
	})
}

// aboveLayer returns the top layer or an application's: from the store when it has
// it, except for a small one, which is quicker to make.
func (w *writer) aboveLayer(ctx context.Context, l *topLayer) (*blob, error) {
	t, err := w.p.t.tar(l)
	if err != nil {
		return nil, err
	}
	write := func(tar io.Writer) error {
		if err := t.write(ctx, w.st, tar); err != nil {
			return err
		}
		return writeAll(tar, zeroBlocks[:])
	}
	if t.size > holdTop {
		return w.cached(ctx, t.blobKey(), write)
	}
	var out bytes.Buffer
	sum := sha256.New()
	b, err := compress(io.MultiWriter(&out, sum), write)
	if err != nil {
		return nil, err
	}
	sum.Sum(b.digest[:0])
	b.bytes, b.size = out.Bytes(), int64(out.Len())
	return b, nil
}

// cached returns the layer stored under a key, or makes it from the tar that
// write writes.
func (w *writer) cached(ctx context.Context, key string, write func(tar io.Writer) error) (*blob, error) {
	if b, err := w.find(ctx, key); b != nil || err != nil {
		return b, err
	}
	return w.make(ctx, key, func(out io.Writer) (*blob, error) { return compress(out, write) })
}

// make stores a layer's blob and what is known about it.
func (w *writer) make(ctx context.Context, key string, write func(out io.Writer) (*blob, error)) (*blob, error) {
	var b *blob
	o, err := w.st.PutObject(ctx, kindLayer, key, func(out io.Writer) (err error) {
		b, err = write(out)
		return err
	})
	if err != nil {
		return nil, err
	}
	b.path, b.digest, b.size = o.Path, o.SHA256, o.Size
	_, err = w.st.PutObject(ctx, kindInfo, key, func(out io.Writer) error {
		return json.NewEncoder(out).Encode(info{Digest: b.digest, DiffID: b.diffID, Inflated: b.inflated})
	})
	return b, err
}

// info is what cannot be seen from a blob without inflating it.
type info struct {
	Digest   apk.SHA256 `json:"digest"`
	DiffID   apk.SHA256 `json:"diff_id"`
	Inflated int64      `json:"inflated"`
}

// find returns the layer stored under a key, its bytes hashed; nil when there
// is none or a damaged one.
func (w *writer) find(ctx context.Context, key string) (*blob, error) {
	found, err := w.findAll(ctx, []string{key})
	if err != nil {
		return nil, err
	}
	return found[0], nil
}

// findAll is find for several keys.
func (w *writer) findAll(ctx context.Context, keys []string) ([]*blob, error) {
	found := make([]*blob, len(keys))
	objects, errs := w.st.Objects(ctx, kindLayer, keys)
	for i, key := range keys {
		text, err := w.st.ReadObject(ctx, kindInfo, key, 4096)
		if err == nil {
			err = errs[i]
		}
		if err != nil {
			if err = ignoreNotFound(err); err != nil {
				return nil, err
			}
			continue
		}
		var known info
		if err := json.Unmarshal(text, &known); err != nil {
			return nil, fmt.Errorf("store: layer information: %w", err)
		}
		if o := objects[i]; o.SHA256 == known.Digest {
			found[i] = &blob{path: o.Path, digest: o.SHA256, diffID: known.DiffID, size: o.Size, inflated: known.Inflated}
		}
	}
	return found, nil
}

func ignoreNotFound(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// compress writes a tar's gzip form and returns what is known about it.
func compress(out io.Writer, write func(tar io.Writer) error) (*blob, error) {
	z, err := gzip.NewWriterLevel(out, compressionLevel)
	if err != nil {
		return nil, err
	}
	sum := &counter{Hash: sha256.New()}
	if err := write(io.MultiWriter(z, sum)); err != nil {
		return nil, err
	}
	b := &blob{inflated: sum.n}
	sum.Sum(b.diffID[:0])
	return b, z.Close()
}

// counter is a hash that counts.
type counter struct {
	hash.Hash
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}

// pack makes the packed layers that the store did not have.
func (w *writer) pack(g *errgroup.Group, ctx context.Context) error {
	for i := range w.todo {
		t := &w.todo[i]
		g.Go(func() (err error) {
			w.made[t.layer], err = w.make(ctx, t.key, func(out io.Writer) (*blob, error) { return t.join(ctx, w.st, out) })
			return err
		})
	}
	return nil
}

// packing says what a packed layer is made of.
func (w *writer) packing(layer int, recipes []*recipe) (packing, error) {
	t := packing{layer: layer, recipes: recipes}
	var err error
	if t.dirs, err = w.p.layers[layer].dirHeaders(); err != nil {
		return t, err
	}
	var key strings.Builder
	fmt.Fprintf(&key, "packed\n%s\n%x", compressor, sha256.Sum256(t.dirs))
	for _, r := range recipes {
		key.WriteString("\n" + r.key())
	}
	if w.p.single {
		if t.top, err = w.p.t.tar(w.p.top); err != nil {
			return t, err
		}
		key.WriteString("\ntop " + t.top.key)
	}
	t.key = fmt.Sprintf("packed %x", sha256.Sum256([]byte(key.String())))
	return t, nil
}

// planPacking looks for packed layers in the store and starts making the
// segments of those that are not there.
func (w *writer) planPacking(g *errgroup.Group, ctx context.Context, packed []packing) error {
	keys := make([]string, len(packed))
	for i := range packed {
		keys[i] = packed[i].key
	}
	found, err := w.findAll(ctx, keys)
	if err != nil {
		return err
	}
	for i, t := range packed {
		if found[i] != nil {
			w.made[t.layer] = found[i]
			continue
		}
		if w.p.single || size(t.recipes) > keepSegments {
			t.segments = make([]store.Object, len(t.recipes))
		}
		w.todo = append(w.todo, t)
		for i := range t.segments {
			g.Go(func() (err error) {
				t.segments[i], err = w.segment(ctx, t.recipes[i])
				return err
			})
		}
	}
	return nil
}

// size is the compressed size of the data sections that recipes use.
func size(recipes []*recipe) (n int64) {
	for _, r := range recipes {
		n += r.receipt.DataSize
	}
	return n
}

// segment returns a package's part of a packed layer: a gzip member without an
// end-of-archive.
func (w *writer) segment(ctx context.Context, r *recipe) (store.Object, error) {
	key := compressor + "\n" + r.key()
	o, err := w.st.Object(ctx, kindSegment, key)
	if err == nil || !errors.Is(err, store.ErrNotFound) {
		return o, err
	}
	return w.st.PutObject(ctx, kindSegment, key, func(out io.Writer) error {
		_, err := compress(out, func(tar io.Writer) error { return r.write(ctx, w.st, tar) })
		return err
	})
}

// join writes a packed layer: directories, segments, in a single layer what
// would be the top layer, and an end-of-archive, each a gzip member (or a few)
// of its own.
func (t *packing) join(ctx context.Context, st *store.Store, out io.Writer) (*blob, error) {
	sum := &counter{Hash: sha256.New()}
	add := func(write func(tar io.Writer) error) error {
		_, err := compress(out, func(tar io.Writer) error { return write(io.MultiWriter(tar, sum)) })
		return err
	}
	if len(t.dirs) > 0 {
		if err := add(func(tar io.Writer) error { return writeAll(tar, t.dirs) }); err != nil {
			return nil, err
		}
	}
	for i, r := range t.recipes {
		var err error
		if t.segments != nil {
			err = appendSegment(out, sum, t.segments[i])
		} else {
			err = add(func(tar io.Writer) error { return r.write(ctx, st, tar) })
		}
		if err != nil {
			return nil, err
		}
	}
	if t.top != nil {
		if err := add(func(tar io.Writer) error { return t.top.write(ctx, st, tar) }); err != nil {
			return nil, err
		}
	}
	if err := add(func(tar io.Writer) error { return writeAll(tar, zeroBlocks[:]) }); err != nil {
		return nil, err
	}
	b := &blob{inflated: sum.n}
	sum.Sum(b.diffID[:0])
	return b, nil
}

func writeAll(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

// appendSegment copies a stored segment to out and its inflated form to tar,
// and checks its digest on the way.
func appendSegment(out, tar io.Writer, s store.Object) (err error) {
	f, err := os.Open(s.Path)
	if err != nil {
		return fmt.Errorf("segment: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	sum := sha256.New()
	if err := inflateTo(tar, io.TeeReader(f, io.MultiWriter(out, sum))); err != nil {
		return fmt.Errorf("segment %s: %w", s.SHA256, err)
	}
	var got apk.SHA256
	if sum.Sum(got[:0]); got != s.SHA256 {
		return fmt.Errorf("segment %s: %s: sha256 is %s", s.SHA256, s.Path, got)
	}
	return nil
}

// inflateTo writes the inflated form of all gzip members in r to w. It reads r
// to its end.
func inflateTo(w io.Writer, r io.Reader) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, z)
	return errors.Join(err, z.Close())
}
