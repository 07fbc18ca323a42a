package image

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// testArtifact refers to an image.
func testArtifact(t testing.TB, subject v1.Hash, content string) Artifact {
	t.Helper()
	part := v1.Descriptor{MediaType: "text/plain", Digest: hashOf([]byte(content)), Size: int64(len(content))}
	b, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "artifactType": "test/artifact",
		"config": part, "layers": []v1.Descriptor{part}, "subject": map[string]any{"digest": subject.String()}})
	if err != nil {
		t.Fatal(err)
	}
	d := v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: "test/artifact", Digest: hashOf(b), Size: int64(len(b))}
	return Artifact{Descriptor: d, Blobs: [][]byte{b, []byte(content), []byte(content)}}
}

// TestArtifactsStandBesideTheImage: they are in the output with all their blobs,
// and what looks for images does not see them.
func TestArtifactsStandBesideTheImage(t *testing.T) {
	x := testIndex(t, "amd64", "arm64")
	a := testArtifact(t, x.hash, "hello")
	for _, out := range []Output{{Kind: Layout, Path: filepath.Join(t.TempDir(), "out")}, {Kind: OCIArchive, Path: filepath.Join(t.TempDir(), "out.tar")}} {
		mustWrite(t, out, x, WriteOptions{Tags: []Ref{mustTag(t, "hello:1")}, Artifacts: []Artifact{a}})
		o, err := Open(out.Path)
		if err != nil {
			t.Fatal(err)
		}
		images, err := o.Images()
		if err != nil || len(images) != 2 || len(o.Roots) != 1 || o.Roots[0].Descriptor.Digest != x.hash {
			t.Errorf("%s: %d images, %d roots, %v", out, len(images), len(o.Roots), err)
		}
		raw, err := o.file("index.json")
		if err != nil || !strings.Contains(string(raw), `"artifactType":"test/artifact"`) {
			t.Errorf("%s: index.json %s, %v", out, raw, err)
		}
		for _, b := range a.Blobs {
			if got, err := o.file(blobName(hashOf(b))); err != nil || string(got) != string(b) {
				t.Errorf("%s: blob %s: %.40q, %v", out, hashOf(b), got, err)
			}
		}
		if err := o.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestArtifactsGoWithTheirImage: the next image in a layout keeps those of the
// one before for a while, as it keeps its blobs.
func TestArtifactsGoWithTheirImage(t *testing.T) {
	out := Output{Kind: Layout, Path: filepath.Join(t.TempDir(), "out")}
	first, second := testIndex(t, "amd64"), testIndex(t, "arm64")
	a := testArtifact(t, first.hash, "hello")
	there := func() bool {
		_, err := os.Stat(filepath.Join(out.Path, blobName(hashOf([]byte("hello")))))
		return err == nil
	}
	mustWrite(t, out, first, WriteOptions{Artifacts: []Artifact{a}})
	var found []bool
	for range 2 {
		mustWrite(t, out, second, WriteOptions{})
		found = append(found, there())
	}
	if !slices.Equal(found, []bool{true, false}) {
		t.Errorf("after each further write, the artifact is there: %v", found)
	}
}

func TestOutputsWithoutArtifacts(t *testing.T) {
	x := testIndex(t, "amd64")
	path := filepath.Join(t.TempDir(), "out.tar")
	_, err := Write(t.Context(), Output{Kind: DockerArchive, Path: path}, x, WriteOptions{Artifacts: []Artifact{testArtifact(t, x.hash, "hello")}})
	if want := "output docker-archive:" + path + ": artifacts: a docker-archive output cannot hold any"; err == nil || err.Error() != want {
		t.Errorf("error %v, expected %s", err, want)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("something was written")
	}
}
