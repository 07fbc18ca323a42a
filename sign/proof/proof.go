// Package proof proves what an image is made of, from the registry or layout
// that holds it alone: every layer is the data section of a package that a
// trusted key signed, or is derived again from such packages' records, the lock
// and the configuration, and compared.
//
// It does not build, does not verify signatures on images, and needs no trust in
// who assembled the image. What a proof rests on is part of its result; see
// docs/design.md for what it shows and what it does not.
//
//	report, err := proof.Prove(ctx, target, proof.Options{Keys: keys})
//	if err != nil {
//		return err
//	}
//	if err := report.Err(); err != nil {
//		return err // wraps ErrUnproved, or ErrNotPinned
//	}
//
// Layers that are packages as they are need no download: their digests are
// compared.
package proof

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
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

// The outcomes that callers tell apart with [errors.Is].
var (
	// ErrUnproved: something in the image is not explained.
	ErrUnproved = errors.New("not proved")
	// ErrNotPinned: all is explained, but by keys, or receipts, that the kit
	// itself brought and that nobody vouches for.
	ErrNotPinned = errors.New("not pinned")
	// ErrNeedsFull: a layer can only be proved by reading the packages.
	ErrNeedsFull = errors.New("not provable without --full")
	// ErrNoKit: nothing to prove the image with.
	ErrNoKit = errors.New("no rebuild kit")
)

// Options say what a proof may rest on.
type Options struct {
	// Keys are those that may have signed packages and indexes, under whatever
	// name. None: those of the kit are used, and the verdict is [Consistent] at
	// best.
	Keys []repository.Key
	// Lock is the digest that the lock says of itself ([lock.Cairn].Digest). It
	// pins the receipts. Zero: any lock will do, and unless the packages are
	// read the verdict is [Consistent] at best.
	Lock apk.SHA256
	// Config are the SHA-256 of the configuration and of the files it is made from,
	// the configuration first ([kit.Digests]). They vouch for what it puts into the
	// image. None: only the lock does, as far as it goes.
	Config []apk.SHA256
	// Bases are the manifests of base images that are trusted. A lock vouches for
	// the one that it names.
	Bases []v1.Hash
	// Full reads the packages and derives their receipts again: from the layers
	// that are packages as they are, and the others with Fetch.
	Full bool
	// Fetch reads the packages of an architecture of a lock from their
	// repositories and returns their receipts, in the lock's order;
	// [packages.Workspace.Fetch] does. Only Full uses it.
	Fetch func(ctx context.Context, l *lock.Lock, arch string) ([]*store.Receipt, error)
	// Store is where Fetch puts packages. apko's layer is written again from there.
	Store *store.Store
}

// Verdict is the outcome of a proof.
type Verdict string

// The verdicts.
const (
	Proved     Verdict = "proved"
	Consistent Verdict = "consistent, not pinned"
	Unprovable Verdict = "not provable without --full"
	Failed     Verdict = "failed"
)

// Report is a proof, or what stands against it.
type Report struct {
	Verdict Verdict `json:"verdict"`
	Subject v1.Hash `json:"subject"`
	Kit     v1.Hash `json:"kit"`
	// Config is the SHA-256 of the configuration file in the kit, Lock the
	// digest of the lock.
	Config apk.SHA256 `json:"config,omitzero"`
	Lock   apk.SHA256 `json:"lock,omitzero"`
	// Settings are those of the kit: the files that the configuration was made
	// from, and what the command line changed.
	Settings *kit.Settings `json:"settings,omitempty"`
	// Keys are those that something was signed with.
	Keys   []Key         `json:"keys"`
	Images []ImageReport `json:"images"`
	// Unsafe are the checks that the build was told to leave out.
	Unsafe []string `json:"unsafe,omitempty"`
	// Unproved are the layers that only the packages themselves could prove.
	Unproved []string `json:"unproved,omitempty"`
	// NotPinned says what keeps a consistent image from being a proved one.
	NotPinned []string `json:"not_pinned,omitempty"`
	// RestsOn says what must be true for the verdict to mean something.
	RestsOn []string `json:"rests_on"`
	// Problems are what is not explained.
	Problems []string `json:"problems,omitempty"`
	// Downloaded is the number of bytes read from the image and its kit.
	Downloaded int64 `json:"downloaded"`
}

// Key is a key that counted.
type Key struct {
	Name        string     `json:"name"`
	Fingerprint apk.SHA256 `json:"fingerprint"` // SHA-256 of the PKIX DER form
	// Pinned: the key was given, and not brought along by the kit.
	Pinned bool `json:"pinned"`
	// Packages and Indexes are the number of those that it signed.
	Packages int `json:"packages"`
	Indexes  int `json:"indexes"`
}

// ImageReport is the proof of one architecture.
type ImageReport struct {
	Arch   string        `json:"arch"` // OCI's spelling
	Digest v1.Hash       `json:"digest"`
	Layers []LayerReport `json:"layers"`
}

// LayerReport is the proof of one layer.
type LayerReport struct {
	Digest   v1.Hash  `json:"digest"`
	Kind     string   `json:"kind,omitempty"` // of the derived layer
	Packages []string `json:"packages,omitempty"`
	// Proof says why the layer is what it should be; empty when it is not.
	Proof   string `json:"proof,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Unproved says why there is neither.
	Unproved string `json:"unproved,omitempty"`
	// Read is the number of compressed bytes of the layer that were downloaded.
	Read int64 `json:"read"`
}

// Err is nil for a proof, else an error that wraps [ErrUnproved] and lists the
// problems, or wraps [ErrNeedsFull] or [ErrNotPinned].
func (r *Report) Err() error {
	switch r.Verdict {
	case Proved:
		return nil
	case Consistent:
		return fmt.Errorf("%s: everything is explained, but %w:\n%s", r.Subject, ErrNotPinned, strings.Join(r.NotPinned, "\n"))
	case Unprovable:
		return fmt.Errorf("%s: %w:\n%s", r.Subject, ErrNeedsFull, strings.Join(r.Unproved, "\n"))
	}
	return fmt.Errorf("%s: %w:\n%s", r.Subject, ErrUnproved, strings.Join(r.Problems, "\n"))
}

// rank orders the verdicts: of several kits the best one counts.
var rank = map[Verdict]int{Failed: 0, Unprovable: 1, Consistent: 2, Proved: 3}

// Limits on the list of referrers, which whoever may push can make long.
const (
	maxKits  = 8         // that are tried
	maxAsked = 128       // referrers that are asked what they are
	maxKit   = 256 << 10 // bytes of a kit's manifest
)

// Prove proves the image that img names. An error means that the proof could not
// be tried: the image cannot be read, or, [ErrNoKit], has no kit. What speaks
// against the image is in the report.
func Prove(ctx context.Context, img Image, o Options) (*Report, error) {
	counted := &counter{Image: img}
	subject, err := counted.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	kits, err := kitsOf(ctx, counted, subject)
	if err != nil {
		return nil, err
	}
	var best *Report
	var unread error
	for _, d := range kits {
		r, err := tryKit(ctx, counted, subject, d.Digest, o)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			unread = errors.Join(unread, err)
			continue
		case best == nil || rank[r.Verdict] > rank[best.Verdict]:
			best = r
		}
		if best.Verdict == Proved {
			break
		}
	}
	// A kit that could not be read may be the one that proves the image.
	if unread != nil && (best == nil || best.Verdict != Proved) {
		return nil, unread
	}
	best.Downloaded = counted.n
	return best, nil
}

// tryKit proves an image with one kit. An error means that something could not be
// read.
func tryKit(ctx context.Context, img *counter, subject v1.Descriptor, digest v1.Hash, o Options) (*Report, error) {
	p := &prover{img: img, options: o, report: &Report{Subject: subject.Digest, Kit: digest, Keys: []Key{}, Images: []ImageReport{}}}
	err := p.prove(ctx, subject)
	if err != nil && !isFinding(err) {
		return nil, err
	}
	if err != nil {
		p.fail("%v", err)
	}
	p.conclude()
	return p.report, nil
}

// kitsOf lists the kits of an image, in the order of their digests.
func kitsOf(ctx context.Context, img Image, subject v1.Descriptor) ([]v1.Descriptor, error) {
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

// finding is an error about what the image and its kit hold, as opposed to one
// of reading them.
type finding struct{ error }

func (f finding) Unwrap() error { return f.error }

func isFinding(err error) bool {
	var f finding
	return errors.As(err, &f) || errors.Is(err, kit.ErrInvalid) || errors.Is(err, kit.ErrOtherLock)
}

// conclude gives the verdict, and takes out of the texts what could make a
// terminal show another one: names come from whoever made the image.
func (p *prover) conclude() {
	r := p.report
	cleanAll(r.Problems, clean)
	cleanAll(r.RestsOn, line)
	cleanAll(r.NotPinned, clean)
	cleanAll(r.Unproved, clean)
	cleanAll(r.Unsafe, line)
	for i := range r.Keys {
		r.Keys[i].Name = line(r.Keys[i].Name)
	}
	for i := range r.Images {
		for n := range r.Images[i].Layers {
			l := &r.Images[i].Layers[n]
			l.Proof, l.Problem, l.Unproved = line(l.Proof), line(l.Problem), line(l.Unproved)
			cleanAll(l.Packages, line)
		}
	}
	switch {
	case len(r.Problems) > 0:
		r.Verdict = Failed
	case len(r.Unproved) > 0:
		r.Verdict = Unprovable
	case len(r.NotPinned) > 0:
		r.Verdict = Consistent
	default:
		r.Verdict = Proved
	}
}

// clean replaces what is not seen, such as control characters and marks that turn
// the direction of text, but for line feeds.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) && r != '\n' {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// line is clean for a text of one line.
func line(s string) string { return strings.ReplaceAll(clean(s), "\n", "; ") }

func cleanAll(list []string, how func(string) string) {
	for i := range list {
		list[i] = how(list[i])
	}
}

func (p *prover) fail(format string, args ...any) {
	p.report.Problems = append(p.report.Problems, fmt.Sprintf(format, args...))
}

// counter counts what is read.
type counter struct {
	Image
	n        int64
	inflated int64 // bytes that layers gave
}

func (c *counter) Manifest(ctx context.Context, digest v1.Hash) ([]byte, types.MediaType, error) {
	b, mt, err := c.Image.Manifest(ctx, digest)
	c.n += int64(len(b))
	return b, mt, err
}

func (c *counter) Blob(ctx context.Context, d v1.Descriptor, limit int64) ([]byte, error) {
	b, err := c.Image.Blob(ctx, d, limit)
	c.n += int64(len(b))
	return b, err
}

func (c *counter) OpenBlob(ctx context.Context, d v1.Descriptor) (io.ReadCloser, error) {
	rc, err := c.Image.OpenBlob(ctx, d)
	if err != nil {
		return nil, err
	}
	return &countedBlob{rc, c}, nil
}

type countedBlob struct {
	io.ReadCloser
	c *counter
}

func (b *countedBlob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.c.n += int64(n)
	return n, err
}

// decode reads a JSON document of an image.
func decode[T any](what string, raw []byte) (*T, error) {
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, finding{fmt.Errorf("%s: %w", what, err)}
	}
	return &v, nil
}
