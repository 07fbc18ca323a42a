package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages"
)

// twinFlags are the flags of twin beside those of build's input.
type twinFlags struct {
	buildFlags
	extra []string
}

func newTwin(a *app) *cobra.Command {
	var t twinFlags
	cmd := &cobra.Command{
		Use:   "twin CONFIG|LOCK [TAG] [OUTPUT]",
		Short: "Build an image for debugging another one",
		Long: `Build the twin of an image: the same layers with the same digests, and above them
packages for debugging, those that the configuration's twin.packages and --with name.
The image itself stays without a shell.

The image's packages are those of its lock, in exactly these versions; the others are
resolved now so that they fit. User, environment, entrypoint and command are the
image's. The annotation dev.cairn.twin.of has the digest of the image, and
org.opencontainers.image.base.digest that of the manifest below.

It says how to look at a running container of the image from the twin.`,
		Example: "  cairn twin image.yaml app:1-debug app-debug.tar\n  cairn twin --with busybox,strace image.lock.json registry.example/app:1-debug debug/",
		Args:    args(1, 3, "CONFIG or LOCK [TAG] [OUTPUT]"),
		RunE:    func(cmd *cobra.Command, args []string) error { return t.run(cmd, a, args) },
	}
	t.register(cmd)
	t.registerImage(cmd)
	f := cmd.Flags()
	f.StringArrayVarP(&t.outputs, "output", "o", nil, "write the twin to `output`: DIR/, FILE.tar, oci-archive:FILE or docker://")
	f.StringSliceVar(&t.extra, "with", nil, "`packages` for the twin beside those that the configuration names")
	return cmd
}

// twinResult is what twin says.
type twinResult struct {
	Of       string           `json:"of"`
	Digest   string           `json:"digest"`
	Packages []string         `json:"packages"`
	Docker   string           `json:"docker"`
	Kubectl  string           `json:"kubectl"`
	Result   *assemble.Result `json:"result"`
}

func (t *twinFlags) run(cmd *cobra.Command, a *app, args []string) error {
	path, err := t.locked(a, args[0])
	if err != nil {
		return err
	}
	o, err := t.options(a, false, args)
	if err != nil {
		return err
	}
	o.SBOMDir = ""
	out := twinResult{}
	if err := t.buildFlags.with(cmd.Context(), a, path, o, func(ws *packages.Workspace, cfg *config.Config, o assemble.Options) error {
		out.Packages = append(append(out.Packages, cfg.Twin.Packages...), t.extra...)
		of, twin, err := assemble.Twin(cmd.Context(), ws, cfg, assemble.TwinOptions{Options: o, Packages: out.Packages})
		if errors.Is(err, assemble.ErrNoPackages) {
			return usageError{fmt.Errorf("%s: %w\nhint: twin: {packages: [busybox]} in the configuration, or --with busybox", path, err)}
		}
		if err != nil {
			return err
		}
		out.Of, out.Digest, out.Result = of.Digest.String(), twin.Digest.String(), twin
		return nil
	}); err != nil {
		return err
	}
	out.commands(o.Tags)
	return render(a.std.out, format(a.format), &out, nil, func(w io.Writer) error {
		if !a.quiet {
			if err := summary(a.std.err, out.Result); err != nil {
				return err
			}
			fmt.Fprintf(a.std.err, "twin of %s\nlook at a container NAME with it:\n  %s\n  %s\nits files are in /proc/1/root\n", out.Of, out.Docker, out.Kubectl)
		}
		if a.warnings {
			printWarnings(a.std.err, out.Result)
		}
		_, err := fmt.Fprintln(w, out.Digest)
		return err
	})
}

// commands are how to look at a running container from the twin: in its process
// namespace, and as its user, which the twin has: the processes of another one cannot be
// looked into.
func (r *twinResult) commands(tags []string) {
	ref := "TWIN@" + r.Digest
	if len(tags) > 0 {
		ref = tags[0]
	}
	r.Docker = "docker run --rm -it --pid=container:NAME --entrypoint=sh " + ref
	r.Kubectl = "kubectl debug -it POD --image=" + ref + " --target=NAME -- sh"
}
