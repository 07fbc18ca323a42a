package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/sign"
	"github.com/cairn-dev/cairn/sign/attest"
)

func newAttest(a *app) *cobra.Command {
	var in signFlags
	var predicate, kind string
	var children, signImage bool
	cmd := &cobra.Command{
		Use:   "attest IMAGE --predicate FILE --type TYPE",
		Short: "Attach a signed statement about an image",
		Long: `Sign an in-toto statement about an image and attach it. The predicate is a JSON
object, and is kept byte for byte.

TYPE is ` + strings.Join(attest.Types(), ", ") + `, or the URI
of a predicate type.

` + signHelp,
		Example: "  cairn attest --key release.key --no-log --predicate app.spdx.json --type spdxjson registry.example/team/app@sha256:…",
		Args:    args(1, 1, "IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if predicate == "" || kind == "" {
				return usageError{fmt.Errorf("--predicate and --type: expected both")}
			}
			raw, err := readPredicate(a, predicate)
			if err != nil {
				return err
			}
			o, err := in.options(a, args[0])
			if err != nil {
				return err
			}
			r, err := sign.Attest(cmd.Context(), sign.AttestOptions{
				SignOptions:  o,
				Attestations: []sign.Attestation{{Type: kind, Predicate: raw, Children: children}},
				SignImage:    signImage,
			})
			if err != nil {
				return err
			}
			return printSigned(a, r)
		},
	}
	in.register(cmd)
	cmd.Flags().StringVar(&predicate, "predicate", "", "`file` with the predicate, or - for standard input")
	cmd.Flags().StringVar(&kind, "type", "", "predicate `type`: a short name or a URI")
	cmd.Flags().BoolVar(&children, "children", false, "attach it to every image of an index too")
	cmd.Flags().BoolVar(&signImage, "sign", false, "sign the images too, in the same run")
	return cmd
}

// readPredicate reads at most one byte more than is accepted, which the check
// of the size then sees.
func readPredicate(a *app, path string) ([]byte, error) {
	in := a.std.in
	if path != "-" {
		f, err := os.Open(a.at(path))
		if err != nil {
			return nil, fmt.Errorf("--predicate: %w", err)
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, attest.MaxPredicate+1))
}
