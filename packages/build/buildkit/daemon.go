package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/solver/pb"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/fsutil"
)

// real is a daemon behind a connection.
type real struct{ *client.Client }

func dial(ctx context.Context, address string) (daemon, error) {
	c, err := client.New(ctx, address)
	if err != nil {
		return nil, err
	}
	return real{c}, nil
}

func (d real) ping(ctx context.Context) error {
	_, err := d.ListWorkers(ctx)
	return err
}

// The names under which a daemon asks for what a job brings.
const (
	environment = "environment"
	workspace   = "workspace"
)

// run has the daemon solve a job.
func (d real) run(ctx context.Context, j Job) error {
	def, err := definition(ctx, j)
	if err != nil {
		return err
	}
	layout, err := local.NewStore(j.Layout)
	if err != nil {
		return fmt.Errorf("environment %s: %w", j.Layout, err)
	}
	opt := client.SolveOpt{
		OCIStores: map[string]content.Store{environment: layout},
		Exports: []client.ExportEntry{{Type: client.ExporterTar, Output: func(map[string]string) (io.WriteCloser, error) {
			return nopCloser{j.Out}, nil
		}}},
	}
	if j.Workspace != "" {
		fs, err := fsutil.NewFS(j.Workspace)
		if err != nil {
			return fmt.Errorf("workspace %s: %w", j.Workspace, err)
		}
		opt.LocalMounts = map[string]fsutil.FS{workspace: fs}
	}
	status := make(chan *client.SolveStatus)
	done := make(chan error, 1)
	go func() { done <- follow(status, j.Log) }()
	_, err = d.Solve(ctx, def, opt, status) // closes status
	logged := <-done
	if err != nil {
		return fmt.Errorf("%w: %w", ErrJob, err)
	}
	return logged
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// follow writes what steps print, to the end.
func follow(status <-chan *client.SolveStatus, log io.Writer) error {
	var errs []error
	for s := range status {
		for _, l := range s.Logs {
			if log != nil && len(errs) == 0 {
				if _, err := log.Write(l.Data); err != nil {
					errs = append(errs, err)
				}
			}
		}
	}
	return errors.Join(errs...)
}

// definition says in BuildKit's terms what a job is.
func definition(ctx context.Context, j Job) (*llb.Definition, error) {
	root := llb.OCILayout("cairn/environment@"+j.Image, llb.OCIStore("", environment))
	work, result := llb.Scratch(), llb.Scratch()
	if j.Workspace != "" {
		work = llb.Local(workspace)
	}
	network := pb.NetMode_NONE
	if j.Network {
		network = pb.NetMode_UNSET
	}
	for i, s := range j.Steps {
		opts := []llb.RunOption{
			llb.Args(s.Args), llb.Dir(s.Dir), llb.Network(network), llb.WithCustomNamef("step %d", i+1),
		}
		for _, e := range s.Env {
			name, value, ok := strings.Cut(e, "=")
			if !ok {
				return nil, fmt.Errorf("step %d: variable %q: expected NAME=VALUE", i+1, e)
			}
			opts = append(opts, llb.AddEnv(name, value))
		}
		run := root.Run(opts...)
		work = run.AddMount(j.Dir, work)
		result = run.AddMount(j.Result, result)
		root = run.Root()
	}
	return result.Marshal(ctx, llb.Platform(ocispec.Platform{OS: "linux", Architecture: j.Arch}))
}
