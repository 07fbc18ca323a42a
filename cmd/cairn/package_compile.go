package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
	"gopkg.in/yaml.v3"

	"github.com/cairn-dev/cairn/packages/definition"
)

func newPackageCompile(a *app) *cobra.Command {
	var flags definitionFlags
	var arch, rendering string
	cmd := &cobra.Command{
		Use:   "compile FILE",
		Short: "Print what a definition means for one architecture",
		Long: `Print what a package definition means for one architecture: ranges expanded,
variables substituted, reusable pipelines put in, and the packages that steps
need in the environment. Scripts are checked and printed without comments.
Nothing is fetched and nothing is run.

The JSON form is that of "melange compile", with more keys: the sources to take
before the build, the reusable pipelines with their hashes, and what is skipped.`,
		Example: "  cairn package compile hello.yaml --arch=aarch64 --pipeline-dir=pipelines",
		Args:    args(1, 1, "FILE"),
		RunE: func(_ *cobra.Command, args []string) error {
			encode, ok := encoders[rendering]
			if !ok {
				return usageError{fmt.Errorf("--format: found %q, expected yaml or json", rendering)}
			}
			o, co, err := flags.read(a, arch)
			if err != nil {
				return err
			}
			d, err := definition.ReadFile(a.at(args[0]), o)
			if err != nil {
				return err
			}
			b, err := definition.Compile(d, co)
			if err != nil {
				return err
			}
			a.warnDefinition(b.Warnings)
			return encode(a, b)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&arch, "arch", "host", "the `architecture` to compile for")
	cmd.Flags().StringVar(&rendering, "format", "yaml", "rendering of the result: yaml or json")
	return cmd
}

// encoders are the renderings of a compiled definition. The default of other
// commands, which may stand in the settings, means yaml here.
var encoders = map[string]func(*app, *definition.Build) error{
	"yaml": encodeYAML, string(formatTable): encodeYAML, "json": encodeJSON,
}

func encodeYAML(a *app, b *definition.Build) error {
	enc := yaml.NewEncoder(a.std.out)
	enc.SetIndent(2)
	if err := enc.Encode(b); err != nil {
		return err
	}
	return enc.Close()
}

func encodeJSON(a *app, b *definition.Build) error {
	enc := json.NewEncoder(a.std.out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(b)
}
