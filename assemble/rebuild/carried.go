package rebuild

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages"
)

// Image is an image and what refers to it. Bytes that are not those of the
// digest asked for are an error, and so is too much of them; a
// [github.com/cairn-dev/cairn/assemble/target.Target] is one.
type Image interface {
	// Resolve returns what was named: an image index, or an image.
	Resolve(ctx context.Context) (v1.Descriptor, error)
	Manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error)
	Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error)
	// OpenBlob gives a blob's bytes, checked at their end.
	OpenBlob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error)
	Referrers(ctx context.Context, digest v1.Hash) ([]v1.Descriptor, error)
}

// ErrNoKit: the image has no rebuild kit.
var ErrNoKit = errors.New("no rebuild kit")

// Finding is an error about what an image and its kit hold, as opposed to one of
// reading them.
type Finding struct{ error }

// Findingf makes one.
func Findingf(format string, args ...any) error { return Finding{fmt.Errorf(format, args...)} }

// Unwrap returns the error itself.
func (f Finding) Unwrap() error { return f.error }

// IsFinding tells whether an error is about what an image and its kit hold.
func IsFinding(err error) bool {
	var f Finding
	return errors.As(err, &f) || errors.Is(err, kit.ErrInvalid) || errors.Is(err, kit.ErrOtherLock)
}

// Limits on what is read, in bytes and in numbers. The list of referrers can be
// made long by whoever may push.
const (
	maxConfig   = 16 << 20
	maxLayer    = 16 << 30 // inflated
	maxInflated = 64 << 30 // of all layers
	maxImages   = 64       // of an index
	maxKits     = 8        // that are tried
	maxAsked    = 128      // referrers that are asked what they are
	maxKit      = 256 << 10
)

// Kits lists the rebuild kits of an image, in the order of their digests. The
// error is [ErrNoKit] when there is none, or more than anyone has.
func Kits(ctx context.Context, img Image, subject v1.Descriptor) ([]v1.Descriptor, error) {
	referrers, err := img.Referrers(ctx, subject.Digest)
	if err != nil {
		return nil, err
	}
	kits, err := ofKits(ctx, img, referrers)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(kits, func(a, b v1.Descriptor) int { return cmp.Compare(a.Digest.Hex, b.Digest.Hex) })
	kits = slices.CompactFunc(kits, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
	switch {
	case len(kits) == 0 && !subject.MediaType.IsIndex():
		return nil, fmt.Errorf("%s: %w: it is a single image\nhint: a kit belongs to the image index: name that", subject.Digest, ErrNoKit)
	case len(kits) == 0:
		return nil, fmt.Errorf("%s: %w\nhint: cairn build --kit adds one", subject.Digest, ErrNoKit)
	case len(kits) > maxKits:
		return nil, fmt.Errorf("%s: %w that could be chosen: found %d, expected at most %d", subject.Digest, ErrNoKit, len(kits), maxKits)
	}
	return kits, nil
}

// ofKits picks the kits from a list of referrers. Some registries list artifacts
// under the media type of their configuration, so that for a kit, as for many
// others, the empty one is all that the list says: then the manifest is asked.
func ofKits(ctx context.Context, img Image, referrers []v1.Descriptor) ([]v1.Descriptor, error) {
	var out []v1.Descriptor
	asked := 0
	for _, d := range referrers {
		switch d.ArtifactType {
		case kit.ArtifactType:
			out = append(out, d)
		case "", kit.TypeEmpty:
			if asked++; asked > maxAsked || d.Size > maxKit {
				continue
			}
			raw, _, err := img.Manifest(ctx, d.Digest)
			if err != nil {
				return nil, err
			}
			if kit.IsKit(raw) {
				out = append(out, d)
			}
		}
	}
	return out, nil
}

// Child is one image of an image index, as it is.
type Child struct {
	Descriptor  v1.Descriptor
	RawManifest []byte
	RawConfig   []byte
	Manifest    *v1.Manifest
	Config      *v1.ConfigFile
}

// Carried is an image and a kit of it.
type Carried struct {
	Kit *kit.Kit
	// Index is the image index as it is.
	Index []byte
	// Children are its images for the architectures that the kit is for, in its
	// order; Unexplained are its others.
	Children    []Child
	Unexplained []v1.Descriptor

	img    Image
	budget *Budget
	lost   error
}

// Open reads the manifests and configurations of an image index. The error is a
// [Finding] for what cannot be an image of this kit.
func Open(ctx context.Context, img Image, subject v1.Descriptor, k *kit.Kit, budget *Budget) (*Carried, error) {
	raw, _, err := img.Manifest(ctx, subject.Digest)
	if err != nil {
		return nil, err
	}
	if !subject.MediaType.IsIndex() {
		return nil, Findingf("%s: media type %q, expected an image index", subject.Digest, subject.MediaType)
	}
	index, err := decode[v1.IndexManifest]("image index", raw)
	if err != nil {
		return nil, err
	}
	if n := len(index.Manifests); n > maxImages {
		return nil, Findingf("image index: %d images, expected at most %d", n, maxImages)
	}
	c := &Carried{Kit: k, Index: raw, img: img, budget: budget}
	wanted := c.platforms()
	for _, d := range index.Manifests {
		at := slices.IndexFunc(wanted, func(w v1.Platform) bool { return d.Platform != nil && d.Platform.Equals(w) })
		if at < 0 {
			c.Unexplained = append(c.Unexplained, d)
			continue
		}
		wanted = slices.Delete(wanted, at, at+1)
		child, err := readChild(ctx, img, d)
		if err != nil {
			return nil, err
		}
		c.Children = append(c.Children, *child)
	}
	return c, nil
}

func readChild(ctx context.Context, img Image, d v1.Descriptor) (*Child, error) {
	c := &Child{Descriptor: d}
	var err error
	if c.RawManifest, _, err = img.Manifest(ctx, d.Digest); err != nil {
		return nil, err
	}
	if c.Manifest, err = decode[v1.Manifest]("manifest "+d.Digest.String(), c.RawManifest); err != nil {
		return nil, err
	}
	if c.RawConfig, err = img.Blob(ctx, c.Manifest.Config, maxConfig); err != nil {
		return nil, err
	}
	c.Config, err = decode[v1.ConfigFile]("configuration "+c.Manifest.Config.Digest.String(), c.RawConfig)
	return c, err
}

// decode reads a JSON document of an image.
func decode[T any](what string, raw []byte) (*T, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, Findingf("%s: %w", what, err)
	}
	return &v, nil
}

// platforms are those that the kit says it is for.
func (c *Carried) platforms() []v1.Platform {
	var out []v1.Platform
	for _, name := range c.Kit.Settings.Architectures {
		if arch, ok := config.ParseArch(name); ok {
			out = append(out, *arch.OCI().ToOCIPlatform())
		}
	}
	return out
}

// ChildFor finds the image of a planned architecture; -1 when there is none.
func (c *Carried) ChildFor(planned *assemble.Planned) int {
	want := planned.Arch.OCI().ToOCIPlatform()
	return slices.IndexFunc(c.Children, func(c Child) bool {
		return c.Descriptor.Platform != nil && c.Descriptor.Platform.Equals(*want)
	})
}

// Derive plans the image again from the kit, and from the files in the image that
// planning needs and receipts do not hold. The error is a [Finding] unless
// something could not be read.
func (c *Carried) Derive(ctx context.Context) (*config.Config, *assemble.Derivation, error) {
	cfg, err := c.Kit.Load()
	if err != nil {
		return nil, nil, Findingf("kit: %w", err)
	}
	src := &source{Held: packages.NewHeld(c.Kit.Keys), c: c}
	for i := range c.Kit.Packages {
		src.Add(c.Kit.Packages[i].Arch, c.Kit.Packages[i].Receipt)
	}
	o := assemble.OptionsOf(c.Kit)
	if err := c.giveLayers(ctx, o.Bases); err != nil {
		return nil, nil, Findingf("kit: %w", err)
	}
	d, err := assemble.Derive(ctx, src, cfg, o)
	if c.lost != nil {
		return nil, nil, c.lost
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, nil, Findingf("derive: %w", err)
	}
	return cfg, d, nil
}

// Lost is the error of reading a blob for something that does not pass it on, such
// as the layers of a base image.
func (c *Carried) Lost() error { return c.lost }

// giveLayers lets base images read their layers where they are: in the image that
// stands on them.
func (c *Carried) giveLayers(ctx context.Context, bases map[string]*baseimage.Base) error {
	for arch, b := range bases {
		own, err := b.WithLayers(func(d v1.Descriptor) (io.ReadCloser, error) {
			rc, err := c.img.OpenBlob(ctx, d)
			if err != nil {
				c.lost = err
				return nil, err
			}
			return &kept{ReadCloser: rc, c: c}, nil
		})
		if err != nil {
			return fmt.Errorf("base image (%s): %w", arch, err)
		}
		bases[arch] = own
		for i := range c.Kit.Bases {
			if c.Kit.Bases[i].Arch == arch {
				c.Kit.Bases[i].Image = own
			}
		}
	}
	return nil
}

// kept remembers the error of reading a blob.
type kept struct {
	io.ReadCloser
	c *Carried
}

func (k *kept) Read(b []byte) (int, error) {
	n, err := k.ReadCloser.Read(b)
	if err != nil && err != io.EOF {
		k.c.lost = err
	}
	return n, err
}

// Tar says what a layer inflates to.
type Tar struct {
	DiffID v1.Hash
	Size   int64 // bytes
}

// Inflate reads a layer and lets check read what it inflates to. The error is a
// [Finding] when check finds something, or the layer is no gzip stream. Then the
// result says what was read until there.
func (c *Carried) Inflate(ctx context.Context, d v1.Descriptor, check func(tar io.Reader) error) (_ Tar, err error) {
	rc, err := c.img.OpenBlob(ctx, d)
	if err != nil {
		return Tar{}, err
	}
	defer func() { err = errors.Join(err, rc.Close()) }()
	blob := &Tee{R: rc}
	z, err := gzip.NewReader(blob)
	if err != nil {
		if blob.Err != nil {
			return Tar{}, blob.Err
		}
		return Tar{}, Findingf("not gzip: %w", err)
	}
	tar := &hashed{r: c.budget.reader(z), sum: sha256.New()}
	err = check(tar)
	t := Tar{DiffID: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(tar.sum.Sum(nil))}, Size: tar.n}
	switch {
	case blob.Err != nil:
		return t, blob.Err
	case err != nil:
		return t, Finding{err}
	}
	_, err = io.Copy(io.Discard, blob) // its digest is checked at the end
	return t, err
}

// Tee remembers the error of reading, as opposed to those of what is read.
type Tee struct {
	R   io.Reader
	Err error
}

func (t *Tee) Read(p []byte) (int, error) {
	n, err := t.R.Read(p)
	if err != nil && err != io.EOF {
		t.Err = err
	}
	return n, err
}

// Budget bounds what layers inflate to, of all images and kits that it is given
// to. The zero value is full.
type Budget struct{ used int64 }

func (b *Budget) reader(r io.Reader) io.Reader { return &bounded{r: r, left: maxLayer, of: b} }

// bounded fails where a layer inflates to too much: to end there instead would
// leave the rest of it unseen.
type bounded struct {
	r    io.Reader
	left int64
	of   *Budget
}

var errInflates = errors.New("inflates to more than is read")

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	b.left -= int64(n)
	b.of.used += int64(n)
	if b.left < 0 || b.of.used > maxInflated {
		return 0, errInflates
	}
	return n, err
}

// hashed hashes and counts what is read.
type hashed struct {
	r   io.Reader
	sum hash.Hash
	n   int64
}

func (h *hashed) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	h.sum.Write(p[:n])
	h.n += int64(n)
	return n, err
}
