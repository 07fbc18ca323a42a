package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/sign"
)

// publishFlags are the flags of publish beside those of its input.
type publishFlags struct {
	build buildFlags
	sign  signFlags
	mount []string
}

func newPublish(a *app) *cobra.Command {
	var p publishFlags
	cmd := &cobra.Command{
		Use:   "publish CONFIG|LAYOUT REF...",
		Short: "Build an image and store it in registries",
		Long: `Build an image from a configuration, or take the one in an OCI layout (DIR/), and
store it under every REF: a repository with the tag that the image gets there.

Nothing is sent that a registry has: blobs are looked up by their digests, and
mounted from other repositories of the registry where it allows that. Blobs come
first, then manifests, then the kit and the signatures; the tags move when all of
that is everywhere. A run that failed has moved no tag, and the same command goes
on where it stopped.

From a layout, signatures, attestations and whatever else refers to the image go
along. With --key or --keyless it is signed before a tag moves; see cairn sign.
Credentials are those of docker login.`,
		Example: "  cairn publish image.yaml registry.example/team/app:1 registry.example/team/app:latest\n" +
			"  cairn publish --kit --key release.key --no-log image.yaml registry.example/team/app:1\n  cairn publish out/ registry.example/team/app:1",
		Args: args(2, 1000, "CONFIG|LAYOUT REF..."),
		RunE: func(cmd *cobra.Command, args []string) error { return p.run(cmd, a, args[0], args[1:]) },
	}
	p.build.register(cmd)
	p.sign.register(cmd)
	p.build.registerImage(cmd)
	f := cmd.Flags()
	f.BoolVar(&p.build.kit, "kit", false, "store the rebuild kit beside the image, for cairn prove")
	f.StringSliceVar(&p.mount, "mount-from", nil, "`repositories` of the same registry that may have layers of the image")
	return cmd
}

func (p *publishFlags) run(cmd *cobra.Command, a *app, from string, refs []string) error {
	o := assemble.PublishOptions{MountFrom: p.mount, Registry: target.Options{Keychain: authn.DefaultKeychain, Insecure: p.sign.insecure}}
	for _, r := range refs {
		o.References = append(o.References, a.image(r))
	}
	if err := o.Check(); err != nil {
		return usageError{err}
	}
	if p.sign.o.Key != "" || p.sign.o.Keyless {
		o.Attach = func(ctx context.Context, image string) error {
			so, err := p.sign.options(a, image)
			if err != nil {
				return err
			}
			r, err := sign.Sign(ctx, so)
			if err == nil && !a.quiet {
				for _, n := range r.Notes {
					fmt.Fprintf(a.std.err, "note: %s\n", n)
				}
			}
			return err
		}
	}
	if ref, err := target.Parse(from); err == nil && ref.IsLayout() {
		if fi, err := os.Stat(a.at(ref.Layout())); err != nil || fi.IsDir() {
			list, err := assemble.PublishLayout(cmd.Context(), a.image(from), o)
			if err != nil {
				return err
			}
			return printCopied(a, list)
		}
	}
	return p.fromConfig(cmd, a, from, o)
}

func (p *publishFlags) fromConfig(cmd *cobra.Command, a *app, path string, o assemble.PublishOptions) error {
	bo, err := p.build.options(a, false, []string{path})
	if err != nil {
		return err
	}
	var res *assemble.Result
	var list []assemble.Published
	if err := p.build.with(a, path, bo, func(ws *packages.Workspace, cfg *config.Config, bo assemble.Options) (err error) {
		o.Progress = bo.Progress
		res, list, err = assemble.Publish(cmd.Context(), ws, cfg, bo, o)
		return err
	}); err != nil {
		return err
	}
	if a.warnings {
		printWarnings(a.std.err, res)
	}
	out := make([]assemble.Copied, len(list))
	for i, l := range list {
		out[i].Published = l
	}
	return printCopied(a, out)
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
