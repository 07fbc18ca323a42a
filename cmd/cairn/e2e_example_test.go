//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The Flask example as it is: built, held against its test file, asked over HTTP, and
// made again. A change of the application is one layer.
func TestExampleFlask(t *testing.T) {
	e, w := newEngine(t), newE2E(t)
	repo, key := debianRepositoryIn(t, "example-flask", strings.Fields("base-files libc-bin libssl3 media-types netbase python3 python3-flask tzdata"))
	dir := w.path("configs")
	if err := os.CopyFS(dir, os.DirFS(projectFile(t, "configs"))); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "examples", "flask", "flask.yaml")
	args := []string{"--repository-append=" + repo, "--keyring-append=" + key}
	made := w.makes(append([]string{"--kit", config, "hello:e2e", "hello/", "--output=hello.tar", "--sbom-path=sboms"}, args...)...)
	t.Logf("%d packages, %s, layers %v", made.Images[0].Packages, bytesText(made.Images[0].Size), made.Images[0].Layers)
	w.cairn("test", "--commands=off", "hello/", filepath.Join(dir, "shared", "nonroot.test.yaml"), filepath.Join(dir, "examples", "flask", "flask.test.yaml"))
	if again := strings.TrimSpace(w.cairn("rebuild", "hello/")); again != made.Digest {
		t.Errorf("made again: %s, expected %s", again, made.Digest)
	}
	e.load(w.path("hello.tar"))
	container, port := e.start("-e", "HOST=127.0.0.1", "hello:e2e")
	if status, body := e.get(container, port, "/"); status != 200 || !strings.Contains(body, "hello from user 65532") {
		t.Errorf("status %d: %s", status, body)
	}
	if status, body := e.get(container, port, "/health"); status != 200 || strings.TrimSpace(body) != `{"status":"ok"}` {
		t.Errorf("status %d: %s", status, body)
	}
	e.stop(container)

	before := e.inspect("hello:e2e").RootFS.Layers
	page := filepath.Join(dir, "examples", "flask", "app", "templates", "page.html")
	if err := os.WriteFile(page, []byte("<p>another page\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.makes(append([]string{config, "hello:e2e", "hello.tar"}, args...)...)
	e.load(w.path("hello.tar"))
	after := e.inspect("hello:e2e").RootFS.Layers
	if len(after) != len(before) {
		t.Fatalf("%d layers, then %d", len(before), len(after))
	}
	for i := range before {
		if same := before[i] == after[i]; same != (i != len(before)-1) {
			t.Errorf("layer %d of %d: the same: %v", i, len(before), same)
		}
	}
}
