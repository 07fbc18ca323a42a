package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairn-dev/cairn/assemble/target"
)

// app is what every command shares.
type app struct {
	std      streams
	settings string // --settings
	workdir  string // -C
	format   string // --format
	verbose  bool   // -v
	quiet    bool   // -q
	logLevel string // --log-level
	warnings bool   // what --quiet leaves out and --log-level=warn does not
	progress string // --progress
}

// newRoot builds the command tree.
func newRoot(std streams) *cobra.Command {
	a := &app{std: std}
	root := &cobra.Command{
		Use:   "cairn",
		Short: "Build reproducible OCI images from APK packages, and prove where every byte came from",
		Long: `cairn turns an image configuration (apko's YAML) into a reproducible OCI image
whose layers are the packages themselves, with complete SBOMs.

Every flag can also be given in the environment (--cache-dir is
CAIRN_CACHE_DIR) and in cairn.yaml, in this directory or in the user's
configuration directory; the command line wins over the environment, the
environment over the file.

Exit codes: 0 success, 1 other failure, 2 usage, 3 bad configuration or lock,
4 no solution, 5 verification failed, 6 unreachable, 7 stale lock, 8 output or
storage failure, 9 missing, 10 not pinned, 11 findings, 12 not everything could
be looked at, 130 interrupted, 143 terminated.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return a.prepare(cmd) },
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError{flagHint(cmd, err)}
	})
	f := root.PersistentFlags()
	f.StringVar(&a.settings, "settings", "", "`file` with defaults for flags (default cairn.yaml, here or in the user's configuration directory)")
	f.StringVarP(&a.workdir, "workdir", "C", "", "take relative paths, also those in the configuration, from this `directory`")
	f.StringVar(&a.format, "format", string(formatTable), "rendering of the result: table, json or a Go template")
	f.BoolVarP(&a.verbose, "verbose", "v", false, "say what is done, a line each")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing but the result")
	f.StringVar(&a.logLevel, "log-level", "info", "how much to say: debug is --verbose, error (or fatal, panic) is --quiet, warn is --quiet but for warnings")
	f.StringVar(&a.progress, "progress", "auto", "progress on standard error: auto, plain or none")
	root.AddCommand(newBuild(a), newPublish(a), newCopy(a), newRebuild(a), newTwin(a), newMirror(a), newQuickview(a), newFeed(a), newLock(a), newWhy(a), newShow(a), newCache(a), newVersion(a))
	root.AddCommand(newVerify(a), newPolicy(a), newServe(a))
	root.AddCommand(newProve(a))
	root.AddCommand(newDiff(a), newReport(a), newTest(a), newLint(a))
	root.AddCommand(newKey(a), newSign(a), newAttest(a))
	root.AddCommand(newPackage(a), newIndex(a))
	return root
}

// prepare runs before every command: settings, then the checks of the shared
// flags.
func (a *app) prepare(cmd *cobra.Command) error {
	if err := a.enter(cmd); err != nil {
		return err
	}
	if err := applySettings(cmd, a.settings, a.at); err != nil {
		return err
	}
	if err := a.applyLogLevel(); err != nil {
		return err
	}
	if err := checkFormat(format(a.format)); err != nil {
		return err
	}
	if !slices.Contains([]string{"auto", "plain", "none"}, a.progress) {
		return usageError{fmt.Errorf("--progress: found %q, expected auto, plain or none", a.progress)}
	}
	return nil
}

// enter settles the directory that relative paths are from, before anything is
// looked for there. The process stays where it is.
func (a *app) enter(cmd *cobra.Command) error {
	if f := cmd.Flags().Lookup("workdir"); f != nil && !f.Changed {
		a.workdir = os.Getenv(envName("workdir"))
	}
	if a.workdir == "" {
		return nil
	}
	fi, err := os.Stat(a.workdir)
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s: not a directory", a.workdir)
	}
	if err != nil {
		return usageError{fmt.Errorf("--workdir: %w", err)}
	}
	return nil
}

// at returns where a path of the command line or the settings is.
func (a *app) at(path string) string {
	if a.workdir == "" || path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(a.workdir, path)
}

// image spells a reference to an image: the path of a layout is one of the
// command line.
func (a *app) image(ref string) string { return target.In(a.workdir, ref) }

// key spells what --key names: a file is one of the command line.
func (a *app) key(ref string) string {
	if strings.Contains(ref, "://") {
		return ref
	}
	return a.at(ref)
}

// applyLogLevel turns apko's levels into --verbose and --quiet, which win.
func (a *app) applyLogLevel() error {
	given := a.verbose || a.quiet
	a.warnings = !a.quiet
	switch strings.ToLower(a.logLevel) {
	case "info":
	case "debug":
		a.verbose = a.verbose || !given
	case "warn", "warning":
		a.quiet = a.quiet || !given
	case "error", "fatal", "panic":
		a.quiet, a.warnings = a.quiet || !given, given && a.warnings
	default:
		return usageError{fmt.Errorf("--log-level: found %q, expected debug, info, warn, error, fatal or panic", a.logLevel)}
	}
	return nil
}

// args makes an argument check whose failure is a usage error.
func args(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, got []string) error {
		if len(got) >= least && (most < 0 || len(got) <= most) {
			return nil
		}
		return usageError{fmt.Errorf("%s: found %d arguments, expected %s\nusage: %s",
			cmd.CommandPath(), len(got), names, cmd.UseLine())}
	}
}

// flagHint names the nearest flag.
func flagHint(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	name := unknown.GetSpecifiedName()
	best, distance := "", 4
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d := editDistance(name, f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	if best == "" {
		return fmt.Errorf("%w\nhint: %s --help lists the flags", err, cmd.CommandPath())
	}
	return fmt.Errorf("%w\nhint: did you mean --%s?", err, best)
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

// envName is the environment variable of a flag.
func envName(flag string) string {
	return "CAIRN_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}
