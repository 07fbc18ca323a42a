package store

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"compress/gzip"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// realData returns the directory of real data, or skips the test.
func realData(t testing.TB) string {
	dir := os.Getenv("CAIRN_TESTDATA")
	if dir == "" {
		dir = "../../../shared/data"
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no real data: %v (set CAIRN_TESTDATA)", err)
	}
	return dir
}

// realPackages returns the paths of the real APK v2 packages.
func realPackages(t testing.TB) []string {
	var list []string
	err := filepath.WalkDir(realData(t), func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(p, ".apk") && !strings.Contains(p, "/apk-v3/") {
			list = append(list, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestRealPackages(t *testing.T) {
	st := openTemp(t)
	for _, p := range realPackages(t) {
		t.Run(filepath.Base(p), func(t *testing.T) {
			raw, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			r, err := st.Ingest(t.Context(), bytes.NewReader(raw), Expect{FileSHA256: sha256.Sum256(raw)})
			if damaged[filepath.Base(p)] {
				if !errors.Is(err, ErrMismatch) {
					t.Errorf("a damaged package: %v", err)
				}
				return
			}
			if errors.Is(err, errNoDataHash) {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			compareWithStandardLibrary(t, raw, r)
			loaded, err := st.Lookup(r.Package.Checksum)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(r, loaded, cmp.AllowUnexported(Receipt{})); d != "" {
				t.Errorf("stored and loaded (-ingested +loaded):\n%s", d)
			}
			if err := st.Verify(t.Context(), loaded); err != nil {
				t.Error(err)
			}
		})
	}
}

// damaged names the real packages whose data section is not the signed one.
var damaged = map[string]bool{"aws-c-s3-0.4.9-r0.apk": true, "neon-4604-r0.apk": true}

// compareWithStandardLibrary reads the data section with archive/tar and
// compress/gzip and compares everything.
func compareWithStandardLibrary(t *testing.T, raw []byte, r *Receipt) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(raw[r.DataOffset:]))
	if err != nil {
		t.Fatal(err)
	}
	inflated, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if got := apk.SHA256(sha256.Sum256(inflated)); got != r.DiffID {
		t.Errorf("diff ID %s, want %s", r.DiffID, got)
	}
	if int64(len(inflated)) != r.InflatedSize {
		t.Errorf("inflated size %d, want %d", r.InflatedSize, len(inflated))
	}
	var want []apk.Entry
	in := bytes.NewReader(inflated)
	tr := tar.NewReader(in)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e := apk.Entry{Path: strings.TrimSuffix(h.Name, "/"), Mode: uint32(h.Mode & 0o7777), UID: h.Uid, GID: h.Gid, Uname: h.Uname,
			Gname: h.Gname, MTime: h.ModTime.Unix(), Link: h.Linkname, DevMajor: h.Devmajor, DevMinor: h.Devminor,
			DataOffset: int64(len(inflated)) - int64(in.Len())}
		e.Type = map[byte]apk.EntryType{'0': 'f', '1': 'h', '2': 'l', '3': 'c', '4': 'b', '5': 'd', '6': 'p'}[h.Typeflag]
		if e.Type == apk.TypeFile {
			e.Size = h.Size
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			e.SHA256 = sha256.Sum256(b)
		}
		for k, v := range h.PAXRecords {
			if name, ok := strings.CutPrefix(k, "SCHILY.xattr."); ok {
				if e.Xattrs == nil {
					e.Xattrs = map[string]string{}
				}
				e.Xattrs[name] = v
			}
		}
		want = append(want, e)
	}
	got := make([]apk.Entry, len(r.Entries))
	copy(got, r.Entries)
	for i := range got {
		got[i].HeaderOffset, got[i].ELF, got[i].SHA1 = 0, nil, apk.SHA1{}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("entries (-archive/tar +store):\n%s", d)
	}
}
