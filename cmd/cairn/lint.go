package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/lint"
	"github.com/cairn-dev/cairn/assemble/report"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages"
)

// lintFlags are the flags of lint.
type lintFlags struct {
	inputFlags
	registry registryFlags
	ignore   []string
	noShell  bool
	failOn   string
	sarif    string
}

func newLint(a *app) *cobra.Command {
	var l lintFlags
	cmd := &cobra.Command{
		Use:   "lint CONFIG|IMAGE",
		Short: "Look for what is probably wrong with an image, built or not",
		Long: `Look for what is probably wrong with an image: libraries that are not there,
Python packages for another version than the interpreter's, rights that are too
wide, secrets, names that change. docs/lint.md has every rule, with its reason.

CONFIG is resolved and planned as cairn build does it, and nothing is built.
IMAGE is in a registry, in an OCI layout (DIR/), or in an OCI or docker archive.

A rule is silenced with --ignore RULE or RULE:/PATH, or under lint.ignore of the
configuration.

Exit code 11: an error or a warning was found, or what --fail-on says; 12:
nothing was, but something could not be looked at.`,
		Example: "  cairn lint image.yaml\n  cairn lint --no-shell --ignore root-user --sarif lint.sarif registry.example/team/app:1",
		Args:    args(1, 1, "CONFIG or IMAGE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.run(cmd.Context(), a, args[0])
		},
	}
	l.inputFlags.register(cmd)
	l.registry.register(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&l.ignore, "ignore", nil, "silence a `rule`: RULE, or RULE:/PATH in the image, with * for any characters but /")
	f.BoolVar(&l.noShell, "no-shell", false, "the image is meant to have no shell")
	f.StringVar(&l.failOn, "fail-on", string(lint.Warning), "the least `severity` that ends with exit code 11: error, warning, note or never")
	f.StringVar(&l.sarif, "sarif", "", "write the report in SARIF 2.1.0 to this `file`, too")
	return cmd
}

const failNever = "never"

func (l *lintFlags) run(ctx context.Context, a *app, name string) error {
	if l.failOn != failNever && !slices.Contains(lint.Severities, lint.Severity(l.failOn)) {
		return usageError{fmt.Errorf("--fail-on: found %q, expected error, warning, note or never", l.failOn)}
	}
	if err := lint.CheckIgnore(l.ignore); err != nil {
		return usageError{fmt.Errorf("--ignore: %w", err)}
	}
	look := l.image
	if l.isConfig(a, name) {
		look = l.config
	}
	r, err := look(ctx, a, name)
	if err != nil {
		return err
	}
	if l.sarif != "" {
		var b bytes.Buffer
		if err := r.WriteSARIF(&b, buildVersion()); err != nil {
			return err
		}
		if err := writeFileAtomic(a.at(l.sarif), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := render(a.std.out, format(a.format), r, nil, func(w io.Writer) error { return printLint(w, r, a.verbose) }); err != nil {
		return err
	}
	switch {
	case l.failOn != failNever && r.AtLeast(lint.Severity(l.failOn)) > 0:
		return verdict{exitFindings, "lint found something"}
	case !r.Complete():
		return verdict{exitIncomplete, "not everything was looked at"}
	}
	return nil
}

// isConfig tells a configuration from an image: it is a file that ends as YAML
// does.
func (*lintFlags) isConfig(a *app, name string) bool {
	switch filepath.Ext(name) {
	case ".yaml", ".yml":
		fi, err := os.Stat(a.at(name))
		return err == nil && fi.Mode().IsRegular() || errors.Is(err, os.ErrNotExist) && !strings.Contains(name, ":")
	}
	return false
}

func (l *lintFlags) image(ctx context.Context, a *app, name string) (*lint.Report, error) {
	s, err := subject.Open(ctx, name, l.registry.subject(a))
	if err != nil {
		return nil, err
	}
	defer s.Close()
	archs := l.archs
	if len(archs) == 0 {
		archs = []string{"all"}
	}
	images, err := platformsOf(s, archs)
	if err != nil {
		return nil, err
	}
	var results []*lint.Result
	for _, img := range images {
		in, err := lint.OfImage(ctx, s, img)
		if err != nil {
			return nil, err
		}
		in.NoShell = l.noShell
		result, err := lint.Run(ctx, in, lint.Options{Ignore: l.ignore})
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return lint.NewReport(name, s.Descriptor.Digest.String(), results), nil
}

func (l *lintFlags) config(ctx context.Context, a *app, name string) (*lint.Report, error) {
	cfg, err := l.load(a, name)
	if err != nil {
		return nil, err
	}
	if err := checkConfigIgnores(cfg); err != nil {
		return nil, err
	}
	held, err := l.readLock(a, name)
	if err != nil {
		return nil, err
	}
	p := newProgress(a)
	defer p.stop()
	ws, err := l.open(a, p.event)
	if err != nil {
		return nil, err
	}
	defer ws.Close()
	planned, err := assemble.Plan(ctx, ws, cfg, assemble.Options{Lock: held, Dir: a.workdir, Unsafe: l.off, Version: buildVersion(), Progress: p.stage})
	if err != nil {
		return nil, err
	}
	var results []*lint.Result
	for i := range planned {
		in, err := lint.OfPlan(ctx, cfg, lint.Planned{Arch: planned[i].Arch, Tree: planned[i].Tree, Base: planned[i].Base}, storeReader(ws), held)
		if err != nil {
			return nil, err
		}
		in.Name, in.NoShell = name, in.NoShell || l.noShell
		result, err := lint.Run(ctx, in, lint.Options{Ignore: slices.Concat(cfg.Lint.Ignore, l.ignore)})
		if err != nil {
			return nil, err
		}
		results = append(results, result)
	}
	return lint.NewReport(name, "", results), nil
}

// storeReader reads files of packages from the store.
func storeReader(ws *packages.Workspace) files.Reader { return ws.Store() }

// checkConfigIgnores finds rules that do not exist, with their places.
func checkConfigIgnores(cfg *config.Config) error {
	var out config.Errors
	for i, text := range cfg.Lint.Ignore {
		if err := lint.CheckIgnore([]string{text}); err != nil {
			key := fmt.Sprintf("lint.ignore[%d]", i)
			file, line, column := cfg.Position(config.Steps(key)...)
			detail, hint, _ := strings.Cut(err.Error(), "\nhint: ")
			out.Problems = append(out.Problems, config.Problem{File: file, Line: line, Column: column, Key: key, Problem: "no such rule",
				Detail: strings.Replace(detail, ": "+lint.ErrRule.Error(), "", 1), Hint: hint, Err: err})
		}
	}
	if len(out.Problems) > 0 {
		return &out
	}
	return nil
}

// maxLintPaths is how many paths of a finding the text shows.
const maxLintPaths = 50

func printLint(w io.Writer, r *lint.Report, all bool) error {
	var b bytes.Buffer
	for _, p := range r.Platforms {
		for i := range p.Findings {
			printFinding(&b, p.Platform, string(p.Findings[i].Severity), &p.Findings[i])
		}
		for i := range p.Ignored {
			if all {
				printFinding(&b, p.Platform, "ignored", &p.Ignored[i])
			}
		}
		for _, text := range p.NotLookedAt {
			fmt.Fprintf(&b, "%s: not looked at: %s\n", p.Platform, report.Clean(text))
		}
	}
	for _, u := range r.Unused() {
		fmt.Fprintf(&b, "unused: ignore %s silences nothing\n", u)
	}
	fmt.Fprintf(&b, "%d errors, %d warnings, %d notes, %d ignored\n", r.Errors, r.Warnings, r.Notes, r.Ignored)
	_, err := w.Write(b.Bytes())
	return err
}

func printFinding(b *bytes.Buffer, platform, severity string, f *lint.Finding) {
	fmt.Fprintf(b, "%s: %s: %s\n", platform, severity, report.Clean(f.String()))
	for i, path := range f.Paths {
		if i == maxLintPaths {
			fmt.Fprintf(b, "  and %d more\n", len(f.Paths)-i)
			break
		}
		fmt.Fprintf(b, "  %s\n", report.Clean(path))
	}
}
