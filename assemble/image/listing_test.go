package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/cairn-dev/cairn/packages/apk"
)

// tarLayer is a layer that is not compressed.
func tarLayer(b []byte) v1.Layer {
	return plainLayer{static.NewLayer(b, types.OCIUncompressedLayer), b}
}

type plainLayer struct {
	v1.Layer
	b []byte
}

func (p plainLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(p.b)), nil
}

// plainTar makes a tar of headers; a regular file's content is its Linkname.
func plainTar(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content, h.Linkname = h.Linkname, ""
			h.Size = int64(len(content))
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

func file(name, content string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Linkname: content}
}
func dir(name string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o750, Uid: 7}
}
func symlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to, Mode: 0o777}
}
func hardlink(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
}

func list(t testing.TB, headers ...tar.Header) *Listing {
	t.Helper()
	l, err := List(t.Context(), tarLayer(plainTar(t, headers...)), nil)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestList(t *testing.T) {
	b := plainTar(t, dir("./etc/"), file("./etc/motd", "hello"), file("etc/.wh.gone", ""), file("var/.wh..wh..opq", ""), file("/abs/../etc/x", "y"))
	l, err := List(t.Context(), tarLayer(b), func(path string) bool { return path == "etc/motd" })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i := range l.Entries {
		got = append(got, fmt.Sprintf("%c %s %d", l.Entries[i].Type, l.Entries[i].Path, l.Entries[i].Size))
	}
	if want := []string{"d etc 0", "f etc/motd 5", "f etc/x 1"}; !slices.Equal(got, want) {
		t.Errorf("entries %q, expected %q", got, want)
	}
	if !slices.Equal(l.Whiteouts, []string{"etc/gone"}) || !slices.Equal(l.Opaque, []string{"var"}) {
		t.Errorf("whiteouts %q, opaque %q", l.Whiteouts, l.Opaque)
	}
	if len(l.Kept) != 1 || string(l.Kept["etc/motd"]) != "hello" || l.Inflated != 6 {
		t.Errorf("kept %q, inflated %d", l.Kept, l.Inflated)
	}
}

func TestListRefuses(t *testing.T) {
	sparse := sparseTar(t)
	long := strings.Repeat("a/", maxPath/2) + "b"
	for _, c := range []struct {
		name string
		b    []byte
		text string
	}{
		{"no tar", []byte(strings.Repeat("x", 1024)), "invalid tar header"},
		{"cut", plainTar(t, file("a", strings.Repeat("x", 2000)))[:900], "unexpected EOF"},
		{"long path", plainTar(t, file(long, "")), "longer than 4096 bytes"},
		{"long link", plainTar(t, symlink("a", long)), "longer than 4096 bytes"},
		{"sparse", sparse, `"x": a sparse file`},
		{"unknown type", plainTar(t, tar.Header{Name: "a", Typeflag: 'V'}), `a: type 'V' is not known`},
	} {
		_, err := List(t.Context(), tarLayer(c.b), nil)
		if err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: found %v, expected %q", c.name, err, c.text)
		}
	}
}

// sparseTar is an archive of a file of 60 GB in a few bytes.
func sparseTar(t *testing.T) []byte {
	t.Helper()
	records := func(kv ...string) string {
		var out string
		for i := 0; i < len(kv); i += 2 {
			line := " " + kv[i] + "=" + kv[i+1] + "\n"
			n := len(line) + 2 // two digits
			out += fmt.Sprint(n) + line
		}
		return out
	}
	b := plainTar(t, tar.Header{Name: "x", Typeflag: tar.TypeReg, Linkname: records("GNU.sparse.major", "1", "GNU.sparse.minor", "0", "GNU.sparse.realsize", "60000000000", "GNU.sparse.name", "x")})
	b[156] = 'x' // an extended header for what follows
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return append(b[:len(b)-1024], plainTar(t, file("x", "1\n0\n0\n"+strings.Repeat("\x00", 506)))...)
}

// dumpPlaced spells a tree for comparison.
func dumpPlaced(tree map[string]*Placed) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(tree)) {
		p := tree[name]
		line := fmt.Sprintf("%c %s %04o %d @%d", p.Type, p.Path, p.Mode, p.UID, p.Layer)
		switch {
		case p.HardLink != "":
			line += " = " + p.HardLink
		case p.Link != "":
			line += " -> " + p.Link
		}
		if p.Type == apk.TypeFile {
			line += fmt.Sprintf(" %d %.4s", p.Size, p.SHA256.Hex())
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func TestUnpack(t *testing.T) {
	for _, c := range []struct {
		name   string
		layers [][]tar.Header
		want   string
	}{
		{"later wins", [][]tar.Header{{file("a", "1"), file("a", "22")}, {file("a", "333")}}, "f a 0644 0 @1 3 556d"},
		{"implied directories", [][]tar.Header{{file("x/y/z", "")}}, "d x 0755 0 @-1\nd x/y 0755 0 @-1\nf x/y/z 0644 0 @0 0 e3b0"},
		{"a name that ends in a dot", [][]tar.Header{{file("x./y", "")}, {file("x./.wh.y", "")}}, "d x. 0755 0 @-1"},
		{"stated directories", [][]tar.Header{{file("x/z", "")}, {dir("x")}}, "d x 0750 7 @1\nf x/z 0644 0 @0 0 e3b0"},
		{"whiteout", [][]tar.Header{{file("a/b/c", ""), file("a/d", "")}, {file("a/.wh.b", "")}}, "d a 0755 0 @-1\nf a/d 0644 0 @0 0 e3b0"},
		{"whiteout and again", [][]tar.Header{{file("a", "1")}, {file("a", "22"), file(".wh.a", "")}}, "f a 0644 0 @1 2 785f"},
		{"opaque", [][]tar.Header{{file("a/b", ""), file("c", "")}, {file("a/n", ""), file("a/.wh..wh..opq", "")}},
			"d a 0755 0 @-1\nf a/n 0644 0 @1 0 e3b0\nf c 0644 0 @0 0 e3b0"},
		{"file for directory", [][]tar.Header{{file("a/b", "")}, {file("a", "")}}, "f a 0644 0 @1 0 e3b0"},
		{"directory for file", [][]tar.Header{{file("a", "")}, {dir("a"), file("a/b", "")}}, "d a 0750 7 @1\nf a/b 0644 0 @1 0 e3b0"},
		{"through a link", [][]tar.Header{{dir("usr/bin"), symlink("bin", "usr/bin")}, {file("bin/sh", "")}},
			"l bin 0777 0 @0 -> usr/bin\nd usr 0755 0 @-1\nd usr/bin 0750 7 @0\nf usr/bin/sh 0644 0 @1 0 e3b0"},
		{"a link out", [][]tar.Header{{symlink("a", "../../../etc")}, {file("a/x", "")}}, "l a 0777 0 @0 -> ../../../etc\nd etc 0755 0 @-1\nf etc/x 0644 0 @1 0 e3b0"},
		{"the link itself", [][]tar.Header{{dir("d"), symlink("a", "d")}, {symlink("a", "e")}}, "l a 0777 0 @1 -> e\nd d 0750 7 @0"},
		{"hard link", [][]tar.Header{{file("a", "1"), hardlink("b", "a")}, {file("a", "22")}}, "f a 0644 0 @1 2 785f\nf b 0644 0 @0 = a 1 6b86"},
		{"hard link to a symbolic one", [][]tar.Header{{symlink("a", "x"), hardlink("b", "a")}}, "l a 0777 0 @0 -> x\nl b 0777 0 @0 = a"},
	} {
		var layers []*Listing
		for _, l := range c.layers {
			layers = append(layers, list(t, l...))
		}
		tree, err := Unpack(layers)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := dumpPlaced(tree); got != c.want {
			t.Errorf("%s:\n%s\nexpected\n%s", c.name, got, c.want)
		}
	}
}

func TestUnpackRefuses(t *testing.T) {
	for _, c := range []struct {
		headers []tar.Header
		want    string
	}{
		{[]tar.Header{hardlink("a", "b")}, "layer 1: a: a hard link to b, which is no file"},
		{[]tar.Header{dir("b"), hardlink("a", "b")}, "layer 1: a: a hard link to b, which is no file"},
		{[]tar.Header{file("a", ""), hardlink("a", "a")}, "layer 1: a: a hard link to a, which is no file"},
		{[]tar.Header{symlink("a", "b"), symlink("b", "a"), file("a/x", "")}, "layer 1: a/x: too many symbolic links"},
	} {
		if _, err := Unpack([]*Listing{list(t, c.headers...)}); err == nil || err.Error() != c.want {
			t.Errorf("found %v, expected %s", err, c.want)
		}
	}
}

// Whatever a layer says, reading it ends, and every path that comes out is
// below the root, with a directory above it.
func FuzzUnpack(f *testing.F) {
	f.Add(plainTar(f, dir("a"), file("a/b", "x"), symlink("l", "a"), hardlink("h", "a/b"), file("l/c", "y")))
	f.Add(plainTar(f, file("a/.wh.b", ""), file("a/.wh..wh..opq", ""), symlink("a", "a"), file("a/x", "")))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, err := List(t.Context(), tarLayer(b), func(string) bool { return true })
		if err != nil {
			return
		}
		tree, err := Unpack([]*Listing{l, l})
		if err != nil {
			return
		}
		for name, p := range tree {
			if name != p.Path || name == "" || strings.HasPrefix(name, "/") || strings.Contains("/"+name+"/", "/../") {
				t.Errorf("path %q as %q", name, p.Path)
			}
			if i := strings.LastIndexByte(name, '/'); i > 0 && tree[name[:i]] == nil {
				t.Errorf("%q without its directory", name)
			}
		}
	})
}
