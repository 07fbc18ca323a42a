package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/definition"
)

func newPackageNew(a *app) *cobra.Command {
	var kind string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Print a definition to begin with",
		Long: `Print a commented definition of a package, to begin with. It can be compiled as
it is; what has to be changed before it can be built is said in it.`,
		Example: "  cairn package new hello --kind=go > hello.yaml",
		Args:    args(1, 1, "NAME"),
		RunE: func(_ *cobra.Command, args []string) error {
			if !slices.Contains(definition.StarterKinds, kind) {
				return usageError{fmt.Errorf("--kind: found %q, expected %s", kind, strings.Join(definition.StarterKinds, ", "))}
			}
			out, err := definition.Starter(kind, args[0])
			if err != nil {
				return usageError{err}
			}
			_, err = a.std.out.Write(out)
			return err
		},
	}
	cmd.Flags().StringVar(&kind, "kind", "make", "what the package is built with, a `kind`: "+strings.Join(definition.StarterKinds, ", "))
	return cmd
}
