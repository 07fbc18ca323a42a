package buildkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cairn-dev/cairn/packages/build/runner"
	"github.com/cairn-dev/cairn/packages/build/unpack"
	"github.com/cairn-dev/cairn/packages/definition"
)

// Runner runs the steps of packages' builds on daemons.
type Runner struct{ Workers *Workers }

var _ runner.Runner = Runner{}

// Name is "buildkit".
func (Runner) Name() string { return "buildkit" }

// Owners tells whether cairn can give files away: daemons say whose they are.
func (Runner) Owners() bool { return os.Geteuid() == 0 }

// given are the capabilities that daemons give to steps.
var given = []string{"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",
	"CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"}

// fits refuses what daemons cannot do.
func fits(s *runner.Sandbox) error {
	missing := slices.DeleteFunc(slices.Clone(s.Add), func(c string) bool { return slices.Contains(given, c) })
	switch {
	case s.Image == "":
		return fmt.Errorf("runner buildkit: %w: no image to run steps in", runner.ErrRunner)
	case len(missing) > 0:
		return fmt.Errorf("runner buildkit: %w: steps want the capabilities %s (capabilities.add), which daemons do not give\nhint: --runner bubblewrap", runner.ErrRunner, strings.Join(missing, ", "))
	case len(s.Drop) > 0:
		return fmt.Errorf("runner buildkit: %w: steps are to run without %s (capabilities.drop), which daemons always give\nhint: --runner bubblewrap", runner.ErrRunner, strings.Join(s.Drop, ", "))
	case s.User != nil:
		return fmt.Errorf("runner buildkit: %w: steps are to run as user %d (accounts.run-as), and daemons run them as root\nhint: --runner bubblewrap", runner.ErrRunner, s.User.UID)
	}
	return nil
}

// Run runs steps on a daemon, all on the same, and brings their result back.
func (r Runner) Run(ctx context.Context, s *runner.Sandbox, steps []runner.Step) (err error) {
	if err := fits(s); err != nil {
		return err
	}
	if len(steps) == 0 {
		return nil
	}
	j := Job{Layout: s.Layout, Image: s.Image, Arch: s.Arch, Workspace: s.Workspace, Dir: definition.WorkDir, Result: path.Join(definition.WorkDir, orElse(s.Result, "melange-out")),
		Sources: s.Sources, SourcesDir: definition.SourcesDir, Make: []string{"/var/cache/melange"}, Keep: s.Keep, Network: s.Network, Log: s.Log}
	for _, step := range steps {
		env := maps.Clone(step.Env)
		if env == nil {
			env = map[string]string{}
		}
		if env["PATH"] == "" {
			env["PATH"] = definition.StepPath
		}
		to := Step{Name: step.Name, Args: []string{"/bin/sh", "-c", "umask 022; " + step.Script}, Dir: definition.WorkDir}
		for _, k := range slices.Sorted(maps.Keys(env)) {
			to.Env = append(to.Env, k+"="+env[k])
		}
		j.Steps = append(j.Steps, to)
	}
	out, err := os.CreateTemp(s.Scratch, "result-*.tar")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close(), os.Remove(out.Name())) }()
	j.Out = out
	switch err := r.Workers.Run(ctx, j); {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, ErrStep):
		return fmt.Errorf("%w: %w", runner.ErrStep, err)
	case err != nil:
		return fmt.Errorf("runner buildkit: %w", err)
	}
	if s.Result == "" {
		return nil
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return bring(ctx, out, s)
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// maxResult bounds what steps leave, in bytes.
const maxResult = 32 << 30

// bring puts what came back into the workspace.
func bring(ctx context.Context, tar io.Reader, s *runner.Sandbox) (err error) {
	const temp = ".cairn-result"
	root, err := os.OpenRoot(s.Workspace)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if err := root.Mkdir(temp, 0o755); err != nil {
		return err
	}
	if err := unpack.Tar(ctx, tar, filepath.Join(s.Workspace, temp), maxResult); err != nil {
		return err
	}
	for _, name := range s.Keep {
		from := path.Join(temp, keepDir, path.Clean("/"+name))
		if _, err := root.Lstat(from); err != nil {
			continue // was not there; whoever reads it says so
		}
		name = strings.TrimPrefix(path.Clean("/"+name), "/")
		if err := errors.Join(root.MkdirAll(path.Dir(name), 0o755), root.RemoveAll(name), root.Rename(from, name)); err != nil {
			return err
		}
	}
	if err := errors.Join(root.RemoveAll(path.Join(temp, keepDir)), root.RemoveAll(s.Result)); err != nil {
		return err
	}
	return root.Rename(temp, s.Result)
}
