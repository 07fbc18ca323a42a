package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/provenance"
)

// publishFlags are the flags of publish beside those of its input.
type publishFlags struct {
	build  buildFlags
	sign   signFlags
	mount  []string
	attest []string

	receipts, fromReceipts bool
}

func newPublish(a *app) *cobra.Command {
	var p publishFlags
	cmd := &cobra.Command{
		Use:   "publish CONFIG|LOCK|LAYOUT REF...",
		Short: "Build an image and store it in registries",
		Long: `Build an image from a configuration, or from a lock (.json) and the configuration
that it names, or take the one in an OCI layout (DIR/), and store it under every
REF: a repository with the tag that the image gets there.

Nothing is sent that a registry has: blobs are looked up by their digests, and
mounted from other repositories of the registry where it allows that. Blobs come
first, then manifests, then the kit and the signatures; the tags move when all of
that is everywhere. A run that failed has moved no tag, and the same command goes
on where it stopped.

From a layout, signatures, attestations and whatever else refers to the image go
along. With --key or --keyless it is signed before a tag moves, and --attest adds
signed SBOMs and provenance; see cairn sign.

--receipts stores the packages' receipts in the repository too. With
--from-receipts a machine with an empty cache then needs no package that the
registry has as a layer: receipts count because the lock pins them, and a new
package goes from its repository to the registry. docs/receipts.md says how.
Credentials are those of docker login.`,
		Example: "  cairn publish image.yaml registry.example/team/app:1 registry.example/team/app:latest\n" +
			"  cairn publish --kit --key release.key --no-log --attest sbom,provenance image.yaml registry.example/team/app:1\n" +
			"  cairn publish --from-receipts image.lock.json registry.example/team/app:2\n  cairn publish out/ registry.example/team/app:1",
		Args: args(2, 1000, "CONFIG|LOCK|LAYOUT REF..."),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd, a, args[0], args[1:]) },
	}
	p.build.register(cmd)
	p.sign.register(cmd)
	p.build.registerImage(cmd)
	f := cmd.Flags()
	f.BoolVar(&p.build.kit, "kit", false, "store the rebuild kit beside the image, for cairn prove and cairn rebuild")
	f.StringSliceVar(&p.attest, "attest", nil, "sign and attach `statements` about the image: sbom (SPDX), cyclonedx, provenance")
	f.StringVar(&p.build.builder, "builder-id", "", "`URI` of who runs the build and answers for it, for the provenance (default: nobody, a local build)")
	f.BoolVar(&p.receipts, "receipts", false, "store the packages' receipts beside the image, for --from-receipts")
	f.BoolVar(&p.fromReceipts, "from-receipts", false, "look for receipts and layers in the registry before packages are read; needs a lock, and implies --receipts")
	f.StringSliceVar(&p.mount, "mount-from", nil, "`repositories` of the same registry that may have layers of the image, and receipts")
	return cmd
}

// check refuses flags that make no sense together, before anything is done.
func (p *publishFlags) check(layout bool) error {
	for _, s := range p.attest {
		if _, ok := statements[s]; !ok {
			return usageError{fmt.Errorf("--attest: found %q, expected sbom, cyclonedx or provenance", s)}
		}
	}
	switch {
	case len(p.attest) > 0 && !p.signs():
		return usageError{errors.New("--attest: found neither --key nor --keyless, expected one of them: statements are signed")}
	case layout && len(p.attest) > 0:
		return usageError{errors.New("--attest: found a layout, expected a configuration or a lock: statements are about a build\nhint: cairn attest attaches any statement to an image")}
	case layout && (p.receipts || p.fromReceipts):
		return usageError{errors.New("--receipts: found a layout, expected a configuration or a lock: a layout has no receipts")}
	}
	return nil
}

func (p *publishFlags) signs() bool { return p.sign.o.Key != "" || p.sign.o.Keyless }

func (p *publishFlags) run(cmd *cobra.Command, a *app, from string, refs []string) error {
	o := assemble.PublishOptions{MountFrom: p.mount, Registry: target.Options{Keychain: authn.DefaultKeychain, Insecure: p.sign.insecure},
		Receipts: p.receipts, FromReceipts: p.fromReceipts}
	for _, r := range refs {
		o.References = append(o.References, a.image(r))
	}
	if err := o.Check(); err != nil {
		return usageError{err}
	}
	layout := false
	if ref, err := target.Parse(from); err == nil && ref.IsLayout() {
		fi, err := os.Stat(a.at(ref.Layout()))
		layout = err != nil || fi.IsDir()
	}
	if err := p.check(layout); err != nil {
		return err
	}
	if !layout {
		return p.fromConfig(cmd, a, from, o)
	}
	if p.signs() {
		o.Attach = func(ctx context.Context, image string) error { return p.signImage(ctx, a, image, nil) }
	}
	list, err := assemble.PublishLayout(cmd.Context(), a.image(from), o)
	if err != nil {
		return err
	}
	return printCopied(a, list)
}

// signImage signs an image in its repository, and statements about it.
func (p *publishFlags) signImage(ctx context.Context, a *app, image string, list []sign.Attestation) error {
	so, err := p.sign.options(a, image)
	if err != nil {
		return err
	}
	var r *sign.Result
	if len(list) == 0 {
		r, err = sign.Sign(ctx, so)
	} else {
		r, err = sign.Attest(ctx, sign.AttestOptions{SignOptions: so, Attestations: list, SignImage: true})
	}
	if err != nil {
		return err
	}
	if !a.quiet {
		for _, n := range r.Notes {
			fmt.Fprintf(a.std.err, "note: %s\n", n)
		}
	}
	return nil
}

func (p *publishFlags) fromConfig(cmd *cobra.Command, a *app, path string, o assemble.PublishOptions) (err error) {
	if path, err = p.build.locked(a, path); err != nil {
		return err
	}
	bo, err := p.build.options(a, false, []string{path})
	if err != nil {
		return err
	}
	if len(p.attest) > 0 {
		dir, err := os.MkdirTemp("", "cairn-publish-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		bo.SBOMDir, bo.SBOMFormats = filepath.Join(dir, "sbom"), nil
	}
	var list []assemble.Published
	in := provenance.Input{Builder: p.build.builder}
	if err := p.build.with(cmd.Context(), a, path, bo, func(ws *packages.Workspace, cfg *config.Config, bo assemble.Options) (err error) {
		in.Started, in.Config, in.Options = time.Now(), cfg, bo
		o.Progress = bo.Progress
		var attestations []sign.Attestation
		o.Built = func(r *assemble.Result) (err error) {
			in.Result = r
			attestations, err = p.attestations(in, bo.SBOMDir)
			return err
		}
		if p.signs() {
			o.Attach = func(ctx context.Context, image string) error { return p.signImage(ctx, a, image, attestations) }
		}
		_, list, err = assemble.Publish(cmd.Context(), ws, cfg, bo, o)
		return err
	}); err != nil {
		if errors.Is(err, assemble.ErrNoLock) {
			return usageError{fmt.Errorf("--from-receipts: %w", err)}
		}
		return err
	}
	if a.warnings {
		printWarnings(a.std.err, in.Result)
	}
	out := make([]assemble.Copied, len(list))
	for i, l := range list {
		out[i].Published = l
	}
	return printCopied(a, out)
}

// statements are what --attest knows: the predicate type of each.
var statements = map[string]string{"sbom": "spdxjson", "cyclonedx": "cyclonedx", "provenance": "slsaprovenance1"}

// attestations makes the statements about an image that was built.
func (p *publishFlags) attestations(in provenance.Input, sboms string) ([]sign.Attestation, error) {
	var out []sign.Attestation
	for _, s := range p.attest {
		if s == "provenance" {
			if in.Finished = time.Now(); !in.Options.Created.IsZero() {
				in.Started, in.Finished = time.Time{}, time.Time{}
			}
			predicate, err := provenance.New(in)
			if err != nil {
				return nil, err
			}
			out = append(out, sign.Attestation{Type: statements[s], Predicate: predicate, Children: true})
			continue
		}
		suffix := map[string]string{"sbom": ".spdx.json", "cyclonedx": ".cdx.json"}[s]
		of := func(name string, subject v1.Hash) error {
			b, err := os.ReadFile(filepath.Join(sboms, "sbom-"+name+suffix))
			out = append(out, sign.Attestation{Subject: subject, Type: statements[s], Predicate: b})
			return err
		}
		if err := of("index", v1.Hash{}); err != nil {
			return nil, err
		}
		archs := in.Config.Architectures()
		for i, img := range in.Result.Images {
			if err := of(archs[i].APK, img.Digest); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// printCopied says for each reference what was sent; on standard output goes what
// a script wants, the image by its digest.
func printCopied(a *app, list []assemble.Copied) error {
	return render(a.std.out, format(a.format), list, nil, func(w io.Writer) error {
		for i := range list {
			c := &list[i]
			if !a.quiet {
				t := &c.Transfer
				fmt.Fprintf(a.std.err, "%s: sent %s, mounted %s, %s were there", c.Reference, bytesText(t.Uploaded.Bytes), bytesText(t.Mounted.Bytes), bytesText(t.Present.Bytes))
				if c.Attached > 0 {
					fmt.Fprintf(a.std.err, ", with %d that refer to it", c.Attached)
				}
				fmt.Fprintln(a.std.err)
			}
			if _, err := fmt.Fprintln(w, c.Reference); err != nil {
				return err
			}
		}
		return nil
	})
}

func newCopy(a *app) *cobra.Command {
	var plain bool
	var mount []string
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy an image with its signatures and everything else that refers to it",
		Long: `Copy an image or image index from a registry or OCI layout (DIR/) to another, with
signatures and attestations in both formats, rebuild kits, SBOMs and whatever else
refers to it, and what refers to that. What is there is not sent. The tag moves
last; signatures that only the destination has are not overwritten.`,
		Example: "  cairn copy registry.example/team/app:1 mirror.example/app:1\n  cairn copy registry.example/team/app@sha256:… out/",
		Args:    args(2, 2, "FROM TO"),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := assemble.Copy(cmd.Context(), a.image(args[0]), a.image(args[1]), assemble.PublishOptions{
				MountFrom: mount, Registry: target.Options{Keychain: authn.DefaultKeychain, Insecure: plain}})
			if err != nil {
				return err
			}
			return printCopied(a, []assemble.Copied{*c})
		},
	}
	cmd.Flags().BoolVar(&plain, "unsafe-plain-http", false, "speak plain HTTP to the registries")
	cmd.Flags().StringSliceVar(&mount, "mount-from", nil, "`repositories` of the destination's registry that may have the blobs")
	return cmd
}
