package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/build"
	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/definition"
)

func newPackageTest(a *app) *cobra.Command {
	var b packageBuildFlags
	cmd := &cobra.Command{
		Use:   "test FILE...|DIR",
		Short: "Test packages as their definitions say",
		Long: `Run the tests of definitions: of the package and of each subpackage, in a sandbox of
its own in which it is installed, from --out and --repository-append, with what the test
needs. What the steps print goes to standard error.

Exit code 11: a test failed; 12: there was none.`,
		Example: "  cairn package test --repository-append https://packages.wolfi.dev/os --keyring-append wolfi-signing.rsa.pub,me.rsa.pub hello.yaml",
		Args:    args(1, -1, "FILE...|DIR"),
		RunE:    func(cmd *cobra.Command, args []string) error { return b.test(cmd.Context(), a, args) },
	}
	b.definitionFlags.register(cmd)
	b.storeFlags.register(cmd)
	f := cmd.Flags()
	f.StringVar(&b.arch, "arch", "host", "the `architecture` to test")
	f.StringVar(&b.runner, "runner", "bubblewrap", "what runs the steps: bubblewrap or buildkit")
	b.registerDaemons(f)
	f.StringVar(&b.out, "out", "packages", "`directory` of the repository with the packages")
	f.StringSliceVarP(&b.repositories, "repository-append", "r", nil, "`repositories` with packages for the environments")
	f.StringSliceVarP(&b.keyring, "keyring-append", "k", nil, "`keys` to trust: files or URLs")
	f.BoolVar(&b.trace, "trace", false, "let the steps' shells print what they do")
	f.BoolVar(&b.unsigned, "unsafe-unsigned-index", false, "accept indexes without a verified signature")
	return cmd
}

// testResult is the outcome of one package's test.
type testResult struct {
	Package string `json:"package"`
	Passed  bool   `json:"passed"`
	Error   string `json:"error,omitempty"`
}

func (b *packageBuildFlags) test(ctx context.Context, a *app, names []string) error {
	o, co, err := b.definitionFlags.read(a, b.arch)
	if err != nil {
		return err
	}
	var files []string
	for _, name := range names {
		list, err := definitionFiles(a, name)
		if err != nil {
			return err
		}
		files = append(files, list...)
	}
	builds, err := definition.LoadAll(ctx, files, o, co)
	if err != nil {
		return err
	}
	ws, err := b.storeFlags.open(a, func(packages.Event) {})
	if err != nil {
		return err
	}
	defer ws.Close()
	bo, guests, err := b.options(ws)
	if err != nil {
		return err
	}
	defer b.close()
	if bo.Runner, err = b.sandboxes(ctx, guests, "bubblewrap or buildkit"); err != nil {
		return err
	}
	builder := build.New(bo)
	results := []testResult{}
	failed := false
	for _, d := range builds {
		for _, t := range build.Tests(d) {
			err := builder.Test(ctx, d, t, func(ctx context.Context, dir string) (*build.Guest, error) {
				return b.testGuest(ctx, a, ws, guests, t, co.Arch, dir)
			}, a.std.err)
			if err != nil && !errors.Is(err, runner.ErrStep) {
				return err
			}
			r := testResult{Package: t.Name, Passed: err == nil}
			if err != nil {
				failed, r.Error = true, err.Error()
			}
			results = append(results, r)
		}
	}
	if err := render(a.std.out, format(a.format), results, nil, func(w io.Writer) error {
		for _, r := range results {
			line := "pass  " + r.Package
			if !r.Passed {
				line = "FAIL  " + r.Package + ": " + r.Error
			}
			if _, err := fmt.Fprintln(w, line); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	switch {
	case failed:
		return verdict{exitFindings, "a test failed"}
	case len(results) == 0:
		return verdict{exitIncomplete, "no definition has a test"}
	}
	return nil
}

// testGuest makes the sandbox of a test: the package from the repository that was built,
// and what the test needs.
func (b *packageBuildFlags) testGuest(ctx context.Context, a *app, ws *packages.Workspace, g *guests, t build.Tested, arch, dir string) (*build.Guest, error) {
	unsafe := packages.Unsafe{UnsignedIndex: b.unsigned}
	c := &t.Test.Environment.Contents
	if c.BaseImage != nil {
		return nil, fmt.Errorf("test of %s: environment.contents.baseimage: %w: sandboxes are made of packages, not on images", t.Name, build.ErrDefinition)
	}
	l, err := ws.Resolve(ctx, packages.Request{Packages: c.Packages, Repositories: slices.Concat([]string{a.at(b.out)}, b.repositories, c.BuildRepositories, c.Repositories),
		Keyring: slices.Concat(b.keyring, c.Keyring), Architectures: []string{arch}, Unsafe: unsafe})
	if err != nil {
		return nil, err
	}
	receipts, err := ws.Fetch(ctx, l, arch, packages.FetchOptions{Unsafe: unsafe})
	if err != nil {
		return nil, err
	}
	return g.of(ctx, receipts, &t.Test.Environment, arch, dir)
}
