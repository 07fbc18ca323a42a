package imagetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/assemble/subject/subjecttest"
)

// program is an image of one program, which says what it finds and does what its
// arguments say.
func program(t *testing.T) subjecttest.Image {
	t.Helper()
	if testing.Short() {
		t.Skip("compiles a program")
	}
	dir := t.TempDir()
	source, path := filepath.Join(dir, "main.go"), filepath.Join(dir, "app")
	if err := os.WriteFile(source, []byte(`package main

import (
	"fmt"
	"net"
	"os"
	"time"
)

func main() {
	switch os.Args[1] {
	case "who":
		dir, _ := os.Getwd()
		fmt.Println(os.Getuid(), os.Getgid(), dir, os.Getenv("GREETING"), os.Getenv("HOME"))
	case "write":
		if err := os.WriteFile(os.Args[2], []byte("written"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(4)
		}
	case "read":
		b, err := os.ReadFile(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(5)
		}
		fmt.Print(string(b))
	case "net":
		list, _ := net.Interfaces()
		for _, i := range list {
			fmt.Println(i.Name)
		}
	case "sleep":
		time.Sleep(time.Minute)
	case "flood":
		for i := 0; i < 1<<20; i++ {
			fmt.Println("12345678")
		}
	}
}
`), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "build", "-o", path, source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GO111MODULE=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	img := example()
	img.Layers = append(img.Layers, subjecttest.Layer{Members: []string{"f usr/bin/tool 0755 " + string(b), "f usr/bin/plain 0644 text", "d srv", "d home/app 0700"}})
	img.Config = v1.Config{User: "app", WorkingDir: "/srv", Env: []string{"PATH=/usr/bin", "GREETING=hello"}}
	return img
}

const runs = `
commandTests:
  - {name: who, command: tool, args: [who], expectedOutput: ['^1000 2000 /srv hello /home/app\n$']}
  - name: one after the other
    setup: [[tool, write, /srv/file]]
    command: tool
    args: [read, /srv/file]
    expectedOutput: ['^written$']
    teardown: [[tool, read, /srv/file]]
  - {name: anew for each, command: tool, args: [read, /srv/file], exitCode: 5, expectedError: [no such file]}
  - {name: no host, command: tool, args: [read, /proc/1/root/etc/passwd], expectedOutput: ['^root:x:0:0:root:/root:/bin/sh\napp']}
  - {name: no network, command: tool, args: [net], excludedOutput: [eth, en, wl]}
  - {name: none of this name, command: nothing, exitCode: 127}
  - {name: no program, command: plain, exitCode: 126}
`

func TestBubblewrap(t *testing.T) {
	b, err := NewBubblewrap(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	img := program(t)
	r := on(t, img, runs, Options{Runner: b})
	want := ""
	for line := range strings.Lines(runs) {
		if _, rest, ok := strings.Cut(line, "name: "); ok && !strings.Contains(line, "key") {
			name, _, _ := strings.Cut(strings.TrimSpace(rest), ",")
			want += "passed: " + name + "\n"
		}
	}
	if d := cmp.Diff(want, outcome(r)); d != "" {
		t.Error(d)
	}
	if left, err := os.ReadDir(b.dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	r = on(t, img, "containerRunOptions: {user: '7:8'}\ncommandTests: [{name: user, command: tool, args: [who], expectedOutput: ['^7 8 ']}]", Options{Runner: b})
	if got := outcome(r); got != "passed: user\n" {
		t.Error(got)
	}
	img.Config.WorkingDir = "/made/for/it"
	if got := outcome(on(t, img, "commandTests: [{name: workdir, command: tool, args: [who], expectedOutput: [' /made/for/it ']}]", Options{Runner: b})); got != "passed: workdir\n" {
		t.Error(got)
	}
	for _, c := range []struct{ options, want string }{
		{"user: nobody", "failed: c\n  user \"nobody\": /etc/passwd of the image does not know it\n"},
		{"privileged: true", "not run: c\n  bubblewrap: containerRunOptions.privileged: not possible\n"},
		{"bindMounts: ['/etc:/host']", "not run: c\n  bubblewrap: containerRunOptions.bindMounts: not possible\n"},
	} {
		r := on(t, img, "containerRunOptions: {"+c.options+"}\ncommandTests: [{name: c, command: tool, args: [who]}]", Options{Runner: b})
		if got := outcome(r); got != c.want {
			t.Errorf("%s: found %q, expected %q", c.options, got, c.want)
		}
	}
}

func TestBubblewrapStopsWhatDoesNotEnd(t *testing.T) {
	b, err := NewBubblewrap(t.Context(), t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	started := time.Now()
	r := on(t, program(t), "commandTests: [{name: slow, command: tool, args: [sleep]}]", Options{Runner: b, Timeout: 300 * time.Millisecond})
	if got := outcome(r); got != "failed: slow\n  tool: not done after 300ms\n" || time.Since(started) > 30*time.Second {
		t.Errorf("after %s: %s", time.Since(started), got)
	}
	r = on(t, program(t), "commandTests: [{name: flood, command: tool, args: [flood], expectedOutput: [xyz]}]", Options{Runner: b})
	x := r.Suites[0].Tests[0]
	if x.Status != Failed || len(x.Messages) != 2 || x.Messages[1] != "more than 4194304 bytes of output" || len(x.Stdout) > 2*maxReported {
		t.Errorf("found %s %v and %d bytes", x.Status, x.Messages, len(x.Stdout))
	}
}

// fakeDocker is a client that notes what it is asked, and has an image and
// containers that end with code 0.
const fakeDocker = `#!/bin/sh
echo "$*" >> "$0.log"
case "$1" in
load) tar tf - | grep -c manifest.json >> "$0.log" ;;
run) echo out; case "$*" in *broken*) echo no such image >&2; exit 125 ;; *code*) exit 7 ;; esac ;;
version) test ! -e "$0.off" || { echo no daemon >&2; exit 1; } ;;
esac
`

func TestDockerIsAskedFor(t *testing.T) {
	for _, tool := range []string{"sh", "tar", "grep"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	path := filepath.Join(t.TempDir(), "docker")
	if err := os.WriteFile(path, []byte(fakeDocker), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := NewDocker(t.Context(), DockerOptions{Program: path, HostAccess: true})
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, example())
	f := parse(t, `
containerRunOptions: {user: "5", privileged: true, allocateTty: true, capabilities: [NET_RAW], bindMounts: [/a:/b]}
commandTests:
  - {name: a, setup: [[prepare, x]], command: app, args: [y], expectedOutput: [out]}
  - {name: b, command: app, args: [code], exitCode: 7}
  - {name: c, command: broken}
`)
	r, err := Run(t.Context(), s, []*subject.Image{&s.Images[0]}, []*File{f}, Options{Runner: d})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("passed: a\npassed: b\nfailed: c\n  broken: docker run: no such image\n", outcome(r)); d != "" {
		t.Error(d)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	run := "--network none --user 5 --privileged --tty --cap-add NET_RAW --volume /a:/b --env HOME=/home/app --env PATH=/usr/bin --env VERSION=1.2 --entrypoint "
	want := `version --format {{.Server.Version}}
load --quiet
1
run --name N-2 --pull never ` + run + `prepare N-1:image x
commit N-2 N-3:step
rm --force --volumes N-2
run --name N-4 --pull never ` + run + `app N-3:step y
rm --force --volumes N-4
image rm --force N-3:step
run --name N-5 --pull never ` + run + `app N-1:image code
rm --force --volumes N-5
run --name N-6 --pull never ` + run + `broken N-1:image
rm --force --volumes N-6
image rm --force N-1:image
`
	if d := cmp.Diff(want, strings.ReplaceAll(string(log), "cairn-test-"+d.session, "N")); d != "" {
		t.Error(d)
	}
	d.options.HostAccess = false
	if got := outcome(on(t, example(), "containerRunOptions: {capabilities: [X]}\ncommandTests: [{name: c, command: app}]", Options{Runner: d})); !strings.Contains(got, "not run: c\n  docker: containerRunOptions that reach this machine without --unsafe-host-access") {
		t.Error(got)
	}
	if err := os.WriteFile(path+".off", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := NewDocker(t.Context(), DockerOptions{Program: path}); err == nil || !strings.Contains(err.Error(), "no daemon") {
		t.Errorf("without an engine: %v", err)
	}
}
