package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Job is the work of one build.
type Job struct {
	// Layout is a directory with an OCI layout, Image the digest of the image
	// manifest in it that steps run in, "sha256:…".
	Layout, Image string
	// Arch is Go's name of the architecture, "amd64".
	Arch string
	// Workspace is a directory of this machine whose files, owned by root, are
	// there as Dir when the first step begins; empty for an empty one.
	Workspace, Dir string
	// Result is the directory that the steps fill. What the workspace has there is in it
	// at first.
	Result string
	// Sources is a directory of this machine that is there as SourcesDir, read-only;
	// empty for none.
	Sources, SourcesDir string
	// Make are directories that are there, made when the image does not have them.
	Make []string
	// Keep are files below Dir that come back with the result, in the directory
	// .cairn-keep of the tar; one that is not there is left out.
	Keep []string
	// Steps run in this order, each in what the one before left.
	Steps []Step
	// Network lets the steps use the daemon's network.
	Network bool
	// Log takes what the steps print; may be nil.
	Log io.Writer
	// Out takes the tar of Result when all steps have succeeded. When a job is
	// moved to another daemon, it is truncated first.
	Out Output
}

// Output is a file.
type Output interface {
	io.Writer
	io.Seeker
	Truncate(size int64) error
}

// Step is one process.
type Step struct {
	// Name is for people; empty for its number.
	Name string
	// Args are the program and its arguments.
	Args []string
	// Dir is where it runs, absolute.
	Dir string
	// Env are variables, NAME=VALUE. PATH is the image's unless it is here.
	Env []string
}

// The errors of this package that callers tell apart.
var (
	// ErrJob is for a job that a daemon could not do: mostly a step that failed.
	ErrJob = errors.New("build failed")
	// ErrStep, beside ErrJob, is for a step that ran and failed.
	ErrStep = errors.New("a process ended with an error")
	// ErrWorkers is for when no daemon answers.
	ErrWorkers = errors.New("no BuildKit daemon answers")
)

// timeout is how long a daemon has to say that it is there.
const timeout = 5 * time.Second

// daemon is a BuildKit daemon; tests have their own.
type daemon interface {
	// ping reports whether it answers.
	ping(ctx context.Context) error
	run(ctx context.Context, j Job) error
	Close() error
}

// Workers are daemons that share the jobs. They may be used from several
// goroutines.
type Workers struct {
	mu   sync.Mutex
	list []*worker
}

type worker struct {
	address string
	daemon  daemon
	running int
	lost    error // why it is not used
}

// Connect connects to daemons: "unix:///run/buildkit/buildkitd.sock",
// "tcp://HOST:PORT". Those that do not answer are left out as long as one does.
func Connect(ctx context.Context, addresses []string) (*Workers, error) {
	return connect(ctx, addresses, dial)
}

func connect(ctx context.Context, addresses []string, dial func(context.Context, string) (daemon, error)) (*Workers, error) {
	w := &Workers{}
	for _, a := range addresses {
		d, err := dial(ctx, a)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("buildkit %s: %w", a, err), w.Close())
		}
		w.list = append(w.list, &worker{address: a, daemon: d})
	}
	w.check(ctx)
	if err := w.none(); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// check asks all daemons whether they are there.
func (w *Workers) check(ctx context.Context) {
	var group sync.WaitGroup
	for _, x := range w.list {
		group.Go(func() {
			err := ping(ctx, x.daemon)
			w.mu.Lock()
			defer w.mu.Unlock()
			x.lost = err
		})
	}
	group.Wait()
}

func ping(ctx context.Context, d daemon) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return d.ping(ctx)
}

// none is the error when no daemon is there.
func (w *Workers) none() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	errs := []error{ErrWorkers}
	for _, x := range w.list {
		if x.lost == nil {
			return nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", x.address, x.lost))
	}
	return errors.Join(errs...)
}

// Lost returns the addresses of daemons that stopped answering.
func (w *Workers) Lost() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, x := range w.list {
		if x.lost != nil {
			out = append(out, x.address)
		}
	}
	return out
}

// Close ends the connections.
func (w *Workers) Close() error {
	var errs []error
	for _, x := range w.list {
		errs = append(errs, x.daemon.Close())
	}
	return errors.Join(errs...)
}

// Run runs a job on the daemon with the fewest. The error is [ErrJob] when it
// was done and failed; [ErrWorkers] when there is no daemon left.
func (w *Workers) Run(ctx context.Context, j Job) error {
	again := true
	for {
		x := w.take()
		if x == nil {
			// Lost daemons may be back.
			if again {
				again = false
				w.check(ctx)
				continue
			}
			return w.none()
		}
		err := x.daemon.run(ctx, j)
		w.give(x)
		if err == nil || ctx.Err() != nil {
			return err
		}
		gone := ping(ctx, x.daemon)
		if gone == nil || ctx.Err() != nil {
			return err
		}
		w.mu.Lock()
		x.lost = gone
		w.mu.Unlock()
		if j.Log != nil {
			fmt.Fprintf(j.Log, "buildkit %s: stopped answering; the build begins again elsewhere\n", x.address)
		}
		if err := rewind(j.Out); err != nil {
			return err
		}
	}
}

func rewind(o Output) error {
	if _, err := o.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return o.Truncate(0)
}

// take returns the daemon with the fewest jobs, the first of several; nil when
// there is none.
func (w *Workers) take() *worker {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := slices.DeleteFunc(slices.Clone(w.list), func(x *worker) bool { return x.lost != nil })
	if len(there) == 0 {
		return nil
	}
	x := slices.MinFunc(there, func(a, b *worker) int { return a.running - b.running })
	x.running++
	return x
}

func (w *Workers) give(x *worker) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x.running--
}
