package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"github.com/cairn-dev/cairn/assemble/layer"
)

// listing gives every path below dir with mode and, for files, a digest.
func listing(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		out[rel] = fi.Mode().String()
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			out[rel] += " " + hashOf(b).Hex[:8]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func mustWrite(t testing.TB, o Output, root Root, opts WriteOptions) *Written {
	t.Helper()
	w, err := Write(context.Background(), o, root, opts)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestLayoutIsValid(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	x := testIndex(t, "amd64", "arm/v6", "arm/v7")
	w := mustWrite(t, Output{Kind: Layout, Path: dir}, x, WriteOptions{Tags: []Ref{mustTag(t, "team/hello:1"), mustTag(t, "hello:2")}})
	if w.Digest != x.hash || !cmp.Equal(w.Tags, []string{"team/hello:1", "hello:2"}) {
		t.Errorf("written: %+v", w)
	}
	top, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(top); err != nil {
		t.Error(err)
	}
	m, err := top.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []map[string]string
	for _, d := range m.Manifests {
		if d.Digest != x.hash {
			t.Errorf("lists %s", d.Digest)
		}
		got = append(got, d.Annotations)
	}
	want := []map[string]string{
		{annotationRefName: "1", annotationImageName: "docker.io/team/hello:1"},
		{annotationRefName: "2", annotationImageName: "docker.io/library/hello:2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLayoutSameTagTwice(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	mustWrite(t, Output{Kind: Layout, Path: dir}, testImage(t, "amd64"), WriteOptions{Tags: []Ref{mustTag(t, "a:1"), mustTag(t, "b:1"), mustTag(t, "a:1")}})
	raw, err := readLimited(filepath.Join(dir, "index.json"), maxManifest)
	if err != nil {
		t.Fatal(err)
	}
	m, _ := v1.ParseIndexManifest(bytes.NewReader(raw))
	if len(m.Manifests) != 2 || m.Manifests[0].Annotations[annotationRefName] != "docker.io/library/a:1" || m.Manifests[1].Annotations[annotationRefName] != "docker.io/library/b:1" {
		t.Errorf("references that share a tag are listed as %s", raw)
	}
	if p := m.Manifests[0].Platform; p == nil || p.String() != "linux/amd64" {
		t.Errorf("platform %v", p)
	}
}

// The bytes and modes of a layout depend on nothing but the image: not on the
// umask, not on what was there, not on how the blobs came.
func TestLayoutIsDeterministic(t *testing.T) {
	x := testIndex(t, "amd64", "arm64")
	opts := WriteOptions{Tags: []Ref{mustTag(t, "hello")}}
	base := t.TempDir()
	write := func(name string, o WriteOptions) map[string]string {
		dir := filepath.Join(base, name)
		mustWrite(t, Output{Kind: Layout, Path: dir}, x, o)
		l := listing(t, dir)
		for k, v := range l { // a hard link has the store's mode
			l[k] = strings.Replace(v, "-r--r--r--", "-rw-r--r--", 1)
		}
		return l
	}
	want := write("a", opts)
	old := syscall.Umask(0o077)
	got := write("b", opts)
	syscall.Umask(old)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("umask: %s", diff)
	}
	trusted := opts
	trusted.Trusted = true
	if diff := cmp.Diff(want, write("c", trusted)); diff != "" {
		t.Errorf("trusted: %s", diff)
	}
	if diff := cmp.Diff(want, write("a", opts)); diff != "" {
		t.Errorf("over itself: %s", diff)
	}
	for path, mode := range map[string]string{".": "drwxr-xr-x", "blobs": "drwxr-xr-x", "blobs/sha256": "drwxr-xr-x"} {
		if got[path] != mode {
			t.Errorf("%s: %s, want %s", path, got[path], mode)
		}
	}
}

func TestLayoutLinksTheStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	img := testImage(t, "amd64")
	stored := img.layers[0].(*fileLayer)
	w := mustWrite(t, Output{Kind: Layout, Path: dir}, img, WriteOptions{})
	a, err := os.Stat(stored.Path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dir, blobName(stored.Layer.Digest)))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) || w.Transfer.Linked != stored.Layer.Size || w.Transfer.Copied == 0 {
		t.Errorf("not a hard link; %+v", w.Transfer)
	}
	w = mustWrite(t, Output{Kind: Layout, Path: dir}, img, WriteOptions{Trusted: true})
	if w.Transfer.Kept != w.Size {
		t.Errorf("the second time %+v, want all %d bytes kept", w.Transfer, w.Size)
	}
}

// A store whose files are private is copied: a layout is for everybody to read.
func TestLayoutCopiesPrivateFiles(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	img := testImage(t, "amd64")
	stored := img.layers[0].(*fileLayer)
	if err := os.Chmod(stored.Path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, trusted := range []bool{false, true} {
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		w := mustWrite(t, Output{Kind: Layout, Path: dir}, img, WriteOptions{Trusted: trusted})
		fi, err := os.Stat(filepath.Join(dir, blobName(stored.Layer.Digest)))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != 0o644 || w.Transfer.Linked != 0 {
			t.Errorf("mode %v, %+v", fi.Mode(), w.Transfer)
		}
	}
}

// flip changes one byte of a file, whatever its mode.
func flip(t testing.TB, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A blob that is not what its digest says is refused by every writer, and the
// previous output stays.
func TestChangedBlobIsRefused(t *testing.T) {
	for _, out := range []string{"lay/", "x.tar", "oci-archive:y.tar"} {
		t.Run(out, func(t *testing.T) {
			o := mustOutput(t, out)
			parent := t.TempDir()
			o.Path = filepath.Join(parent, o.Path)
			img := testImage(t, "amd64")
			flip(t, img.layers[0].(*fileLayer).Path)
			_, err := Write(t.Context(), o, img, WriteOptions{})
			if !errors.Is(err, ErrBlobChanged) {
				t.Fatalf("%v, want ErrBlobChanged", err)
			}
			if got := listing(t, parent); len(got) != 1 {
				t.Errorf("left behind: %v", got)
			}
			mustWrite(t, o, testImage(t, "arm64"), WriteOptions{})
			before := listing(t, parent)
			if _, err := Write(t.Context(), o, img, WriteOptions{}); !errors.Is(err, ErrBlobChanged) {
				t.Fatalf("%v, want ErrBlobChanged", err)
			}
			if diff := cmp.Diff(before, listing(t, parent)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBlobOfWrongSizeIsRefused(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		for name, content := range map[string]string{"short": "x", "long": strings.Repeat("x", 4096)} {
			for _, out := range []string{"lay/", "x.tar"} {
				o := mustOutput(t, out)
				o.Path = filepath.Join(t.TempDir(), o.Path)
				img := testImage(t, "amd64")
				l := img.layers[0].(*fileLayer)
				if err := os.Remove(l.Path); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(l.Path, []byte(content), 0o644); err != nil {
					t.Fatal(err)
				}
				if _, err := Write(t.Context(), o, img, WriteOptions{Trusted: trusted}); !errors.Is(err, ErrBlobChanged) {
					t.Errorf("%s, %s, trusted %v: %v", out, name, trusted, err)
				}
			}
		}
	}
}

// Damage in an existing layout is repaired, also where a name is taken by
// something else than the blob.
func TestLayoutIsRepaired(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	img := testImage(t, "amd64")
	o := Output{Kind: Layout, Path: dir}
	mustWrite(t, o, img, WriteOptions{})
	want := listing(t, dir)
	for path := range want {
		if !strings.HasPrefix(path, "blobs/sha256/") {
			continue
		}
		flip(t, filepath.Join(dir, path))
	}
	mustWrite(t, o, img, WriteOptions{Trusted: true})
	if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
}

// Links inside a layout are replaced: nothing is written through them.
func TestLayoutDoesNotFollowLinks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	img := testImage(t, "amd64")
	o := Output{Kind: Layout, Path: dir}
	mustWrite(t, o, img, WriteOptions{})
	want := listing(t, dir)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for path := range want {
		if !strings.HasPrefix(path, "blobs/sha256/") && path != "index.json" {
			continue
		}
		if err := os.Remove(filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(victim, filepath.Join(dir, path)); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, o, img, WriteOptions{})
	if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
	if b, _ := os.ReadFile(victim); string(b) != "mine" {
		t.Errorf("written through a link: %.40q", b)
	}
}

func TestLayoutKeepsOneOlderVersion(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o := Output{Kind: Layout, Path: dir}
	a, b, c := testImage(t, "amd64"), testImage(t, "arm64"), testImage(t, "386")
	has := func(img *Image) bool { return exists(filepath.Join(dir, blobName(img.hash))) }
	mustWrite(t, o, a, WriteOptions{})
	stranger := filepath.Join(dir, "blobs", "sha256", "README")
	if err := os.WriteFile(stranger, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, o, b, WriteOptions{})
	if !has(a) || !has(b) {
		t.Error("the version before was taken from its readers")
	}
	mustWrite(t, o, c, WriteOptions{})
	if has(a) || !has(b) || !has(c) {
		t.Errorf("after three versions: %v %v %v", has(a), has(b), has(c))
	}
	mustWrite(t, o, c, WriteOptions{})
	if has(b) || !has(c) {
		t.Error("the same version again: the older one is still there")
	}
	if !exists(stranger) {
		t.Error("a file that is no blob was removed")
	}
}

// attach adds an entry as cosign and referrers do.
func attach(t *testing.T, dir, content string, tag string) v1.Descriptor {
	t.Helper()
	entry := v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: hashOf([]byte(content)), Size: int64(len(content))}
	if tag != "" {
		entry.Annotations = map[string]string{annotationRefName: tag}
	}
	err := AddToLayout(t.Context(), dir, [][]byte{[]byte(content)}, func(d []v1.Descriptor) ([]v1.Descriptor, error) { return append(d, entry), nil })
	if err != nil {
		t.Fatal(err)
	}
	return entry
}

// Signatures and other referrers stay with an image that is written again, and
// with every image in it; those of another image go.
func TestLayoutKeepsWhatIsAttached(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o := Output{Kind: Layout, Path: dir}
	a, b := testImage(t, "amd64"), testImage(t, "arm64")
	referrer := func(to v1.Hash, more string) string {
		return fmt.Sprintf(`{"schemaVersion":2,"subject":{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":1,"digest":"%s"}%s}`, to, more)
	}
	mustWrite(t, o, a, WriteOptions{})
	signature := attach(t, dir, `{"schemaVersion":2,"layers":[]}`, "sha256-"+a.hash.Hex+".sig")
	bundle := attach(t, dir, referrer(a.hash, ""), "")
	nested := attach(t, dir, referrer(bundle.Digest, ""), "")
	attach(t, dir, referrer(b.hash, ""), "") // of an image that is not here
	attach(t, dir, "no manifest", "")
	entries := func() (out []v1.Hash) {
		raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range m.Manifests {
			if !exists(filepath.Join(dir, blobName(d.Digest))) {
				t.Errorf("%s is not there", d.Digest)
			}
			out = append(out, d.Digest)
		}
		return out
	}
	for n, dropped := range []int{1, 0, 0} {
		w := mustWrite(t, o, a, WriteOptions{})
		if got, want := entries(), []v1.Hash{a.hash, signature.Digest, bundle.Digest, nested.Digest}; !slices.Equal(got, want) || w.Dropped != dropped {
			t.Errorf("write %d: found %v, dropped %d; expected %v, %d", n, got, w.Dropped, want, dropped)
		}
	}
	// What is written anew takes the place of its kind.
	typed := testArtifact(t, a.hash, "old")
	mustWrite(t, o, a, WriteOptions{Artifacts: []Artifact{typed}})
	renewed := testArtifact(t, a.hash, "new")
	mustWrite(t, o, a, WriteOptions{Artifacts: []Artifact{renewed}})
	if got, want := entries(), []v1.Hash{a.hash, renewed.Descriptor.Digest, signature.Digest, bundle.Digest, nested.Digest}; !slices.Equal(got, want) {
		t.Errorf("found %v, expected %v", got, want)
	}
	if w := mustWrite(t, o, b, WriteOptions{}); w.Dropped != 4 || !slices.Equal(entries(), []v1.Hash{b.hash}) {
		t.Errorf("another image: found %v, dropped %d", entries(), w.Dropped)
	}
}

// A reader that runs beside the writers always finds all that the index.json
// it read refers to.
func TestLayoutReadersNeverSeeABrokenOne(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	o := Output{Kind: Layout, Path: dir}
	images := []*Image{testImage(t, "amd64"), testImage(t, "arm64")}
	mustWrite(t, o, images[0], WriteOptions{})
	stop := make(chan struct{})
	var wg sync.WaitGroup
	readings := 0
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			opened, err := Open(dir)
			if err != nil {
				t.Errorf("open: %v", err)
				return
			}
			img := opened.Roots[0].Root.(v1.Image)
			for n, l := range must(img.Layers()) {
				if rc, err := l.Compressed(); err != nil {
					t.Errorf("layer %d: %v", n, err)
				} else {
					rc.Close()
				}
			}
			readings++
		}
	})
	for i := range 60 {
		// Two versions in turn, so that a slow reader's is never the third
		// last: that one may go.
		mustWrite(t, o, images[i%2], WriteOptions{Trusted: i%3 == 0})
	}
	close(stop)
	wg.Wait()
	if readings == 0 {
		t.Error("nothing was read")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestLayoutConcurrentWriters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	images := []*Image{testImage(t, "amd64"), testImage(t, "arm64"), testImage(t, "386")}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if _, err := Write(context.Background(), Output{Kind: Layout, Path: dir}, images[i%3], WriteOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	opened, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(opened.Roots[0].Root.(v1.Image)); err != nil {
		t.Error(err)
	}
}

// What a killed writer left is removed by the next.
func TestLayoutSweepsLeftovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "with [odd*] name")
	img := testImage(t, "amd64")
	o := Output{Kind: Layout, Path: dir}
	mustWrite(t, o, img, WriteOptions{})
	want := listing(t, dir)
	for _, path := range []string{tempPrefix + "1", "blobs/sha256/" + tempPrefix + "2"} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	mustWrite(t, o, img, WriteOptions{})
	if diff := cmp.Diff(want, listing(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestLayoutRefusesForeignFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.json"), []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Write(t.Context(), Output{Kind: Layout, Path: dir}, testImage(t, "amd64"), WriteOptions{})
	if !errors.Is(err, ErrNotALayout) {
		t.Errorf("%v, want ErrNotALayout", err)
	}
	if got := listing(t, dir); len(got) != 2 {
		t.Errorf("left: %v", got)
	}
	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, "blobs"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(t.Context(), Output{Kind: Layout, Path: blocked}, testImage(t, "amd64"), WriteOptions{}); err == nil || !strings.Contains(err.Error(), "a file is in its place") {
		t.Errorf("a file called blobs: %v", err)
	}
}

func TestWriteIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	parent := t.TempDir()
	for _, out := range []string{"lay/", "x.tar", "oci-archive:y.tar"} {
		o := mustOutput(t, out)
		o.Path = filepath.Join(parent, o.Path)
		if _, err := Write(ctx, o, testImage(t, "amd64"), WriteOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", out, err)
		}
	}
	if got := listing(t, parent); len(got) != 1 {
		t.Errorf("left behind: %v", got)
	}
}

func BenchmarkLayoutLinked(b *testing.B) {
	store := b.TempDir()
	var layers []layer.Layer
	for i := range 100 {
		layers = append(layers, storedLayer(b, store, testFile{name: "f", content: strings.Repeat("x", i*1000)}))
	}
	img, err := New(Input{Layers: layers, Arch: "amd64", Created: testTime})
	if err != nil {
		b.Fatal(err)
	}
	o := Output{Kind: Layout, Path: filepath.Join(b.TempDir(), "out")}
	for b.Loop() {
		if err := os.RemoveAll(o.Path); err != nil {
			b.Fatal(err)
		}
		mustWrite(b, o, img, WriteOptions{Trusted: true})
	}
}
