package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/packages/lock"
)

func newLock(a *app) *cobra.Command {
	var in inputFlags
	var output string
	var update []string
	var rollback bool
	cmd := &cobra.Command{
		Use:   "lock CONFIG",
		Short: "Resolve a configuration and write CONFIG.lock.json",
		Long: `Resolve the packages of a configuration for all its architectures and write
them, with every hash that pins them, beside the configuration. build uses that
file by itself while it is current.

Without --update, packages that are locked already keep their version as far as
the configuration allows. --update renews all of them, --update=PKG,… only the
named ones. What moves, and why, is printed.`,
		Example: "  cairn lock image.yaml\n  cairn lock --update=openssl,curl image.yaml",
		Args:    args(1, 1, "CONFIG"),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := in.load(a, args[0])
			if err != nil {
				return err
			}
			path := output
			if path == "" {
				path = lockPath(args[0])
			}
			old, err := lock.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("%w\nhint: remove the file to lock afresh", err)
			}
			ws, err := in.open(a, nil)
			if err != nil {
				return err
			}
			defer ws.Close()
			l, err := assemble.Lock(cmd.Context(), ws, cfg, assemble.LockOptions{
				Previous: old, UpdateAll: cmd.Flags().Changed("update") && slices.Contains(update, allPackages),
				Update: update, AllowRollback: rollback, Unsafe: in.off,
			})
			if err != nil {
				return err
			}
			b, err := l.Marshal()
			if err != nil {
				return err
			}
			if err := writeFileAtomic(path, b, 0o644); err != nil {
				return err
			}
			return printMoves(a, path, lock.Moves(old, l), len(l.Contents.Packages))
		},
	}
	in.register(cmd)
	cmd.Flags().StringVarP(&output, "output", "o", "", "write the lock to `file` (default CONFIG with .lock.json)")
	cmd.Flags().StringSliceVar(&update, "update", nil, "renew all packages, or only the named ones")
	cmd.Flags().Lookup("update").NoOptDefVal = allPackages
	cmd.Flags().BoolVar(&rollback, "unsafe-rollback", false, "accept an index that is older than the one locked")
	return cmd
}

// allPackages is what --update without a value stands for; no package can have
// this name.
const allPackages = "*"

// lockReport is the JSON form of what lock did.
type lockReport struct {
	Lock     string      `json:"lock"`
	Packages int         `json:"packages"`
	Moves    []lock.Move `json:"moves"`
}

func printMoves(a *app, path string, moves []lock.Move, total int) error {
	if moves == nil {
		moves = []lock.Move{}
	}
	r := lockReport{Lock: path, Packages: total, Moves: moves}
	return render(a.std.out, format(a.format), r, elements(moves), func(w io.Writer) error {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, m := range moves {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", m.Kind, m.Name, versions(m), strings.Join(m.Architectures, " "), reasonText(m.Reason))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "%s: %d packages, %d moved\n", path, total, len(moves))
		return err
	})
}

func versions(m lock.Move) string {
	switch {
	case m.Old == "":
		return m.New
	case m.New == "":
		return m.Old
	case m.Old == m.New:
		return m.New
	}
	return m.Old + " → " + m.New
}

func reasonText(r lock.Reason) string {
	switch r.Kind {
	case "":
		return ""
	case "requested":
		return "requested: " + r.Dependency
	case "base":
		return "base image"
	case "install_if":
		return "install_if " + strings.Join(r.By, " and ")
	}
	return strings.Join(r.By, ", ") + " depends on " + r.Dependency
}

// lockPath is where the lock of a configuration stands: image.yaml has
// image.lock.json, as apko writes it.
func lockPath(config string) string {
	for _, ext := range []string{".yaml", ".yml"} {
		if base, ok := strings.CutSuffix(config, ext); ok {
			return base + ".lock.json"
		}
	}
	return config + ".lock.json"
}

// exists reports whether a file is there; other problems surface on reading.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
