package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/definition"
)

// checkedDefinitions is the result of package check.
type checkedDefinitions struct {
	Definitions int                  `json:"definitions"`
	Packages    int                  `json:"packages"`
	Warnings    []definition.Problem `json:"warnings"`
}

func newPackageCheck(a *app) *cobra.Command {
	var flags definitionFlags
	var archs []string
	cmd := &cobra.Command{
		Use:   "check FILE|DIR...",
		Short: "Check definitions",
		Long: `Read and compile definitions and print every problem with its file, line and
column. A directory means the .yaml files in it. Nothing is fetched and nothing
is run.`,
		Example: "  cairn package check --pipeline-dir=pipelines .",
		Args:    args(1, -1, "FILE or DIR, one or several"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var files []string
			for _, arg := range args {
				list, err := definitionFiles(a, arg)
				if err != nil {
					return err
				}
				files = append(files, list...)
			}
			result := checkedDefinitions{Definitions: len(files), Warnings: []definition.Problem{}}
			for i, arch := range archs {
				o, co, err := flags.read(a, arch)
				if err != nil {
					return err
				}
				builds, err := definition.LoadAll(cmd.Context(), files, o, co)
				if err != nil {
					return err
				}
				if i == 0 {
					result.add(builds)
				}
			}
			a.warnDefinition(result.Warnings)
			return render(a.std.out, format(a.format), result, nil, func(w io.Writer) error {
				_, err := fmt.Fprintf(w, "in order: definitions %d, packages %d\n", result.Definitions, result.Packages)
				return err
			})
		},
	}
	flags.register(cmd)
	cmd.Flags().StringSliceVar(&archs, "arch", []string{"x86_64", "aarch64"}, "the `architectures` to compile for")
	return cmd
}

func (c *checkedDefinitions) add(builds []*definition.Build) {
	for _, b := range builds {
		c.Packages += 1 + len(b.Subpackages)
		c.Warnings = append(c.Warnings, b.Warnings...)
	}
}
