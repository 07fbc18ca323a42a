package main

import (
	"context"
	"errors"
	"io"

	"github.com/google/go-containerregistry/pkg/authn"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/diff"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
)

// errDiffers is the result of diff --exit-code where something differs. It has
// been printed; nothing more is to be said.
var errDiffers = errors.New("the two differ")

// diffFlags are the flags of diff.
type diffFlags struct {
	archs    []string
	exitCode bool
	allFiles bool
	readAll  bool
	feeds    feedFlags
	storeFlags
	registryFlags
}

// registryFlags are those of commands that look at images in registries.
type registryFlags struct{ plainHTTP bool }

func (r *registryFlags) register(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&r.plainHTTP, "unsafe-plain-http", false, "speak plain HTTP to the registry")
}

func (r *registryFlags) subject(a *app) subject.Options {
	return subject.Options{Dir: a.workdir, Target: target.Options{Keychain: authn.DefaultKeychain, Insecure: r.plainHTTP}}
}

func newDiff(a *app) *cobra.Command {
	var d diffFlags
	cmd := &cobra.Command{
		Use:   "diff A B",
		Short: "Show what differs between two images or locks",
		Long: `Show what differs from A to B: packages, files, components and licences,
configuration, layers, and the bytes that a node holding A pulls for B.

A and B are each an image in a registry, an OCI layout (DIR/), an OCI or docker
archive, or a lock (.json). Where a layout or an archive holds several images,
@sha256:… after it says which.

Layers that both have are read only where that is necessary to say what differs;
--read-all reads them all. docs/diff.md describes the JSON form.`,
		Example: "  cairn diff registry.example/team/app:1 registry.example/team/app:2\n  cairn diff old.lock.json image.lock.json\n" +
			"  cairn diff --exit-code --format json out/ app.tar",
		Args: args(2, 2, "A and B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return d.run(cmd.Context(), a, args[0], args[1])
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&d.archs, "arch", nil, "`architectures` to compare, as in x86_64,arm64 (default: all)")
	f.BoolVar(&d.exitCode, "exit-code", false, "end with 1 when something differs")
	f.BoolVar(&d.allFiles, "all-files", false, "list every path, also those of packages that changed")
	f.BoolVar(&d.readAll, "read-all", false, "read every layer, also those that both have")
	d.feeds.register(cmd)
	d.storeFlags.registerDir(cmd)
	d.registryFlags.register(cmd)
	return cmd
}

func (d *diffFlags) run(ctx context.Context, a *app, nameA, nameB string) error {
	left, err := subject.Open(ctx, nameA, d.subject(a))
	if err != nil {
		return err
	}
	defer left.Close()
	right, err := subject.Open(ctx, nameB, d.subject(a))
	if err != nil {
		return err
	}
	defer right.Close()
	r, err := diff.Compare(ctx, left, right, diff.Options{Platforms: d.archs, ReadAll: d.readAll, Documents: attachedSBOMs})
	if err != nil {
		return err
	}
	if err := d.addAdvisories(ctx, a, left, right, r); err != nil {
		return err
	}
	err = render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
		return r.WriteText(w, diff.TextOptions{AllFiles: d.allFiles})
	})
	if err == nil && d.exitCode && r.Differs() {
		return errDiffers
	}
	return err
}

// attachedSBOMs are the SBOMs attached to an image, whoever attached them.
func attachedSBOMs(ctx context.Context, s *subject.Subject, digest v1.Hash) ([]diff.Document, error) {
	if s.Target() == nil {
		return nil, nil
	}
	attached, err := sign.Attached(ctx, s.Target(), digest)
	if err != nil {
		return nil, err
	}
	var out []diff.Document
	for _, x := range attached.Statements {
		if !x.IsSBOM() {
			continue
		}
		d, err := diff.ParseDocument(x.Predicate)
		if err != nil {
			continue // anybody can attach anything; verify says what is wrong
		}
		out = append(out, *d)
	}
	return out, nil
}
