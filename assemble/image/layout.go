package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// layoutMark is the content of oci-layout (OCI image layout 1.0.0).
const layoutMark = `{"imageLayoutVersion":"1.0.0"}`

const blobsDir = "blobs/sha256"

// ErrNotALayout is wrapped when a directory holds an index.json that is not
// that of an OCI layout: it is somebody's file, and is not replaced.
var ErrNotALayout = errors.New("not an OCI layout")

// CheckLayoutDir says whether a layout is in dir or can be written there:
// ErrNotALayout is wrapped when something else is in its place.
func CheckLayoutDir(dir string) error {
	if fi, err := os.Stat(dir); err == nil && !fi.IsDir() {
		return fmt.Errorf("%w: not a directory", ErrNotALayout)
	}
	return checkLayoutDir(dir)
}

// checkLayoutDir says whether a layout may be written into an existing
// directory: an empty one, one with other files, or a layout.
func checkLayoutDir(dir string) error {
	mark, err := os.ReadFile(filepath.Join(dir, "oci-layout"))
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(filepath.Join(dir, "index.json")); err == nil {
			return fmt.Errorf("%w: index.json is there, but no oci-layout", ErrNotALayout)
		}
		return nil
	}
	if err != nil {
		return err
	}
	var l struct{ ImageLayoutVersion string }
	if json.Unmarshal(mark, &l) != nil || l.ImageLayoutVersion != "1.0.0" {
		return fmt.Errorf("%w: oci-layout is %.60q: expected version 1.0.0", ErrNotALayout, mark)
	}
	return nil
}

// layoutWriter writes one version of a layout directory.
//
// The directory belongs to the image written last: index.json is replaced as a
// whole, with all references that were in it but those of what is attached to an
// image that is written again, such as its signatures. A reader never sees a broken
// layout: blobs come first, index.json is renamed into place last, and the
// blobs of the version before stay until the next write, so that a reader who
// opened that version's index.json finds them. Older blobs are removed.
type layoutWriter struct {
	dir     string
	placer  placer
	created created
	old     []v1.Descriptor // of the previous version's index.json
	keep    map[string]bool // names in blobs/sha256 that it uses
	dropped int             // attachments of images that are written no more
}

func writeLayout(ctx context.Context, dir string, c *content, n *names, trusted bool) (Transfer, int, error) {
	w := &layoutWriter{dir: dir, placer: placer{trusted: trusted}}
	err := w.write(ctx, c, n)
	return w.placer.count, w.dropped, err
}

func (w *layoutWriter) write(ctx context.Context, c *content, n *names) (err error) {
	if err := w.created.mkdir(w.dir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			w.placer.takeBack()
			w.created.takeBack()
		}
	}()
	if err := checkLayoutDir(w.dir); err != nil {
		return err
	}
	lock, err := lockDir(w.dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := w.prepare(); err != nil {
		return err
	}
	for i := range c.blobs {
		if err := w.blob(ctx, &c.blobs[i]); err != nil {
			return err
		}
	}
	index, err := indexJSON(append(n.index, w.attached(c, n.index)...))
	if err != nil {
		return err
	}
	if err := w.finish(index); err != nil {
		return err
	}
	w.sweep(c)
	return nil
}

// prepare makes the directories, removes what a killed writer left, and notes
// what the previous version uses.
func (w *layoutWriter) prepare() error {
	w.old, w.keep = listed(w.dir), map[string]bool{}
	markUsed(w.dir, w.old, w.keep, 0)
	for _, dir := range []string{"blobs", blobsDir} {
		if err := w.created.mkdir(filepath.Join(w.dir, dir)); err != nil {
			return err
		}
	}
	for _, dir := range []string{".", blobsDir} {
		left, err := filepath.Glob(filepath.Join(escapeGlob(w.dir), dir, tempPrefix+"*"))
		if err != nil {
			return err
		}
		for _, path := range left {
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return nil
}

func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(s)
}

// blob makes sure that a blob is in place, whatever was under its name.
func (w *layoutWriter) blob(ctx context.Context, b *blob) error {
	path := filepath.Join(w.dir, blobName(b.digest))
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return w.placer.place(ctx, b, path)
	}
	if err != nil {
		return err
	}
	if w.intact(ctx, b, path, fi) {
		w.placer.count.Kept += b.size
		return nil
	}
	return w.placer.place(ctx, b, path)
}

// intact reports whether the file at path is the blob: the very file of the
// store, which is as good as the store, or one with the right bytes.
func (w *layoutWriter) intact(ctx context.Context, b *blob, path string, fi fs.FileInfo) bool {
	if !fi.Mode().IsRegular() || fi.Size() != b.size || fi.Mode().Perm()&0o444 != 0o444 {
		return false
	}
	if w.placer.trusted && b.path != "" {
		if src, err := os.Stat(b.path); err == nil && os.SameFile(src, fi) {
			return true
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return copyBlob(ctx, discard{}, f, b, false) == nil
}

// discard is io.Discard without ReadFrom, whose small buffer makes hashing
// slower.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// finish makes the new version visible.
func (w *layoutWriter) finish(index []byte) error {
	mark := filepath.Join(w.dir, "oci-layout")
	if old, err := os.ReadFile(mark); err != nil || !bytes.Equal(old, []byte(layoutMark)) {
		if err != nil {
			w.placer.made = append(w.placer.made, mark)
		}
		if err := writeFile(mark, []byte(layoutMark), 0o644); err != nil {
			return err
		}
	}
	return writeFile(filepath.Join(w.dir, "index.json"), index, 0o644)
}

// sweep removes the blobs that neither this version nor the one before uses.
// What cannot be removed harms nobody.
func (w *layoutWriter) sweep(c *content) {
	for i := range c.blobs {
		w.keep[c.blobs[i].digest.Hex] = true
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, blobsDir))
	if err != nil {
		return
	}
	for _, e := range entries {
		name := e.Name()
		if len(name) == 64 && strings.Trim(name, "0123456789abcdef") == "" && !w.keep[name] {
			os.Remove(filepath.Join(w.dir, blobsDir, name))
		}
	}
}

// listed returns the entries of the index.json in dir; of one that cannot be read
// there are none.
func listed(dir string) []v1.Descriptor {
	raw, err := readLimited(filepath.Join(dir, "index.json"), maxManifest)
	if err != nil {
		return nil
	}
	m, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	return m.Manifests
}

// markUsed notes the blobs that manifests use, as far as it can be found out.
func markUsed(dir string, manifests []v1.Descriptor, used map[string]bool, depth int) {
	for i := range manifests {
		d := &manifests[i]
		if used[d.Digest.Hex] || depth > maxIndexDepth {
			continue
		}
		used[d.Digest.Hex] = true
		raw, err := readLimited(filepath.Join(dir, blobsDir, filepath.Base(d.Digest.Hex)), maxManifest)
		if err != nil {
			continue
		}
		var m struct {
			Manifests []v1.Descriptor
			Config    v1.Descriptor
			Layers    []v1.Descriptor
		}
		if json.Unmarshal(raw, &m) != nil {
			continue
		}
		used[m.Config.Digest.Hex] = true
		for _, l := range m.Layers {
			used[l.Digest.Hex] = true
		}
		markUsed(dir, m.Manifests, used, depth+1)
	}
}
