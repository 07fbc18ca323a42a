package imagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// Runner runs commands in containers of an image.
type Runner interface {
	// Name is what runs them, for people.
	Name() string
	// Start makes a fresh container. What the runner cannot do of the options
	// is an [*UnsupportedError].
	Start(ctx context.Context, img *subject.Image, tree *files.Tree, o *RunOptions) (Box, error)
}

// Box is a container: what one command writes the next one finds.
type Box interface {
	// Run runs a command to its end. That it fails is no error.
	Run(ctx context.Context, c Command) (*Output, error)
	Close() error
}

// Command is a command to run.
type Command struct {
	Args []string
	// Env is its whole environment, as KEY=VALUE.
	Env []string
}

// Output is what a command left.
type Output struct {
	Stdout, Stderr string
	ExitCode       int // 126: it may not be run, 127: it is not there
	// Cut tells that it wrote more than is kept.
	Cut bool
}

// UnsupportedError says what a runner cannot do.
type UnsupportedError struct{ Runner, What string }

func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("%s: %s: not possible", e.Runner, e.What)
}

// maxOutput bounds what is kept of a command's output, in bytes each;
// maxReported what a report shows of it.
const (
	maxOutput   = 4 << 20
	maxReported = 2000
)

// defaultTimeout bounds a command.
const defaultTimeout = time.Minute

// defaultPath is what engines set where an image sets none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (r *run) commands(ctx context.Context) error {
	list := r.file.Commands
	if len(list) == 0 {
		return nil
	}
	if r.options.NoCommands {
		r.report.Skipped += len(list)
		return nil
	}
	if r.options.Runner != nil {
		r.suite.Runner = r.options.Runner.Name()
	}
	for i := range list {
		x, key := &list[i], fmt.Sprintf("commandTests[%d]", i)
		if err := r.do(ctx, KindCommand, x.Name, key, func(t *test) { r.command(ctx, t, x, key) }); err != nil {
			return err
		}
	}
	return nil
}

// command runs one command test; what keeps it from running is said.
func (r *run) command(ctx context.Context, t *test, x *CommandTest, key string) {
	notRun := func(why string) {
		t.Status, t.Messages = NotRun, append(t.Messages, why)
	}
	if r.options.Runner == nil {
		notRun(r.options.NoRunner)
		return
	}
	if p := r.img.Platform; p.OS != "linux" || p.Architecture != runtime.GOARCH {
		notRun(fmt.Sprintf("the image is for %s/%s, this machine is %s/%s", p.OS, p.Architecture, runtime.GOOS, runtime.GOARCH))
		return
	}
	o := r.file.RunOptions
	if o == nil {
		o = &RunOptions{}
	}
	box, err := r.options.Runner.Start(ctx, r.img, r.tree, o)
	var unsupported *UnsupportedError
	switch {
	case errors.As(err, &unsupported):
		notRun(err.Error())
		return
	case err != nil:
		t.fail("%v", err)
		return
	}
	defer func() {
		if err := box.Close(); err != nil {
			t.fail("%v", err)
		}
	}()
	env := r.environment(x, o)
	for i, c := range x.Setup {
		if !r.around(ctx, t, box, fmt.Sprintf("setup[%d]", i), c, env) {
			return
		}
	}
	r.main(ctx, t, box, x, key, env)
	for i, c := range x.Teardown {
		if !r.around(ctx, t, box, fmt.Sprintf("teardown[%d]", i), c, env) {
			return
		}
	}
}

// main runs the command itself and looks at what it left.
func (r *run) main(ctx context.Context, t *test, box Box, x *CommandTest, key string, env map[string]string) {
	out, err := r.one(ctx, box, append([]string{x.Command}, x.Args...), env)
	if err != nil {
		t.fail("%s: %v", x.Command, err)
		return
	}
	if out.ExitCode != x.ExitCode {
		t.fail("exit code: found %d, expected %d", out.ExitCode, x.ExitCode)
	}
	r.match(t, "standard output", out.Stdout, key+".expectedOutput", key+".excludedOutput", len(x.ExpectedOutput), len(x.ExcludedOutput))
	r.match(t, "standard error", out.Stderr, key+".expectedError", key+".excludedError", len(x.ExpectedError), len(x.ExcludedError))
	if out.Cut {
		t.fail("more than %d bytes of output", maxOutput)
	}
	if t.Status == Failed {
		t.Stdout, t.Stderr = reported(out.Stdout), reported(out.Stderr)
	}
}

// reported is what a report shows of an output.
func reported(s string) string {
	if len(s) > maxReported {
		s = s[:maxReported] + "\n…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// around runs a command of setup or teardown, which must end well.
func (r *run) around(ctx context.Context, t *test, box Box, what string, args []string, env map[string]string) bool {
	out, err := r.one(ctx, box, args, env)
	switch {
	case err != nil:
		t.fail("%s: %s: %v", what, args[0], err)
	case out.ExitCode != 0:
		t.fail("%s: %s: exit code %d, expected 0", what, args[0], out.ExitCode)
		t.Stdout, t.Stderr = reported(out.Stdout), reported(out.Stderr)
	}
	return err == nil && out.ExitCode == 0
}

func (r *run) one(ctx context.Context, box Box, args []string, env map[string]string) (*Output, error) {
	limit := r.options.Timeout
	if limit == 0 {
		limit = defaultTimeout
	}
	timed, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := Command{}
	for _, a := range args {
		c.Args = append(c.Args, expand(a, env))
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		c.Env = append(c.Env, name+"="+env[name])
	}
	out, err := box.Run(timed, c)
	if timed.Err() != nil && ctx.Err() == nil {
		return nil, fmt.Errorf("not done after %s", limit)
	}
	return out, err
}

// environment is that of the image, of the engine's options, of the file and of
// the test, each above the one before.
func (r *run) environment(x *CommandTest, o *RunOptions) map[string]string {
	env := r.env()
	if env["PATH"] == "" {
		env["PATH"] = defaultPath
	}
	getenv := r.options.Getenv
	if getenv == nil {
		getenv = func(string) string { return "" }
	}
	for line := range strings.Lines(string(r.file.envFileContent)) {
		line = strings.TrimSpace(line)
		name, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || line[0] == '#':
		case assigned:
			if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
				value = value[1 : n-1]
			}
			env[name] = value
		default:
			env[name] = getenv(name)
		}
	}
	for _, name := range o.Env {
		if v := getenv(name); v != "" {
			env[name] = v
		}
	}
	for _, e := range slices.Concat(r.file.GlobalEnv, x.Env) {
		env[e.Key] = expand(e.Value, env)
	}
	return env
}

// bounded keeps the beginning of what is written to it. The buffer is not
// embedded: its ReadFrom would go past the bound.
type bounded struct {
	b   bytes.Buffer
	cut bool
}

func (b *bounded) Write(p []byte) (int, error) {
	kept := p
	if room := maxOutput - b.b.Len(); len(p) > room {
		kept, b.cut = p[:room], true
	}
	b.b.Write(kept)
	return len(p), nil
}

func (b *bounded) String() string { return b.b.String() }
