package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/image"
	"github.com/cairn-dev/cairn/assemble/rebuild"
	"github.com/cairn-dev/cairn/assemble/target"
)

func newRebuild(a *app) *cobra.Command {
	var o rebuild.Options
	var check bool
	var registry registryFlags
	cmd := &cobra.Command{
		Use:   "rebuild IMAGE",
		Short: "Make an image again from what it carries",
		Long: `Make an image again from its rebuild kit and its layers, and from nothing else:
no repository, no configuration file, no store. The result is the same image
index, or the command says what differs and exits with 5.

IMAGE is an image index in a registry, or an OCI layout (DIR/). cairn build --kit
and cairn publish --kit write the kit.

Layers that are packages as they are come from the image, and must be the ones
that the lock pins. All others are read, compared file by file with what the plan
makes of the packages' records, and compressed again.

--output writes the image that was made; --check writes none and shows how each
layer came about, and the paths of what differs. Who vouches for the kit is another
question: cairn prove answers it.`,
		Example: "  cairn rebuild registry.example/team/app@sha256:… -o again/\n  cairn rebuild --check out/",
		Args:    args(1, 1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if check && len(o.Outputs) > 0 {
				return usageError{errors.New("--check: found --output, which writes an image, expected one of them")}
			}
			o.Dir = a.workdir
			o.Engine = image.EngineFromEnvironment(os.Getenv)
			if err := o.Check(); err != nil {
				if errors.Is(err, image.ErrNotWritable) {
					return err
				}
				return usageError{err}
			}
			ref, err := target.Parse(a.image(args[0]))
			if err != nil {
				return err
			}
			t, err := target.Open(cmd.Context(), ref, target.Options{Keychain: authn.DefaultKeychain, Insecure: registry.plainHTTP})
			if err != nil {
				return err
			}
			p := newProgress(a)
			defer p.stop()
			o.Progress = p.stage
			report, err := rebuild.Run(cmd.Context(), t, o)
			if err != nil {
				return err
			}
			p.stop()
			if err := printRebuild(a, report, check); err != nil {
				return err
			}
			return report.Err()
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&o.Outputs, "output", "o", nil, "write the image to `output`: DIR/, FILE.tar, oci-archive:FILE or docker://")
	f.StringArrayVarP(&o.Tags, "tag", "t", nil, "`references` that the image gets in outputs that hold any")
	f.BoolVar(&check, "check", false, "write no image, and show how each layer came about")
	registry.register(cmd)
	return cmd
}

func printRebuild(a *app, r *rebuild.Report, check bool) error {
	return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
		if !check {
			if len(r.Differences) > 0 {
				return nil // the error says it all
			}
			_, err := fmt.Fprintln(w, r.Digest)
			return err
		}
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ARCH\tLAYER\tKIND\tPACKAGES\tRESULT")
		for _, img := range r.Images {
			for i := range img.Layers {
				l := &img.Layers[i]
				how := l.How
				if l.Difference != "" {
					how = "DIFFERS: " + l.Difference
				}
				fmt.Fprintf(t, "%s\t%d %.19s\t%s\t%s\t%s\n", img.Arch, i, l.Digest, l.Kind, packageText(l.Packages), how)
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		verdict := "the same image"
		if n := len(r.Differences); n > 0 {
			verdict = fmt.Sprintf("not the same image, %d differences", n)
		}
		_, err := fmt.Fprintf(w, "%s: %s, from kit %s\n", r.Subject, verdict, r.Kit)
		return err
	})
}

// packageText names packages in a column.
func packageText(ids []string) string {
	switch n := len(ids); n {
	case 0:
		return "-"
	case 1:
		return ids[0]
	default:
		return fmt.Sprintf("%s and %d more", ids[0], n-1)
	}
}
