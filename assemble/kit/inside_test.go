package kit

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/lock"
	"github.com/cairn-dev/cairn/packages/store"
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

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	out, err := compress(b)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSignaturesThatAreBombs: a signature has a few hundred bytes.
func TestSignaturesThatAreBombs(t *testing.T) {
	small, large := zipped(t, make([]byte, 1024)), zipped(t, make([]byte, maxSigned))
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"none", nil, ""},
		{"one", small, ""},
		{"at the limit", large, ""},
		{"over the limit", zipped(t, make([]byte, maxSigned+1)), "signature of more than 1048576 bytes"},
		{"over the limit together", append(bytes.Clone(large), small...), "signature of more than 1048576 bytes"},
		{"cut short", small[:len(small)-3], "signature: unexpected EOF"},
		{"no gzip", []byte("hello, world"), "signature: gzip: invalid header"},
	} {
		if err := checkSignature(c.b); (err == nil) != (c.want == "") || err != nil && err.Error() != c.want {
			t.Errorf("%s: error %v, expected %s", c.name, err, c.want)
		}
	}
}

// TestControlSectionsThatAreBombs: one inflates to 9 MiB, and the kit has 20 of
// them in a few hundred kilobytes.
func TestControlSectionsThatAreBombs(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	file := apktest.Build(apktest.Spec{Package: apk.Package{Name: "a", Version: "1-r0", Arch: "x86_64"},
		Scripts: map[string]string{"post-install": strings.Repeat("\n", 9<<20)}})
	r, err := st.Ingest(t.Context(), bytes.NewReader(file), store.Expect{Unsafe: store.Unsafe{NoChecksum: true}})
	if err != nil {
		t.Fatal(err)
	}
	if n := inflatedSize(r.Control); n < 9<<20 || n > 10<<20 {
		t.Errorf("inflates to %d bytes", n)
	}
	k := &Kit{Settings: Settings{Architectures: []string{"x86_64"}}, Lock: &lock.Lock{}}
	var heads, receipts archive
	head := (&Package{Receipt: r}).Head()
	for i := range 20 {
		name := fmt.Sprintf("p%02d", i)
		k.Lock.Contents.Packages = append(k.Lock.Contents.Packages, lock.Package{Name: name, Version: "1-r0", Architecture: "x86_64", Checksum: r.Package.Checksum})
		heads.add("x86_64/"+name+"-1-r0.head", head)
		receipts.add("x86_64/"+name+"-1-r0.receipt", r.Marshal())
	}
	h, err := heads.finish()
	if err != nil {
		t.Fatal(err)
	}
	b, err := receipts.finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.parsePackages(h, zipped(t, b)); err == nil || err.Error() != "control sections of more than 134217728 bytes together" {
		t.Errorf("error %v", err)
	}
	if n := len(k.Packages); n > 16 {
		t.Errorf("%d packages were read", n)
	}
}
