package image

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/layer"
)

func archive(t testing.TB, kind Kind, root Root, tags ...string) []byte {
	t.Helper()
	var refs []Ref
	for _, s := range tags {
		refs = append(refs, mustTag(t, s))
	}
	var b bytes.Buffer
	n, err := WriteArchive(t.Context(), &b, kind, root, WriteOptions{Tags: refs})
	if err != nil {
		t.Fatal(err)
	}
	if n != int64(b.Len()) {
		t.Errorf("%d bytes reported, %d written", n, b.Len())
	}
	return b.Bytes()
}

// members gives headers and contents of an archive.
func members(t testing.TB, b []byte) (headers []*tar.Header, contents map[string][]byte) {
	t.Helper()
	contents = map[string][]byte{}
	tr := tar.NewReader(bytes.NewReader(b))
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		if contents[h.Name], err = io.ReadAll(tr); err != nil {
			t.Fatal(err)
		}
	}
}

func TestArchiveHeaders(t *testing.T) {
	headers, contents := members(t, archive(t, DockerArchive, testImage(t, "amd64"), "hello"))
	var got []string
	for i, h := range headers {
		if i < 5 {
			got = append(got, fmt.Sprintf("%s %c %o", h.Name, h.Typeflag, h.Mode))
		} else if hashOf(contents[h.Name]).Hex != strings.TrimPrefix(h.Name, "blobs/sha256/") || i > 5 && h.Name <= headers[i-1].Name {
			t.Errorf("%s: not its digest, or out of order", h.Name)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.ModTime.Unix() != 0 || h.Format == tar.FormatPAX {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	want := []string{"oci-layout 0 644", "index.json 0 644", "manifest.json 0 644", "blobs/ 5 755", "blobs/sha256/ 5 755"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(headers) != 5+4 {
		t.Errorf("%d members, want 9", len(headers))
	}
	if _, ociOnly := members(t, archive(t, OCIArchive, testImage(t, "amd64"), "hello")); ociOnly["manifest.json"] != nil {
		t.Error("an OCI archive with a manifest.json")
	}
}

func TestDockerArchiveIsReadByOthers(t *testing.T) {
	x := testIndex(t, "amd64", "arm/v6", "arm/v7")
	path := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(path, archive(t, DockerArchive, x, "team/hello:1"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, img := range x.Images() {
		suffix := strings.ReplaceAll(strings.TrimPrefix(img.platform.String(), "linux/"), "/", "_")
		tag, err := name.NewTag("team/hello:1-" + suffix)
		if err != nil {
			t.Fatal(err)
		}
		got, err := tarball.ImageFromPath(path, &tag)
		if err != nil {
			t.Errorf("%s: %v", tag, err)
			continue
		}
		if err := validate.Image(got); err != nil {
			t.Errorf("%s: %v", tag, err)
		}
		if a, _ := got.ConfigName(); a != img.configHash {
			t.Errorf("%s: another image", tag)
		}
	}
}

// With two arm variants, apko gives both the tag "-arm", and one is lost
// (index.go BuildIndex takes the architecture without its variant).
func TestApkoDefect_ArmVariantsHaveTagsOfTheirOwn(t *testing.T) {
	_, contents := members(t, archive(t, DockerArchive, testIndex(t, "arm/v6", "arm/v7", "amd64"), "hello", "b/c:1"))
	var docker []dockerEntry
	if err := json.Unmarshal(contents["manifest.json"], &docker); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for _, e := range docker {
		got = append(got, e.RepoTags)
	}
	want := [][]string{{"hello:latest-amd64", "b/c:1-amd64"}, {"hello:latest-arm_v6", "b/c:1-arm_v6"}, {"hello:latest-arm_v7", "b/c:1-arm_v7"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDockerArchiveOfOneImage(t *testing.T) {
	x := testIndex(t, "amd64")
	for name, root := range map[string]Root{"image": x.images[0], "index of one": x} {
		_, contents := members(t, archive(t, DockerArchive, root, "hello:1"))
		var docker []dockerEntry
		if err := json.Unmarshal(contents["manifest.json"], &docker); err != nil {
			t.Fatal(err)
		}
		if len(docker) != 1 || !cmp.Equal(docker[0].RepoTags, []string{"hello:1"}) || len(docker[0].Layers) != 2 || contents[docker[0].Config] == nil {
			t.Errorf("%s: %+v", name, docker)
		}
	}
}

// Two layers with the same bytes are one blob, named twice.
func TestArchiveWithALayerTwice(t *testing.T) {
	l := memoryLayer(t, testFile{name: "a"})
	img, err := New(Input{Layers: []layer.Layer{l, l}, Arch: "amd64", Created: testTime})
	if err != nil {
		t.Fatal(err)
	}
	headers, contents := members(t, archive(t, DockerArchive, img, "hello"))
	var docker []dockerEntry
	if err := json.Unmarshal(contents["manifest.json"], &docker); err != nil {
		t.Fatal(err)
	}
	if len(headers) != 5+3 || len(docker[0].Layers) != 2 || docker[0].Layers[0] != docker[0].Layers[1] {
		t.Errorf("%d members, layers %v", len(headers), docker[0].Layers)
	}
}

func TestArchiveIsDeterministic(t *testing.T) {
	x := testIndex(t, "amd64", "arm64")
	dir := t.TempDir()
	var first []byte
	for i, trusted := range []bool{false, true, false} {
		o := Output{Kind: DockerArchive, Path: filepath.Join(dir, fmt.Sprint(i, ".tar"))}
		if i == 2 {
			// A longer file in its place must leave nothing behind.
			if err := os.WriteFile(o.Path, make([]byte, 1<<20), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		old := syscall.Umask(0o077 * i)
		w := mustWrite(t, o, x, WriteOptions{Tags: []Ref{mustTag(t, "hello")}, Trusted: trusted})
		syscall.Umask(old)
		b, err := os.ReadFile(o.Path)
		if err != nil {
			t.Fatal(err)
		}
		fi, _ := os.Stat(o.Path)
		if fi.Mode() != 0o644 || fi.Size() != w.Size {
			t.Errorf("mode %v, size %d, reported %d", fi.Mode(), fi.Size(), w.Size)
		}
		if first == nil {
			first = b
		} else if !bytes.Equal(first, b) {
			t.Errorf("run %d differs", i)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 3 {
		t.Errorf("%d files", len(entries))
	}
}

// apko writes over the old archive without truncating it, so that a shorter
// image keeps the tail of a longer one (index.go BuildIndex opens with O_RDWR).
func TestApkoDefect_ArchiveIsTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.tar")
	mustWrite(t, Output{Kind: DockerArchive, Path: path}, testIndex(t, "amd64", "arm64", "s390x"), WriteOptions{})
	img := testImage(t, "amd64")
	mustWrite(t, Output{Kind: DockerArchive, Path: path}, img, WriteOptions{})
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, archive(t, DockerArchive, img)) {
		t.Error("the second archive is not what it would be alone")
	}
}

func TestArchiveThroughASymlinkAndToADevice(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(dir, "link.tar")
	if err := os.Symlink("real.tar", link); err != nil {
		t.Fatal(err)
	}
	img := testImage(t, "amd64")
	mustWrite(t, Output{Kind: OCIArchive, Path: link}, img, WriteOptions{})
	if fi, err := os.Lstat(link); err != nil || fi.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
	if fi, err := os.Lstat(filepath.Join(dir, "real.tar")); err != nil || !fi.Mode().IsRegular() {
		t.Errorf("what the link names was not written: %v", err)
	}
	mustWrite(t, Output{Kind: OCIArchive, Path: os.DevNull}, img, WriteOptions{})
	if fi, err := os.Stat(os.DevNull); err != nil || fi.Mode().IsRegular() {
		t.Fatalf("%s is %v now", os.DevNull, fi.Mode())
	}
	if _, err := Write(t.Context(), Output{Kind: OCIArchive, Path: dir}, img, WriteOptions{}); err == nil || !strings.Contains(err.Error(), "a directory is in its place") {
		t.Errorf("over a directory: %v", err)
	}
}

// fullDisk fails like one.
type fullDisk struct{ left int }

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

func TestArchiveOnAFullDisk(t *testing.T) {
	img := testImage(t, "amd64")
	size := len(archive(t, DockerArchive, img))
	for left := 0; left < size; left += 100 {
		if _, err := WriteArchive(t.Context(), &fullDisk{left}, DockerArchive, img, WriteOptions{}); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("after %d bytes: %v", left, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	img := testImage(t, "amd64")
	long := mustTag(t, "hello:"+strings.Repeat("x", 125))
	dir := t.TempDir()
	_, err := Write(t.Context(), Output{Kind: DockerArchive, Path: filepath.Join(dir, "x.tar")}, testIndex(t, "amd64", "arm64"), WriteOptions{Tags: []Ref{long}})
	if err == nil || !strings.Contains(err.Error(), "131 characters with the architecture added: expected at most 128") {
		t.Errorf("long tag: %v", err)
	}
	mustWrite(t, Output{Kind: OCIArchive, Path: filepath.Join(dir, "y.tar")}, img, WriteOptions{Tags: []Ref{long}})
	if _, err := Write(t.Context(), Output{Kind: "zip", Path: filepath.Join(dir, "z")}, img, WriteOptions{}); err == nil || err.Error() != "output zip:"+dir+`/z: kind "zip" is not known` {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := gather(nil); err == nil {
		t.Error("nothing was gathered from nothing")
	}
}

func BenchmarkDockerArchive(b *testing.B) {
	store := b.TempDir()
	big := make([]byte, 64<<20)
	for i := range big {
		big[i] = byte(i * i >> 8)
	}
	l := layer.Layer{Digest: hashOf(big), DiffID: hashOf(big), Size: int64(len(big)), Path: filepath.Join(store, "blob")}
	if err := os.WriteFile(l.Path, big, 0o644); err != nil {
		b.Fatal(err)
	}
	img, err := New(Input{Layers: []layer.Layer{l}, Arch: "amd64", Created: testTime})
	if err != nil {
		b.Fatal(err)
	}
	o := Output{Kind: DockerArchive, Path: filepath.Join(b.TempDir(), "x.tar")}
	for _, trusted := range []bool{false, true} {
		b.Run(fmt.Sprint("trusted=", trusted), func(b *testing.B) {
			b.SetBytes(l.Size)
			for b.Loop() {
				mustWrite(b, o, img, WriteOptions{Trusted: trusted})
			}
		})
	}
}
