package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/sbom"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/sign/provenance"
)

// buildFlags are the flags of build beside those of its input.
type buildFlags struct {
	inputFlags
	outputs     []string
	sbom        bool
	sbomPath    string
	sbomFormats []string
	buildDate   string
	compat      string
	author      string
	kit         bool

	provenance string
	builder    string
	mirror     string
}

func newBuild(a *app) *cobra.Command {
	var b buildFlags
	cmd := &cobra.Command{
		Use:   "build CONFIG [TAG] [OUTPUT]",
		Short: "Build an image from a configuration",
		Long: `Build an image from a configuration, for all its architectures.

OUTPUT is DIR/ (OCI layout), FILE.tar (docker load reads it), oci-archive:FILE
or docker:// (into the engine); --output may be given as often as there are
outputs. Without any, nothing is written, but the digest is printed all the
same.

When CONFIG.lock.json stands beside the configuration it is used, and refused
when the configuration has changed since; cairn lock renews it.`,
		Example: "  cairn build image.yaml hello:latest hello.tar\n  cairn build --arch=x86_64 --sbom-path=. image.yaml hello:latest out/",
		Args:    args(1, 3, "CONFIG [TAG] [OUTPUT]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return b.run(cmd, a, args)
		},
	}
	b.register(cmd)
	b.registerImage(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&b.outputs, "output", "o", nil, "write the image to `output`: DIR/, FILE.tar, oci-archive:FILE or docker://")
	f.BoolVar(&b.sbom, "sbom", false, "write SBOMs, here when --sbom-path does not say where (default: only with --sbom-path)")
	f.StringVar(&b.sbomPath, "sbom-path", "", "write SBOMs into this `directory`")
	f.StringSliceVar(&b.sbomFormats, "sbom-formats", []string{string(sbom.SPDX), string(sbom.CycloneDX)}, "`formats` of the SBOMs that are written")
	f.StringVar(&b.compat, "compat", "", "give the output of another `tool`: apko")
	f.BoolVar(&b.kit, "kit", false, "write the rebuild kit beside the image into DIR/ and oci-archive: outputs, for cairn prove")
	f.StringVar(&b.provenance, "provenance", "", "write the SLSA provenance predicate of the build to this `file`, for cairn attest")
	f.StringVar(&b.builder, "builder-id", "", "`URI` of who runs the build and answers for it, for the provenance (default: nobody, a local build)")
	return cmd
}

// registerImage adds the flags that say what is in the image, whatever becomes of
// it.
func (b *buildFlags) registerImage(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&b.buildDate, "build-date", "", "creation `time` of the image, RFC 3339 (default: SOURCE_DATE_EPOCH, else the newest package's)")
	f.StringVar(&b.mirror, "mirror", "", "take the packages of the lock from this `mirror`, a directory or a reference, where it has them; see cairn mirror")
	f.StringVar(&b.author, "author", "", "author of the image and creator of its SBOMs, as in \"Organization: Example\"")
}

func (b *buildFlags) run(cmd *cobra.Command, a *app, args []string) error {
	if len(b.sbomFormats) == 0 {
		return usageError{errors.New("--sbom-formats: found none, expected spdx or cyclonedx\nhint: --sbom=false writes no SBOMs")}
	}
	o, err := b.options(a, cmd.Flags().Changed("sbom"), args)
	if err != nil {
		return err
	}
	in := provenance.Input{Builder: b.builder}
	if err := b.with(cmd.Context(), a, args[0], o, func(ws *packages.Workspace, cfg *config.Config, o assemble.Options) (err error) {
		in.Started, in.Config, in.Options = time.Now(), cfg, o
		in.Result, err = assemble.Build(cmd.Context(), ws, cfg, o)
		return err
	}); err != nil {
		return err
	}
	if err := b.writeProvenance(in); err != nil {
		return err
	}
	return printBuild(a, in.Result)
}

// with reads a configuration and its lock, and runs do with what a build needs,
// while progress is shown.
func (b *buildFlags) with(ctx context.Context, a *app, path string, o assemble.Options, do func(*packages.Workspace, *config.Config, assemble.Options) error) error {
	cfg, err := b.load(a, path)
	if err != nil {
		return err
	}
	if o.Lock, err = b.readLock(a, path); err != nil {
		return err
	}
	if b.mirror != "" {
		m, err := b.openMirror(ctx, a, o.Lock)
		if err != nil {
			return err
		}
		o.PackageFile = m.Package
	}
	p := newProgress(a)
	defer p.stop()
	ws, err := b.open(a, p.event)
	if err != nil {
		return err
	}
	defer ws.Close()
	o.Progress = p.stage
	return do(ws, cfg, o)
}

// writeProvenance writes the predicate when it is wanted. Its times are those of
// this run, but for a build that was given a date: that one is to be the same
// again.
func (b *buildFlags) writeProvenance(in provenance.Input) error {
	if b.provenance == "" {
		return nil
	}
	if in.Finished = time.Now(); !in.Options.Created.IsZero() {
		in.Started, in.Finished = time.Time{}, time.Time{}
	}
	predicate, err := provenance.New(in)
	if err != nil {
		return err
	}
	return writeFileAtomic(b.provenance, predicate, 0o644)
}

// options checks what can be checked before anything is read.
func (b *buildFlags) options(a *app, sbomSaid bool, args []string) (assemble.Options, error) {
	o := assemble.Options{Outputs: b.outputs, Dir: a.workdir, Compat: b.compat, Unsafe: b.off, Version: buildVersion(), Author: b.author, Kit: b.kit}
	if len(args) > 1 {
		o.Tags = []string{args[1]}
	}
	if len(args) > 2 {
		o.Outputs = append([]string{args[2]}, o.Outputs...)
	}
	o.SBOMDir, o.SBOMFormats = b.sbomDir(a, sbomSaid), b.sbomFormats
	if u, err := url.Parse(b.builder); b.builder != "" && (err != nil || u.Scheme == "") {
		return o, usageError{fmt.Errorf("--builder-id: found %q, expected a URI such as https://ci.example/builds", b.builder)}
	}
	var err error
	if o.Created, err = parseBuildDate(b.buildDate); err != nil {
		return o, err
	}
	if o.Created.IsZero() {
		t, set, err := image.SourceDateEpoch(os.Getenv("SOURCE_DATE_EPOCH"))
		if err != nil {
			return o, usageError{err}
		}
		if set {
			o.Created = t
		}
	}
	if err := o.Check(); err != nil {
		if errors.Is(err, image.ErrNotWritable) {
			return o, err
		}
		return o, usageError{err}
	}
	return o, nil
}

// sbomDir is where SBOMs are written, empty for nowhere. said tells that --sbom
// was given.
func (b *buildFlags) sbomDir(a *app, said bool) string {
	switch {
	case said && !b.sbom:
		return ""
	case said && b.sbomPath == "":
		return filepath.Clean(a.workdir)
	}
	return a.at(b.sbomPath)
}

// locked finds the configuration of a lock that was given in its place: the one that
// the lock names, beside it.
func (in *inputFlags) locked(a *app, path string) (string, error) {
	if !strings.HasSuffix(path, ".json") {
		return path, nil
	}
	l, err := lock.ReadFile(a.at(path))
	if err != nil {
		return "", err
	}
	if in.lockfile != "" {
		return "", usageError{fmt.Errorf("--lockfile: found %s and the lock %s, expected one of them", in.lockfile, path)}
	}
	in.lockfile = path
	if l.Config.Name == "" {
		return "", fmt.Errorf("lock %s: names no configuration: %w\nhint: give the configuration, and the lock with --lockfile", path, lock.ErrInvalid)
	}
	return filepath.Join(filepath.Dir(path), filepath.Base(l.Config.Name)), nil
}

// readLock reads the lock that --lockfile names, or the one beside the
// configuration; nil when there is none.
func (in *inputFlags) readLock(a *app, configPath string) (*lock.Lock, error) {
	path := in.lockfile
	if path == "" {
		path = lockPath(configPath)
	}
	l, err := lock.ReadFile(a.at(path))
	if errors.Is(err, fs.ErrNotExist) && in.lockfile == "" {
		return nil, nil
	}
	return l, err
}

// printBuild is the closing summary; on standard output goes what a script
// wants, the digest.
func printBuild(a *app, res *assemble.Result) error {
	return render(a.std.out, format(a.format), res, nil, func(w io.Writer) error {
		if !a.quiet {
			if err := summary(a.std.err, res); err != nil {
				return err
			}
		}
		if a.warnings {
			printWarnings(a.std.err, res)
		}
		if !a.quiet {
			printStages(a.std.err, res)
		}
		_, err := fmt.Fprintln(w, res.Digest)
		return err
	})
}

func summary(w io.Writer, res *assemble.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ARCH\tDIGEST\tSIZE\tPACKAGES\tLAYERS\tREUSED")
	for _, img := range res.Images {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%s\n", img.Arch, img.Digest, bytesText(img.Size), img.Packages, layerCounts(img), bytesText(img.Reused))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, o := range append(append([]string{}, res.Outputs...), res.SBOMs...) {
		fmt.Fprintf(w, "wrote %s\n", o)
	}
	return nil
}

func printWarnings(w io.Writer, res *assemble.Result) {
	for _, warning := range res.Warnings {
		fmt.Fprintf(w, "cairn: warning: %s\n", warning)
	}
	for _, u := range res.Unsafe {
		fmt.Fprintf(w, "unsafe: %s\n", u)
	}
}

func printStages(w io.Writer, res *assemble.Result) {
	var stages []string
	for _, s := range res.Stages {
		stages = append(stages, s.Name+" "+s.Elapsed.Round(time.Millisecond).String())
	}
	fmt.Fprintln(w, strings.Join(stages, ", "))
}

// layerCounts spells "5 (3 verbatim, 1 packed, 1 top)".
func layerCounts(img assemble.ImageResult) string {
	total := 0
	var parts []string
	for _, kind := range []string{"base", "verbatim", "rewritten", "packed", "top", "app"} {
		if n := img.Kinds[kind]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%d %s", n, kind))
		}
	}
	return fmt.Sprintf("%d (%s)", total, strings.Join(parts, ", "))
}
