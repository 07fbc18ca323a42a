package layer

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/cairn-dev/cairn/packages/apk"
)

// TestDockerEngine lets a Docker engine unpack what we write. It runs when
// CAIRN_TEST_DOCKER_HOST names one ("unix:///run/docker.sock"): images are
// loaded and removed there.
func TestDockerEngine(t *testing.T) {
	host := os.Getenv("CAIRN_TEST_DOCKER_HOST")
	if host == "" {
		t.Skip("no engine: CAIRN_TEST_DOCKER_HOST is not set")
	}
	st := openStore(t)
	for seed := range uint64(8) {
		w := newRealWorld(t, st, 9e6+seed, 10)
		for _, o := range []Options{{}, {Budget: 3}, {Strategy: Single}} {
			got := throughDocker(t, host, mustWrite(t, mustPlan(t, w.tree, o), st))
			for _, d := range compareTree(w.tree, got) {
				if !engineOwns(d) {
					t.Error(d)
				}
			}
			if t.Failed() {
				t.Fatalf("seed %d, %s/%d", seed, o.Strategy, o.Budget)
			}
		}
	}
}

// engineOwns reports whether a difference is about what the engine adds to
// every container.
func engineOwns(diff string) bool {
	for _, p := range []string{"dev", "proc", "sys", "etc", ".dockerenv", "etc/hosts", "etc/hostname", "etc/resolv.conf", "etc/mtab"} {
		if strings.HasPrefix(diff, p+":") || p == "dev" && strings.HasPrefix(diff, "dev/") {
			return true
		}
	}
	return false
}

func throughDocker(t *testing.T, host string, layers []Layer) map[string]*vnode {
	t.Helper()
	img := imageOf(t, layers)
	c := configOf(t, img)
	c.Config.Cmd = []string{"/none"}
	img, err := mutate.ConfigFile(img, c)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("cairn.local/layer-test:latest")
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(archive, tag, img); err != nil {
		t.Fatal(err)
	}
	docker := func(args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "docker", append([]string{"-H", host}, args...)...)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, stderr.Bytes())
		}
		return out
	}
	docker("load", "-i", archive)
	id := strings.TrimSpace(string(docker("create", tag.String())))
	exported := docker("export", id)
	docker("rm", id)
	docker("rmi", tag.String())
	return scanExport(t, exported)
}

// scanExport reads an exported container as compareTree wants it.
func scanExport(t *testing.T, b []byte) map[string]*vnode {
	t.Helper()
	got := map[string]*vnode{}
	r := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		e := entryOf(t, h, r)
		if e.Type == apk.TypeHardlink {
			got[e.Path] = got[e.Link]
			continue
		}
		n := &vnode{}
		n.set(&e)
		if slices.Contains([]string{"", "."}, e.Path) {
			continue
		}
		got[e.Path] = n
	}
}
