package store

import (
	"archive/tar"
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// block is a ustar header with a right checksum; edit changes it before that.
func block(name string, flag byte, size int64, edit ...func(b []byte)) []byte {
	b := make([]byte, blockSize)
	copy(b, name)
	copy(b[100:], "0000644\x00")
	copy(b[108:], "0000000\x00")
	copy(b[116:], "0000000\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", size))
	copy(b[136:], "00000000000\x00")
	b[156] = flag
	copy(b[257:], "ustar\x0000")
	for _, f := range edit {
		f(b)
	}
	copy(b[148:], "        ")
	copy(b[148:], fmt.Sprintf("%06o\x00", headerSum(b)))
	return b
}

func link(target string) func([]byte) { return func(b []byte) { copy(b[157:257], target) } }

func put(at int, text string) func([]byte) { return func(b []byte) { copy(b[at:], text) } }

// padded is content with its padding.
func padded(s string) []byte { return append([]byte(s), make([]byte, -len(s)&511)...) }

func file(name, content string) []byte {
	return append(block(name, '0', int64(len(content))), padded(content)...)
}

func record(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

func pax(flag byte, records ...string) []byte {
	text := strings.Join(records, "")
	return append(block("PaxHeader", flag, int64(len(text))), padded(text)...)
}

func archive(parts ...[]byte) []byte {
	return append(bytes.Join(parts, nil), make([]byte, 1024)...)
}

func root(mode string) []byte { return block("./", '5', 0, put(100, mode)) }

func dir(name string) []byte { return block(name, '5', 0) }

// hostileArchives are refused, with the reason after "refused: ".
var hostileArchives = []struct {
	name   string
	tar    []byte
	member string
	reason string
}{
	{"absolute path", archive(file("/etc/passwd", "x")), "/etc/passwd", "absolute path"},
	{"path escape", archive(file("../etc/passwd", "x")), "../etc/passwd", `".." in the path`},
	{"path escape inside", archive(file("usr/../../etc/passwd", "x")), "usr/../../etc/passwd", `".." in the path`},
	{"path escape at the end", archive(dir("usr/..")), "usr/..", `".." in the path`},
	{"double slash", archive(file("usr//bin", "x")), "usr//bin", `empty or "." component in the path`},
	{"dot component", archive(file("usr/./bin", "x")), "usr/./bin", `empty or "." component in the path`},
	{"newline", archive(file("usr/a\nb", "x")), "usr/a\nb", "control character 0x0a in the path"},
	{"delete character", archive(file("usr/a\x7fb", "x")), "usr/a\x7fb", "control character 0x7f in the path"},
	{"nul by pax", archive(pax('x', record("path", "a\x00b")), file("a", "x")), "", `pax record path is "a\x00b"`},
	{"long component", archive(pax('x', record("path", strings.Repeat("a", 256))), file("a", "x")), strings.Repeat("a", 256), "path component of 256 bytes, at most 255 are possible"},
	{"long path", archive(pax('x', record("path", strings.Repeat("abc/", 1024)+"x")), file("a", "x")), strings.Repeat("abc/", 1024) + "x", "path of 4097 bytes, at most 4095 are possible"},
	{"no name", archive(block("", '0', 0, put(257, "ustar\x0000"))), "", "the root as a member that is not a directory"},
	{"root as a symlink", archive(block("./", '2', 0, link("/tmp"))), "./", "the root as a member that is not a directory"},

	{"through an own symlink", archive(block("lib", '2', 0, link("/etc")), file("lib/passwd", "x")), "lib/passwd", `lies below "lib", which is not a directory in this package`},
	{"through a symlink further up", archive(block("a", '2', 0, link("..")), dir("a/b/c")), "a/b/c", `lies below "a", which is not a directory in this package`},
	{"below a file", archive(file("a", "x"), file("a/b", "x")), "a/b", `lies below "a", which is not a directory in this package`},
	{"symlink over a directory in use", archive(file("a/b", "x"), block("a", '2', 0, link("/etc"))), "a", "not a directory, but earlier members lie below it"},
	{"symlink without target", archive(block("a", '2', 0)), "a", "symlink without a target"},
	{"newline in a target", archive(block("a", '2', 0, link("b\nc"))), "a", "control character 0x0a in the symlink target"},
	{"long target", archive(pax('x', record("linkpath", strings.Repeat("b", 5000))), block("a", '2', 0)), "a", "symlink target of 5000 bytes, at most 4095 are possible"},

	{"file twice", archive(file("a", "x"), file("a", "y")), "a", "the path appears twice"},
	{"file twice, alike", archive(file("a", "x"), file("a", "x")), "a", "the path appears twice"},
	{"file twice, other spelling", archive(file("a", "x"), file("./a", "x")), "./a", "the path appears twice"},
	{"directory, then file", archive(dir("a"), file("a", "x")), "a", "the path appears twice"},
	{"two directories, other mode", archive(dir("a"), block("a", '5', 0, put(100, "0000700"))), "a", "the path appears twice"},

	{"hard link to nothing", archive(block("a", '1', 0, link("b"))), "a", `hard link to "b", which is not an earlier member of this package`},
	{"hard link to a later member", archive(block("a", '1', 0, link("b")), file("b", "x")), "a", `hard link to "b", which is not an earlier member of this package`},
	{"hard link to itself", archive(block("a", '1', 0, link("a"))), "a", `hard link to "a", which is not an earlier member of this package`},
	{"hard link outside", archive(block("a", '1', 0, link("../../etc/shadow"))), "a", `hard link to "../../etc/shadow": ".." in the path`},
	{"absolute hard link", archive(block("a", '1', 0, link("/etc/shadow"))), "a", `hard link to "/etc/shadow": absolute path`},
	{"hard link to a directory", archive(dir("d"), block("a", '1', 0, link("d"))), "a", `hard link to "d", which is not a regular file`},
	{"hard link to a symlink", archive(block("s", '2', 0, link("/etc/shadow")), block("a", '1', 0, link("s"))), "a", `hard link to "s", which is not a regular file`},
	{"hard link to an implied directory", archive(file("d/x", ""), block("a", '1', 0, link("d"))), "a", `hard link to "d", which is not an earlier member of this package`},
	{"hard link with content", archive(file("b", "x"), block("a", '1', 512, link("b"))), "a", "content of 512 bytes in a member that is not a regular file"},

	{"directory with content", archive(block("a", '5', 512)), "a", "content of 512 bytes in a member that is not a regular file"},
	{"huge size", archive(block("a", '0', 0, put(124, "\x80\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff"))), "a", "size 72057594037927935, at most 17179869184 are allowed"},
	{"size out of range", archive(block("a", '0', 0, put(124, "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"))), "", `at byte 0 of the archive: number "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" in the header`},
	{"negative size", archive(block("a", '0', 0, put(124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"))), "a", "size -256"},
	{"huge size by pax", archive(pax('x', record("size", "99999999999999")), block("a", '0', 0)), "a", "size 99999999999999, at most 17179869184 are allowed"},
	{"negative size by pax", archive(pax('x', record("size", "-1")), block("a", '0', 0)), "", `pax record size is "-1"`},
	{"bad octal", archive(block("a", '0', 0, put(124, "0000000009\x00"))), "", `at byte 0 of the archive: number "0000000009\x00\x00" in the header`},
	{"owner out of range", archive(pax('x', record("uid", "4294967295")), file("a", "")), "a", "owner 4294967295:0"},
	{"control character in the owner", archive(block("a", '5', 0, put(265, "ro\not"))), "a", `owner "ro\not", group ""`},
	{"device number out of range", archive(block("a", '3', 0, put(329, "\x80\x00\x00\xff\xff\xff\xff\xff"))), "a", "device number 1099511627775:0"},
	{"directory's name for a file", archive(file("a/", "x")), "a/", "regular file with a directory's name"},

	{"pax bomb", archive(block("x", 'x', 1<<20+1)), "", "extended header of 1048577 bytes, at most 1048576 are allowed"},
	{"global pax bomb", archive(block("x", 'g', 1<<40-1, put(124, "\x80\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\xff"))), "", "extended header of 1099511627775 bytes, at most 1048576 are allowed"},
	{"long name bomb", archive(block("x", 'L', 1<<21)), "", "extended header of 2097152 bytes, at most 1048576 are allowed"},
	{"pax length lies", archive(pax('x', "99 path=a\n"), file("a", "")), "", `malformed pax record "99 path=a\n"`},
	{"pax length too short", archive(pax('x', "3 path=a\n"), file("a", "")), "", `malformed pax record "3 path=a\n"`},
	{"pax without value", archive(pax('x', "7 path\n"), file("a", "")), "", `malformed pax record "7 path\n"`},
	{"pax without key", archive(pax('x', "7 =path\n\n"), file("a", "")), "", `malformed pax record "7 =path\n\n"`},
	{"pax record twice", archive(pax('x', record("path", "a"), record("path", "b")), file("c", "")), "", `pax record "path" appears twice`},
	{"pax mtime", archive(pax('x', record("mtime", "soon")), file("a", "")), "", `pax record mtime is "soon"`},
	{"pax checksum", archive(pax('x', record(paxChecksum, "12")), file("a", "")), "", `APK-TOOLS.checksum.SHA1 is "12", expected 40 hexadecimal digits`},
	{"empty path by pax", archive(pax('x', record("path", "")), file("a", "")), "", `pax record path is ""`},
	{"two pax headers", archive(pax('x', record("path", "a")), pax('x', record("path", "b")), file("c", "")), "", "two extended headers for one member"},
	{"pax and gnu", archive(pax('x', record("path", "a")), append(block("L", 'L', 2), padded("b\x00")...), file("c", "")), "", "two extended headers for one member"},
	{"two long names", archive(append(block("L", 'L', 2), padded("b\x00")...), append(block("L", 'L', 2), padded("b\x00")...), file("c", "")), "", "two extended headers for one member"},
	{"pax without member", archive(pax('x', record("path", "a"))), "", "extended header without a member after it"},
	{"global header after pax", archive(pax('x', record("path", "a")), pax('g', record("comment", "c")), file("a", "")), "", "global header between an extended header and its member"},
	{"global path", archive(pax('g', record("path", "a")), file("b", "")), "", `global pax header with "path"`},
	{"sparse by pax", archive(pax('x', record("GNU.sparse.major", "1")), file("a", "")), "", "sparse file"},
	{"sparse of old GNU", archive(block("a", 'S', 0)), "a", "unsupported member type 'S'"},
	{"contiguous file", archive(block("a", '7', 0)), "a", "unsupported member type '7'"},
	{"member type nul", archive(block("a", 0, 0)), "a", `unsupported member type '\x00'`},
	{"volume label", archive(block("a", 'V', 0)), "a", "unsupported member type 'V'"},
	{"attribute without name", archive(pax('x', record("SCHILY.xattr.", "v")), file("a", "")), "", `extended attribute name ""`},
	{"overlay attribute", archive(pax('x', record("SCHILY.xattr.trusted.overlay.opaque", "y")), dir("a")), "", "extended attribute trusted.overlay.opaque, which steers overlay file systems"},
	{"user overlay attribute", archive(pax('x', record("SCHILY.xattr.user.overlay.whiteout", "y")), dir("a")), "", "extended attribute user.overlay.whiteout, which steers overlay file systems"},

	{"no tar", []byte(strings.Repeat("hello, this is no tar at all. ", 100)), "", "at byte 0 of the archive: not a ustar or GNU header"},
	{"v7 tar", archive(block("a", '0', 0, put(257, "\x00\x00\x00\x00\x00\x00\x00\x00"))), "", "at byte 0 of the archive: not a ustar or GNU header"},
	{"header checksum", archive(file("a", ""), append([]byte("b"), file("a", "")[1:]...)), "", "at byte 512 of the archive: header checksum is 3135, the header says 3134"},
	{"incremental GNU header", archive(block("a", '0', 0, put(257, "ustar  \x00"), put(345, "00000000001"))), "", "at byte 0 of the archive: old GNU or star header with extra fields"},
	{"star header", archive(block("a", '0', 0, put(508, "tar\x00"))), "", "at byte 0 of the archive: old GNU or star header with extra fields"},
	{"zero block between members", archive(file("a", ""), make([]byte, 512), file("b", "")), "", "zero block between members"},
}

func TestHostileArchives(t *testing.T) {
	st := openTemp(t)
	for _, c := range hostileArchives {
		t.Run(c.name, func(t *testing.T) {
			raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: "evil", Version: "1-r0"}, RawTar: c.tar})
			_, err := try(t, st, raw)
			var h *HostileError
			if !errors.As(err, &h) || !errors.Is(err, ErrHostile) {
				t.Fatalf("error %v, want a HostileError", err)
			}
			if h.Package != "evil-1-r0" || h.Member != c.member || h.Reason != c.reason {
				t.Errorf("package %q, member %q, reason %q\nwant member %q, reason %q", h.Package, h.Member, h.Reason, c.member, c.reason)
			}
		})
	}
	if left := files(t, st); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestHostileErrorText(t *testing.T) {
	for _, c := range []struct {
		err  *HostileError
		want string
	}{
		{&HostileError{Package: "a-1", Member: "../x", Reason: "why"}, `package a-1: refused: member "../x": why`},
		{&HostileError{Package: "a-1", Reason: "why"}, "package a-1: refused: why"},
		{&HostileError{Reason: "why"}, "refused: why"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func TestLimits(t *testing.T) {
	many := func(n int) []byte {
		var parts [][]byte
		for i := range n {
			parts = append(parts, dir(fmt.Sprintf("d%04d", i)))
		}
		return archive(parts...)
	}
	zeros := archive(append(block("zeros", '0', 300<<20), make([]byte, 300<<20)...))
	for _, c := range []struct {
		name   string
		limits Limits
		tar    []byte
		want   string
	}{
		{"members", Limits{Entries: 10}, many(11), "package evil-1-r0: refused: more than 10 members"},
		{"metadata", Limits{Metadata: 100}, many(30), "package evil-1-r0: refused: names and attributes take more than 100 bytes"},
		{"one file", Limits{DataInflated: 5000}, archive(block("a", '0', 6000)), `package evil-1-r0: refused: member "a": size 6000, at most 5000 are allowed`},
		{"inflated", Limits{DataInflated: 1 << 20}, archive(make([]byte, 2<<20)), "package evil-1-r0: refused: data section inflates to more than 1048576 bytes"},
		{"ratio", Limits{}, zeros, "package evil-1-r0: refused: data section inflates to more than 500 times its size"},
		{"file", Limits{File: 200}, many(40), "package evil-1-r0: refused: file of more than 200 bytes"},
	} {
		st := openAt(t, t.TempDir(), Options{Limits: c.limits})
		raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: "evil", Version: "1-r0"}, RawTar: c.tar})
		_, err := try(t, st, raw)
		t.Run(c.name, func(t *testing.T) { wantError(t, err, ErrHostile, c.want) })
		if left := files(t, st); len(left) > 0 {
			t.Errorf("%s: left behind: %q", c.name, left)
		}
	}
	st := openAt(t, t.TempDir(), Options{Limits: Limits{Ratio: -1}})
	raw := apktest.Build(apktest.Spec{Package: apk.Package{Name: "zeros", Version: "1-r0"}, RawTar: zeros})
	if _, err := try(t, st, raw); err != nil {
		t.Errorf("without a limit of the ratio: %v", err)
	}
}

func TestMalformed(t *testing.T) {
	spec := sample("m")
	spec.Sign = apktest.NewKey("test.rsa.pub")
	raw, p := apktest.BuildEntry(spec)
	ends := func(tar []byte) []byte {
		return apktest.Build(apktest.Spec{Package: apk.Package{Name: "m", Version: "1.0-r0"}, RawTar: tar})
	}
	data := func(b []byte) []byte {
		return apktest.Build(apktest.Spec{Package: apk.Package{Name: "m", Version: "1.0-r0"}, RawData: b})
	}
	good := apktest.Gzip(archive(file("a", "content")))
	for _, c := range []struct {
		name string
		raw  []byte
		kind error
		want string
	}{
		{"tar ends in a header", ends(file("a", "")[:300]), ErrMalformed, "package m-1.0-r0: data section: the archive ends early, at byte 300"},
		{"tar ends in a file", ends(append(block("a", '0', 2000), make([]byte, 600)...)), ErrMalformed, "package m-1.0-r0: data section: the archive ends early, at byte 1112"},
		{"tar ends in padding", ends(file("a", "xyz")[:515]), ErrMalformed, "package m-1.0-r0: data section: the archive ends early, at byte 515"},
		{"tar ends in a pax header", ends(pax('x', record("path", "a"))[:520]), ErrMalformed, "package m-1.0-r0: data section: the archive ends early, at byte 520"},
		{"gzip cut short", data(good[:len(good)-9]), ErrMalformed, "package m-1.0-r0: data section: gzip: unexpected EOF"},
		{"gzip trailer cut short", data(good[:len(good)-1]), ErrMalformed, "package m-1.0-r0: data section: gzip: unexpected EOF"},
		{"trailing garbage", data(append(bytes.Clone(good), "garbage"...)), ErrMalformed, "package m-1.0-r0: data section: bytes that are not gzip after the compressed data"},
		{"trailing zeros", data(append(bytes.Clone(good), make([]byte, 100)...)), ErrMalformed, "package m-1.0-r0: data section: bytes that are not gzip after the compressed data"},
		{"not gzip", data([]byte("\x28\xb5\x2f\xfd zstd, as it were")), ErrMalformed, "package m-1.0-r0: data section: not gzip: it begins with b528, method 47, flags 0xfd"},
		{"no data section", data([]byte{}), ErrMalformed, "package m-1.0-r0: no data section"},
	} {
		st := openTemp(t)
		_, err := try(t, st, c.raw)
		t.Run(c.name, func(t *testing.T) { wantError(t, err, c.kind, c.want) })
		if left := files(t, st); len(left) > 0 {
			t.Errorf("%s: left behind: %q", c.name, left)
		}
	}
	// Cut anywhere, a package is never accepted.
	st := openTemp(t)
	for n := 0; n < len(raw); n += 1 + len(raw)/150 {
		_, err := st.Ingest(t.Context(), bytes.NewReader(raw[:n]), Expect{Checksum: p.Checksum})
		if err == nil {
			t.Fatalf("%d bytes of %d: accepted", n, len(raw))
		}
		if n < 40 && !errors.Is(err, apk.ErrNotPackage) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if left := files(t, st); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// What is unusual but harmless is taken, with the reason why the data section
// cannot be a layer as it is.
func TestVerbatim(t *testing.T) {
	for _, c := range []struct {
		name string
		tar  []byte
		want string
	}{
		{"plain", archive(dir("a"), file("a/b", "x")), ""},
		{"leading dots and trailing slashes", archive(root("0000755"), dir("./a/"), file("./a/b", "x")), ""},
		{"padded to a record", append(archive(file("a", "x")), make([]byte, 8192)...), ""},
		{"comment", archive(pax('g', record("comment", "of git archive")), file("a", "x")), "global pax header"},
		{"no end", file("a", "x"), "no end-of-archive"},
		{"half an end", append(file("a", "x"), make([]byte, 512)...), "half an end-of-archive"},
		{"ends within a block", append(archive(file("a", "x")), make([]byte, 100)...), "the archive ends within a block"},
		{"bytes behind", append(archive(file("a", "x")), "behind"...), "bytes after the end of the archive"},
		{"dot-file", archive(file(".dummy", "")), "dot-file in the root: .dummy"},
		{"dot-file further down", archive(file("root/.profile", "")), ""},
		{"whiteout", archive(file("etc/.wh.passwd", "")), "whiteout name etc/.wh.passwd"},
		{"opaque", archive(file("etc/.wh..wh..opq", "")), "whiteout name etc/.wh..wh..opq"},
		{"character device", archive(block("dev/null", '3', 0, put(329, "0000001"), put(337, "0000003"))), "device node dev/null"},
		{"block device", archive(block("dev/sda", '4', 0)), "device node dev/sda"},
		{"fifo", archive(block("run/fifo", '6', 0)), ""},
		{"root entry", archive(root("0000700")), "entry for the root directory with mode 0700, owner 0:0"},
		{"first reason counts", archive(file(".x", ""), block("dev/sda", '4', 0)), "dot-file in the root: .x"},
	} {
		st := openTemp(t)
		r, err := try(t, st, apktest.Build(apktest.Spec{Package: apk.Package{Name: "v", Version: "1-r0"}, RawTar: c.tar}))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if c.name == "leading dots and trailing slashes" {
			if len(r.Entries) != 2 || r.Entries[0].Path != "a" || r.Entries[1].Path != "a/b" {
				t.Errorf("%s: entries %+v", c.name, r.Entries)
			}
		}
		if r.Verbatim != c.want {
			t.Errorf("%s: %q, want %q", c.name, r.Verbatim, c.want)
		}
	}
}

func TestDirectoryTwiceAlikeIsOneEntry(t *testing.T) {
	st := openTemp(t)
	r, err := try(t, st, apktest.Build(apktest.Spec{Package: apk.Package{Name: "v", Version: "1-r0"}, RawTar: archive(dir("a"), dir("a/"), file("a/b", "x"))}))
	if err != nil || len(r.Entries) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestDeclaredChecksums(t *testing.T) {
	st := openTemp(t)
	spec := sample("sums")
	spec.WrongChecksums = true
	_, err := try(t, st, apktest.Build(spec))
	var m *MismatchError
	if !errors.As(err, &m) || m.What != "sha1 of etc/passwd" {
		t.Errorf("error %v", err)
	}
	spec = sample("sums")
	spec.Files = []apktest.File{{Path: "l", Type: apk.TypeSymlink, Link: "target", Checksum: hex.EncodeToString(make([]byte, 19)) + "01"}}
	_, err = try(t, st, apktest.Build(spec))
	wantError(t, err, ErrMismatch, "package sums-1.0-r0: sha1 of the symlink target of l is 0e8a3ad980ec179856012b7eecf4327e99cd44cd, expected 0000000000000000000000000000000000000001")
	spec = sample("sums")
	spec.OmitChecksums = true
	r, err := try(t, st, apktest.Build(spec))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Entries {
		if e.Path == "etc/passwd" && e.SHA1 != sha1.Sum(r.Contents["etc/passwd"]) {
			t.Errorf("computed checksum %s", e.SHA1.Hex())
		}
	}
}

// FuzzScan feeds archives in random pieces; what the scanner accepts must mean
// the same to archive/tar.
func FuzzScan(f *testing.F) {
	for _, c := range hostileArchives {
		if len(c.tar) < 10_000 {
			f.Add(c.tar, uint16(512))
		}
	}
	f.Add(archive(dir("a"), file("a/b", "hello"), block("a/c", '1', 0, link("a/b")), block("s", '2', 0, link("t"))), uint16(100))
	f.Add(archive(pax('x', record("path", "long"), record("mtime", "-1.5"), record("uid", "77"), record("SCHILY.xattr.user.x", "y")), file("a", "hello")), uint16(7))
	f.Add(archive(append(block("L", 'L', 4), padded("abc\x00")...), append(block("K", 'K', 4), padded("def\x00")...), block("x", '2', 0)), uint16(1))
	f.Fuzz(func(t *testing.T, archive []byte, piece uint16) {
		s := newScanner("fuzz-1", Limits{DataInflated: 1 << 30}.withDefaults())
		for b := archive; len(b) > 0; {
			n := min(len(b), int(piece)+1)
			if _, err := s.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
		if s.finish() != nil {
			return
		}
		compareEntries(t, archive, s)
	})
}

// compareEntries checks the scanner's entries against archive/tar's reading.
func compareEntries(t *testing.T, archive []byte, s *scanner) {
	t.Helper()
	in := bytes.NewReader(archive)
	tr := tar.NewReader(in)
	tr2 := s.entries
	for {
		h, err := tr.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("archive/tar: %v", err)
		}
		name, err := cleanName(h.Name)
		if err != nil {
			t.Fatalf("archive/tar has the name %q: %v", h.Name, err)
		}
		if h.Typeflag == tar.TypeXGlobalHeader || name == "" {
			continue
		}
		if len(tr2) == 0 || tr2[0].Path != name {
			if h.Typeflag == tar.TypeDir {
				continue // a directory that stands twice
			}
			t.Fatalf("archive/tar has %q more", name)
		}
		e := tr2[0]
		tr2 = tr2[1:]
		if e.UID != h.Uid || e.GID != h.Gid || int64(e.Mode) != h.Mode&0o7777 || e.Size != h.Size || e.Uname != h.Uname || e.Gname != h.Gname {
			t.Fatalf("entry %+v\narchive/tar %+v", e, h)
		}
		if got := h.ModTime.Unix(); e.MTime != got && h.ModTime.After(time.Unix(-1<<40, 0)) {
			t.Fatalf("%s: time %d, archive/tar says %d", name, e.MTime, got)
		}
		if e.Type == apk.TypeSymlink && e.Link != h.Linkname {
			t.Fatalf("%s: target %q, archive/tar says %q", name, e.Link, h.Linkname)
		}
		if e.Type == apk.TypeFile {
			if at := int64(len(archive)) - int64(in.Len()); at != e.DataOffset {
				t.Fatalf("%s: data at %d, archive/tar says %d", name, e.DataOffset, at)
			}
		}
	}
	if len(tr2) > 0 {
		t.Fatalf("archive/tar does not have %q", tr2[0].Path)
	}
}
