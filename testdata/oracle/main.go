// Oracle prints what melange compiles definitions to, for comparison: a line of
// JSON for each definition and architecture, in the order of the arguments.
//
//	oracle -pipeline-dir DIR… -arch x86_64,aarch64 FILE…
//
// It is a module of its own, so that melange is no dependency of cairn.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"chainguard.dev/apko/pkg/build/types"
	"chainguard.dev/melange/pkg/build"
	"chainguard.dev/melange/pkg/config"
	"github.com/chainguard-dev/clog"
)

// result is one line.
type result struct {
	File  string                `json:"file"`
	Arch  string                `json:"arch"`
	Error string                `json:"error,omitempty"`
	Skip  bool                  `json:"skip,omitempty"`
	Build *config.Configuration `json:"build,omitempty"`
}

func main() {
	var dirs []string
	flag.Func("pipeline-dir", "a `directory` with pipelines, before melange's own; may be repeated", func(s string) error {
		dirs = append(dirs, s)
		return nil
	})
	archs := flag.String("arch", "x86_64,aarch64", "the `architectures`, separated by commas")
	options := flag.String("build-option", "", "build `options`, separated by commas")
	flag.Parse()
	if err := run(dirs, strings.Split(*archs, ","), split(*options), flag.Args(), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func run(dirs, archs, options, files []string, w io.Writer) error {
	ctx := clog.WithLogger(context.Background(), clog.New(slog.NewTextHandler(io.Discard, nil)))
	results := make([]result, len(files)*len(archs))
	var group sync.WaitGroup
	slots := make(chan struct{}, 2)
	for i := range results {
		slots <- struct{}{}
		group.Go(func() {
			results[i] = compile(ctx, dirs, archs[i%len(archs)], options, files[i/len(archs)])
			<-slots
		})
	}
	group.Wait()
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range results {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func compile(ctx context.Context, dirs []string, arch string, options []string, file string) (r result) {
	r = result{File: file, Arch: arch}
	defer func() {
		if p := recover(); p != nil {
			r.Error, r.Build = fmt.Sprintf("panic: %v", p), nil
		}
	}()
	opts := []build.Option{
		build.WithArch(types.ParseArchitecture(arch)), build.WithConfig(file), build.WithEnabledBuildOptions(options),
		build.WithConfigFileRepositoryCommit("unknown"), build.WithConfigFileRepositoryURL("https://example.com/"),
	}
	for _, d := range dirs {
		opts = append(opts, build.WithPipelineDir(d))
	}
	b, err := build.New(ctx, opts...)
	switch {
	case errors.Is(err, build.ErrSkipThisArch):
		r.Skip = true
		return r
	case err == nil:
		err = b.Compile(ctx)
	}
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.Build = b.Configuration
	return r
}
