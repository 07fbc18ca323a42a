// Command cairn turns APK packages into reproducible OCI images.
//
// This package holds flags, configuration of the tool itself and terminal
// output, one file per verb; everything it does is done by the packages,
// assemble and sign rooms. It is not a library.
//
//	cairn build image.yaml hello:latest hello.tar
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
)

func main() {
	if os.Getenv("GOGC") == "" {
		// A build is short and keeps little: collecting seldom saves some of
		// the processor time of a warm one and costs a few megabytes.
		debug.SetGCPercent(200)
	}
	os.Exit(run(context.Background(), containerdArgs(os.Args[0], os.Args[1:]), streams{os.Stdin, os.Stdout, os.Stderr}))
}

// streams are the three ends of the terminal.
type streams struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// run executes one command line and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	ctx, stop := notifyContext(ctx)
	defer stop()
	root := newRoot(std)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if cause := context.Cause(ctx); errors.Is(err, context.Canceled) && cause != nil {
		err = cause
	}
	var end verdict
	if !errors.Is(err, errDiffers) && !errors.As(err, &end) {
		printError(std.err, err)
	}
	return exitCode(err)
}

// interrupted is the cause of a context that a signal ended.
type interrupted struct{ signal syscall.Signal }

func (i interrupted) Error() string { return "interrupted: " + i.signal.String() }

// notifyContext ends the context on SIGINT or SIGTERM; a second signal ends the
// process the ordinary way.
func notifyContext(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-c:
			signal.Stop(c)
			cancel(interrupted{s.(syscall.Signal)})
		case <-ctx.Done():
		}
	}()
	return ctx, func() { signal.Stop(c); cancel(nil) }
}

// printError prints an error the way every command does: "cairn: " and the message,
// continued lines indented.
func printError(w io.Writer, err error) {
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	fmt.Fprintf(w, "cairn: %s\n", lines[0])
	for _, l := range lines[1:] {
		fmt.Fprintf(w, "  %s\n", l)
	}
}
