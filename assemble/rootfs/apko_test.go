package rootfs

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk"
)

// apkoTestdata returns the golden data of the apko version this module
// depends on, or skips.
func apkoTestdata(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "chainguard.dev/apko").Output()
	dir := filepath.Join(strings.TrimSpace(string(out)), "internal", "cli", "testdata")
	if _, err2 := os.Stat(dir); err != nil || err2 != nil {
		t.Skipf("apko's golden data is not there: %v", errors.Join(err, err2))
	}
	return dir
}

// TestCompatApko compares with the layer in apko's own golden image.
func TestCompatApko(t *testing.T) {
	dir := apkoTestdata(t)
	for _, arch := range []string{"x86_64", "aarch64"} {
		cfg := &config.Config{}
		cfg.Contents = types.ImageContents{Repositories: []string{"./testdata/packages"}, Keyring: []string{"./testdata/melange.rsa.pub"}, Packages: []string{"replayout"}}
		cfg.Entrypoint.Command = "/bin/sh -l"
		cfg.Annotations = map[string]string{"org.opencontainers.image.vendor": "Vendor", "org.opencontainers.image.title": "Title"}
		in := Input{Config: cfg, Arch: arch, Compat: CompatApko, RuntimeRepositories: []string{"./testdata/packages"}, Keys: map[string][]byte{}}
		in.Keys["melange.rsa.pub"] = mustRead(t, filepath.Join(dir, "melange.rsa.pub"))
		for _, name := range []string{"pretend-baselayout", "replayout"} {
			r, _ := receipt(t, mustRead(t, filepath.Join(dir, "packages", arch, name+"-1.0.0-r0.apk")))
			in.Packages = append(in.Packages, Package{Receipt: r})
		}
		tree := plan(t, in)
		if diff := cmp.Diff(goldenDump(t, dir, types.ParseArchitecture(arch).String()), compatDump(tree)); diff != "" {
			t.Errorf("%s: (-apko +cairn)\n%s", arch, diff)
		}
		golden := goldenFile(t, dir, types.ParseArchitecture(arch).String())
		for _, p := range []string{"etc/apko.json", "usr/lib/apk/db/installed", "etc/apk/world"} {
			if diff := cmp.Diff(golden[p], content(t, tree, p)); diff != "" {
				t.Errorf("%s: /%s: (-apko +cairn)\n%s", arch, p, diff)
			}
		}
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func compatDump(tree *Tree) string {
	var out strings.Builder
	for _, e := range tree.Entries {
		fmt.Fprintf(&out, "%c %04o %d:%d %d %d %s %s %d,%d\n", e.Type, e.Mode, e.UID, e.GID, e.MTime, e.Size, e.Path, e.Link, e.DevMajor, e.DevMinor)
	}
	return out.String()
}

func goldenDump(t *testing.T, dir, arch string) string {
	var out strings.Builder
	eachGolden(t, dir, arch, func(h *tar.Header, _ []byte) {
		types := map[byte]apk.EntryType{tar.TypeReg: apk.TypeFile, tar.TypeDir: apk.TypeDir, tar.TypeSymlink: apk.TypeSymlink, tar.TypeChar: apk.TypeChar}
		fmt.Fprintf(&out, "%c %04o %d:%d %d %d %s %s %d,%d\n", types[h.Typeflag], h.Mode, h.Uid, h.Gid, h.ModTime.Unix(), h.Size,
			strings.TrimSuffix(h.Name, "/"), h.Linkname, h.Devmajor, h.Devminor)
	})
	return out.String()
}

func goldenFile(t *testing.T, dir, arch string) map[string]string {
	out := map[string]string{}
	eachGolden(t, dir, arch, func(h *tar.Header, body []byte) { out[h.Name] = string(body) })
	return out
}

// eachGolden walks the only layer of the golden image for arch.
func eachGolden(t *testing.T, dir, arch string, fn func(*tar.Header, []byte)) {
	t.Helper()
	type descriptor struct {
		Digest   string
		Platform struct{ Architecture string }
	}
	blob := func(digest string) []byte {
		return mustRead(t, filepath.Join(dir, "golden", "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	}
	var index struct{ Manifests []descriptor }
	if err := json.Unmarshal(mustRead(t, filepath.Join(dir, "golden", "index.json")), &index); err != nil {
		t.Fatal(err)
	}
	for _, m := range index.Manifests {
		if m.Platform.Architecture != arch {
			continue
		}
		var manifest struct{ Layers []descriptor }
		if err := json.Unmarshal(blob(m.Digest), &manifest); err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0].Digest)))
		if err != nil {
			t.Fatal(err)
		}
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			fn(h, body)
		}
	}
	t.Fatalf("the golden image has no %s", arch)
}
