//go:build e2e

// The end-to-end tests build images with the real program and give them to
// programs that share no code with it: a container engine, umoci, skopeo,
// apk-tools, glibc's loader. They take a minute or two, and root. From the root
// of the project:
//
//	make e2e                      all of them, with an engine of their own
//	make e2e-docker RUN=Flask     some of them
//	cmd/cairn/e2e/dockerd.sh go test -tags e2e -run TestE2E ./cmd/cairn
//
// With DOCKER_HOST set they can also be run against any engine whose containers
// share this machine's network; images named *:e2e are made and removed there.
// A test whose tools or real data are absent is skipped and says what is
// missing. The Flask image is made from Debian's packages, which apt-get
// downloads once (20 MB) to cairn-e2e in the user's cache directory, or to
// $CAIRN_E2E_CACHE.

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// engine runs docker against the engine that DOCKER_HOST names.
type engine struct{ t *testing.T }

func newEngine(t *testing.T) engine {
	t.Helper()
	needTool(t, "docker")
	if os.Getenv("DOCKER_HOST") == "" {
		t.Skip("DOCKER_HOST names no engine: run make e2e-docker")
	}
	if got := strings.TrimSpace(mustRun(t, "docker", "version", "--format", "{{.Server.Os}}/{{.Server.Arch}}")); got != "linux/amd64" {
		t.Skipf("the engine is for %s, these images for linux/amd64", got)
	}
	return engine{t}
}

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed", name)
	}
}

// tryRun runs a program with this environment for at most two minutes.
func tryRun(t *testing.T, name string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	var out, err strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &err
	if e := cmd.Run(); cmd.ProcessState == nil || ctx.Err() != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), errors.Join(e, ctx.Err()), err.String())
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

func mustRun(t *testing.T, name string, args ...string) string {
	t.Helper()
	code, out, stderr := tryRun(t, name, args...)
	if code != 0 {
		t.Fatalf("%s %s: exit code %d\n%s%s", name, strings.Join(args, " "), code, out, stderr)
	}
	return out
}

func (e engine) docker(args ...string) string {
	e.t.Helper()
	return mustRun(e.t, "docker", args...)
}

// load loads an archive and returns the names it was given, in their order.
// They are removed with the test.
func (e engine) load(archive string) []string {
	e.t.Helper()
	var names []string
	for line := range strings.Lines(e.docker("load", "-i", archive)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "Loaded image: "); ok {
			names = append(names, name)
			e.removeAfter(name)
		}
	}
	return names
}

func (e engine) removeAfter(image string) {
	e.t.Cleanup(func() { _ = exec.Command("docker", "rmi", "-f", image).Run() })
}

// inspected is what the tests look at of docker inspect's answer.
type inspected struct {
	ID           string `json:"Id"`
	RepoTags     []string
	Architecture string
	Variant      string
	OS           string `json:"Os"`
	Created      time.Time
	Size         int64
	RootFS       struct{ Layers []string }
	Config       struct {
		User       string
		Env        []string
		Cmd        []string
		Entrypoint []string
		Labels     map[string]string
	}
}

func (e engine) inspect(image string) inspected {
	e.t.Helper()
	var out []inspected
	if err := json.Unmarshal([]byte(e.docker("image", "inspect", image)), &out); err != nil || len(out) != 1 {
		e.t.Fatalf("inspect %s: %d images, %v", image, len(out), err)
	}
	return out[0]
}

// start runs a container in the background, with the free port that PORT names
// in its environment.
func (e engine) start(args ...string) (container, port string) {
	e.t.Helper()
	port = freePort(e.t)
	args = append([]string{"run", "-d", "--network", "host", "-e", "PORT=" + port}, args...)
	container = strings.TrimSpace(e.docker(args...))
	e.t.Cleanup(func() { _ = exec.Command("docker", "rm", "-f", container).Run() })
	return container, port
}

// get asks the container's server until it answers.
func (e engine) get(container, port, path string) (status int, body string) {
	e.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		status, body, err := httpGet("http://127.0.0.1:" + port + path)
		if err == nil {
			return status, body
		}
		if running := e.docker("inspect", "-f", "{{.State.Running}}", container); time.Now().After(deadline) || strings.TrimSpace(running) != "true" {
			_, out, stderr := tryRun(e.t, "docker", "logs", container)
			e.t.Fatalf("no answer: %v; running: %s\n%s%s", err, strings.TrimSpace(running), out, stderr)
		}
	}
}

func httpGet(url string) (status int, body string, err error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), errors.Join(err, resp.Body.Close())
}

// stop stops a container that must leave by itself, not be killed after the
// engine's ten seconds.
func (e engine) stop(container string) {
	e.t.Helper()
	start := time.Now()
	e.docker("stop", container)
	took := time.Since(start)
	if code := strings.TrimSpace(e.docker("inspect", "-f", "{{.State.ExitCode}}", container)); code != "0" || took > 8*time.Second {
		e.t.Errorf("docker stop took %v, exit code %s", took, code)
	}
	e.t.Logf("docker stop took %v", took.Round(time.Millisecond))
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// newE2E is an empty world; its program may use the engine.
func newE2E(t *testing.T) *world { return &world{t: t, dir: t.TempDir()} }

// built is what cairn build --format=json says, as far as the tests look.
type built struct {
	Digest string
	Images []struct {
		Arch, Digest    string
		Size, Inflated  int64
		Packages, Files int
		Layers          map[string]int
	}
}

// cairn runs the program, which must succeed, and returns its output.
func (w *world) cairn(args ...string) string {
	w.t.Helper()
	cmd := w.command(args...)
	cmd.Env = append(cmd.Env, "DOCKER_HOST="+os.Getenv("DOCKER_HOST"))
	code, stdout, stderr := runs(cmd)
	if code != 0 {
		w.t.Fatalf("cairn %s: exit code %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// makes builds a configuration and says what came out.
func (w *world) makes(args ...string) built {
	w.t.Helper()
	start := time.Now()
	var b built
	if err := json.Unmarshal([]byte(w.cairn(append([]string{"build", "--format=json"}, args...)...)), &b); err != nil {
		w.t.Fatal(err)
	}
	for _, img := range b.Images {
		w.t.Logf("%s: %d packages, %d paths, %s compressed, %s inflated, layers %v, built in %v", img.Arch, img.Packages, img.Files,
			bytesText(img.Size), bytesText(img.Inflated), img.Layers, time.Since(start).Round(time.Millisecond))
	}
	return b
}

// projectFile is the absolute path of a file of the project.
func projectFile(t *testing.T, elem ...string) string {
	t.Helper()
	name, err := filepath.Abs(filepath.Join(append([]string{"..", ".."}, elem...)...))
	if err == nil {
		_, err = os.Stat(name)
	}
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// contents spells the head of a configuration.
func contents(repository string, keys, packages []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "contents:\n  repositories: [%q]\n  keyring:\n", repository)
	for _, k := range keys {
		fmt.Fprintf(&b, "    - %q\n", k)
	}
	b.WriteString("  packages:\n")
	for _, p := range packages {
		fmt.Fprintf(&b, "    - %q\n", p)
	}
	b.WriteString("archs: [x86_64]\n")
	return b.String()
}
