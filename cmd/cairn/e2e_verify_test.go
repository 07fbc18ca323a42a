//go:build e2e

package main

import (
	"bytes"
	"context"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// cosignBin is where cmd/cairn/e2e/cosign.sh puts the reference clients.
func cosignBin(t *testing.T, name string) string {
	dir := os.Getenv("CAIRN_E2E")
	if dir == "" {
		dir = "/tmp/cairn-e2e"
	}
	path := filepath.Join(dir, "bin", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%v: run cmd/cairn/e2e/cosign.sh", err)
	}
	return path
}

// cosigned is a directory with a key pair of cosign, and a registry.
type cosigned struct {
	t         *testing.T
	dir, host string
}

func newCosigned(t *testing.T, referrers bool) *cosigned {
	s := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0)), registry.WithReferrersSupport(referrers)))
	t.Cleanup(s.Close)
	c := &cosigned{t: t, dir: t.TempDir(), host: strings.TrimPrefix(s.URL, "http://")}
	c.run(cosignBin(t, "cosign2"), "generate-key-pair")
	c.write("predicate.json", `{"buildDefinition": {"buildType": "https://example.test/b", "externalParameters": {}, "resolvedDependencies": []}, "runDetails": {"builder": {"id": "https://ci.example"}}}`)
	c.write("policy.yaml", "version: 1\nimages:\n  - match: [\"**\"]\n    signers: {keys: [{file: cosign.pub}]}\n    trust: {log: 0}\n    provenance: {builders: [\"https://ci.example\"]}\n")
	return c
}

func (c *cosigned) write(name, text string) {
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *cosigned) run(program string, args ...string) {
	c.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "COSIGN_PASSWORD=secret", "HOME="+c.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", filepath.Base(program), strings.Join(args, " "), err, out)
	}
}

// image pushes an image and returns its reference by digest.
func (c *cosigned) image(repository string) string {
	img, err := random.Image(100, 1)
	if err != nil {
		c.t.Fatal(err)
	}
	ref, err := name.ParseReference(c.host + "/" + repository + ":1")
	if err != nil {
		c.t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		c.t.Fatal(err)
	}
	d, err := img.Digest()
	if err != nil {
		c.t.Fatal(err)
	}
	return ref.Context().Name() + "@" + d.String()
}

// cairn verifies, and returns the exit code with the output.
func (c *cosigned) cairn(args ...string) (int, string) {
	var out bytes.Buffer
	code := run(context.Background(), append([]string{"verify"}, args...), streams{strings.NewReader(""), &out, &out})
	return code, out.String()
}

// TestE2EVerifyWhatCosignWrites: every way in which cosign 2 and 3 sign and
// attest with a key, on registries with and without the referrers API.
func TestE2EVerifyWhatCosignWrites(t *testing.T) {
	writers := []struct{ program, verb, kind string }{
		{"cosign2", "sign --tlog-upload=false", "attest --tlog-upload=false"},
		{"cosign2", "sign --tlog-upload=false --new-bundle-format", "attest --tlog-upload=false --new-bundle-format"},
		{"cosign3", "sign --use-signing-config=false --tlog-upload=false", "attest --use-signing-config=false --tlog-upload=false"},
		{"cosign3", "sign --use-signing-config=false --tlog-upload=false --new-bundle-format=false", "attest --use-signing-config=false --tlog-upload=false --new-bundle-format=false"},
	}
	for _, referrers := range []bool{true, false} {
		c := newCosigned(t, referrers)
		key, policy := filepath.Join(c.dir, "cosign.pub"), filepath.Join(c.dir, "policy.yaml")
		for _, w := range writers {
			name := w.program + " " + w.verb
			program := cosignBin(t, w.program)
			image := c.image("team/app")
			if code, out := c.cairn("--key", key, image); code != exitMissing {
				t.Fatalf("%s: unsigned: found exit code %d\n%s", name, code, out)
			}
			attest := append(strings.Fields(w.kind), "--key", "cosign.key", "-y", "--predicate", "predicate.json", "--type", "slsaprovenance1", image)
			c.run(program, attest...)
			if code, out := c.cairn("--key", key, image); code != exitUnverified || !strings.Contains(out, "an attestation is none") {
				t.Errorf("%s: attested only: found exit code %d\n%s", name, code, out)
			}
			c.run(program, append(strings.Fields(w.verb), "--key", "cosign.key", "-y", image)...)
			if code, out := c.cairn("--key", key, image); code != exitOK {
				t.Errorf("%s: found exit code %d\n%s", name, code, out)
			}
			if code, out := c.cairn("--policy", policy, image); code != exitOK {
				t.Errorf("%s: with provenance: found exit code %d\n%s", name, code, out)
			}
			other := c.image("team/other")
			if code, _ := c.cairn("--key", key, other); code != exitMissing {
				t.Errorf("%s: another image: found exit code %d", name, code)
			}
		}
	}
}
