//go:build e2e

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	ggcrrandom "github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/cairn-dev/cairn/sign/cosign/cosigntest"
)

// The reference clients verify what cairn writes, and cairn adds to what they
// write. `make e2e-cosign` builds them and runs this; see e2e/cosign.sh.

// reference runs one of the programs that e2e/cosign.sh or e2e/sigstore.sh
// built. Nothing is found on the network: the home directory is empty and the
// trusted root is given.
func reference(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cached(t, program), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "COSIGN_PASSWORD=secret")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func cached(t *testing.T, program string) string {
	t.Helper()
	dir := os.Getenv("CAIRN_E2E")
	if dir == "" {
		t.Fatal("CAIRN_E2E is not set: make e2e-cosign sets it")
	}
	return filepath.Join(dir, "bin", program)
}

func mustReference(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := reference(t, program, args...)
	if err != nil {
		t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

// mustCairn runs one command line of cairn.
func mustCairn(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), args, streams{strings.NewReader(""), &out, &errs}); code != 0 {
		t.Fatalf("cairn %s: exit code %d\n%s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// serve runs a program until the test ends and waits until it listens.
func serve(t *testing.T, addr, program string, args ...string) {
	t.Helper()
	cmd := exec.Command(cached(t, program), args...)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("%s said:\n%s", program, tail(output.String(), 4000))
		}
	})
	for range 200 {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s does not listen at %s", program, addr)
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// registries are three: ggcr's with and without the referrers API, and
// distribution's, which has none.
func registries(t *testing.T) map[string]string {
	t.Helper()
	hosts := map[string]string{}
	for kind, api := range map[string]bool{"referrers": true, "tags": false} {
		h := httptest.NewServer(registry.New(registry.WithReferrersSupport(api), registry.Logger(log.New(io.Discard, "", 0))))
		t.Cleanup(h.Close)
		hosts[kind] = strings.TrimPrefix(h.URL, "http://")
	}
	addr, dir := "127.0.0.1:"+freePort(t), t.TempDir()
	config := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf("version: 0.1\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %q}\nlog: {level: error}\n", dir, addr)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	serve(t, addr, "registry", "serve", config)
	hosts["distribution"] = addr
	return hosts
}

// pushIndex pushes an index of two images and returns the digests: the index
// first.
func pushIndex(t *testing.T, repo string) []v1.Hash {
	t.Helper()
	index, err := ggcrrandom.Index(256, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(repo + ":1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	h, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	out := []v1.Hash{h}
	m, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range m.Manifests {
		out = append(out, d.Digest)
	}
	return out
}

const e2eType = "https://example.test/p/v1"

// keyFiles are a key pair of cairn's, an empty trusted root, and a predicate
// with fields that nobody knows.
func keyFiles(t *testing.T) (key, public, root, predicate string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("CAIRN_PASSWORD", "secret")
	mustCairn(t, "key", "generate", "--output", filepath.Join(dir, "k"))
	root, predicate = filepath.Join(dir, "root.json"), filepath.Join(dir, "predicate.json")
	for path, content := range map[string]string{
		root:      `{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`,
		predicate: `{"unknown": {"x": [1, 2]}}`,
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "k.key"), filepath.Join(dir, "k.pub"), root, predicate
}

// verifiers are the ways in which the reference clients look at an image.
func verifiers(public, root string) [][]string {
	return [][]string{
		{"cosign2", "verify", "--key", public, "--insecure-ignore-tlog", "--trusted-root", root},
		{"cosign3", "verify", "--key", public, "--insecure-ignore-tlog"},
		{"cosign3", "verify", "--key", public, "--insecure-ignore-tlog", "--new-bundle-format=false"},
	}
}

func TestCosignVerifiesBothFormats(t *testing.T) {
	key, public, root, predicate := keyFiles(t)
	for kind, host := range registries(t) {
		t.Run(kind, func(t *testing.T) {
			repo := host + "/team/app"
			digests := pushIndex(t, repo)
			image := repo + "@" + digests[0].String()
			mustCairn(t, "sign", "--key", key, "--no-log", image)
			mustCairn(t, "attest", "--key", key, "--no-log", "--type", e2eType, "--predicate", predicate, image)
			for _, d := range digests {
				for _, v := range verifiers(public, root) {
					mustReference(t, v[0], append(v[1:], repo+"@"+d.String())...)
				}
			}
			for _, v := range verifiers(public, root) {
				args := append([]string{"verify-attestation", "--type", e2eType}, v[2:]...)
				mustReference(t, v[0], append(args, image)...)
			}
			tree := mustReference(t, "cosign3", "tree", image)
			for _, want := range []string{e2eType, "https://sigstore.dev/cosign/sign/v1", ".sig", ".att"} {
				if !strings.Contains(tree, want) {
					t.Errorf("%s is not in the tree:\n%s", want, tree)
				}
			}
		})
	}
}

// Annotations in both formats are what the reference clients write and require.
func TestCosignAnnotations(t *testing.T) {
	key, public, root, _ := keyFiles(t)
	t.Setenv("COSIGN_PASSWORD", "secret")
	refused := func(what string, err error, out string) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: another annotation is accepted:\n%s", what, out)
		}
	}
	for kind, host := range registries(t) {
		image := host + "/ours@" + pushIndex(t, host+"/ours")[0].String()
		mustCairn(t, "sign", "--key", key, "--no-log", "-a", "env=prod", "-a", "by=ci", image)
		for _, v := range verifiers(public, root) {
			mustReference(t, v[0], append(v[1:], "-a", "env=prod", image)...)
			out, err := reference(t, v[0], append(v[1:], "-a", "env=dev", image)...)
			// cosign 2.6.5 finds the bundle, and does not look at its annotations.
			if v[0] != "cosign2" {
				refused(fmt.Sprint(kind, v), err, out)
			}
		}
		for client, flags := range map[string][]string{"cosign2": nil, "cosign3": {"--use-signing-config=false"}} {
			repo := host + "/" + client
			image := repo + "@" + pushIndex(t, repo)[0].String()
			mustReference(t, client, append(append([]string{"sign", "--key", key, "--tlog-upload=false", "-y", "-a", "env=prod"}, flags...), image)...)
			mustCairn(t, "verify", "--key", public, "-a", "env=prod", image)
			var out, errs bytes.Buffer
			code := run(t.Context(), []string{"verify", "--key", public, "-a", "env=dev", image}, streams{strings.NewReader(""), &out, &errs})
			if code != 5 || !strings.Contains(out.String(), "signature has the annotation env=prod, expected env=dev") {
				t.Errorf("%s, signed by %s: exit code %d\n%s%s", kind, client, code, out.String(), errs.String())
			}
		}
	}
}

// One format alone is read as that format, and not as the other.
func TestCosignVerifiesOneFormat(t *testing.T) {
	key, public, root, _ := keyFiles(t)
	for kind, host := range registries(t) {
		for i, format := range []string{"legacy", "bundle"} {
			repo := host + "/" + format
			image := repo + "@" + pushIndex(t, repo)[0].String()
			mustCairn(t, "sign", "--key", key, "--no-log", "--signature-format", format, image)
			v := verifiers(public, root)
			mustReference(t, v[0][0], append(v[0][1:], image)...) // 2.6.5 reads both
			mustReference(t, v[2-i][0], append(v[2-i][1:], image)...)
			if format == "bundle" {
				if out, err := reference(t, v[2][0], append(v[2][1:], image)...); err == nil {
					t.Errorf("%s: a legacy signature was found:\n%s", kind, out)
				}
			}
		}
	}
}

// Another key's signature, and none at all, is refused: the checks above can
// fail.
func TestCosignRefusesOthers(t *testing.T) {
	key, _, root, _ := keyFiles(t)
	_, other, _, _ := keyFiles(t)
	repo := registries(t)["referrers"] + "/app"
	image := repo + "@" + pushIndex(t, repo)[0].String()
	mustCairn(t, "sign", "--key", key, "--no-log", image)
	for _, v := range verifiers(other, root) {
		if out, err := reference(t, v[0], append(v[1:], image)...); err == nil {
			t.Errorf("%v: verified:\n%s", v, out)
		}
	}
}

// A signed layout, without any registry: the air gap.
func TestCosignVerifiesALayout(t *testing.T) {
	key, public, root, predicate := keyFiles(t)
	index, err := ggcrrandom.Index(256, 2, 2)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "image")
	p, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	mustCairn(t, "sign", "--key", key, "--no-log", dir)
	mustCairn(t, "attest", "--key", key, "--no-log", "--type", e2eType, "--predicate", predicate, dir)
	local := []string{"--local-image", "--key", public, "--insecure-ignore-tlog"}
	for program, more := range map[string][]string{"cosign2": {"--trusted-root", root}, "cosign3": {"--new-bundle-format=false"}} {
		args := append(append([]string{}, local...), more...)
		mustReference(t, program, append(append([]string{"verify"}, args...), dir)...)
		mustReference(t, program, append(append([]string{"verify-attestation", "--type", e2eType}, args...), dir)...)
	}
}

// Keys and signatures of the reference clients: cairn signs with their keys,
// recognises their signatures and keeps them.
func TestCosignKeysAndSignatures(t *testing.T) {
	_, _, root, _ := keyFiles(t)
	dir := t.TempDir()
	for kind, host := range registries(t) {
		repo := host + "/app"
		image := repo + "@" + pushIndex(t, repo)[0].String()
		prefix := filepath.Join(dir, kind)
		mustReference(t, "cosign2", "generate-key-pair", "--output-key-prefix", prefix)
		mustReference(t, "cosign2", "sign", "--key", prefix+".key", "--tlog-upload=false", "-y", "--recursive", image)
		mustReference(t, "cosign3", "sign", "--key", prefix+".key", "--use-signing-config=false", "--tlog-upload=false", "-y", "--recursive", image)
		var r struct {
			Outcomes []struct{ Format, State string }
		}
		out := mustCairn(t, "sign", "--key", prefix+".key", "--no-log", "--format", "json", image)
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatal(err)
		}
		for _, o := range r.Outcomes {
			if o.State != "present" {
				t.Errorf("%s: %+v: made again", kind, o)
			}
		}
		mustCairn(t, "sign", "--key", prefix+".key", "--no-log", "--again", image)
		for _, v := range verifiers(prefix+".pub", root) {
			mustReference(t, v[0], append(v[1:], image)...)
		}
	}
}

// Entries of a Rekor 1 log and timestamps, with a key and without: in-memory
// services stand for the real ones, whose answers have the same form.
func TestCosignVerifiesServices(t *testing.T) {
	services := cosigntest.Start(t)
	config, root := services.Files(t)
	key, public, _, predicate := keyFiles(t)
	t.Setenv("CAIRN_ID_TOKEN", cosigntest.Token("ES256", cosigntest.Subject, time.Now().Add(time.Hour)))
	who := map[string][]string{
		"key":     {"--key", public},
		"keyless": {"--certificate-identity", cosigntest.Subject, "--certificate-oidc-issuer", cosigntest.Issuer, "--insecure-ignore-sct"},
	}
	host := registries(t)["tags"]
	for mode, signer := range map[string][]string{"key": {"--key", key}, "keyless": {"--keyless"}} {
		repo := host + "/" + mode
		image := repo + "@" + pushIndex(t, repo)[0].String()
		flags := append(signer, "--signing-config", config, "--trusted-root", root, image)
		mustCairn(t, append([]string{"sign"}, flags...)...)
		mustCairn(t, append([]string{"attest", "--type", e2eType, "--predicate", predicate}, flags...)...)
		for _, program := range []string{"cosign2", "cosign3"} {
			for _, command := range [][]string{{"verify"}, {"verify-attestation", "--type", e2eType}} {
				args := append(append([]string{}, command...), "--trusted-root", root, "--use-signed-timestamps")
				args = append(args, who[mode]...)
				mustReference(t, program, append(args, image)...)
				if program == "cosign3" {
					mustReference(t, program, append(append(args, "--new-bundle-format=false"), image)...)
				}
			}
		}
	}
}
