package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"
)

func archive(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = strings.Repeat("x", int(h.Size))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dump(t testing.TB, dir string) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		fi, err := d.Info()
		if err != nil {
			return err
		}
		st := fi.Sys().(*syscall.Stat_t)
		owner := ""
		if os.Geteuid() == 0 {
			owner = fmt.Sprintf(" %d:%d", st.Uid, st.Gid)
		}
		link := ""
		if fi.Mode()&fs.ModeSymlink != 0 {
			link, _ = os.Readlink(path)
			out = append(out, fmt.Sprintf("%s -> %s", rel, link))
			return nil
		}
		links := ""
		if !d.IsDir() {
			links = fmt.Sprintf(" links %d", st.Nlink)
		}
		out = append(out, fmt.Sprintf("%s %v%s%s", rel, fi.Mode(), owner, links))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// What melange's bubblewrap runner loses: bits and owners of directories, and
// that files are hard links.
func TestMelangeDefect_ResultKeepsDirectoriesAndHardLinks(t *testing.T) {
	dir := t.TempDir()
	raw := archive(t,
		tar.Header{Name: "usr/", Typeflag: tar.TypeDir, Mode: 0o500},
		tar.Header{Name: "usr/tmp/", Typeflag: tar.TypeDir, Mode: 0o1777},
		tar.Header{Name: "usr/own/", Typeflag: tar.TypeDir, Mode: 0o2750, Uid: 65532, Gid: 65532},
		tar.Header{Name: "usr/a", Typeflag: tar.TypeReg, Mode: 0o4755, Size: 3},
		tar.Header{Name: "usr/b", Typeflag: tar.TypeLink, Linkname: "usr/a", Mode: 0o4755},
		tar.Header{Name: "usr/c", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"},
	)
	if err := Tar(t.Context(), bytes.NewReader(raw), dir, 100); err != nil {
		t.Fatal(err)
	}
	want := `usr dr-x------ 0:0
usr/a urwxr-xr-x 0:0 links 2
usr/b urwxr-xr-x 0:0 links 2
usr/c -> /etc/passwd
usr/own dgrwxr-x--- 65532:65532
usr/tmp dtrwxrwxrwx 0:0`
	if os.Geteuid() != 0 {
		want = strings.NewReplacer(" 0:0", "", " 65532:65532", "").Replace(want)
	}
	if _, got, _ := strings.Cut(dump(t, dir), "\n"); got != want {
		t.Errorf("found\n%s\nexpected\n%s", got, want)
	}
	if err := os.Chmod(filepath.Join(dir, "usr"), 0o755); err != nil { // so that it can be removed
		t.Error(err)
	}
}

func TestMelangeDefect_TarLeadsOut(t *testing.T) {
	file := tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644, Size: 3}
	for name, test := range map[string]struct {
		headers []tar.Header
		want    string
	}{
		"path out":         {[]tar.Header{{Name: "../a", Typeflag: tar.TypeReg, Size: 1}}, "escapes"},
		"through a link":   {[]tar.Header{{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/tmp"}, {Name: "l/a", Typeflag: tar.TypeReg}}, "escapes"},
		"hard link out":    {[]tar.Header{{Name: "l", Typeflag: tar.TypeLink, Linkname: "../../etc/passwd"}}, "escapes"},
		"twice":            {[]tar.Header{file, file}, "file exists"},
		"device":           {[]tar.Header{{Name: "d", Typeflag: tar.TypeChar, Devmajor: 1}}, "found type '3'"},
		"too much":         {[]tar.Header{{Name: "a", Typeflag: tar.TypeReg, Size: 60}, {Name: "b", Typeflag: tar.TypeReg, Size: 60}}, "b: result cannot be unpacked: more content than the limit"},
		"link to nothing":  {[]tar.Header{{Name: "l", Typeflag: tar.TypeLink, Linkname: "b"}}, "no such file"},
		"file for its dir": {[]tar.Header{file, {Name: "a/", Typeflag: tar.TypeDir}}, "file exists"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			err := Tar(t.Context(), bytes.NewReader(archive(t, test.headers...)), filepath.Clean(dir), 100)
			if !errors.Is(err, ErrTar) || !strings.Contains(err.Error(), test.want) {
				t.Errorf("found %v, expected ErrTar with %q", err, test.want)
			}
		})
	}
	cut := archive(t, file)[:514]
	if err := Tar(t.Context(), bytes.NewReader(cut), t.TempDir(), 100); err == nil {
		t.Error("a tar that is cut off: no error")
	}
}

func FuzzTar(f *testing.F) {
	f.Add(archive(f, tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg, Size: 2}))
	f.Add(archive(f, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: ".."}, tar.Header{Name: "l/x", Typeflag: tar.TypeReg}))
	f.Fuzz(func(t *testing.T, b []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "in")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		_ = Tar(t.Context(), bytes.NewReader(b), dir, 1<<16)
		entries, err := os.ReadDir(outer)
		if err != nil || len(entries) != 1 {
			t.Fatalf("written outside: %v, %v", entries, err)
		}
		_ = os.Chmod(dir, 0o755)
	})
}
