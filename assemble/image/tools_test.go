package image

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// Readers that share no code with us. Absent ones are skipped.

func tool(t *testing.T, name string) func(args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return func(args ...string) string {
		t.Helper()
		out, err := exec.Command(path, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
}

// runnable is an image with a program that needs nothing: a copy of this test.
func runnable(t *testing.T) *Image {
	t.Helper()
	img, err := New(Input{
		Layers: []layer.Layer{
			storedLayer(t, t.TempDir(), testFile{name: "etc/os-release", content: "ID=test\n"}),
			memoryLayer(t, testFile{name: "data/hello", content: "hello\n", mode: 0o4755}, testFile{name: "data/link", typ: '2', link: "hello"}),
		},
		Comments: []string{"base-1.0-r0", "top layer"}, Arch: "amd64", Settings: testSettings, Created: testTime,
	})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func TestSkopeoReadsAllOutputs(t *testing.T) {
	skopeo := tool(t, "skopeo")
	dir := t.TempDir()
	x := testIndex(t, "amd64", "arm/v6", "arm/v7")
	tags := WriteOptions{Tags: []Ref{mustTag(t, "hello:1")}}
	lay, oci, docker := filepath.Join(dir, "lay"), filepath.Join(dir, "o.tar"), filepath.Join(dir, "d.tar")
	mustWrite(t, Output{Kind: Layout, Path: lay}, x, tags)
	mustWrite(t, Output{Kind: OCIArchive, Path: oci}, x, tags)
	mustWrite(t, Output{Kind: DockerArchive, Path: docker}, x, tags)
	for _, ref := range []string{"oci:" + lay + ":1", "oci-archive:" + oci + ":1"} {
		for i, args := range [][]string{{"--override-arch=amd64"}, {"--override-arch=arm", "--override-variant=v6"}, {"--override-arch=arm", "--override-variant=v7"}} {
			var got struct {
				Architecture, Variant string
				Layers                []string
			}
			raw := skopeo(append(args, "inspect", ref)...)
			if err := json.Unmarshal([]byte(raw), &got); err != nil {
				t.Fatal(err)
			}
			want, _ := x.images[i].layers[0].Digest()
			if len(got.Layers) != 2 || got.Layers[0] != want.String() {
				t.Errorf("%s %v: %+v, want layer %s", ref, args, got, want)
			}
		}
		if raw := skopeo("inspect", "--raw", ref); hashOf([]byte(raw)) != x.hash {
			t.Errorf("%s: another index", ref)
		}
		copied := filepath.Join(t.TempDir(), "copy")
		skopeo("copy", "--all", ref, "oci:"+copied+":x")
		if got := mustOpen(t, copied).Roots[0].Descriptor.Digest; got != x.hash {
			t.Errorf("%s: copied as %s", ref, got)
		}
	}
	for _, img := range x.images {
		tag := "hello:1-" + strings.ReplaceAll(strings.TrimPrefix(img.platform.String(), "linux/"), "/", "_")
		copied := filepath.Join(t.TempDir(), "copy")
		skopeo("copy", "docker-archive:"+docker+":"+tag, "oci:"+copied+":x")
		got := must(mustOpen(t, copied).Images())
		a, b := must(got[0].ConfigFile()), must(img.ConfigFile()) // skopeo rewrites it
		if !cmp.Equal(a.RootFS, b.RootFS) || a.Variant != b.Variant || !cmp.Equal(a.Config, b.Config) {
			t.Errorf("%s: another image: %s", tag, cmp.Diff(b, a))
		}
	}
}

func TestUmociUnpacksALayout(t *testing.T) {
	umoci := tool(t, "umoci")
	dir := t.TempDir()
	lay, bundle := filepath.Join(dir, "lay"), filepath.Join(dir, "bundle")
	mustWrite(t, Output{Kind: Layout, Path: lay}, runnable(t), WriteOptions{Tags: []Ref{mustTag(t, "hello:1")}})
	umoci("unpack", "--rootless", "--image", lay+":1", bundle)
	if b, err := os.ReadFile(filepath.Join(bundle, "rootfs", "data", "hello")); err != nil || string(b) != "hello\n" {
		t.Errorf("data/hello: %q, %v", b, err)
	}
	if l, err := os.Readlink(filepath.Join(bundle, "rootfs", "data", "link")); err != nil || l != "hello" {
		t.Errorf("data/link: %q, %v", l, err)
	}
	if out := umoci("stat", "--image", lay+":1"); !strings.Contains(out, "base-1.0-r0") {
		t.Errorf("the history names no package: %s", out)
	}
}

// With CAIRN_TEST_ENGINE=unix:///… a real engine loads what is written, sent
// to it and as a file, and gives back the same image.
func TestRealEngine(t *testing.T) {
	host := os.Getenv("CAIRN_TEST_ENGINE")
	if host == "" {
		t.Skip("CAIRN_TEST_ENGINE names no engine")
	}
	docker := tool(t, "docker")
	img := runnable(t)
	w := mustWrite(t, engineOutputs, img, WriteOptions{Engine: Engine{Host: host}, Tags: []Ref{mustTag(t, "cairn-test:sent")}})
	if len(w.Messages) != 1 || !strings.Contains(w.Messages[0], "cairn-test:sent") {
		t.Errorf("%+v", w)
	}
	path := filepath.Join(t.TempDir(), "x.tar")
	x := testIndex(t, "amd64", "arm/v6", "arm/v7")
	mustWrite(t, Output{Kind: DockerArchive, Path: path}, x, WriteOptions{Tags: []Ref{mustTag(t, "cairn-test:1")}})
	out := docker("-H", host, "load", "-i", path)
	for _, suffix := range []string{"amd64", "arm_v6", "arm_v7"} {
		if !strings.Contains(out, "cairn-test:1-"+suffix) {
			t.Errorf("no %s: %s", suffix, out)
		}
	}
	id := strings.TrimSpace(docker("-H", host, "image", "inspect", "--format", "{{.Id}} {{.Author}} {{json .Config.Entrypoint}}", "cairn-test:sent"))
	if want := img.configHash.String() + `  ["/usr/bin/hello","-v"]`; id != want {
		t.Errorf("inspected: %s, want %s", id, want)
	}
	saved := filepath.Join(t.TempDir(), "saved.tar")
	docker("-H", host, "save", "-o", saved, "cairn-test:sent")
	got := must(mustOpen(t, saved).Images())
	files, err := Files(t.Context(), got[0].Image)
	if err != nil {
		t.Fatal(err)
	}
	want := must(Files(t.Context(), v1.Image(img)))
	if len(files) != len(want) {
		t.Fatalf("saved: %d files, want %d", len(files), len(want))
	}
	for i := range want {
		if files[i].Path != want[i].Path || files[i].SHA256 != want[i].SHA256 || files[i].Mode != want[i].Mode {
			t.Errorf("saved: %+v, want %+v", files[i], want[i])
		}
	}
	docker("-H", host, "rmi", "-f", "cairn-test:sent", "cairn-test:1-amd64", "cairn-test:1-arm_v6", "cairn-test:1-arm_v7")
}
