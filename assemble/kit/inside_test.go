package kit

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// TestFilesOfAKit behave as files do, and there are no others.
func TestFilesOfAKit(t *testing.T) {
	open := openFrom([]File{{Name: Name{Path: "conf/image.yaml"}, Bytes: []byte("hello")}, {Name: Name{Path: "empty"}}})
	f, err := open("conf/image.yaml")
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil || info.Name() != "image.yaml" || info.Size() != 5 || info.IsDir() || !info.Mode().IsRegular() || !info.ModTime().IsZero() || info.Sys() != nil {
		t.Errorf("%+v, %v", info, err)
	}
	if b, err := io.ReadAll(f); err != nil || string(b) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"image.yaml", "conf", "./conf/image.yaml", "/etc/passwd", ""} {
		f, err := open(name)
		var path *fs.PathError
		if f != nil || !errors.Is(err, fs.ErrNotExist) || !errors.As(err, &path) || path.Path != name {
			t.Errorf("%q: %v, %v", name, f, err)
		}
	}
	if f, err := open("empty"); err != nil {
		t.Error(err)
	} else if b, err := io.ReadAll(f); err != nil || len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
}

// TestMembers reads archives of regular files, within a limit.
func TestMembers(t *testing.T) {
	archive := func(files fstest.MapFS) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		if err := errors.Join(w.AddFS(files), w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	two := archive(fstest.MapFS{"a": {Data: []byte("first")}, "b": {Data: bytes.Repeat([]byte("x"), 3000)}})
	list, err := members(bytes.NewReader(two), 1<<20)
	if err != nil || len(list) != 2 || list[0].name != "a" || string(list[0].b) != "first" || len(list[1].b) != 3000 {
		t.Errorf("%+v, %v", list, err)
	}
	link := func() []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: "l", Typeflag: tar.TypeSymlink, Linkname: "a"}), w.Close()); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}()
	for _, c := range []struct {
		name  string
		b     []byte
		limit int64
		want  string
	}{
		{"directory", archive(fstest.MapFS{"d/a": {Data: []byte("x")}}), 1 << 20, `"d/": expected regular files only`},
		{"symbolic link", link, 1 << 20, `"l": expected regular files only`},
		{"twice", append(bytes.Clone(two[:1024]), two...), 1 << 20, `"a" stands twice`},
		{"content over the limit", two, 2999, "larger than 2999 bytes"},
		{"archive over the limit", two, 4000, "larger than 4000 bytes"},
		{"header cut short", two[:100], 1 << 20, "cut short: unexpected EOF"},
		{"content cut short", two[:2000], 1 << 20, `"b": cut short: unexpected EOF`},
		{"no archive", []byte(strings.Repeat("hello, this is no archive. ", 40)), 1 << 20, "archive/tar: invalid tar header"},
	} {
		if list, err := members(bytes.NewReader(c.b), c.limit); err == nil || list != nil || err.Error() != c.want {
			t.Errorf("%s: %v, %v, expected %s", c.name, list, err, c.want)
		}
	}
}
