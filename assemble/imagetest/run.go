package imagetest

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// Status is how a test ended.
type Status string

// The outcomes of a test.
const (
	Passed Status = "passed"
	Failed Status = "failed"
	// NotRun is for a command where nothing could run it.
	NotRun Status = "not run"
)

// The kinds of tests.
const (
	KindCommand   = "command"
	KindExistence = "file existence"
	KindContent   = "file content"
	KindMetadata  = "metadata"
	KindLicense   = "licence"
	KindOwn       = "cairn"
)

// Report is the outcome of test files on an image.
type Report struct {
	Version int     `json:"version"` // of this form: 1
	Image   string  `json:"image"`   // as given
	Digest  string  `json:"digest"`
	Suites  []Suite `json:"suites"`
	Passed  int     `json:"passed"`
	Failed  int     `json:"failed"`
	NotRun  int     `json:"not_run"`
	// Skipped is the number of commands that were not to be run.
	Skipped int `json:"skipped"`
}

// Suite is the outcome of one file on the image of one platform.
type Suite struct {
	File     string `json:"file"`
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	// Runner is what ran the commands; empty where there was nothing to run
	// them, or no command.
	Runner string   `json:"runner,omitempty"`
	Tests  []Result `json:"tests"`
}

// Result is the outcome of one test.
type Result struct {
	Kind   string `json:"kind"`
	Name   string `json:"name"`
	Line   int    `json:"line"` // in the file
	Status Status `json:"status"`
	// Messages say what was found and expected, or why the test was not run.
	Messages []string `json:"messages,omitempty"`
	// Stdout and Stderr are those of a command that failed, shortened.
	Stdout string `json:"stdout,omitempty"`
	Stderr string `json:"stderr,omitempty"`
	// Seconds is how long it took, where that was asked for.
	Seconds *float64 `json:"seconds,omitempty"`
}

// Options say how tests are run.
type Options struct {
	// Runner runs commands; nil: they are not run.
	Runner Runner
	// NoRunner says why there is no runner.
	NoRunner string
	// NoCommands leaves commands out, which is then no gap.
	NoCommands bool
	// Timeout bounds each command, its setup and teardown; 0: a minute.
	Timeout time.Duration
	// Getenv reads the environment for containerRunOptions.envVars; nil: nothing
	// is set.
	Getenv func(string) string
	// Measure records how long each test took.
	Measure bool
}

// Run runs test files on images of a subject. A test that fails is no error; an
// image that cannot be read is.
func Run(ctx context.Context, s *subject.Subject, images []*subject.Image, list []*File, o Options) (*Report, error) {
	out := &Report{Version: 1, Image: s.Name, Digest: s.Descriptor.Digest.String(), Suites: []Suite{}}
	for _, img := range images {
		tree, err := files.OfImage(ctx, img, files.Options{Keep: keep(list)})
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", s.Name, img.PlatformText(), err)
		}
		for _, f := range list {
			r := &run{file: f, img: img, tree: tree, options: o, report: out,
				suite: Suite{File: f.Name, Platform: img.PlatformText(), Digest: img.Digest.String(), Tests: []Result{}}}
			if err := r.all(ctx); err != nil {
				return nil, err
			}
			out.Suites = append(out.Suites, r.suite)
		}
	}
	return out, nil
}

// maxSmall is the size in bytes up to which files are kept when some will be
// read: each that is not is looked for again in its layer.
const maxSmall = 128 << 10

// keep says which contents tests will probably read.
func keep(list []*File) func(string, int64) bool {
	reads := slices.ContainsFunc(list, func(f *File) bool { return len(f.FileContent)+len(f.Licenses) > 0 })
	return func(path string, size int64) bool {
		return size <= maxSmall && (reads || path == "etc/passwd" || path == "etc/group")
	}
}

// run is one file on one image.
type run struct {
	file    *File
	img     *subject.Image
	tree    *files.Tree
	options Options
	suite   Suite
	report  *Report
}

// test is what one test says while it goes.
type test struct {
	Result
}

// fail notes what is wrong.
func (t *test) fail(format string, args ...any) {
	t.Status = Failed
	t.Messages = append(t.Messages, fmt.Sprintf(format, args...))
}

// do runs a test and counts it.
func (r *run) do(ctx context.Context, kind, name, key string, body func(*test)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t := &test{Result{Kind: kind, Name: name, Line: r.file.report.Line(key), Status: Passed}}
	started := time.Now()
	body(t)
	if err := ctx.Err(); err != nil {
		return err // what failed failed of that
	}
	if s := time.Since(started).Seconds(); r.options.Measure {
		t.Seconds = &s
	}
	switch t.Status {
	case Passed:
		r.report.Passed++
	case Failed:
		r.report.Failed++
	case NotRun:
		r.report.NotRun++
	}
	r.suite.Tests = append(r.suite.Tests, t.Result)
	return nil
}

// all runs the tests in the order of their kinds.
func (r *run) all(ctx context.Context) error {
	f := r.file
	if m := f.Metadata; m != nil {
		if err := r.do(ctx, KindMetadata, "metadata", "metadataTest", func(t *test) { r.metadata(t, m) }); err != nil {
			return err
		}
	}
	for i := range f.FileExistence {
		x, key := &f.FileExistence[i], fmt.Sprintf("fileExistenceTests[%d]", i)
		if err := r.do(ctx, KindExistence, x.Name, key, func(t *test) { r.existence(t, x) }); err != nil {
			return err
		}
	}
	for i := range f.FileContent {
		x, key := &f.FileContent[i], fmt.Sprintf("fileContentTests[%d]", i)
		if err := r.do(ctx, KindContent, x.Name, key, func(t *test) { r.content(ctx, t, x, key) }); err != nil {
			return err
		}
	}
	for i := range f.Licenses {
		x, key := &f.Licenses[i], fmt.Sprintf("licenseTests[%d]", i)
		if err := r.do(ctx, KindLicense, "licences", key, func(t *test) { r.license(ctx, t, x) }); err != nil {
			return err
		}
	}
	if f.Cairn != nil {
		if err := r.own(ctx, f.Cairn); err != nil {
			return err
		}
	}
	return r.commands(ctx)
}

// env is the environment of the image's configuration.
func (r *run) env() map[string]string {
	out := map[string]string{}
	for _, line := range r.img.Config.Config.Env {
		name, value, _ := strings.Cut(line, "=")
		out[name] = value
	}
	return out
}

// expand puts the values of variables into a text. One that is not set stays as
// it is written, for shells to make something of it.
func expand(text string, env map[string]string) string {
	return os.Expand(text, func(name string) string {
		if v, ok := env[name]; ok {
			return v
		}
		if len(name) == 1 && !isLetter(name[0]) {
			return "$" + name
		}
		return "${" + name + "}"
	})
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
