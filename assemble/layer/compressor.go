package layer

import (
	"crypto/sha256"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// compressing returns a writer that takes the inflated tar of layer i, of those
// that Outline lists and that is not verbatim, and writes to out the blob that Write
// makes of it: the same gzip members, by the same compressor. It
// does not look at what it is given; see Check. Close ends the blob, and is
// an error when the tar was not of the expected size.
func (p *Plan) compressing(i int, out io.Writer) (io.WriteCloser, error) {
	if p.opts.Compat {
		return nil, ErrUnknown
	}
	sizes, err := p.gzipMembers(i)
	if err != nil {
		return nil, err
	}
	c := &splitter{sizes: sizes, layer: i}
	c.z, err = gzip.NewWriterLevel(out, compressionLevel)
	c.out = out
	return c, err
}

// Remake reads the inflated tar of layer i, of those that [Plan.Outline] lists and
// that is not verbatim, compares it with the plan as [Plan.Check] does, and compresses
// it again. What it returns are the digests and sizes of the layer as Write gives it;
// the blob goes to out, which may be nil. No package data is needed.
func (p *Plan) Remake(i int, tar io.Reader, out io.Writer) (Layer, error) {
	blob := &counter{Hash: sha256.New()}
	if out == nil {
		out = io.Discard
	}
	z, err := p.compressing(i, io.MultiWriter(blob, out))
	if err != nil {
		return Layer{}, err
	}
	inflated := &counter{Hash: sha256.New()}
	if err := p.Check(i, io.TeeReader(tar, io.MultiWriter(z, inflated))); err != nil {
		return Layer{}, err
	}
	if err := z.Close(); err != nil {
		return Layer{}, err
	}
	l := p.Outline()[i]
	l.Size, l.Inflated = blob.n, inflated.n
	l.Digest, l.DiffID = blob.digest(), inflated.digest()
	return l, nil
}

func (c *counter) digest() v1.Hash {
	var d apk.SHA256
	c.Sum(d[:0])
	return ociHash(d)
}

// gzipMembers are the sizes of the parts of a layer's tar that are compressed each
// for itself.
func (p *Plan) gzipMembers(i int) ([]int64, error) {
	const end = int64(len(zeroBlocks))
	var top int64
	if n := i - len(p.layers); n >= 0 || p.single {
		from := p.top
		if n >= 0 {
			from = p.above()[n]
		}
		t, err := p.t.tar(from)
		if err != nil {
			return nil, err
		}
		top = t.size
	}
	if i >= len(p.layers) {
		return []int64{top + end}, nil
	}
	l := &p.layers[i]
	var sizes []int64
	dirs, err := l.dirHeaders()
	if err != nil {
		return nil, err
	}
	if len(dirs) > 0 {
		sizes = append(sizes, int64(len(dirs)))
	}
	for n, pkg := range l.packages {
		if len(l.members[n]) == 0 {
			continue
		}
		r, err := p.recipe(pkg, l.members[n])
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, r.size())
	}
	if l.kind == Rewritten {
		sizes[len(sizes)-1] += end
		return sizes, nil
	}
	if p.single {
		sizes = append(sizes, top)
	}
	return append(sizes, end), nil
}

// splitter cuts a tar into gzip members.
type splitter struct {
	layer int
	sizes []int64 // of what is to come, the open member's first
	out   io.Writer
	z     *gzip.Writer
}

func (c *splitter) Write(p []byte) (n int, err error) {
	for {
		if err := c.next(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
		if len(c.sizes) == 0 {
			return n, fmt.Errorf("layer %d: longer than planned: %w", c.layer, ErrDiffers)
		}
		part := p[n:min(len(p), n+int(min(c.sizes[0], int64(len(p)))))]
		m, err := c.z.Write(part)
		n += m
		c.sizes[0] -= int64(m)
		if err != nil {
			return n, err
		}
	}
}

// next ends members that are complete.
func (c *splitter) next() error {
	for len(c.sizes) > 0 && c.sizes[0] == 0 {
		if err := c.z.Close(); err != nil {
			return err
		}
		c.sizes = c.sizes[1:]
		if len(c.sizes) > 0 {
			c.z.Reset(c.out)
		}
	}
	return nil
}

func (c *splitter) Close() error {
	if err := c.next(); err != nil {
		return err
	}
	if len(c.sizes) > 0 {
		return fmt.Errorf("layer %d: %d bytes less than planned: %w", c.layer, c.sizes[0], ErrDiffers)
	}
	return nil
}
