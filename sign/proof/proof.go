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
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Image is an image and what refers to it; a
// [github.com/cairn-dev/cairn/assemble/target.Target] is one.
type Image = rebuild.Image

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
	ErrNoKit = rebuild.ErrNoKit
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

// Prove proves the image that img names. An error means that the proof could not
// be tried: the image cannot be read, or, [ErrNoKit], has no kit. What speaks
// against the image is in the report.
func Prove(ctx context.Context, img Image, o Options) (*Report, error) {
	counted := &counter{Image: img}
	subject, err := counted.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	kits, err := rebuild.Kits(ctx, counted, subject)
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
	if err != nil && !rebuild.IsFinding(err) {
		return nil, err
	}
	if err != nil {
		p.fail("%v", err)
	}
	p.conclude()
	return p.report, nil
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
	inflated rebuild.Budget
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
