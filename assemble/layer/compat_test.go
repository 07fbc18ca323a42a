package layer

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/rootfs"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/store"
)

// apkoTestdata returns the test data of the apko that go.mod names, or skips.
func apkoTestdata(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "chainguard.dev/apko").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "cli", "testdata")
	if _, statErr := os.Stat(dir); err != nil || statErr != nil {
		t.Skipf("apko's module is not there: %v", errors.Join(err, statErr))
	}
	return dir
}

// golden returns apko's own manifest for an architecture and its only layer.
func golden(t *testing.T, dir, arch string) (v1.Descriptor, []byte) {
	t.Helper()
	blob := func(hash v1.Hash) []byte { return read(t, filepath.Join(dir, "golden", "blobs", "sha256", hash.Hex)) }
	var ix v1.IndexManifest
	if err := json.Unmarshal(read(t, filepath.Join(dir, "golden", "index.json")), &ix); err != nil {
		t.Fatal(err)
	}
	for _, m := range ix.Manifests {
		if m.Platform.Architecture != arch {
			continue
		}
		var manifest v1.Manifest
		if err := json.Unmarshal(blob(m.Digest), &manifest); err != nil {
			t.Fatal(err)
		}
		return manifest.Layers[0], blob(manifest.Layers[0].Digest)
	}
	t.Fatalf("no golden image for %s", arch)
	return v1.Descriptor{}, nil
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestWriteApko_Golden reads apko's golden layer back into a tree and writes
// it again: the form must be the same to the byte.
func TestWriteApko_Golden(t *testing.T) {
	dir := apkoTestdata(t)
	for _, arch := range []string{"amd64", "arm64"} {
		t.Run(arch, func(t *testing.T) {
			desc, raw := golden(t, dir, arch)
			compareBlobs(t, desc, raw, treeOfTar(t, raw), openStore(t))
		})
	}
}

func compareBlobs(t *testing.T, desc v1.Descriptor, raw []byte, tree *rootfs.Tree, st *store.Store) {
	t.Helper()
	l, err := WriteApko(t.Context(), tree, st)
	if err != nil {
		t.Fatal(err)
	}
	got := read(t, l.Path)
	if d := cmp.Diff(dumpTar(t, raw), dumpTar(t, got)); d != "" {
		t.Fatalf("members differ (-apko +cairn):\n%s", d)
	}
	if !bytes.Equal(inflateBytes(t, raw), inflateBytes(t, got)) {
		t.Fatal("the tar differs")
	}
	if l.Digest != desc.Digest || l.Size != desc.Size {
		t.Errorf("digest %s of %d bytes, apko has %s of %d", l.Digest, l.Size, desc.Digest, desc.Size)
	}
	imageOf(t, []Layer{l})
}

func inflateBytes(t *testing.T, raw []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// treeOfTar makes a tree of an archive, everything in it from the
// configuration.
func treeOfTar(t *testing.T, raw []byte) *rootfs.Tree {
	t.Helper()
	tree := &rootfs.Tree{}
	r := tar.NewReader(bytes.NewReader(inflateBytes(t, raw)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return tree
		}
		if err != nil {
			t.Fatal(err)
		}
		var content bytes.Buffer
		e := entryOf(t, h, io.TeeReader(r, &content))
		te := rootfs.Entry{Entry: e, Package: -1}
		if e.Type == apk.TypeFile {
			te.Content = content.Bytes()
		}
		tree.Entries = append(tree.Entries, te)
	}
}

func dumpTar(t *testing.T, raw []byte) (lines []string) {
	t.Helper()
	r := tar.NewReader(bytes.NewReader(inflateBytes(t, raw)))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b)+" "+string(apk.SHA256(sum.Sum(nil)).Hex()[:12]))
	}
}

// TestWriteApko_FromPackages makes apko's golden layer from the packages and
// the configuration that apko made it from.
func TestWriteApko_FromPackages(t *testing.T) {
	dir := apkoTestdata(t)
	for arch, oci := range map[string]string{"x86_64": "amd64", "aarch64": "arm64"} {
		t.Run(arch, func(t *testing.T) {
			st := openStore(t)
			cfg := &config.Config{}
			cfg.Contents = types.ImageContents{Repositories: []string{"./testdata/packages"}, Keyring: []string{"./testdata/melange.rsa.pub"}, Packages: []string{"replayout"}}
			cfg.Entrypoint.Command = "/bin/sh -l"
			cfg.Annotations = map[string]string{"org.opencontainers.image.vendor": "Vendor", "org.opencontainers.image.title": "Title"}
			in := rootfs.Input{Config: cfg, Arch: arch, Compat: rootfs.CompatApko, RuntimeRepositories: []string{"./testdata/packages"},
				Keys: map[string][]byte{"melange.rsa.pub": read(t, filepath.Join(dir, "melange.rsa.pub"))}}
			for _, name := range []string{"pretend-baselayout", "replayout"} {
				raw := read(t, filepath.Join(dir, "packages", arch, name+"-1.0.0-r0.apk"))
				r, err := st.Ingest(t.Context(), bytes.NewReader(raw), store.Expect{FileSHA256: sha256.Sum256(raw)})
				if err != nil {
					t.Fatal(err)
				}
				in.Packages = append(in.Packages, rootfs.Package{Receipt: r})
			}
			tree, err := rootfs.Plan(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			desc, raw := golden(t, dir, oci)
			compareBlobs(t, desc, raw, tree, st)
			p := mustPlan(t, tree, Options{Compat: true})
			layers := mustWrite(t, p, st)
			if len(layers) != 1 || layers[0].Digest != desc.Digest {
				t.Errorf("by way of a plan: %+v", layers)
			}
			if d, err := p.Describe(); err != nil || len(d.Layers) != 1 || p.Comment(0) != "This is an apko single-layer image" {
				t.Errorf("%+v %v %q", d, err, p.Comment(0))
			}
		})
	}
}
