//go:build e2e

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// verifyingNode is a containerd with cairn as its image verifier.
type verifyingNode struct {
	t    *testing.T
	dir  string
	ctr  string
	logs string
}

func newNode(t *testing.T, policy string) *verifyingNode {
	if os.Getuid() != 0 {
		t.Skip("containerd needs root")
	}
	bin := filepath.Dir(cosignBin(t, "containerd"))
	// A socket's path must be short.
	dir, err := os.MkdirTemp("", "ctrd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	n := &verifyingNode{t: t, dir: dir, ctr: filepath.Join(bin, "ctr"), logs: filepath.Join(dir, "log")}
	verifier := filepath.Join(dir, "verifiers", "cairn-verifier")
	if out, err := exec.Command("go", "build", "-o", verifier, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config := fmt.Sprintf(`version = 3
root = "%[1]s/root"
state = "%[1]s/state"
disabled_plugins = ["io.containerd.cri.v1.images", "io.containerd.cri.v1.runtime", "io.containerd.grpc.v1.cri"]
[grpc]
  address = "%[1]s/sock"
[plugins."io.containerd.image-verifier.v1.bindir"]
  bin_dir = "%[1]s/verifiers"
  max_verifiers = 1
  per_verifier_timeout = "10s"
[plugins."io.containerd.transfer.v1.local"]
  [[plugins."io.containerd.transfer.v1.local".unpack_config]]
    platform = "linux/%[2]s"
    snapshotter = "native"
`, dir, runtime.GOARCH)
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	n.start(filepath.Join(bin, "containerd"), policy)
	return n
}

func (n *verifyingNode) start(program, policy string) {
	log, err := os.Create(n.logs)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(program, "--config", filepath.Join(n.dir, "config.toml"))
	cmd.Env = append(os.Environ(), "CAIRN_POLICY="+policy)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = log.Close()
	})
	for range 100 {
		if exec.Command(n.ctr, "-a", filepath.Join(n.dir, "sock"), "version").Run() == nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	text, _ := os.ReadFile(n.logs)
	n.t.Skipf("containerd does not start here:\n%s", text)
}

func (n *verifyingNode) pull(image string) (string, error) {
	out, err := exec.Command(n.ctr, "-a", filepath.Join(n.dir, "sock"), "images", "pull", "--plain-http",
		"--snapshotter", "native", image).CombinedOutput()
	return string(out), err
}

// TestE2EContainerd: containerd asks cairn about every pull; a signed image is
// let in, by digest and by tag, others are refused with the reason.
func TestE2EContainerd(t *testing.T) {
	c := newCosigned(t, true)
	c.write("node.yaml", "version: 1\nimages:\n  - match: [\""+c.host+"/team/**\"]\n    signers: {keys: [{file: cosign.pub}]}\n    trust: {log: 0}\n")
	n := newNode(t, filepath.Join(c.dir, "node.yaml"))
	signed, unsigned, foreign := c.image("team/signed"), c.image("team/unsigned"), c.image("other/app")
	c.run(cosignBin(t, "cosign3"), "sign", "--use-signing-config=false", "--tlog-upload=false", "--key", "cosign.key", "-y", signed)
	tag, _, _ := strings.Cut(signed, "@")
	for _, image := range []string{signed, tag + ":1"} {
		if out, err := n.pull(image); err != nil {
			t.Errorf("%s: %v\n%s", image, err, out)
		}
	}
	for image, want := range map[string]string{unsigned: "signers: no signature is attached", foreign: "match: no entry matches"} {
		if out, err := n.pull(image); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: found %v\n%s\nexpected %q", image, err, out, want)
		}
	}
}
