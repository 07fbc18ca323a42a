package imagetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/subject"
)

// DockerOptions say what the engine may do.
type DockerOptions struct {
	// HostAccess allows privileged containers, capabilities and bind mounts.
	HostAccess bool
	// Program is the client; empty: docker.
	Program string
}

// Docker runs commands in containers of an engine, by its client. Containers
// have no network, and the image's entrypoint is not used. An image is loaded
// once, under a name of its own.
type Docker struct {
	path    string
	options DockerOptions

	session string // random: tells the names of this process from those of others

	mu     sync.Mutex
	count  int
	loaded map[string]string // references by digest
}

// NewDocker asks the engine whether it is there.
func NewDocker(ctx context.Context, o DockerOptions) (*Docker, error) {
	program := o.Program
	if program == "" {
		program = "docker"
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("docker: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	random := make([]byte, 8)
	_, _ = rand.Read(random) // never fails
	d := &Docker{path: path, options: o, session: hex.EncodeToString(random), loaded: map[string]string{}}
	_, err = d.docker(ctx, nil, "version", "--format", "{{.Server.Version}}")
	return d, err
}

// Name is for [Runner].
func (*Docker) Name() string { return "docker" }

// docker runs the client for something that must end well.
func (d *Docker) docker(ctx context.Context, in io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, d.path, args...)
	var stdout, stderr bounded
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, &stdout, &stderr
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// clean runs the client after the caller may have been told to stop.
func (d *Docker) clean(args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_, err := d.docker(ctx, nil, args...)
	return err
}

// Close removes the images that were loaded.
func (d *Docker) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, ref := range d.loaded {
		errs = append(errs, d.clean("image", "rm", "--force", ref))
	}
	d.loaded = map[string]string{}
	return errors.Join(errs...)
}

// unique is a name that nothing else of this machine has.
func (d *Docker) unique() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	return fmt.Sprintf("cairn-test-%s-%d", d.session, d.count)
}

// load gives the engine the image and returns its name there.
func (d *Docker) load(ctx context.Context, img *subject.Image) (string, error) {
	digest := img.Digest.String()
	d.mu.Lock()
	ref := d.loaded[digest]
	d.mu.Unlock()
	if ref != "" {
		return ref, nil
	}
	ref = d.unique() + ":image"
	tag, err := name.NewTag(ref)
	if err != nil {
		return "", err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(tarball.Write(tag, img.Image, w)) }()
	_, err = d.docker(ctx, r, "load", "--quiet")
	_ = r.Close() // an engine that stops reading stops the writer
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	d.loaded[digest] = ref
	d.mu.Unlock()
	return ref, nil
}

// Start is for [Runner].
func (d *Docker) Start(ctx context.Context, img *subject.Image, _ *files.Tree, o *RunOptions) (Box, error) {
	if !d.options.HostAccess && (o.Privileged || len(o.Capabilities) > 0 || len(o.BindMounts) > 0) {
		return nil, &UnsupportedError{Runner: d.Name(), What: "containerRunOptions that reach this machine without --unsafe-host-access"}
	}
	ref, err := d.load(ctx, img)
	if err != nil {
		return nil, err
	}
	c := &container{d: d, image: ref, run: []string{"--network", "none"}}
	if o.User != "" {
		c.run = append(c.run, "--user", o.User)
	}
	if o.Privileged {
		c.run = append(c.run, "--privileged")
	}
	if o.AllocateTTY {
		c.run = append(c.run, "--tty")
	}
	for _, x := range o.Capabilities {
		c.run = append(c.run, "--cap-add", x)
	}
	for _, x := range o.BindMounts {
		c.run = append(c.run, "--volume", x)
	}
	return c, nil
}

// container is a chain of containers: each begins with what the one before left.
type container struct {
	d         *Docker
	image     string
	run       []string
	committed []string
	last      string // the container of the command before, not committed yet
}

// Run is for [Box].
func (c *container) Run(ctx context.Context, cmd Command) (*Output, error) {
	if c.last != "" {
		ref := c.d.unique() + ":step"
		if _, err := c.d.docker(ctx, nil, "commit", c.last, ref); err != nil {
			return nil, err
		}
		c.committed, c.image = append(c.committed, ref), ref
		if err := c.remove(); err != nil {
			return nil, err
		}
	}
	c.last = c.d.unique()
	args := append([]string{"run", "--name", c.last, "--pull", "never"}, c.run...)
	for _, e := range cmd.Env {
		args = append(args, "--env", e)
	}
	args = append(append(args, "--entrypoint", cmd.Args[0], c.image), cmd.Args[1:]...)
	out, err := execute(ctx, c.d.path, args)
	if err == nil && out.ExitCode == 125 {
		return nil, fmt.Errorf("docker run: %s", strings.TrimSpace(out.Stderr))
	}
	return out, err
}

// remove removes the container of the last command.
func (c *container) remove() error {
	if c.last == "" {
		return nil
	}
	err := c.d.clean("rm", "--force", "--volumes", c.last)
	if err != nil && strings.Contains(err.Error(), "No such container") {
		err = nil // it was never made
	}
	c.last = ""
	return err
}

// Close is for [Box].
func (c *container) Close() error {
	errs := []error{c.remove()}
	for i := len(c.committed) - 1; i >= 0; i-- {
		errs = append(errs, c.d.clean("image", "rm", "--force", c.committed[i]))
	}
	return errors.Join(errs...)
}
