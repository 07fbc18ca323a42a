package imagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// Bubblewrap runs commands with bwrap, rootless and without a network, in a
// copy of the image's tree that is made for each test. Within it every file
// belongs to the image's user, and setuid has no effect.
type Bubblewrap struct {
	path string
	dir  string // of the copies
}

// NewBubblewrap looks for bwrap and tries whether it may make a sandbox here.
// Copies of images go into dir; empty: the directory for temporary files.
func NewBubblewrap(ctx context.Context, dir string) (*Bubblewrap, error) {
	path, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, fmt.Errorf("bubblewrap: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, path, "--unshare-all", "--ro-bind", "/", "/", "--", path, "--version").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bubblewrap: no sandbox can be made: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return &Bubblewrap{path: path, dir: dir}, nil
}

// Name is for [Runner].
func (*Bubblewrap) Name() string { return "bubblewrap" }

// Start is for [Runner].
func (b *Bubblewrap) Start(ctx context.Context, img *subject.Image, tree *files.Tree, o *RunOptions) (_ Box, err error) {
	for what, asked := range map[string]bool{
		"containerRunOptions.privileged": o.Privileged, "containerRunOptions.allocateTty": o.AllocateTTY,
		"containerRunOptions.capabilities": len(o.Capabilities) > 0, "containerRunOptions.bindMounts": len(o.BindMounts) > 0,
	} {
		if asked {
			return nil, &UnsupportedError{Runner: b.Name(), What: what}
		}
	}
	dir, err := os.MkdirTemp(b.dir, "cairn-test-")
	if err != nil {
		return nil, err
	}
	box := &sandbox{path: b.path, dir: dir, workdir: img.Config.Config.WorkingDir}
	defer func() {
		if err != nil {
			err = errors.Join(err, box.Close())
		}
	}()
	user := o.User
	if user == "" {
		user = img.Config.Config.User
	}
	name, group, _ := strings.Cut(user, ":")
	if box.uid, box.gid, err = identity(ctx, tree, name, group); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, err
	}
	return box, tree.Unpack(ctx, root)
}

// identity finds the numbers of a user and group in the image.
func identity(ctx context.Context, tree *files.Tree, user, group string) (uid, gid int, err error) {
	look := func(file, name string, field int) (int, bool) {
		b, err := tree.ReadFile(ctx, file)
		if err != nil {
			return 0, false
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Split(strings.TrimSpace(line), ":")
			if len(f) > field && (f[0] == name || f[2] == name) {
				n, err := strconv.Atoi(f[field])
				return n, err == nil
			}
		}
		return 0, false
	}
	number := func(name, file string) (int, error) {
		if n, err := strconv.Atoi(name); err == nil {
			return n, nil
		}
		if n, ok := look(file, name, 2); ok {
			return n, nil
		}
		return 0, fmt.Errorf("user %q: %s of the image does not know it", user, file)
	}
	if user == "" {
		user = "0"
	}
	if uid, err = number(user, "/etc/passwd"); err != nil {
		return 0, 0, err
	}
	if group != "" {
		gid, err = number(group, "/etc/group")
		return uid, gid, err
	}
	gid, _ = look("/etc/passwd", user, 3)
	return uid, gid, nil
}

// sandbox is a copy of an image's tree.
type sandbox struct {
	path, dir string
	workdir   string
	uid, gid  int
}

// Close is for [Box].
func (s *sandbox) Close() error { return os.RemoveAll(s.dir) }

// Run is for [Box].
func (s *sandbox) Run(ctx context.Context, c Command) (*Output, error) {
	args := []string{"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "cairn-test",
		"--uid", strconv.Itoa(s.uid), "--gid", strconv.Itoa(s.gid), "--bind", filepath.Join(s.dir, "root"), "/",
		"--proc", "/proc", "--dev", "/dev", "--clearenv"}
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		args = append(args, "--setenv", name, value)
	}
	workdir := s.workdir
	if workdir == "" {
		workdir = "/"
	}
	args = append(args, "--chdir", workdir, "--")
	out, err := execute(ctx, s.path, append(args, c.Args...))
	if err == nil && out.ExitCode == 1 && strings.HasPrefix(out.Stderr, "bwrap: execvp "+c.Args[0]+": ") {
		out.ExitCode = 127
		if strings.Contains(out.Stderr, "Permission denied") {
			out.ExitCode = 126
		}
	}
	return out, err
}

// execute runs a program of this machine to its end and keeps what it says.
func execute(ctx context.Context, path string, args []string) (*Output, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	var stdout, stderr bounded
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	err := cmd.Run()
	out := &Output{Stdout: stdout.String(), Stderr: stderr.String(), Cut: stdout.cut || stderr.cut}
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		out.ExitCode = exit.ExitCode()
		return out, nil
	}
	return out, err
}
