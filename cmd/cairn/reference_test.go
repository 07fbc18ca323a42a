package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "rewrite docs/commands.md")

// docs/commands.md is what the program says of itself.
func TestCommandReferenceIsCurrent(t *testing.T) {
	const name = "../../docs/commands.md"
	var b strings.Builder
	b.WriteString("# Commands\n\nWritten by `go test ./cmd/cairn -run TestCommandReferenceIsCurrent -update` from the program itself.\n")
	root := newRoot(streams{})
	fmt.Fprintf(&b, "\n%s\n\n## Flags of every command\n\n%s", root.Long, flagTable(root.PersistentFlags()))
	describe(&b, root)
	if *update {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	have, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(have), b.String()); diff != "" {
		t.Errorf("%s is not current (-file +program); run the test with -update:\n%s", name, diff)
	}
}

func describe(b *strings.Builder, c *cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Hidden || sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		if sub.HasSubCommands() {
			fmt.Fprintf(b, "\n## %s\n\n%s\n", sub.CommandPath(), long(sub))
			describe(b, sub)
			continue
		}
		fmt.Fprintf(b, "\n## %s\n\n```\n%s\n```\n\n%s\n", sub.CommandPath(), sub.UseLine(), long(sub))
		if sub.Example != "" {
			fmt.Fprintf(b, "\n```\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(sub.Example, "  "), "\n  ", "\n"))
		}
		if table := flagTable(sub.LocalNonPersistentFlags()); table != "" {
			fmt.Fprintf(b, "\n%s", table)
		}
	}
}

func long(c *cobra.Command) string {
	if c.Long != "" {
		return c.Long
	}
	return c.Short + "."
}

func flagTable(set *pflag.FlagSet) string {
	var rows strings.Builder
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		kind, usage := pflag.UnquoteUsage(f)
		spelled := "--" + f.Name
		if f.Shorthand != "" {
			spelled = "-" + f.Shorthand + ", " + spelled
		}
		if kind != "" {
			spelled += " " + strings.ToUpper(strings.ReplaceAll(kind, " ", "-"))
		}
		value := f.DefValue
		if value == "[]" || value == "false" || value == "0" {
			value = ""
		}
		if value != "" {
			usage += " (default " + strings.Trim(value, "[]") + ")"
		}
		fmt.Fprintf(&rows, "| `%s` | `%s` | %s |\n", spelled, envName(settingName(f)), strings.ReplaceAll(usage, "|", `\|`))
	})
	if rows.Len() == 0 {
		return ""
	}
	return "| flag | environment | meaning |\n| --- | --- | --- |\n" + rows.String()
}
