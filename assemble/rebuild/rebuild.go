// Package rebuild makes an image again from what the image itself carries: its
// rebuild kit and its layers. No repository, store or configuration file is
// needed, and the result is the same image index, byte for byte, or an
// explanation of the first difference.
//
// Whether an image is what somebody trusts is not decided here: see
// github.com/cairn-dev/cairn/sign/proof, which reads images and kits through this
// package.
//
//	t, err := target.Open(ctx, ref, target.Options{})
//	if err != nil {
//		return err
//	}
//	report, err := rebuild.Run(ctx, t, rebuild.Options{Outputs: []string{"again/"}})
//	if err != nil {
//		return err
//	}
//	return report.Err()
//
// Layers that are packages as they are come from the image, and their digests are
// those of the lock. All others are read, compared with what the plan makes of the
// packages' receipts, and compressed again.
package rebuild

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/kit"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/packages/apk"
)

// ErrDiffers: what was made again is not the image.
var ErrDiffers = errors.New("not the same image")

// Options say what becomes of the image that is made again.
type Options struct {
	// Outputs are written when the image is the same: "dir/", "x.tar",
	// "oci-archive:x.tar", "docker://". See [image.ParseOutput]. Those that can
	// hold it get the kit too.
	Outputs []string
	// Dir is the directory that relative paths of Outputs are relative to.
	Dir string
	// Tags are the references the image gets, for outputs that hold any.
	Tags []string
	// TempDir is where layers are made; empty is the system's.
	TempDir string
	// Engine is where an output docker:// goes.
	Engine image.Engine
	// Progress is told when a stage begins. Optional.
	Progress func(stage string)
}

// Check says what is wrong with the options, without doing any work.
func (o *Options) Check() error {
	b := assemble.Options{Outputs: o.Outputs, Dir: o.Dir, Tags: o.Tags}
	return b.Check()
}

// Report says what was made again, and whether it is the image.
type Report struct {
	// Subject is the image index as it is, Digest the one that was made again;
	// zero when none was.
	Subject v1.Hash `json:"subject"`
	Digest  v1.Hash `json:"digest,omitzero"`
	Kit     v1.Hash `json:"kit"`
	// Cairn is the version that the kit says built the image.
	Cairn  string     `json:"cairn,omitempty"`
	Config apk.SHA256 `json:"config,omitzero"`
	Lock   apk.SHA256 `json:"lock,omitzero"`

	Images []ImageReport `json:"images"`
	// Differences are what is not as the kit says, the first one first.
	Differences []string `json:"differences,omitempty"`
	Outputs     []string `json:"outputs,omitempty"`
}

// ImageReport is the image of one architecture.
type ImageReport struct {
	Arch   string        `json:"arch"` // OCI's spelling
	Digest v1.Hash       `json:"digest"`
	Layers []LayerReport `json:"layers"`
}

// LayerReport says how a layer came about.
type LayerReport struct {
	Digest   v1.Hash  `json:"digest,omitzero"`
	Kind     string   `json:"kind,omitempty"`
	Packages []string `json:"packages,omitempty"`
	// How says how it was made again; Difference what is wrong with it.
	How        string `json:"how,omitempty"`
	Difference string `json:"difference,omitempty"`
}

// Err is nil when the image was made again, else an error that wraps [ErrDiffers]
// and lists the differences.
func (r *Report) Err() error {
	if len(r.Differences) == 0 {
		return nil
	}
	return fmt.Errorf("%s: %w:\n%s", r.Subject, ErrDiffers, strings.Join(r.Differences, "\n"))
}

// Run makes an image again. An error means that it could not be tried, because
// something cannot be read or there is no kit ([ErrNoKit]), or that an output could
// not be written; what differs is in the report. Of several kits the first one
// counts that gives the image. Outputs are written only when the image is the same.
func Run(ctx context.Context, img Image, o Options) (*Report, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	subject, err := img.Resolve(ctx)
	if err != nil {
		return nil, err
	}
	kits, err := Kits(ctx, img, subject)
	if err != nil {
		return nil, err
	}
	var first *Report
	var unread error
	for _, d := range kits {
		r, err := try(ctx, img, subject, d.Digest, o)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil && !IsFinding(err):
			unread = errors.Join(unread, err)
		case len(r.Differences) == 0:
			return r, nil
		case first == nil:
			first = r
		}
	}
	// A kit that could not be read may be the one that gives the image.
	if unread != nil {
		return nil, unread
	}
	return first, nil
}

// run is one try, with one kit.
type run struct {
	img     Image
	options Options
	report  *Report
	kit     *kit.Kit
	carried *Carried
	derived *assemble.Derivation
	dir     string // for layers; empty when there are no outputs
}

// try makes the image again with one kit.
func try(ctx context.Context, img Image, subject v1.Descriptor, digest v1.Hash, o Options) (_ *Report, err error) {
	r := &run{img: img, options: o, report: &Report{Subject: subject.Digest, Kit: digest, Images: []ImageReport{}}}
	if len(o.Outputs) > 0 {
		if r.dir, err = os.MkdirTemp(o.TempDir, "cairn-rebuild-"); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(r.dir)) }()
	}
	err = r.run(ctx, subject)
	if IsFinding(err) {
		r.differs("%v", err)
		err = nil
	}
	return r.report, err
}

func (r *run) differs(format string, args ...any) {
	r.report.Differences = append(r.report.Differences, fmt.Sprintf(format, args...))
}

func (r *run) say(stage string) {
	if r.options.Progress != nil {
		r.options.Progress(stage)
	}
}

func (r *run) run(ctx context.Context, subject v1.Descriptor) error {
	r.say("kit")
	var err error
	if r.kit, err = kit.Read(ctx, r.img, r.report.Kit, subject.Digest); err != nil {
		return err
	}
	r.report.Cairn, r.report.Config = r.kit.Settings.Cairn, r.kit.ConfigDigest()
	if r.kit.Lock.Cairn != nil {
		r.report.Lock = r.kit.Lock.Cairn.Digest
	}
	if r.carried, err = Open(ctx, r.img, subject, r.kit, &Budget{}); err != nil {
		return err
	}
	for _, d := range r.carried.Unexplained {
		r.differs("image %s: not in the kit, which is for %v", d.Digest, r.kit.Settings.Architectures)
	}
	r.say("plan")
	if _, r.derived, err = r.carried.Derive(ctx); err != nil {
		return err
	}
	r.say("layers")
	written, err := r.layers(ctx)
	if err != nil {
		return err
	}
	if len(r.report.Differences) > 0 {
		return nil
	}
	r.say("image")
	index, err := r.derived.Index(ctx, written)
	if err != nil {
		return Findingf("derive: %w", err)
	}
	if err := r.compare(index); err != nil || len(r.report.Differences) > 0 {
		return err
	}
	if len(r.options.Outputs) == 0 {
		return nil
	}
	r.say("output")
	return r.write(ctx, index)
}

// layers makes the layers of all architectures again.
func (r *run) layers(ctx context.Context) ([][]layer.Layer, error) {
	var all [][]layer.Layer
	for i := range r.derived.Planned {
		planned := &r.derived.Planned[i]
		n := r.carried.ChildFor(planned)
		if n < 0 {
			r.differs("%s: found no image for this architecture, which the kit is for", planned.Arch)
			continue
		}
		child := &r.carried.Children[n]
		if planned.Layers.NeedsPackages() {
			return nil, Findingf("%s: apko's layer follows from the packages themselves, which the image does not carry as they are\nhint: build it again from its lock, with --compat apko", planned.Arch)
		}
		report := ImageReport{Arch: planned.Arch.String(), Digest: child.Descriptor.Digest}
		layers, err := r.image(ctx, i, child, &report)
		if err != nil {
			return nil, err
		}
		for n := range report.Layers {
			if l := &report.Layers[n]; l.Difference != "" {
				r.differs("%s: layer %d (%s): %s", report.Arch, n, l.name(), l.Difference)
			}
		}
		r.report.Images = append(r.report.Images, report)
		all = append(all, layers)
	}
	return all, nil
}

// name is how a difference names a layer: by kind and what is in it.
func (l *LayerReport) name() string {
	switch n := len(l.Packages); {
	case n == 0 && l.Kind == "":
		return l.Digest.String()
	case n == 0:
		return l.Kind
	case n > 3:
		return fmt.Sprintf("%s, %s and %d more", l.Kind, strings.Join(l.Packages[:3], ", "), n-3)
	}
	return l.Kind + ", " + strings.Join(l.Packages, ", ")
}

// image makes the layers of one image again. A base image's come first.
func (r *run) image(ctx context.Context, i int, child *Child, report *ImageReport) ([]layer.Layer, error) {
	planned := &r.derived.Planned[i]
	var below []layer.Layer
	if planned.Tree.Base != nil {
		below = r.kit.Base(planned.Arch.APK).Layers
	}
	outline := planned.Layers.Outline()
	for n := range max(len(below)+len(outline), len(child.Manifest.Layers)) {
		l := LayerReport{}
		var found *v1.Descriptor
		if n < len(child.Manifest.Layers) {
			found = &child.Manifest.Layers[n]
			l.Digest = found.Digest
		}
		var want *layer.Layer
		switch {
		case n < len(below):
			want = &below[n]
		case n < len(below)+len(outline):
			want = &outline[n-len(below)]
			for _, p := range want.Packages {
				l.Packages = append(l.Packages, r.derived.Receipts(i)[p].ID())
			}
		}
		if want != nil {
			l.Kind = string(want.Kind)
		}
		switch {
		case want == nil:
			l.Difference = fmt.Sprintf("found one more, expected %d layers", len(below)+len(outline))
		case found == nil:
			l.Difference = "not in the image"
		case n < len(below):
			l.How = "the base image's"
			l.same(found, want, want.MediaType)
		case want.Kind == layer.Verbatim:
			if err := r.verbatim(ctx, planned, n-len(below), found, want, &l); err != nil {
				return nil, err
			}
		default:
			if err := r.again(ctx, planned, n-len(below), found, want, &l); err != nil {
				return nil, err
			}
			if parts := planned.Tree.Parts(want.Packages); parts != "" && l.How != "" {
				l.How += "; " + parts
			}
		}
		report.Layers = append(report.Layers, l)
	}
	return outline, nil
}

// same compares descriptors.
func (l *LayerReport) same(found *v1.Descriptor, want *layer.Layer, mt types.MediaType) bool {
	switch {
	case found.MediaType != mt:
		l.Difference = fmt.Sprintf("found media type %.100q, expected %q", found.MediaType, mt)
	case found.Digest != want.Digest || found.Size != want.Size:
		l.Difference = fmt.Sprintf("found %s of %d bytes, expected %s of %d bytes", found.Digest, found.Size, want.Digest, want.Size)
	default:
		return true
	}
	l.How = ""
	return false
}

// verbatim takes a layer that is a package as it is. One that is not is read to
// find out what differs.
func (r *run) verbatim(ctx context.Context, planned *assemble.Planned, n int, found *v1.Descriptor, want *layer.Layer, l *LayerReport) error {
	l.How = "the package's data section"
	if l.same(found, want, types.OCILayer) {
		want.Source = func() (io.ReadCloser, error) { return r.img.OpenBlob(ctx, *found) }
		return nil
	}
	_, err := r.carried.Inflate(ctx, *found, func(tar io.Reader) error { return planned.Layers.Explain(n, tar) })
	switch {
	case err == nil:
		l.Difference += ": the same files, compressed otherwise"
	case IsFinding(err):
		l.Difference += ": " + err.Error()
	default:
		return err
	}
	return nil
}

// again reads a layer that is no package as it is, compares it with the plan, and
// compresses it again. Where that gives other bytes, because another version of
// cairn compressed the layer, the image's count: what they inflate to is the same.
func (r *run) again(ctx context.Context, planned *assemble.Planned, n int, found *v1.Descriptor, want *layer.Layer, l *LayerReport) error {
	if found.MediaType != types.OCILayer {
		l.Difference = fmt.Sprintf("found media type %.100q, expected %q", found.MediaType, types.OCILayer)
		return nil
	}
	made := &keeper{}
	if r.dir != "" {
		f, err := os.Create(filepath.Join(r.dir, found.Digest.Hex))
		if err != nil {
			return err
		}
		defer f.Close()
		made.file = f
	}
	var again layer.Layer
	tar, err := r.carried.Inflate(ctx, *found, func(tar io.Reader) (err error) {
		again, err = planned.Layers.Remake(n, tar, made)
		return err
	})
	if made.err != nil {
		return made.err
	}
	if IsFinding(err) {
		l.Difference = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	want.DiffID, want.Inflated = tar.DiffID, tar.Size
	want.Digest, want.Size = found.Digest, found.Size
	want.Source = func() (io.ReadCloser, error) { return r.img.OpenBlob(ctx, *found) }
	if again.Digest != found.Digest || again.Size != found.Size {
		l.How = "made again: equal when inflated, compressed by another version"
		return nil
	}
	l.How = "made again, byte for byte"
	if made.file != nil {
		path := made.file.Name()
		want.Source = func() (io.ReadCloser, error) { return os.Open(path) }
		return made.file.Close()
	}
	return nil
}

// keeper writes to a file where there is one, and remembers the error of that.
type keeper struct {
	file *os.File
	err  error
}

func (k *keeper) Write(p []byte) (int, error) {
	if k.file == nil {
		return len(p), nil
	}
	n, err := k.file.Write(p)
	if err != nil {
		k.err = err
	}
	return n, err
}

// compare compares configurations, manifests and the image index byte for byte.
// Where one is the cause of another's difference, that one comes first.
func (r *run) compare(index *image.Index) error {
	for _, img := range index.Images() {
		platform := img.Platform()
		n := slices.IndexFunc(r.carried.Children, func(c Child) bool { return c.Descriptor.Platform.Equals(platform) })
		if n < 0 {
			return Findingf("%s: found no image for this architecture", platform.String())
		}
		c := &r.carried.Children[n]
		config, err := img.RawConfigFile()
		if err != nil {
			return err
		}
		manifest, err := img.RawManifest()
		if err != nil {
			return err
		}
		r.same(platform.String()+": configuration", c.RawConfig, config)
		r.same(platform.String()+": manifest", c.RawManifest, manifest)
	}
	raw, err := index.RawManifest()
	if err != nil {
		return err
	}
	r.same("image index", r.carried.Index, raw)
	r.report.Digest, err = index.Digest()
	return err
}

func (r *run) same(what string, found, expected []byte) {
	if !bytes.Equal(found, expected) {
		r.differs("%s: %s", what, Difference(found, expected))
	}
}

// write writes the outputs, with the kit as it was read.
func (r *run) write(ctx context.Context, index *image.Index) error {
	artifact, err := r.artifact(ctx)
	if err != nil {
		return err
	}
	var tags []image.Ref
	for _, t := range r.options.Tags {
		ref, err := image.ParseTag(t)
		if err != nil {
			return err
		}
		tags = append(tags, ref)
	}
	for _, s := range r.options.Outputs {
		out, err := image.ParseOutputIn(r.options.Dir, s)
		if err != nil {
			return err
		}
		o := image.WriteOptions{Tags: tags, Engine: r.options.Engine}
		if out.Kind.HoldsArtifacts() {
			o.Artifacts = []image.Artifact{artifact}
		}
		if _, err := image.Write(ctx, out, index, o); err != nil {
			return err
		}
		r.report.Outputs = append(r.report.Outputs, out.String())
	}
	return nil
}

// artifact is the kit as it is stored with the image.
func (r *run) artifact(ctx context.Context) (image.Artifact, error) {
	raw, _, err := r.img.Manifest(ctx, r.report.Kit)
	if err != nil {
		return image.Artifact{}, err
	}
	m, err := decode[v1.Manifest]("kit", raw)
	if err != nil {
		return image.Artifact{}, err
	}
	a := image.Artifact{Descriptor: v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: kit.ArtifactType, Digest: r.report.Kit, Size: int64(len(raw))}, Blobs: [][]byte{raw}}
	seen := map[v1.Hash]bool{}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if seen[d.Digest] {
			continue
		}
		seen[d.Digest] = true
		b, err := r.img.Blob(ctx, d, d.Size)
		if err != nil {
			return a, err
		}
		a.Blobs = append(a.Blobs, b)
	}
	return a, nil
}
