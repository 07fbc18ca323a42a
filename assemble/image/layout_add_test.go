package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestAddToLayout(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	img := testImage(t, "amd64")
	mustWrite(t, Output{Kind: Layout, Path: dir}, img, WriteOptions{})
	before := listing(t, dir)
	content := []byte(`{"schemaVersion":2}`)
	entry := v1.Descriptor{MediaType: "text/plain", Digest: hashOf(content), Size: int64(len(content))}
	add := func(d []v1.Descriptor) ([]v1.Descriptor, error) { return append(d, entry), nil }
	if err := AddToLayout(t.Context(), dir, [][]byte{content}, add); err != nil {
		t.Fatal(err)
	}
	after := listing(t, dir)
	for path, was := range before {
		if path != "index.json" && after[path] != was {
			t.Errorf("%s was %s and is %s", path, was, after[path])
		}
	}
	if got, err := os.ReadFile(filepath.Join(dir, blobName(entry.Digest))); err != nil || string(got) != string(content) {
		t.Errorf("%s, %v", got, err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
	if err != nil || !strings.Contains(string(raw), entry.Digest.Hex) || !strings.Contains(string(raw), img.hash.Hex) {
		t.Errorf("index.json: %s, %v", raw, err)
	}
	// The next version of the image takes the layout over, and one more write
	// sweeps what was added.
	for range 2 {
		mustWrite(t, Output{Kind: Layout, Path: dir}, img, WriteOptions{})
	}
	if exists(filepath.Join(dir, blobName(entry.Digest))) {
		t.Error("what nothing refers to was kept")
	}
}

func TestAddToLayoutFailures(t *testing.T) {
	keep := func(d []v1.Descriptor) ([]v1.Descriptor, error) { return d, nil }
	dir := t.TempDir()
	if err := AddToLayout(t.Context(), filepath.Join(dir, "absent"), nil, keep); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
	if err := AddToLayout(t.Context(), dir, nil, keep); !errors.Is(err, ErrNotALayout) {
		t.Errorf("empty: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "oci-layout"), []byte(layoutMark), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ index, want string }{
		{"", "open " + dir + "/index.json: no such file or directory"},
		{"{", "index.json: unexpected EOF"},
	} {
		if c.index != "" {
			if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(c.index), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := AddToLayout(t.Context(), dir, [][]byte{[]byte("x")}, keep); err == nil || err.Error() != c.want {
			t.Errorf("found %v\nwant %s", err, c.want)
		}
		if exists(filepath.Join(dir, "blobs")) {
			t.Error("a directory was left behind")
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte(`{"schemaVersion":2,"manifests":[]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	refuse := func([]v1.Descriptor) ([]v1.Descriptor, error) { return nil, errors.New("no") }
	if err := AddToLayout(t.Context(), dir, [][]byte{[]byte("x")}, refuse); err == nil || err.Error() != "no" {
		t.Errorf("refused: %v", err)
	}
	huge := func([]v1.Descriptor) ([]v1.Descriptor, error) {
		return slices.Repeat([]v1.Descriptor{{MediaType: "text/plain", Digest: hashOf(nil), Annotations: map[string]string{"a": strings.Repeat("x", 1<<20)}}}, 9), nil
	}
	err := AddToLayout(t.Context(), dir, [][]byte{[]byte("x")}, huge)
	if err == nil || !strings.HasSuffix(err.Error(), "expected at most 8388608") || exists(filepath.Join(dir, "blobs")) {
		t.Errorf("huge: %v", err)
	}
}
