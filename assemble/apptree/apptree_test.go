package apptree

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// dump is a tree as text: path, mode, content or target.
func dump(t *Tree) string {
	var out strings.Builder
	for _, e := range t.Entries {
		fmt.Fprintf(&out, "/%s %c %04o %s%s\n", e.Path, e.Type, e.Mode, e.Content, e.Link)
	}
	return out.String()
}

const wantTree = `/ d 0755 
/a d 0755 
/a/run f 0755 program
/a/to l 0777 ../data
/a-b f 0644 beside
/data f 0644 text
`

// write makes the tree of wantTree, with other modes and times and in another order
// each time.
func write(t *testing.T, perm os.FileMode, backwards bool) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "src")
	steps := []func() error{
		func() error { return os.WriteFile(filepath.Join(dir, "a/run"), []byte("program"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(dir, "data"), []byte("text"), 0o600) },
		func() error { return os.WriteFile(filepath.Join(dir, "a-b"), []byte("beside"), 0o600) },
		func() error { return os.Symlink("../data", filepath.Join(dir, "a/to")) },
	}
	if err := os.MkdirAll(filepath.Join(dir, "a"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range steps {
		if backwards {
			i = len(steps) - 1 - i
		}
		if err := steps[i](); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"a": 0o755 & perm, "a/run": 0o755 & perm, "data": 0o644 & perm, "a-b": 0o666 & perm} {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.Chmod(at, mode), os.Chtimes(at, time.Time{}, time.Unix(int64(perm)*1000, 0))); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestSameWhateverTheMachine(t *testing.T) {
	first, err := Open(write(t, 0o777, false), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := dump(first); got != wantTree {
		t.Fatalf("found\n%sexpected\n%s", got, wantTree)
	}
	second, err := Open(write(t, 0o700, true), Options{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseArchive(first.Archive(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []*Tree{second, again} {
		if other.Digest() != first.Digest() || !bytes.Equal(other.Archive(), first.Archive()) {
			t.Errorf("found\n%s", dump(other))
		}
	}
	if first.Size() != int64(len("program")+len("text")+len("beside")) {
		t.Error(first.Size())
	}
}

func TestHardLinksAreFiles(t *testing.T) {
	dir := write(t, 0o777, false)
	if err := os.Link(filepath.Join(dir, "data"), filepath.Join(dir, "linked")); err != nil {
		t.Fatal(err)
	}
	linked, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(filepath.Join(dir, "linked")), os.WriteFile(filepath.Join(dir, "linked"), []byte("text"), 0o644)); err != nil {
		t.Fatal(err)
	}
	copied, err := Open(dir, Options{})
	if err != nil || copied.Digest() != linked.Digest() {
		t.Fatal(err, dump(copied))
	}
}

func TestSetuidOnRequest(t *testing.T) {
	dir := write(t, 0o777, false)
	if err := os.Chmod(filepath.Join(dir, "a/run"), 0o755|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	for keep, want := range map[bool]uint32{false: 0o755, true: 0o4755} {
		tree, err := Open(dir, Options{KeepSetuid: keep})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range tree.Entries {
			if e.Path == "a/run" && e.Mode != want {
				t.Errorf("keep %v: found %o", keep, e.Mode)
			}
		}
	}
}

func TestExclude(t *testing.T) {
	for _, test := range []struct {
		pattern, path string
		want          bool
	}{
		{"*.pyc", "a/b/x.pyc", true},
		{"*.pyc", "x.py", false},
		{"a/*.pyc", "a/b/x.pyc", false},
		{"a/**/x", "a/x", true},
		{"a/**/x", "a/b/c/x", true},
		{"a/**", "a", true},
		{"cache/", "a/cache/deep/file", true},
		{"**/b/c", "a/b/c", true},
		{"?", "ab", false},
	} {
		m, err := newMatcher([]string{test.pattern})
		if err != nil {
			t.Fatal(err)
		}
		if m.excludes(test.path) != test.want {
			t.Errorf("%s %s: expected %v", test.pattern, test.path, test.want)
		}
	}
	for _, bad := range []string{"", "/a", "../a", "a//b", "[", ".", "./a"} {
		if CheckPattern(bad) == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
	tree, err := Open(write(t, 0o777, false), Options{Exclude: []string{"a"}})
	if err != nil || dump(tree) != "/ d 0755 \n/a-b f 0644 beside\n/data f 0644 text\n" {
		t.Error(err, dump(tree))
	}
}

// pack makes a tar of headers; regular files hold their own name.
func pack(t testing.TB, list ...tar.Header) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range list {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestReadArchive(t *testing.T) {
	plain := pack(t,
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
		tar.Header{Name: "./z/run", Typeflag: tar.TypeReg, Mode: 0o4711, Uid: 1000},
		tar.Header{Name: "link", Typeflag: tar.TypeLink, Linkname: "z/run"},
		tar.Header{Name: "to", Typeflag: tar.TypeSymlink, Linkname: "z"})
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(plain); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{plain, zipped.Bytes()} {
		tree, err := ReadArchive(bytes.NewReader(b), Options{})
		if err != nil {
			t.Fatal(err)
		}
		const want = "/ d 0755 \n/link f 0755 ./z/run\n/to l 0777 z\n/z d 0755 \n/z/run f 0755 ./z/run\n"
		if got := dump(tree); got != want {
			t.Errorf("found\n%s", got)
		}
	}
}

func TestRefused(t *testing.T) {
	file := tar.Header{Name: "a", Typeflag: tar.TypeReg, Mode: 0o644}
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"name upwards":     {pack(t, tar.Header{Name: "a/../../b", Typeflag: tar.TypeReg}), "a/../../b: name: leads out of the tree"},
		"absolute name":    {pack(t, tar.Header{Name: "/b", Typeflag: tar.TypeReg}), "b: name: leads out of the tree"},
		"link upwards":     {pack(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "../x"}), `l: symbolic link to "../x": leads out of the tree`},
		"absolute link":    {pack(t, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "/etc"}), `l: symbolic link to "/etc": leads out of the tree`},
		"device":           {pack(t, tar.Header{Name: "d", Typeflag: tar.TypeChar}), "d: type '3': expected files, directories and symbolic links only"},
		"hard link to dir": {pack(t, tar.Header{Name: "d", Typeflag: tar.TypeDir}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "d"}), `l: hard link to "d": not a file that stands before it`},
		"below a file":     {pack(t, file, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}), "a: expected a directory: a/b is below it"},
		"below a link":     {pack(t, tar.Header{Name: "a", Typeflag: tar.TypeSymlink, Linkname: "x"}, tar.Header{Name: "a/b", Typeflag: tar.TypeReg}), "a: expected a directory: a/b is below it"},
		"twice":            {pack(t, file, tar.Header{Name: "a", Typeflag: tar.TypeDir}), "a: found both as a directory and as something else"},
		"cut short":        {pack(t, file)[:512], "a: unexpected EOF"},
		"no archive":       {bytes.Repeat([]byte("x"), 2048), "archive: archive/tar: invalid tar header"},
	} {
		_, err := ReadArchive(bytes.NewReader(test.archive), Options{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: found %v, expected %s", name, err, test.want)
		}
	}
}

func TestLimits(t *testing.T) {
	big := pack(t, tar.Header{Name: "0123456789", Typeflag: tar.TypeReg}, tar.Header{Name: "l", Typeflag: tar.TypeLink, Linkname: "0123456789"})
	if _, err := ReadArchive(bytes.NewReader(big), Options{MaxSize: 19}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := ReadArchive(bytes.NewReader(big), Options{MaxSize: 20}); err != nil {
		t.Error(err)
	}
	if _, err := Open(write(t, 0o777, false), Options{MaxSize: 3}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := Open(dir, Options{}); !errors.Is(err, ErrType) || !strings.HasPrefix(err.Error(), "socket: socket: ") {
		t.Error(err)
	}
	if _, err := Open(filepath.Join(dir, "none"), Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(os.DevNull, Options{}); !errors.Is(err, ErrType) {
		t.Error(err)
	}
}

func TestOneFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "app.jar")
	if err := os.WriteFile(name, []byte("PK"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, err := Open(name, Options{})
	if err != nil || dump(tree) != "/ f 0644 PK\n" {
		t.Fatal(err, dump(tree))
	}
	again, err := ParseArchive(tree.Archive(), Options{})
	if err != nil || again.Digest() != tree.Digest() || again.Entries[0].Name("/opt/app.jar") != "opt/app.jar" {
		t.Error(err)
	}
}

// FuzzReadArchive: whatever is read stays within its tree, and is read again as the
// same.
func FuzzReadArchive(f *testing.F) {
	f.Add(pack(f, tar.Header{Name: "a/b", Typeflag: tar.TypeReg, Mode: 0o755}, tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"}))
	f.Add(pack(f, tar.Header{Name: "a", Typeflag: tar.TypeReg}, tar.Header{Name: "b", Typeflag: tar.TypeLink, Linkname: "a"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		o := Options{MaxSize: 1 << 20}
		tree, err := ReadArchive(bytes.NewReader(b), o)
		if err != nil {
			return
		}
		for _, e := range tree.Entries {
			if e.Path != "" && !filepath.IsLocal(e.Path) {
				t.Errorf("%q", e.Path)
			}
			if e.Type == apk.TypeSymlink && !filepath.IsLocal(filepath.Join(filepath.Dir(e.Path), e.Link)) {
				t.Errorf("%q -> %q", e.Path, e.Link)
			}
		}
		again, err := ParseArchive(tree.Archive(), o)
		if err != nil || again.Digest() != tree.Digest() {
			t.Fatalf("read again: %v", err)
		}
	})
}

func TestDamagedGzip(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	if _, err := z.Write(pack(t, tar.Header{Name: "a", Typeflag: tar.TypeReg})); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	b := zipped.Bytes()
	b[len(b)-6] ^= 1 // of the checksum
	if _, err := ReadArchive(bytes.NewReader(b), Options{}); !errors.Is(err, gzip.ErrChecksum) {
		t.Error(err)
	}
}
