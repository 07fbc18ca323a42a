package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages/definition"
	"github.com/cairn-dev/cairn/packages/graph"
)

func newPackageGraph(a *app) *cobra.Command {
	var flags definitionFlags
	var arch, rendering string
	var tests bool
	cmd := &cobra.Command{
		Use:   "graph DIR",
		Short: "Show what builds before what",
		Long: `Read all definitions of a directory and show in which order their packages can
be built: levels of builds that can go at the same time, cycles of builds that
need each other with the packages that must come from elsewhere first, the
critical path, and needs that no definition answers.

A build waits for the packages of its environment and for what those need at run
time, as far as definitions say so.`,
		Example: "  cairn package graph --pipeline-dir=pipelines . --format=dot > builds.dot",
		Args:    args(1, 1, "DIR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			write, ok := graphWriters[rendering]
			if !ok {
				return usageError{fmt.Errorf("--format: found %q, expected text, dot or json", rendering)}
			}
			o, co, err := flags.read(a, arch)
			if err != nil {
				return err
			}
			files, err := definitionFiles(a, args[0])
			if err != nil {
				return err
			}
			co.SkipScripts = true
			builds, err := definition.LoadAll(cmd.Context(), files, o, co)
			if err != nil {
				return err
			}
			g, err := graph.New(builds, graph.Options{Tests: tests})
			if err != nil {
				return err
			}
			return write(g, a.std.out)
		},
	}
	flags.register(cmd)
	cmd.Flags().StringVar(&arch, "arch", "host", "the `architecture` to plan for")
	cmd.Flags().BoolVar(&tests, "tests", false, "what tests need must be built before, too")
	cmd.Flags().StringVar(&rendering, "format", "text", "rendering of the result: text, dot or json")
	return cmd
}

// graphWriters are the renderings of a graph. The default of other commands,
// which may stand in the settings, means text here.
var graphWriters = map[string]func(*graph.Graph, io.Writer) error{
	"text": (*graph.Graph).Text, string(formatTable): (*graph.Graph).Text,
	"dot": (*graph.Graph).DOT,
	"json": func(g *graph.Graph, w io.Writer) error {
		return render(w, formatJSON, g, nil, nil)
	},
}
