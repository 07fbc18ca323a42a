//go:build e2e

package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/image"
)

// The README's first image, in a stock engine: from an archive, sent to the
// engine, and picked from an archive for two architectures.
func TestE2EHello(t *testing.T) {
	e, w := newEngine(t), newE2E(t)
	config := projectFile(t, "configs", "hello.yaml")

	one := w.makes("--arch=host", config, "hello:e2e", "one.tar")
	if got := e.load(w.path("one.tar")); !cmp.Equal(got, []string{"hello:e2e"}) {
		t.Fatalf("loaded %v", got)
	}
	loaded := e.inspect("hello:e2e")
	checkHello(t, loaded, one.Images[0].Layers)
	opened, err := image.Open(w.path("one.tar"))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	images, err := opened.Images()
	if err != nil {
		t.Fatal(err)
	}
	if id, err := images[0].ConfigName(); err != nil || id.String() != loaded.ID {
		t.Errorf("the engine's id is %s, the configuration's digest %s (%v)", loaded.ID, id, err)
	}
	answersHello(e, "hello:e2e")

	e.docker("rmi", "-f", "hello:e2e")
	w.makes("--arch=host", "--output=docker://", config, "hello:e2e")
	if sent := e.inspect("hello:e2e"); !cmp.Equal(sent, loaded) {
		t.Errorf("docker:// gives another image: %s", cmp.Diff(loaded, sent))
	}
	answersHello(e, "hello:e2e")

	e.docker("rmi", "-f", "hello:e2e")
	w.makes("--output=docker://", "--output=both.tar", config, "hello:e2e")
	if sent := e.inspect("hello:e2e"); sent.ID != loaded.ID {
		t.Errorf("docker:// of two architectures: %s, expected this machine's, %s", sent.ID, loaded.ID)
	}
	got := e.load(w.path("both.tar"))
	slices.Sort(got)
	if !cmp.Equal(got, []string{"hello:e2e-amd64", "hello:e2e-arm64"}) {
		t.Fatalf("loaded %v", got)
	}
	if arm := e.inspect("hello:e2e-arm64"); arm.Architecture != "arm64" || arm.OS != "linux" {
		t.Errorf("hello:e2e-arm64 is for %s/%s", arm.OS, arm.Architecture)
	}
	if amd := e.inspect("hello:e2e-amd64"); amd.ID != loaded.ID {
		t.Errorf("the image of one archive is %s, of the other %s", loaded.ID, amd.ID)
	}
	answersHello(e, "hello:e2e-amd64")
}

func checkHello(t *testing.T, got inspected, layers map[string]int) {
	t.Helper()
	if got.Config.User != "65532" || !cmp.Equal(got.Config.Entrypoint, []string{"/usr/bin/hello-http"}) || got.Config.Cmd != nil {
		t.Errorf("user %q, entrypoint %q, cmd %q", got.Config.User, got.Config.Entrypoint, got.Config.Cmd)
	}
	if got.Architecture != "amd64" || got.OS != "linux" || got.Created.IsZero() {
		t.Errorf("platform %s/%s, created %v", got.OS, got.Architecture, got.Created)
	}
	if got.Config.Labels["org.opencontainers.image.title"] != "hello" {
		t.Errorf("labels %v", got.Config.Labels)
	}
	for _, name := range []string{"PATH=", "SSL_CERT_FILE="} {
		if !slices.ContainsFunc(got.Config.Env, func(s string) bool { return strings.HasPrefix(s, name) }) {
			t.Errorf("no %s in %q", name, got.Config.Env)
		}
	}
	sum := 0
	for _, n := range layers {
		sum += n
	}
	if len(got.RootFS.Layers) != sum {
		t.Errorf("%d layers, cairn says %v", len(got.RootFS.Layers), layers)
	}
}

func answersHello(e engine, name string) {
	e.t.Helper()
	container, port := e.start(name)
	if status, body := e.get(container, port, "/"); status != 200 || body == "" {
		e.t.Errorf("%s: status %d: %s", name, status, body)
	}
	if user := strings.TrimSpace(e.docker("top", container, "-eo", "pid,uid")); !strings.HasSuffix(user, "65532") {
		e.t.Errorf("%s runs as %q", name, user)
	}
	e.stop(container)
}
