package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/target"
	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/cosign"
)

// signFlags are the flags of sign and attest.
type signFlags struct {
	o         sign.SignOptions
	key       keyFlags
	tokenFile string
	insecure  bool
	says      []string // --annotations
}

func (s *signFlags) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&s.o.Key, "key", "", "private `key`: a file, env://VARIABLE or scheme://…")
	s.key.register(cmd)
	f.BoolVar(&s.o.Keyless, "keyless", false, "sign with a certificate for the identity in an OpenID Connect token")
	f.StringVar(&s.tokenFile, "identity-token-file", "", "`file` with the token (default CAIRN_ID_TOKEN, SIGSTORE_ID_TOKEN, GitHub Actions)")
	f.StringVar(&s.o.SigningConfig, "signing-config", "", "`file` that names the certificate authority, logs and timestamp authorities")
	f.StringVar(&s.o.TrustedRoot, "trusted-root", "", "`file` to verify everything against before it is written")
	f.BoolVar(&s.o.NoLog, "no-log", false, "use no transparency log")
	f.StringVar(&s.o.Format, "signature-format", "both", "both, bundle or legacy")
	f.StringVar(&s.o.Repository, "repository", "", "the repository the signature is for (default the one the image is in)")
	f.BoolVar(&s.o.Again, "again", false, "sign also what this signer has signed already")
	f.BoolVar(&s.insecure, "unsafe-plain-http", false, "speak plain HTTP to the registry")
}

func (s *signFlags) options(a *app, image string) (sign.SignOptions, error) {
	o := s.o
	var err error
	if o.Annotations, err = annotationsOf(s.says); err != nil {
		return o, err
	}
	o.Image, o.Key = a.image(image), a.key(o.Key)
	o.SigningConfig, o.TrustedRoot = a.at(o.SigningConfig), a.at(o.TrustedRoot)
	o.Keys = s.key.options(a)
	o.Token = cosign.TokenSource{File: a.at(s.tokenFile), LookupEnv: os.LookupEnv}
	o.Registry = target.Options{Keychain: authn.DefaultKeychain, Insecure: s.insecure}
	return o, nil
}

// annotationsOf reads the values of --annotations.
func annotationsOf(list []string) (map[string]string, error) {
	var out map[string]string
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		_, twice := out[name]
		switch {
		case !ok || name == "":
			return nil, usageError{fmt.Errorf("--annotations: found %q, expected name=value", text)}
		case twice:
			return nil, usageError{fmt.Errorf("--annotations: found %q twice", name)}
		case out == nil:
			out = map[string]string{}
		}
		out[name] = value
	}
	return out, nil
}

// signHelp is what sign and attest have in common.
const signHelp = `IMAGE is a reference to a registry, or an OCI layout directory: dir/, or
dir/@sha256:… where it holds several images. A tag is looked up once; the digest
is what is signed, and is printed.

Both formats are written by default: the legacy one (tags .sig and .att), which
every client reads, and Sigstore bundles, which refer to the image. Everything
is signed and verified before the first byte is written, and a run that failed
half-way is completed by the same command.

There are no default services: --signing-config names them (the file that
cosign signing-config create writes), or --no-log says that a key signs without
a log. The public Sigstore services are used only when the file names them;
their files are not fetched.`

func newSign(a *app) *cobra.Command {
	var in signFlags
	cmd := &cobra.Command{
		Use:   "sign IMAGE",
		Short: "Sign an image and every image in its index",
		Long:  "Sign an image: the image index and every image in it.\n\n" + signHelp,
		Example: "  cairn sign --key release.key --no-log registry.example/team/app@sha256:…\n" +
			"  cairn sign --keyless --signing-config services.json --trusted-root root.json dir/",
		Args: args(1, 1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := in.options(a, args[0])
			if err != nil {
				return err
			}
			r, err := sign.Sign(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printSigned(a, r)
		},
	}
	in.register(cmd)
	cmd.Flags().StringArrayVarP(&in.says, "annotations", "a", nil, "`name=value` to sign with the image; may be repeated")
	return cmd
}

func printSigned(a *app, r *sign.Result) error {
	if !a.quiet {
		for _, n := range r.Notes {
			fmt.Fprintf(a.std.err, "note: %s\n", n)
		}
	}
	return render(a.std.out, format(a.format), r, nil, func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, o := range r.Outcomes {
			what := o.Kind
			if o.Kind == "attestation" {
				what = o.PredicateType
			}
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", o.Subject, o.Format, what, o.State)
		}
		if err := t.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s\n", r.Image)
		return err
	})
}
