package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/imagetest"
	"github.com/cairn-dev/cairn/assemble/report"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// testFlags are the flags of test.
type testFlags struct {
	archs    []string
	commands string
	junit    string
	timeout  time.Duration
	measure  bool
	host     bool
	registryFlags
}

// The values of --commands.
var commandModes = []string{"auto", "docker", "bwrap", "off"}

func newTest(a *app) *cobra.Command {
	var t testFlags
	cmd := &cobra.Command{
		Use:   "test IMAGE FILE...",
		Short: "Test an image against container-structure-test's files and cairn's own keys",
		Long: `Test what is in an image. The files are container-structure-test's, with a
section of cairn's own; docs/test.md describes both.

IMAGE is in a registry, in an OCI layout (DIR/), or in an OCI or docker archive.
Files, metadata and packages are read from the image itself. Commands are run in
a container engine, or with bubblewrap; where neither is there they are not run,
and the exit code is 12 instead of 0.

Exit code 11: a test failed.`,
		Example: "  cairn test app.tar app.test.yaml\n  cairn test --commands=off --junit report.xml registry.example/team/app:1 app.test.yaml",
		Args:    args(2, -1, "IMAGE and FILE, one or several"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.run(cmd.Context(), a, args[0], args[1:])
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&t.archs, "arch", nil, "`architectures` to test, as in x86_64,arm64, or all (default: this machine's, or the only one)")
	f.StringVar(&t.commands, "commands", "auto", "what runs commands: auto, docker, bwrap, or off")
	f.StringVar(&t.junit, "junit", "", "write the report as JUnit's XML to this `file`, too")
	f.DurationVar(&t.timeout, "timeout", time.Minute, "how long a command may take")
	f.BoolVar(&t.measure, "measure", false, "report how long each test took")
	f.BoolVar(&t.host, "unsafe-host-access", false, "allow test files to ask for privileges and for directories of this machine in containers")
	t.register(cmd)
	return cmd
}

// verdict ends the program with a code and without a message: the report has
// said it.
type verdict struct {
	code int
	text string
}

func (v verdict) Error() string { return v.text }

func (t *testFlags) run(ctx context.Context, a *app, name string, list []string) (err error) {
	if !slices.Contains(commandModes, t.commands) {
		return usageError{fmt.Errorf("--commands: found %q, expected %s", t.commands, strings.Join(commandModes, ", "))}
	}
	var files []*imagetest.File
	commands := false
	for _, path := range list {
		f, err := imagetest.Load(a.at(path), a.at("."))
		if err != nil {
			return err
		}
		f.Name = path
		commands = commands || len(f.Commands) > 0
		files = append(files, f)
	}
	s, err := subject.Open(ctx, name, t.subject(a))
	if err != nil {
		return err
	}
	defer s.Close()
	images, err := platformsOf(s, t.archs)
	if err != nil {
		return err
	}
	o := imagetest.Options{NoCommands: t.commands == "off", Timeout: t.timeout, Getenv: os.Getenv, Measure: t.measure}
	if commands && !o.NoCommands {
		var done func() error
		if o.Runner, o.NoRunner, done = t.runner(ctx); done != nil {
			defer func() { err = errors.Join(err, done()) }()
		}
	}
	r, err := imagetest.Run(ctx, s, images, files, o)
	if err != nil {
		return err
	}
	return t.report(a, r)
}

// runner finds what runs commands, or why nothing does.
func (t *testFlags) runner(ctx context.Context) (r imagetest.Runner, why string, done func() error) {
	var problems []string
	if t.commands != "bwrap" {
		d, err := imagetest.NewDocker(ctx, imagetest.DockerOptions{HostAccess: t.host})
		if err == nil {
			return d, "", d.Close
		}
		problems = append(problems, err.Error())
	}
	if t.commands != "docker" {
		b, err := imagetest.NewBubblewrap(ctx, "")
		if err == nil {
			return b, "", nil
		}
		problems = append(problems, err.Error())
	}
	return nil, "nothing can run commands: " + strings.Join(problems, "; "), nil
}

func (t *testFlags) report(a *app, r *imagetest.Report) error {
	if t.junit != "" {
		var b bytes.Buffer
		if err := r.WriteJUnit(&b); err != nil {
			return err
		}
		if err := writeFileAtomic(a.at(t.junit), b.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if err := render(a.std.out, format(a.format), r, nil, func(w io.Writer) error { return printTests(w, r, a.verbose) }); err != nil {
		return err
	}
	switch {
	case r.Failed > 0:
		return verdict{exitFindings, "a test failed"}
	case r.NotRun > 0:
		return verdict{exitIncomplete, "a test was not run"}
	}
	return nil
}

// printTests lists what did not pass, and with all what did.
func printTests(w io.Writer, r *imagetest.Report, all bool) error {
	var b bytes.Buffer
	for _, s := range r.Suites {
		for _, t := range s.Tests {
			if t.Status == imagetest.Passed && !all {
				continue
			}
			fmt.Fprintf(&b, "%s: %s:%d: %s: %s (%s)\n", t.Status, s.File, t.Line, t.Kind, report.Clean(t.Name), s.Platform)
			for _, m := range t.Messages {
				fmt.Fprintf(&b, "  %s\n", report.Clean(m))
			}
			for _, out := range []struct{ name, text string }{{"standard output", t.Stdout}, {"standard error", t.Stderr}} {
				if out.text != "" {
					fmt.Fprintf(&b, "  %s:\n", out.name)
				}
				for line := range strings.Lines(out.text) {
					fmt.Fprintf(&b, "    %s\n", report.Clean(strings.TrimRight(line, "\r\n")))
				}
			}
		}
	}
	fmt.Fprintf(&b, "%d passed, %d failed, %d not run", r.Passed, r.Failed, r.NotRun)
	if r.Skipped > 0 {
		fmt.Fprintf(&b, "; %d commands left out", r.Skipped)
	}
	b.WriteByte('\n')
	_, err := w.Write(b.Bytes())
	return err
}

// platformsOf picks the images of a subject that --arch means: without any, that
// of this machine, or the only one.
func platformsOf(s *subject.Subject, archs []string) ([]*subject.Image, error) {
	if s.Lock != nil {
		return nil, usageError{fmt.Errorf("%s: a lock, expected an image", s.Name)}
	}
	var there []string
	for i := range s.Images {
		there = append(there, s.Images[i].PlatformText())
	}
	find := func(name string) *subject.Image {
		if i := slices.Index(there, name); i >= 0 {
			return &s.Images[i]
		}
		return nil
	}
	if len(archs) == 0 {
		if img := find(runtime.GOARCH); img != nil {
			return []*subject.Image{img}, nil
		}
		if len(s.Images) == 1 {
			return []*subject.Image{&s.Images[0]}, nil
		}
		return nil, usageError{fmt.Errorf("%s: found images for %s, none of them for %s\nhint: --arch says which", s.Name, strings.Join(there, ", "), runtime.GOARCH)}
	}
	var out []*subject.Image
	if slices.Equal(archs, []string{"all"}) {
		for i := range s.Images {
			out = append(out, &s.Images[i])
		}
		return out, nil
	}
	for _, arch := range archs {
		img := find(subject.PlatformText(*config.ParseArchitecture(arch).ToOCIPlatform()))
		if img == nil {
			return nil, usageError{fmt.Errorf("--arch: found %q, expected one of %s", arch, strings.Join(there, ", "))}
		}
		out = append(out, img)
	}
	return out, nil
}
