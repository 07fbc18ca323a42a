package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestOpenTar(t *testing.T) {
	st := openTemp(t)
	r, raw := ingest(t, st, sample("tar"))
	want := gunzip(t, raw[r.DataOffset:])
	tr, err := st.OpenTar(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(struct{ io.Reader }{tr}, want); err != nil {
		t.Error(err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if _, err := tr.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
	if err := tr.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second close: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tr, err = st.OpenTar(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(tr); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := tr.Close(); err != nil {
		t.Error(err)
	}
	if err := st.Verify(t.Context(), r); err != nil {
		t.Errorf("a cancelled read harmed the blob: %v", err)
	}
}

func TestReadFile(t *testing.T) {
	st := openTemp(t)
	r, _ := ingest(t, st, sample("files"))
	for i, e := range r.Entries {
		b, err := st.ReadFile(t.Context(), r, i)
		if e.Type != apk.TypeFile {
			wantError(t, err, nil, "package files-1.0-r0: "+e.Path+": not a regular file")
			continue
		}
		if err != nil || sha256.Sum256(b) != e.SHA256 {
			t.Errorf("%s: %q, %v", e.Path, b, err)
		}
	}
	_, err := st.ReadFile(t.Context(), r, len(r.Entries))
	wantError(t, err, nil, fmt.Sprintf("package files-1.0-r0: member %d of %d", len(r.Entries), len(r.Entries)))
	big := r.copy()
	big.Entries = []apk.Entry{{Path: "huge", Type: apk.TypeFile, Size: 1 << 30}}
	_, err = st.ReadFile(t.Context(), big, 0)
	wantError(t, err, nil, "package files-1.0-r0: huge: 1073741824 bytes, at most 268435456 can be read at once")
	wrong := r.copy()
	wrong.Entries = append([]apk.Entry(nil), r.Entries...)
	for i := range wrong.Entries {
		wrong.Entries[i].SHA256[0] ^= 1
	}
	wrong.Contents = nil
	for i, e := range wrong.Entries {
		if e.Type == apk.TypeFile && e.Size > 0 {
			if _, err = st.ReadFile(t.Context(), wrong, i); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %v", e.Path, err)
			}
		}
	}
}

func TestReadFiles(t *testing.T) {
	st := openTemp(t)
	r, _ := ingest(t, st, sample("files"))
	var members []int
	for i, e := range slices.Backward(r.Entries) {
		if e.Type == apk.TypeFile {
			members = append(members, i, i) // backwards, each twice
		}
	}
	for name, r := range map[string]*Receipt{"with contents": r, "without": withoutContents(r)} {
		list, err := st.ReadFiles(t.Context(), r, members)
		if err != nil || len(list) != len(members) || len(list) < 4 {
			t.Fatalf("%s: %d files, %v", name, len(list), err)
		}
		for i, m := range members {
			if e := r.Entries[m]; sha256.Sum256(list[i]) != e.SHA256 {
				t.Errorf("%s: %s: %q", name, e.Path, list[i])
			}
		}
	}
	if list, err := st.ReadFiles(t.Context(), r, nil); len(list) != 0 || err != nil {
		t.Errorf("no members: %v, %v", list, err)
	}
	big := r.copy()
	big.Entries = []apk.Entry{{Path: "a", Type: apk.TypeFile, Size: 200 << 20}, {Path: "b", Type: apk.TypeFile, Size: 200 << 20}}
	_, err := st.ReadFiles(t.Context(), big, []int{0, 1})
	wantError(t, err, nil, "package files-1.0-r0: b: 419430400 bytes, at most 268435456 can be read at once")
	wrong := withoutContents(r)
	wrong.Entries = slices.Clone(r.Entries)
	wrong.Entries[members[0]].SHA256[0] ^= 1
	if list, err := st.ReadFiles(t.Context(), wrong, members); list != nil || !errors.Is(err, ErrCorrupt) {
		t.Errorf("%d files, %v", len(list), err)
	}
}

func withoutContents(r *Receipt) *Receipt {
	c := r.copy()
	c.Contents = nil
	return c
}

func TestLinkBlob(t *testing.T) {
	st := openTemp(t)
	r, raw := ingest(t, st, sample("link"))
	dir := t.TempDir()
	dst := filepath.Join(dir, "layer")
	for range 2 { // the second time over a link to the same file
		if err := st.LinkBlob(t.Context(), r, dst); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(dst)
	if err != nil || !bytes.Equal(b, raw[r.DataOffset:]) {
		t.Errorf("not the blob: %v", err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	a, _ := os.Stat(dst)
	if c, _ := os.Stat(st.BlobPath(r)); !os.SameFile(a, c) {
		t.Error("not a hard link")
	}
	if err := st.clone(t.Context(), st.BlobPath(r), filepath.Join(dir, "copy")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "copy"))
	if err != nil || info.Mode() != 0o444 || info.Size() != r.DataSize {
		t.Errorf("copy: %v, %v", info, err)
	}
	if err := st.LinkBlob(t.Context(), r, filepath.Join(dir, "no", "such", "layer")); !errors.Is(err, fs.ErrNotExist) || !strings.HasPrefix(err.Error(), "package link-1.0-r0: store: write ") {
		t.Errorf("error %v", err)
	}
}

func TestLinkAcrossFileSystems(t *testing.T) {
	shm := "/dev/shm"
	if _, err := os.Stat(shm); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp(shm, "cairn-store-test-")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	st := openTemp(t)
	r, raw := ingest(t, st, sample("link"))
	if err := st.LinkBlob(t.Context(), r, filepath.Join(dir, "layer")); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "layer"))
	if err != nil || !bytes.Equal(b, raw[r.DataOffset:]) {
		t.Errorf("not the blob: %v", err)
	}
}
