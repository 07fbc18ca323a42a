// Package runner runs the steps of a build: in a sandbox of bubblewrap, whose root
// directory is a guest made of packages, or, explicitly unsafe, on this machine as it
// is.
//
// It knows scripts and directories, not definitions or packages. BuildKit's way of
// running steps is packages/build/buildkit.
//
//	r, err := runner.NewBubblewrap()
//	if err != nil {
//		return err
//	}
//	err = r.Run(ctx, &runner.Sandbox{Root: guest, Workspace: work, Sources: set.Dir, Scratch: tmp, Log: log},
//		[]runner.Step{{Name: "install", Script: "make install", Env: env}})
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cairn-dev/cairn/packages/definition"
)

// What callers tell apart.
var (
	// ErrStep: a step ran, and failed.
	ErrStep = errors.New("step failed")
	// ErrRunner: this machine cannot run steps in this way.
	ErrRunner = errors.New("cannot run here")
)

// User is whom steps run as.
type User struct{ UID, GID uint32 }

// Sandbox is what steps see.
type Sandbox struct {
	// Root is the guest's root directory. Steps may change it: what they write is kept
	// in Scratch, for the steps after, and the directory stays as it is. Runners on this
	// machine have none.
	Root string
	// Layout is an OCI layout, Image the digest of the image in it that is the root
	// directory, for runners elsewhere; Arch is Go's name of its architecture.
	Layout, Image, Arch string
	// Workspace is /home/build in the sandbox. When the steps have run, what they left in
	// Result is there, whatever the runner; runners elsewhere bring nothing else back
	// than that and Keep.
	Workspace string
	// Result is a directory of the workspace, "melange-out".
	Result string
	// Keep are files of the workspace that are read after the steps; one that is not
	// there is left out.
	Keep []string
	// Sources is definition.SourcesDir in the sandbox, read-only; empty for none.
	Sources string
	// Cache is /var/cache/melange in the sandbox; empty for none.
	Cache string
	// Scratch is an empty directory of this machine for what steps write elsewhere.
	Scratch string
	// Network lets steps use the network.
	Network bool
	// User is whom steps run as; nil is root.
	User *User
	// Add and Drop change the capabilities, "CAP_…", that steps have.
	Add, Drop []string
	// Log takes what steps print; may be nil.
	Log io.Writer
}

// Step is one script.
type Step struct {
	// Name is for people: the log, and errors.
	Name string
	// Script is for the shell; see definition.Pipeline.Script.
	Script string
	// Env are the variables that it has, and no others but PATH.
	Env map[string]string
}

// Runner runs steps.
type Runner interface {
	// Name is "bubblewrap", "buildkit" or "host".
	Name() string
	// Run runs steps, one after the other. The error is ErrStep when one ran and failed.
	// When the context ends, everything that a step started is killed.
	Run(ctx context.Context, s *Sandbox, steps []Step) error
	// Owners tells whether files have the owners that steps gave them.
	Owners() bool
}

// umask makes modes independent of who runs cairn. It stands in the first line, so
// that line numbers in messages stay.
const umask = "umask 022; "

// Host runs steps on this machine: with its programs, as the user that runs cairn,
// with the network, and with every right that that user has. The places of the sandbox
// are replaced in the scripts' text by those of this machine.
type Host struct{}

// Name is "host".
func (Host) Name() string { return "host" }

// Owners is false: a user cannot give files away.
func (Host) Owners() bool { return os.Geteuid() == 0 }

// each runs steps with a runner of one.
func each(s *Sandbox, steps []Step, run func(Step) error) error {
	for _, step := range steps {
		if s.Log != nil {
			fmt.Fprintf(s.Log, "--- %s\n", step.Name)
		}
		if err := run(step); err != nil {
			return fmt.Errorf("%s: %w", step.Name, err)
		}
	}
	return nil
}

// Run runs steps.
func (h Host) Run(ctx context.Context, s *Sandbox, steps []Step) error {
	if s.User != nil && int(s.User.UID) != os.Geteuid() {
		return fmt.Errorf("runner host: %w: steps are to run as user %d (accounts.run-as), and nobody else than who runs cairn can be had", ErrRunner, s.User.UID)
	}
	return each(s, steps, func(step Step) error { return h.step(ctx, s, step) })
}

func (Host) step(ctx context.Context, s *Sandbox, step Step) error {
	places := []string{definition.SourcesDir, s.Sources, definition.WorkDir, s.Workspace, "/var/cache/melange", s.Cache}
	for i := 1; i < len(places); i += 2 {
		if strings.ContainsAny(places[i], " \t\n'\"$`\\") {
			return fmt.Errorf("runner host: %w: directory %q: a shell would not read it as it is", ErrRunner, places[i])
		}
	}
	replace := strings.NewReplacer(places...)
	shell := "bash" // whose pipefail steps rely on
	if _, err := exec.LookPath(shell); err != nil {
		shell = "sh"
	}
	cmd := exec.CommandContext(ctx, shell, "-c", umask+replace.Replace(step.Script))
	cmd.Dir = s.Workspace
	for _, k := range slices.Sorted(maps.Keys(step.Env)) {
		cmd.Env = append(cmd.Env, k+"="+replace.Replace(step.Env[k]))
	}
	cmd.Env = append(cmd.Env, "PATH="+os.Getenv("PATH"))
	return run(ctx, cmd, s.Log, nil)
}

// run runs a command in a process group of its own.
func run(ctx context.Context, cmd *exec.Cmd, log io.Writer, attr *syscall.SysProcAttr) error {
	if attr == nil {
		attr = &syscall.SysProcAttr{}
	}
	attr.Setpgid = true
	cmd.SysProcAttr = attr
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	err := cmd.Run()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", ErrStep, exit.ProcessState)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRunner, err)
	}
	return nil
}

// Bubblewrap runs steps in a sandbox: namespaces of its own, a root directory that is
// the guest with what steps change on top of it, no network unless it is given. As root
// files have the owners that steps give them; another user is root in the sandbox, and
// all files are root's.
type Bubblewrap struct{ bwrap string }

// NewBubblewrap finds the program. The error is ErrRunner.
func NewBubblewrap() (*Bubblewrap, error) {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, fmt.Errorf("runner bubblewrap: %w: bwrap is not installed\nhint: install bubblewrap, or choose --runner buildkit", ErrRunner)
	}
	return &Bubblewrap{path}, nil
}

// Name is "bubblewrap".
func (*Bubblewrap) Name() string { return "bubblewrap" }

// Owners tells whether cairn runs as root.
func (*Bubblewrap) Owners() bool { return os.Geteuid() == 0 }

// capabilities are those that steps have beside none, as in melange.
var capabilities = []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD", "CAP_NET_BIND_SERVICE",
	"CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT"}

// Run runs steps.
func (b *Bubblewrap) Run(ctx context.Context, s *Sandbox, steps []Step) error {
	return each(s, steps, func(step Step) error { return b.step(ctx, s, step) })
}

func (b *Bubblewrap) step(ctx context.Context, s *Sandbox, step Step) error {
	upper, work, merged := filepath.Join(s.Scratch, "upper"), filepath.Join(s.Scratch, "work"), filepath.Join(s.Scratch, "root")
	if _, err := os.Lstat(upper); errors.Is(err, fs.ErrNotExist) { // the first step
		for _, dir := range []string{upper, work, merged} {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
		}
		fi, err := os.Stat(s.Root)
		if err != nil {
			return err
		}
		if err := os.Chmod(upper, fi.Mode()); err != nil { // it is the sandbox's root directory
			return err
		}
	}
	for _, dir := range []string{s.Root, s.Scratch} {
		if strings.ContainsAny(dir, ",:\\") {
			return fmt.Errorf("runner bubblewrap: %w: directory %q: overlayfs cannot name it", ErrRunner, dir)
		}
	}
	options := "lowerdir=" + s.Root + ",upperdir=" + upper + ",workdir=" + work
	bwrap := append([]string{b.bwrap}, b.arguments(s, step, merged)...)
	if os.Geteuid() == 0 {
		return mounted(options, merged, func() error {
			cmd := exec.CommandContext(ctx, bwrap[0], bwrap[1:]...)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			return run(ctx, cmd, s.Log, nil)
		})
	}
	// The overlay is mounted in a user and a mount namespace that end with the step.
	const mount = `mount -t overlay overlay -o "$1" "$2" && shift 2 && exec "$@"`
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", mount, "sh", options + ",userxattr", merged}, bwrap...)...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	return run(ctx, cmd, s.Log, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}})
}

// mounted mounts an overlay in a mount namespace that only a thread of its own has, and
// the programs that f starts; thread, namespace and mount end with f.
func mounted(options, at string, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("overlay", at, "overlay", 0, options)
		}
		if err != nil {
			result <- fmt.Errorf("runner bubblewrap: %w: overlay: %w", ErrRunner, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// arguments are bwrap's.
func (b *Bubblewrap) arguments(s *Sandbox, step Step, root string) []string {
	args := []string{"--die-with-parent", "--new-session", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--hostname", "cairn",
		"--bind", root, "/", "--bind", s.Workspace, definition.WorkDir}
	if s.Sources != "" {
		args = append(args, "--ro-bind", s.Sources, definition.SourcesDir)
	}
	if s.Cache != "" {
		args = append(args, "--bind", s.Cache, "/var/cache/melange")
	}
	args = append(args, "--dir", "/tmp", "--chmod", "1777", "/tmp", "--dev", "/dev", "--proc", "/proc", "--ro-bind", "/sys", "/sys", "--chdir", definition.WorkDir, "--clearenv")
	if s.Network {
		args = append(args, "--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf")
	} else {
		args = append(args, "--unshare-net")
	}
	if s.User != nil { // a namespace in which whoever runs cairn has that number
		args = append(args, "--unshare-user", "--uid", fmt.Sprint(s.User.UID), "--gid", fmt.Sprint(s.User.GID))
	}
	args = append(args, "--cap-drop", "ALL")
	for _, c := range slices.Concat(capabilities, s.Add) {
		if !slices.Contains(s.Drop, c) {
			args = append(args, "--cap-add", c)
		}
	}
	env := maps.Clone(step.Env)
	if env == nil {
		env = map[string]string{}
	}
	if env["PATH"] == "" {
		env["PATH"] = definition.StepPath
	}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		args = append(args, "--setenv", k, env[k])
	}
	return append(args, "--", "/bin/sh", "-c", umask+step.Script)
}
