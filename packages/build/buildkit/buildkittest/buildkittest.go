// Package buildkittest starts BuildKit daemons for tests that build on real ones, as root.
//
// It is for tests only. The program is the one that cmd/cairn/e2e/buildkitd.sh puts into
// the directory CAIRN_E2E; without it the tests are skipped.
//
//	address, process := buildkittest.Start(t)
package buildkittest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Start starts a daemon on loopback, with more arguments for it, and returns its address
// and process. It ends with the test, and may be killed before.
func Start(t testing.TB, more ...string) (address string, process *os.Process) {
	t.Helper()
	dir := os.Getenv("CAIRN_E2E")
	if dir == "" {
		t.Skip("CAIRN_E2E is not set: make e2e-buildkit and make e2e-packages do")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = "tcp://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: what runs on a daemon that is killed goes on for a moment.
	root, err := os.MkdirTemp("", "cairn-buildkitd-")
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "bin", "buildkitd"), append([]string{"--root", filepath.Join(root, "state"), "--addr", address,
		"--oci-worker=true", "--containerd-worker=false"}, more...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			text, _ := os.ReadFile(log.Name())
			t.Logf("%s", text[max(0, len(text)-3000):])
		}
		removeState(t, root)
	})
	for range 100 {
		if c, err := net.Dial("tcp", strings.TrimPrefix(address, "tcp://")); err == nil {
			_ = c.Close()
			return address, cmd.Process
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Fatal("buildkitd does not listen")
	return "", nil
}

// removeState removes a daemon's directory once nothing is mounted below it: a
// daemon that was killed leaves mounts.
func removeState(t testing.TB, root string) {
	for range 20 {
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			t.Error(err)
			return
		}
		mounted := false
		for line := range strings.Lines(string(mounts)) {
			if point := strings.Fields(line)[4]; strings.HasPrefix(point, root+"/") {
				mounted = true
				_ = unix.Unmount(point, unix.MNT_DETACH)
			}
		}
		if !mounted && os.RemoveAll(root) == nil {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Logf("left behind: %s", root)
}
