package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	"github.com/opencontainers/go-digest"
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
	sources     = "sources"
)

// run has the daemon solve a job.
func (d real) run(ctx context.Context, j Job) error {
	def, err := solve(ctx, j)
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
	opt.LocalMounts = map[string]fsutil.FS{}
	for name, dir := range map[string]string{workspace: j.Workspace, sources: j.Sources} {
		if dir == "" {
			continue
		}
		if opt.LocalMounts[name], err = fsutil.NewFS(dir); err != nil {
			return fmt.Errorf("%s %s: %w", name, dir, err)
		}
	}
	status := make(chan *client.SolveStatus)
	f := &follower{job: &j}
	done := make(chan error, 1)
	go func() { done <- f.follow(status) }()
	_, err = d.Solve(ctx, def, opt, status) // closes status
	logged := <-done
	var exit *gatewaypb.ExitError
	switch {
	case err == nil:
		return logged
	case errors.As(err, &exit) && f.failed != "":
		return fmt.Errorf("%w: %s: %w: exit code: %d", ErrJob, f.failed, ErrStep, exit.ExitCode)
	}
	return fmt.Errorf("%w: %w", ErrJob, err)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// follower listens to a daemon that solves a job.
type follower struct {
	job    *Job
	begun  []digest.Digest // steps that the log names
	failed string          // the step that failed
}

// follow writes what steps are called and print, to the end.
func (f *follower) follow(status <-chan *client.SolveStatus) error {
	var errs []error
	say := func(b []byte) {
		if f.job.Log != nil && len(errs) == 0 {
			if _, err := f.job.Log.Write(b); err != nil {
				errs = append(errs, err)
			}
		}
	}
	for s := range status {
		for _, v := range s.Vertexes {
			if !f.step(v.Name) {
				continue
			}
			if (v.Started != nil || v.Cached) && !slices.Contains(f.begun, v.Digest) {
				f.begun = append(f.begun, v.Digest)
				say([]byte("--- " + v.Name + "\n"))
			}
			if v.Error != "" {
				f.failed = v.Name
			}
		}
		for _, l := range s.Logs {
			say(l.Data)
		}
	}
	return errors.Join(errs...)
}

// step tells whether a name is that of a step of the job.
func (f *follower) step(name string) bool {
	for i := range f.job.Steps {
		if name == f.job.Steps[i].name(i) {
			return true
		}
	}
	return false
}

func (s *Step) name(i int) string {
	if s.Name != "" {
		return s.Name
	}
	return fmt.Sprintf("step %d", i+1)
}

// keepDir is where in the result kept files are.
const keepDir = ".cairn-keep"

// begin are the states of root, workspace and result before the first step.
func begin(j *Job) (root, work, result llb.State) {
	root = llb.OCILayout("cairn/environment@"+j.Image, llb.OCIStore("", environment))
	for _, dir := range j.Make {
		root = root.File(llb.Mkdir(dir, 0o755, llb.WithParents(true)))
	}
	work, result = llb.Scratch(), llb.Scratch()
	if j.Workspace == "" {
		return root, work, result
	}
	// The key keeps a daemon from comparing with what another job sent.
	work = llb.Local(workspace, llb.SharedKeyHint(j.Workspace))
	rel, below := strings.CutPrefix(j.Result, j.Dir+"/")
	if fi, err := os.Stat(filepath.Join(j.Workspace, filepath.FromSlash(rel))); below && err == nil && fi.IsDir() {
		result = result.File(llb.Copy(work, "/"+rel, "/", &llb.CopyInfo{CopyDirContentsOnly: true}))
	}
	return root, work, result
}

// kept adds the files to keep to a result.
func kept(j *Job, work, result llb.State) llb.State {
	for _, name := range j.Keep {
		name = path.Clean("/" + name)
		pattern := strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(name)
		result = result.File(llb.Copy(work, pattern, "/"+keepDir+name, &llb.CopyInfo{FollowSymlinks: true, CreateDestPath: true, AllowWildcard: true, AllowEmptyWildcard: true}))
	}
	return result
}

// solve says in BuildKit's terms what a job is.
func solve(ctx context.Context, j Job) (*llb.Definition, error) {
	root, work, result := begin(&j)
	network := pb.NetMode_NONE
	if j.Network {
		network = pb.NetMode_UNSET
	}
	for i, s := range j.Steps {
		opts := []llb.RunOption{
			llb.Args(s.Args), llb.Dir(s.Dir), llb.Network(network), llb.WithCustomName(s.name(i)),
		}
		for _, e := range s.Env {
			name, value, ok := strings.Cut(e, "=")
			if !ok {
				return nil, fmt.Errorf("step %d: variable %q: expected NAME=VALUE", i+1, e)
			}
			opts = append(opts, llb.AddEnv(name, value))
		}
		run := root.Run(opts...)
		if j.Sources != "" {
			run.AddMount(j.SourcesDir, llb.Local(sources, llb.SharedKeyHint(j.Sources)), llb.Readonly)
		}
		work = run.AddMount(j.Dir, work)
		result = run.AddMount(j.Result, result)
		root = run.Root()
	}
	return kept(&j, work, result).Marshal(ctx, llb.Platform(ocispec.Platform{OS: "linux", Architecture: j.Arch}))
}
