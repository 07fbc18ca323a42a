package imagetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
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
	program string
	dir     string // of the copies
}

// NewBubblewrap looks for bwrap and tries whether it may make a sandbox here.
// Copies of images go into dir; empty: the directory for temporary files.
func NewBubblewrap(ctx context.Context, dir string) (*Bubblewrap, error) {
	program, err := exec.LookPath("bwrap")
	if err != nil {
		return nil, fmt.Errorf("bubblewrap: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, program, "--unshare-all", "--ro-bind", "/", "/", "--", program, "--version").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("bubblewrap: no sandbox can be made: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return &Bubblewrap{program: program, dir: dir}, nil
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
	box := &sandbox{program: b.program, dir: dir, workdir: img.Config.Config.WorkingDir}
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
	if box.uid, box.gid, box.home, err = identity(ctx, tree, name, group); err != nil {
		return nil, err
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, err
	}
	if err := tree.Unpack(ctx, root); err != nil {
		return nil, err
	}
	return box, box.makeWorkdir(root, tree)
}

// makeWorkdir makes the working directory where the image has none, as engines
// do.
func (s *sandbox) makeWorkdir(dir string, tree *files.Tree) (err error) {
	if s.workdir == "" {
		s.workdir = "/"
	}
	if _, err := tree.Stat(s.workdir); err == nil {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	return root.MkdirAll(strings.TrimPrefix(path.Clean("/"+s.workdir), "/"), 0o755)
}

// identity finds the numbers of a user and group in the image, and the home that
// engines set where the image's environment has none.
func identity(ctx context.Context, tree *files.Tree, user, group string) (uid, gid int, home string, err error) {
	if user == "" {
		user = "0"
	}
	account, known := line(ctx, tree, "/etc/passwd", user)
	uid, err = strconv.Atoi(user)
	switch {
	case known:
		uid, _ = strconv.Atoi(account[2])
		gid, _ = strconv.Atoi(account[3])
		home = account[5]
	case err != nil:
		return 0, 0, "", fmt.Errorf("user %q: /etc/passwd of the image does not know it", user)
	}
	if home == "" {
		home = "/"
	}
	if group == "" {
		return uid, gid, home, nil
	}
	if gid, err = strconv.Atoi(group); err != nil {
		entry, known := line(ctx, tree, "/etc/group", group)
		if !known {
			return 0, 0, "", fmt.Errorf("group %q: /etc/group of the image does not know it", group)
		}
		gid, err = strconv.Atoi(entry[2])
	}
	return uid, gid, home, err
}

// line finds an entry of passwd or group by its name or number.
func line(ctx context.Context, tree *files.Tree, file, name string) ([]string, bool) {
	fields := map[string]int{"/etc/passwd": 7, "/etc/group": 4}[file]
	b, err := tree.ReadFile(ctx, file)
	if err != nil {
		return nil, false
	}
	for text := range strings.Lines(string(b)) {
		if f := strings.Split(strings.TrimRight(text, "\r\n"), ":"); len(f) == fields && (f[0] == name || f[2] == name) {
			return f, true
		}
	}
	return nil, false
}

// sandbox is a copy of an image's tree.
type sandbox struct {
	program, dir string
	workdir      string
	uid, gid     int
	home         string
}

// Close is for [Box].
func (s *sandbox) Close() error { return os.RemoveAll(s.dir) }

// Run is for [Box].
func (s *sandbox) Run(ctx context.Context, c Command) (*Output, error) {
	args := []string{"--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL", "--hostname", "cairn-test",
		"--uid", strconv.Itoa(s.uid), "--gid", strconv.Itoa(s.gid), "--bind", filepath.Join(s.dir, "root"), "/",
		"--proc", "/proc", "--dev", "/dev", "--clearenv", "--setenv", "HOME", s.home}
	for _, e := range c.Env {
		name, value, _ := strings.Cut(e, "=")
		args = append(args, "--setenv", name, value)
	}
	args = append(args, "--chdir", s.workdir, "--")
	out, err := execute(ctx, s.program, append(args, c.Args...))
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
