package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/repository"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/proof"
)

// proveFlags are the flags of prove.
type proveFlags struct {
	keys     []string
	lockfile string
	config   string
	includes []string
	bases    []string
	full     bool
}

func newProve(a *app) *cobra.Command {
	var p proveFlags
	cmd := &cobra.Command{
		Use:   "prove IMAGE",
		Short: "Prove what an image is made of",
		Long: `Prove what an image is made of, from the registry or layout that holds it
alone: every layer is the data section of a package that one of the keys signed,
or is derived again from such packages' records, the lock and the configuration
in the image's rebuild kit, and compared. Layers that are packages as they are
need no download.

IMAGE is a reference to an image index in a registry, or an OCI layout (DIR/).
cairn build --kit writes the kit.

An image is proved when the keys are given with --key, and what is in the packages
is known from a lock that is given with --lockfile, or with --full from the
packages themselves. Otherwise the kit's own keys, and what the kit says of the
packages, are used and shown: everything may fit together, and nobody vouches for
it. The exit code tells the two apart. Files that the configuration brings, which
are no package's, and a base image need somebody to vouch for them too: the lock
does, or --config and --base-image. docs/design.md tells what a proof shows and
what it rests on.`,
		Example: "  cairn prove --key wolfi-signing.rsa.pub --lockfile image.lock.json registry.example/team/app@sha256:…\n  cairn prove --key key.rsa.pub --full --format json out/",
		Args:    args(1, 1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd, a, args[0])
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&p.keys, "key", nil, "public `keys` that may have signed packages and indexes: PEM files")
	setAs(f, "key", "apk-key")
	f.StringVar(&p.lockfile, "lockfile", "", "the lock `file` that the image must be built from (default: any)")
	f.StringVar(&p.config, "config", "", "the configuration `file` that the image must be built from (default: any)")
	f.StringSliceVar(&p.includes, "include-paths", nil, "more `directories` to look for files in that --config includes")
	f.StringSliceVar(&p.bases, "base-image", nil, "base `images` that are trusted: the digest of a manifest, a reference, or an OCI layout (DIR/)")
	f.BoolVar(&p.full, "full", false, "read the packages too, from the layers and, where they are in none as they are, from their repositories")
	return cmd
}

func (p *proveFlags) run(cmd *cobra.Command, a *app, image string) error {
	o, err := p.options(a)
	if err != nil {
		return err
	}
	o.Target.Keychain = authn.DefaultKeychain
	report, err := sign.Prove(cmd.Context(), a.image(image), o)
	if err != nil {
		return err
	}
	if err := printProof(a, report); err != nil {
		return err
	}
	return report.Err()
}

func (p *proveFlags) options(a *app) (o sign.ProveOptions, err error) {
	o.Full = p.full
	for _, b := range p.bases {
		o.BaseImages = append(o.BaseImages, a.image(b))
	}
	if p.config != "" {
		if o.Configuration, err = config.Load(p.config, config.Options{IncludePaths: p.includes, Dir: a.workdir}); err != nil {
			return o, err
		}
	}
	for _, name := range p.keys {
		b, err := os.ReadFile(a.at(name))
		if err != nil {
			return o, err
		}
		k, err := repository.ParseKey(name, b)
		if err != nil {
			return o, usageError{err}
		}
		o.Keys = append(o.Keys, k)
	}
	if p.lockfile != "" {
		l, err := lock.ReadFile(a.at(p.lockfile))
		if err != nil {
			return o, err
		}
		if l.Cairn == nil {
			return o, usageError{fmt.Errorf("--lockfile: %s: written by apko, and so without a digest", p.lockfile)}
		}
		o.Lock = l.Cairn.Digest
	}
	return o, nil
}

func printProof(a *app, r *proof.Report) error {
	return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "ARCH\tLAYER\tKIND\tREAD\tPROOF")
		for _, img := range r.Images {
			for i, l := range img.Layers {
				why := l.Proof
				switch {
				case l.Problem != "":
					why = "NOT PROVED: " + l.Problem
				case l.Unproved != "":
					why = "OPEN: " + l.Unproved
				}
				fmt.Fprintf(t, "%s\t%d %.19s\t%s\t%s\t%s\n", img.Arch, i, l.Digest, l.Kind, bytesText(l.Read), why)
			}
		}
		if err := t.Flush(); err != nil {
			return err
		}
		for _, k := range r.Keys {
			pinned := "not pinned"
			if k.Pinned {
				pinned = "given"
			}
			fmt.Fprintf(w, "key %s %s: %s\n", k.Name, k.Fingerprint, pinned)
		}
		for _, s := range r.RestsOn {
			fmt.Fprintf(w, "rests on %s\n", s)
		}
		for _, s := range r.NotPinned {
			s, _, _ = strings.Cut(s, "\n")
			fmt.Fprintf(w, "not pinned: %s\n", s)
		}
		for _, u := range r.Unsafe {
			fmt.Fprintf(w, "unsafe: %s\n", u)
		}
		_, err := fmt.Fprintf(w, "%s: %s, %s read\n", r.Subject, strings.ToLower(string(r.Verdict)), bytesText(r.Downloaded))
		return err
	})
}
