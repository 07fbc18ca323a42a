package assemble

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cairn-dev/cairn/assemble/baseimage"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/assemble/sbom"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// Check says what is wrong with the options, without doing any work: tags,
// outputs and formats. [Build] calls it first.
func (o *Options) Check() error {
	var problems []error
	for _, t := range o.Tags {
		problems = append(problems, image.ValidateTag(t))
	}
	for _, s := range o.Outputs {
		out, err := image.ParseOutputIn(o.Dir, s)
		if err == nil {
			err = out.CheckWritable()
		}
		problems = append(problems, err)
	}
	for _, f := range o.SBOMFormats {
		problems = append(problems, sbom.Format(f).Check())
	}
	if o.Kit && len(o.Outputs) > 0 && !slices.ContainsFunc(o.Outputs, holdsKit) {
		problems = append(problems, errors.New("kit: no output can hold it: expected DIR/ or oci-archive:FILE among them"))
	}
	if o.Compat != "" && o.Compat != compatApko {
		problems = append(problems, fmt.Errorf("compat %q: expected apko", o.Compat))
	}
	return errors.Join(problems...)
}

// Build builds the image of a configuration for all its architectures, writes
// the outputs and SBOMs, and says what it did. Nothing is written before
// everything is made.
//
// Errors: [*StaleError] for a lock that does not fit the configuration; those of
// [packages.Workspace.Resolve] and [packages.Workspace.Fetch]; rootfs's for
// packages that cannot be installed together.
func Build(ctx context.Context, ws *packages.Workspace, cfg *config.Config, o Options) (*Result, error) {
	return build(ctx, ws, fromWorkspace{ws}, nil, cfg, o)
}

// build is Build with packages from a source, and with layers that may be elsewhere.
func build(ctx context.Context, ws *packages.Workspace, source Source, elsewhere *elsewhere, cfg *config.Config, o Options) (*Result, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	b := &builder{ws: ws, source: source, elsewhere: elsewhere, cfg: cfg, options: o, result: &Result{Outputs: []string{}, SBOMs: []string{}}}
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"resolve", b.resolve},
		{"fetch", b.fetch},
		{"plan", b.plan},
		{"layers", b.write},
		{"image", b.images},
		{"kit", b.kit},
		{"sbom", b.sboms},
		{"output", b.outputs},
	} {
		if stage.name == "kit" && !o.Kit {
			continue
		}
		start := time.Now()
		if o.Progress != nil {
			o.Progress(stage.name)
		}
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		if err := stage.run(ctx); err != nil {
			return nil, err
		}
		b.result.Stages = append(b.result.Stages, Stage{stage.name, time.Since(start)})
	}
	b.result.jobs = b.jobs
	return b.result, nil
}

// builder carries a build from stage to stage.
type builder struct {
	ws      *packages.Workspace // nil where nothing is resolved or written
	source  Source
	cfg     *config.Config
	options Options
	bases   bases
	// elsewhere is where layers may be that need not be made; nil for nowhere.
	elsewhere *elsewhere
	lock      *lock.Lock
	jobs      []*job
	result    *Result
	// artifacts are written beside the image.
	artifacts []image.Artifact
}

// job is the build of one architecture.
type job struct {
	source   Source
	cfg      *config.Config
	lock     *lock.Lock
	arch     config.Arch
	weights  map[string]float64
	previous [][]string // sticky segments
	created  time.Time
	asked    time.Time // the creation time that was asked for
	compat   string
	unsafe   packages.Unsafe
	base     *baseimage.Base // nil for none
	// packageFile is Options.PackageFile.
	packageFile func(ctx context.Context, p *lock.Package) (io.ReadCloser, error)

	receipts []*store.Receipt
	sliced   []lock.SliceFiles // packages of which a part is in the tree
	tree     *rootfs.Tree
	layers   *layer.Plan
	written  []layer.Layer
	image    *image.Image
}

// resolve takes the given lock, if it fits, or makes one.
func (b *builder) resolve(ctx context.Context) error {
	var err error
	if b.bases, err = b.openBases(ctx); err != nil {
		return err
	}
	if s := b.cfg.Sliced(); len(s) > 0 && b.options.Compat != "" {
		return &SliceError{fmt.Errorf("%s: slices of %s: not possible with --compat %s, which makes one layer of whole packages",
			b.cfg.SlicedAt(s[0].Package), s[0].Package, b.options.Compat)}
	}
	if b.bases != nil && b.options.Compat != "" {
		return b.cfg.BaseImageError(baseimage.PartImage, errNoCompat)
	}
	if b.lock = b.options.Lock; b.lock != nil {
		r, err := request(b.cfg, b.bases)
		if err != nil {
			return err
		}
		return checkLock(b.lock, r)
	}
	b.lock, err = resolve(ctx, b.ws, b.cfg, b.bases, LockOptions{Unsafe: b.options.Unsafe})
	return err
}

// openBases takes the base images that were given, or opens those that the
// configuration names. Without a workspace nothing is opened.
func (b *builder) openBases(ctx context.Context) (bases, error) {
	if b.options.Bases != nil || b.ws == nil {
		return basesFrom(b.options.Bases, b.cfg)
	}
	return openBases(ctx, b.cfg, b.ws.Store())
}

func (b *builder) fetch(ctx context.Context) error {
	b.result.Lock = b.lock
	for _, arch := range b.cfg.Architectures() {
		j := &job{source: b.source, cfg: b.cfg, lock: b.lock, arch: arch, weights: b.options.Weights, unsafe: b.options.Unsafe.packages(),
			base: b.bases[arch.APK], previous: b.lock.Segments(arch.APK), created: b.options.Created, asked: b.options.Created, compat: b.options.Compat, packageFile: b.options.PackageFile}
		if err := j.fetch(ctx); err != nil {
			return err
		}
		b.jobs = append(b.jobs, j)
	}
	b.result.Unsafe = b.unsafe()
	return nil
}

// unsafe lists the unsafe choices that had an effect or could have had one.
func (b *builder) unsafe() []string {
	var out []string
	if b.lock.Cairn != nil {
		out = append(out, b.lock.Cairn.Unsafe...)
	}
	for _, j := range b.jobs {
		out = append(out, packages.Waived(j.receipts)...)
	}
	if b.options.Unsafe.BrokenSBOM {
		out = append(out, "broken-sbom")
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (b *builder) plan(ctx context.Context) error {
	for _, j := range b.jobs {
		if err := j.healing(func() error { return j.plan(ctx) }); err != nil {
			return err
		}
		if b.options.Lock == nil { // it was made here, and this belongs in it
			b.lock.Cairn.Slices = append(b.lock.Cairn.Slices, j.sliced...)
		}
	}
	return nil
}

// write makes the layers.
func (b *builder) write(ctx context.Context) error {
	for _, j := range b.jobs {
		err := j.healing(func() (err error) {
			if j.receipts == nil {
				if err := j.plan(ctx); err != nil {
					return err
				}
			}
			var have map[int]layer.Layer
			if b.elsewhere != nil {
				if have, err = b.elsewhere.layers(ctx, j); err != nil {
					return err
				}
			}
			j.written, err = j.layers.WriteOthers(ctx, b.ws.Store(), have)
			return err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", j.arch, err)
		}
	}
	return nil
}

// healing runs a step again as long as it finds something damaged or missing in
// the store: what was damaged is gone by then, and is fetched anew. It gives up
// when it meets the same thing twice, as in a store that cannot be written to.
func (j *job) healing(step func() error) error {
	seen := map[string]bool{}
	for {
		err := step()
		if !errors.Is(err, store.ErrNotFound) || seen[err.Error()] {
			return err
		}
		seen[err.Error()] = true
		j.source.Forget()
		j.receipts = nil
	}
}

func (j *job) fetch(ctx context.Context) error {
	if j.receipts != nil {
		return nil
	}
	var err error
	if j.receipts, err = j.source.Fetch(ctx, j.lock, j.arch.APK, packages.FetchOptions{
		Repositories: slices.Concat(j.cfg.Contents.BuildRepositories, j.cfg.Contents.Repositories), Unsafe: j.unsafe, Open: j.packageFile,
	}); err != nil {
		return err
	}
	if j.created.IsZero() {
		j.created = later(newest(j.receipts), j.base)
	}
	return nil
}

// newest is the newest build time of the packages; the epoch when there are
// none.
func newest(receipts []*store.Receipt) time.Time {
	var t int64
	for _, r := range receipts {
		t = max(t, r.Package.BuildTime)
	}
	return time.Unix(t, 0).UTC()
}

// plan plans the tree and its layers.
func (j *job) plan(ctx context.Context) error {
	if err := j.fetch(ctx); err != nil {
		return err
	}
	in, err := j.treeInput(ctx)
	if err != nil {
		return err
	}
	if j.tree, err = rootfs.Plan(ctx, in); err != nil {
		return fmt.Errorf("%s: %w", j.arch, err)
	}
	strategy, budget := j.cfg.Layers()
	o := layer.Options{Strategy: layer.Strategy(strategy), Budget: budget, Weights: j.weights, Compat: j.apkoLayers()}
	if j.base != nil {
		o.Base = j.base.Layers
	}
	if j.previous != nil {
		o.Previous = &layer.Assignment{Segments: j.previous}
	}
	if j.layers, err = layer.NewContext(ctx, j.tree, o); err != nil {
		return fmt.Errorf("%s: %w", j.arch, err)
	}
	return nil
}

// treeInput gathers what the tree is planned from.
func (j *job) treeInput(ctx context.Context) (rootfs.Input, error) {
	world, err := j.cfg.World()
	if err != nil {
		return rootfs.Input{}, err
	}
	created := j.created
	if j.compat == compatApko {
		created = j.asked // apko's files know nothing of the packages' age
	}
	in := rootfs.Input{
		Config: j.cfg, Arch: j.arch.APK, World: world, Created: created,
		Compat: j.compat, Base: treeBase(j.base),
		ReadFiles: func(ctx context.Context, pkg int, members []int) ([][]byte, error) {
			return j.source.ReadFiles(ctx, j.receipts[pkg], members)
		},
	}
	for _, r := range j.cfg.RuntimeRepositories() {
		in.RuntimeRepositories = append(in.RuntimeRepositories, redacted([]string{r.String()})...)
	}
	requested := map[string]bool{}
	for _, d := range world {
		requested[d.Name] = !d.Conflict
	}
	locked := j.lock.For(j.arch.APK)
	for i, r := range j.receipts {
		from, _ := packages.RepositoryOf(&locked[i])
		in.Packages = append(in.Packages, rootfs.Package{Receipt: r, Repository: from, Requested: requested[r.Package.Name]})
	}
	if err := j.slice(ctx, &in); err != nil {
		return in, err
	}
	in.Keys, err = j.keys(ctx)
	return in, err
}

// keys are the keys for /etc/apk/keys: those of the lock; where apko left out
// their content, they are read from where the configuration says.
func (j *job) keys(ctx context.Context) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, k := range j.lock.Contents.Keyring {
		if k.Content != "" {
			out[repository.KeyName(k.Name)] = []byte(k.Content)
		}
	}
	if len(out) < len(j.lock.Contents.Keyring) || j.lock.Cairn == nil {
		more, err := j.source.Keys(ctx, j.cfg.Keyring())
		if err != nil {
			return nil, err
		}
		for _, k := range more {
			out[k.Name] = k.PEM()
		}
	}
	return out, nil
}
