package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/guest"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/layer"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/build"
	"github.com/cairn-dev/cairn/packages/build/buildkit"
	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/distro"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/packages/store"
)

// packageBuildFlags are the flags of package build.
type packageBuildFlags struct {
	definitionFlags
	storeFlags
	arch         string
	runner       string
	out          string
	buildkit     []string
	network      bool
	namespace    string
	buildDate    string
	repositories []string
	keyring      []string
	parallel     int
	trace        bool
	stop         bool
	unsigned     bool
	keys         signingKeys
	provenance   packageProvenance
	workers      *buildkit.Workers
}

func newPackageBuild(a *app) *cobra.Command {
	var b packageBuildFlags
	cmd := &cobra.Command{
		Use:   "build FILE...|DIR",
		Short: "Build packages from definitions",
		Long: `Build the packages of definitions, or of all definitions of a directory in the order
that they need, into a repository: --out/ARCH/NAME-VERSION.apk and an index.

What is current is not built again: a build depends on the compiled definition, the
files beside it (in a directory of the package's name), the sources, the packages of
its environment and the engine. A failed build stops only those that need it. Logs are
in --out/.cairn/ARCH/logs.

Sources are taken and checked before the sandbox starts. The sandbox is made of the
environment's packages, from what is built here and from --repository-append.

--runner bubblewrap runs steps in a sandbox without a network, as root or, where the
machine allows user namespaces, as any user. --runner buildkit runs them on the BuildKit
daemons of --buildkit, here or on other machines; a daemon that stops answering is left.
--runner host runs them on this machine, as it is and with all your rights: for machines
with a toolchain and definitions that you wrote.

A definition with the annotation dev.cairn.network: "true" (package.annotations) asks for
the network, and is built only with --allow-network.

The times in packages are those of SOURCE_DATE_EPOCH or --build-date, else 1970-01-01:
the same inputs give the same bytes.`,
		Example: "  cairn package build --repository-append https://packages.wolfi.dev/os --keyring-append wolfi-signing.rsa.pub --signing-key me.rsa hello.yaml\n" +
			"  cairn package build --runner host definitions/",
		Args: args(1, -1, "FILE...|DIR"),
		RunE: func(cmd *cobra.Command, args []string) error { return b.run(cmd.Context(), a, args) },
	}
	b.definitionFlags.register(cmd)
	b.storeFlags.register(cmd)
	b.keys.register(cmd)
	b.provenance.register(cmd)
	f := cmd.Flags()
	f.StringVar(&b.arch, "arch", "host", "the `architecture` to build for")
	b.registerRunner(f)
	f.StringVar(&b.out, "out", "packages", "`directory` of the repository")
	f.StringVar(&b.namespace, "namespace", "unknown", "`name` of the distribution in the packages' URLs, such as wolfi")
	f.StringVar(&b.buildDate, "build-date", "", "`time` of the packages and their files, RFC 3339 (default: SOURCE_DATE_EPOCH, else 1970-01-01)")
	f.StringSliceVarP(&b.repositories, "repository-append", "r", nil, "`repositories` with packages for the environments")
	f.StringSliceVarP(&b.keyring, "keyring-append", "k", nil, "`keys` to trust: files or URLs")
	f.IntVar(&b.parallel, "parallel", 1, "builds at a time")
	f.BoolVar(&b.trace, "trace", false, "let the steps' shells print what they do")
	f.BoolVar(&b.stop, "stop-at-failure", false, "begin no build after one failed")
	f.BoolVar(&b.unsigned, "unsafe-unsigned-index", false, "accept indexes without a verified signature")
	return cmd
}

// registerRunner adds the flags that say how steps run.
func (b *packageBuildFlags) registerRunner(f *pflag.FlagSet) {
	f.StringVar(&b.runner, "runner", "bubblewrap", "what runs the steps: bubblewrap, buildkit or host")
	b.registerDaemons(f)
}

// registerDaemons adds those that do not choose the runner.
func (b *packageBuildFlags) registerDaemons(f *pflag.FlagSet) {
	f.StringSliceVar(&b.buildkit, "buildkit", nil, "`addresses` of BuildKit daemons for --runner buildkit: unix:///run/buildkit/buildkitd.sock, tcp://HOST:PORT")
	f.BoolVar(&b.network, "allow-network", false, "let definitions that ask for it use the network")
}

func (b *packageBuildFlags) run(ctx context.Context, a *app, names []string) error {
	o, co, err := b.definitionFlags.read(a, b.arch)
	if err != nil {
		return err
	}
	var files []string
	for _, name := range names {
		list, err := definitionFiles(a, name)
		if err != nil {
			return err
		}
		files = append(files, list...)
	}
	builds, err := definition.LoadAll(ctx, files, o, co)
	if err != nil {
		return err
	}
	for _, d := range builds {
		a.warnDefinition(d.Warnings)
	}
	if len(builds) == 0 {
		return fmt.Errorf("no definition is for %s: %w", co.Arch, definition.ErrArch)
	}
	ws, err := b.storeFlags.open(a, func(packages.Event) {})
	if err != nil {
		return err
	}
	defer ws.Close()
	bo, repositories, err := b.builder(ctx, a, ws, co.Arch, builds)
	defer b.close()
	if err != nil {
		return err
	}
	if bo.Record, err = b.provenance.record(ctx, a, filepath.Join(a.at(b.out), co.Arch), b.namespace); err != nil {
		return err
	}
	return a.buildGraph(ctx, builds, build.New(*bo), distro.Options{Dir: a.at(b.out), Arch: co.Arch, Repositories: repositories, Keys: bo.Keys,
		Jobs: b.parallel, StopAtFailure: b.stop})
}

// builder makes the options of a builder, with the repositories that environments are
// made from.
func (b *packageBuildFlags) builder(ctx context.Context, a *app, ws *packages.Workspace, arch string, builds []*definition.Build) (*build.Options, []distro.Repository, error) {
	bo, guests, err := b.options(ws)
	if err != nil {
		return nil, nil, err
	}
	if bo.Keys, err = b.keys.load(a); err != nil {
		return nil, nil, err
	}
	unsafe := packages.Unsafe{UnsignedIndex: b.unsigned}
	indexes, err := ws.Indexes(ctx, packages.Request{Repositories: b.repositories, Keyring: b.keyring, Unsafe: unsafe}, arch)
	if err != nil {
		return nil, nil, err
	}
	repositories := buildRepositories(indexes)
	if b.runner == "host" {
		bo.Runner = runner.Host{}
		return &bo, repositories, nil
	}
	loaded := map[string][]*repository.Index{} // many definitions bring the same
	for _, d := range builds {
		c := &d.Environment.Contents
		r := packages.Request{Repositories: slices.Concat(c.BuildRepositories, c.Repositories), Keyring: slices.Concat(c.Keyring, b.keyring), Unsafe: unsafe}
		key := fmt.Sprintf("%q %q", r.Repositories, r.Keyring)
		own, ok := loaded[key]
		if !ok {
			if own, err = ws.Indexes(ctx, r, arch); err != nil {
				return nil, nil, fmt.Errorf("%s: environment.contents: %w", d.File, err)
			}
			loaded[key] = own
		}
		for _, r := range buildRepositories(own) {
			r.For = d.Package.Name
			repositories = append(repositories, r)
		}
		indexes = append(indexes, own...)
	}
	guests.indexes, bo.Guests = indexes, guests
	bo.Runner, err = b.sandboxes(ctx, guests, "bubblewrap, buildkit or host")
	return &bo, repositories, err
}

// sandboxes is the runner of sandboxes that is asked for.
func (b *packageBuildFlags) sandboxes(ctx context.Context, g *guests, expected string) (runner.Runner, error) {
	switch b.runner {
	case "bubblewrap":
		return runner.NewBubblewrap()
	case "buildkit":
		if len(b.buildkit) == 0 {
			return nil, usageError{errors.New("--runner buildkit: no daemons\nhint: --buildkit names them")}
		}
		var err error
		g.images = true
		b.workers, err = buildkit.Connect(ctx, b.buildkit)
		return buildkit.Runner{Workers: b.workers}, err
	}
	return nil, usageError{fmt.Errorf("--runner: found %q, expected %s", b.runner, expected)}
}

// close ends connections to daemons.
func (b *packageBuildFlags) close() {
	if b.workers != nil {
		_ = b.workers.Close()
	}
}

// unixTime is a time in seconds since 1970.
func unixTime(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// options are those of a builder, and who makes guests for it. What builds share lies
// beside the store.
func (b *packageBuildFlags) options(ws *packages.Workspace) (build.Options, *guests, error) {
	base := filepath.Join(filepath.Dir(ws.Store().Dir()), "package-build")
	for _, dir := range []string{"files", "work", "sources", "images"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o755); err != nil {
			return build.Options{}, nil, err
		}
	}
	epoch, err := b.epoch()
	return build.Options{SourceCache: filepath.Join(base, "sources"), Offline: b.offline, Network: b.network, Epoch: epoch, Namespace: b.namespace,
		Version: buildVersion(), TempDir: filepath.Join(base, "work"), Trace: b.trace}, &guests{ws: ws, cache: filepath.Join(base, "files"), kept: filepath.Join(base, "guests"), layout: filepath.Join(base, "images")}, err
}

// epoch is the time of everything that is built.
func (b *packageBuildFlags) epoch() (time.Time, error) {
	t, err := parseBuildDate(b.buildDate)
	if err != nil || !t.IsZero() {
		return t, err
	}
	t, set, err := image.SourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
	if err != nil {
		return t, usageError{err}
	}
	if !set {
		t = time.Unix(0, 0)
	}
	return t.UTC(), nil
}

// guests makes sandboxes' root directories, or images, of packages.
type guests struct {
	ws      *packages.Workspace
	indexes []*repository.Index
	cache   string // of files
	kept    string // whole
	images  bool
	layout  string // of images
}

// Guest plans the tree of an environment and makes it a directory.
func (g *guests) Guest(ctx context.Context, d *definition.Build, environment []distro.Input, dir string) (*build.Guest, error) {
	if d.Environment.Contents.BaseImage != nil {
		return nil, fmt.Errorf("%s: environment.contents.baseimage: %w: sandboxes are made of packages, not on images", d.File, build.ErrDefinition)
	}
	var receipts []*store.Receipt
	for i := range environment {
		in := &environment[i]
		var r *store.Receipt
		var err error
		if in.Repository < 0 {
			r, err = g.ws.File(ctx, in.File, in.Package, in.SHA256)
		} else {
			r, err = g.ws.Package(ctx, g.indexes[in.Repository], in.Package, packages.Unsafe{})
		}
		if err != nil {
			return nil, fmt.Errorf("environment: %w", err)
		}
		receipts = append(receipts, r)
	}
	return g.of(ctx, receipts, &d.Environment, d.Arch, dir)
}

// of makes the root directory of packages.
func (g *guests) of(ctx context.Context, receipts []*store.Receipt, environment *definition.Environment, arch, dir string) (*build.Guest, error) {
	cfg, err := environmentConfig(environment, arch, dir)
	if err != nil {
		return nil, err
	}
	in := rootfs.Input{Config: cfg, Arch: arch, Created: time.Unix(0, 0).UTC(),
		ReadFiles: func(ctx context.Context, pkg int, members []int) ([][]byte, error) {
			return g.ws.Store().ReadFiles(ctx, receipts[pkg], members)
		}}
	out := &build.Guest{}
	for _, r := range receipts {
		in.Packages = append(in.Packages, rootfs.Package{Receipt: r, Requested: true})
		out.Packages, out.SHA256 = append(out.Packages, r.Package), append(out.SHA256, r.FileSHA256)
	}
	tree, err := rootfs.Plan(ctx, in)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	if g.images {
		return out, g.image(ctx, tree, cfg.Architectures()[0].Architecture, out)
	}
	out.Root, out.Close, err = guest.Shared(ctx, tree, g.ws.Store(), g.cache, g.kept)
	return out, err
}

// image makes a tree an image of layers that environments share.
func (g *guests) image(ctx context.Context, tree *rootfs.Tree, arch string, out *build.Guest) error {
	plan, err := layer.NewContext(ctx, tree, layer.Options{Strategy: layer.PerPackage})
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	written, err := plan.Write(ctx, g.ws.Store())
	if err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	var layers []buildkit.Layer
	for i := range written {
		l := &written[i]
		layers = append(layers, buildkit.Layer{Digest: l.Digest.String(), DiffID: l.DiffID.String(), Size: l.Size, Open: l.Open})
	}
	out.Layout, out.Arch = g.layout, arch
	out.Image, err = buildkit.WriteImage(ctx, g.layout, out.Arch, layers)
	return err
}

// environmentConfig is what of an environment is not packages, as a configuration.
func environmentConfig(of *definition.Environment, arch, dir string) (*config.Config, error) {
	accounts := of.Accounts
	accounts.RunAs = ""
	text, err := yaml.Marshal(map[string]any{"accounts": accounts, "paths": of.Paths, "certificates": of.Certificates, "archs": []string{arch}})
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "environment.yaml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		return nil, err
	}
	return config.Load(name, config.Options{})
}
