package store

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// carried is the receipt of a package with members of many kinds.
func carried(t testing.TB) *Receipt {
	t.Helper()
	st, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	spec := apktest.Spec{Package: apk.Package{Name: "a", Version: "1-r0", Arch: "x86_64"}, Parents: true, Files: []apktest.File{
		{Path: "bin/a", Content: "a", Mode: 0o755, Xattrs: map[string]string{"user.x": "1"}},
		{Path: "bin/h", Type: apk.TypeHardlink, Link: "bin/a"},
		{Path: "bin/l", Type: apk.TypeSymlink, Link: "a"},
		{Path: "etc/passwd", Content: "root:x:0:0:root:/root:/bin/sh\n"},
		{Path: strings.Repeat("long/", 40) + "name", Content: "n"},
	}}
	r, err := st.Ingest(t.Context(), bytes.NewReader(apktest.Build(spec)), Expect{Unsafe: Unsafe{NoChecksum: true}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestReceiptsCanBeCarried(t *testing.T) {
	r := carried(t)
	b := r.Marshal()
	again, err := ParseReceipt(b)
	if err != nil {
		t.Fatal(err)
	}
	if again.Digest() != r.Digest() || again.ID() != r.ID() || len(again.Entries) != len(r.Entries) || again.FileSize != r.FileSize ||
		again.Package.Checksum != r.Package.Checksum || string(again.Contents["etc/passwd"]) != string(r.Contents["etc/passwd"]) {
		t.Errorf("found %+v\nexpected %+v", again, r)
	}
	clear(b) // what was read does not share memory with it
	if !bytes.Equal(again.Marshal(), r.Marshal()) {
		t.Error("the receipt changed with the bytes it was read from")
	}
}

func TestParseReceiptRefuses(t *testing.T) {
	at := func(r *Receipt, path string) *apk.Entry {
		for i := range r.Entries {
			if r.Entries[i].Path == path {
				return &r.Entries[i]
			}
		}
		t.Fatalf("no entry %s", path)
		return nil
	}
	for _, c := range []struct {
		name   string
		change func(*Receipt)
		want   string
	}{
		{"path that climbs", func(r *Receipt) { at(r, "bin/a").Path = "../a" }, `package a-1-r0: refused: member "../a": ".." in the path`},
		{"absolute path", func(r *Receipt) { at(r, "bin/a").Path = "/a" }, `member "/a": absolute path`},
		{"path that is not clean", func(r *Receipt) { at(r, "bin/a").Path = "./bin/a" }, `member "./bin/a": not a clean path`},
		{"empty path", func(r *Receipt) { at(r, "bin").Path = "" }, `not a clean path`},
		{"path twice", func(r *Receipt) { at(r, "bin/l").Path = "bin/a" }, `member "bin/a": the path appears twice`},
		{"directory twice", func(r *Receipt) {
			*at(r, "bin/l") = apk.Entry{Path: "bin", Type: apk.TypeDir, Mode: 0o755, DataOffset: blockSize}
		}, ``},
		{"file as parent", func(r *Receipt) { at(r, "bin/l").Path = "bin/a/l" }, `lies below "bin/a", which is not a directory`},
		{"hard link to nothing", func(r *Receipt) { at(r, "bin/h").Link = "bin/x" }, `hard link to "bin/x", which is not an earlier member`},
		{"hard link to a directory", func(r *Receipt) { at(r, "bin/h").Link = "bin" }, `hard link to "bin", which is not a regular file`},
		{"symlink to nothing", func(r *Receipt) { at(r, "bin/l").Link = "" }, `symlink without a target`},
		{"unknown type", func(r *Receipt) { at(r, "bin/l").Type = 'z' }, `unsupported member type 'z'`},
		{"directory with content", func(r *Receipt) { at(r, "bin").Size = 7 }, ``},
		{"header of no size", func(r *Receipt) { at(r, "bin/l").DataOffset = at(r, "bin/l").HeaderOffset }, `its header is at`},
		{"content of another file", func(r *Receipt) { r.Contents["etc/passwd"] = []byte("evil") }, `content of "etc/passwd" is not that of its entry`},
		{"content of no file", func(r *Receipt) { r.Contents["etc/shadow"] = []byte("evil") }, `content of "etc/shadow" is not that of its entry`},
		{"other data section", func(r *Receipt) { r.DataHash[0]++ }, `data section `},
		{"no control section", func(r *Receipt) { r.Control = nil }, `package is empty`},
		{"bytes behind the control section", func(r *Receipt) { r.Control = append(bytes.Clone(r.Control), 0) }, `bytes behind the control section`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := carried(t)
			c.change(r)
			_, err := ParseReceipt(r.Marshal())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected %q", err, c.want)
			}
		})
	}
}

func TestParseReceiptRefusesOtherEncodings(t *testing.T) {
	b := carried(t).Marshal()
	for name, change := range map[string]func([]byte) []byte{
		"cut short":      func(b []byte) []byte { return b[:len(b)-1] },
		"empty":          func([]byte) []byte { return nil },
		"field repeated": func(b []byte) []byte { return append(b, b[:2]...) },
		"other format":   func(b []byte) []byte { b[1]++; return b },
		"unknown field":  func(b []byte) []byte { return append(b, 0x7a, 0) },
	} {
		if _, err := ParseReceipt(change(bytes.Clone(b))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestParseHeaderRefuses(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 100), make([]byte, blockSize), bytes.Repeat([]byte("x"), blockSize), make([]byte, 3*blockSize)} {
		if e, err := ParseHeader(b); err == nil {
			t.Errorf("%d bytes: accepted as %+v", len(b), e)
		}
	}
	if _, err := ParseReceipt(make([]byte, MaxCarried+1)); err == nil || errors.Is(err, errReceipt) {
		t.Errorf("error %v, expected one about the size", err)
	}
}

func FuzzParseReceipt(f *testing.F) {
	f.Add(carried(f).Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReceipt(b)
		if err == nil && !bytes.Equal(r.Marshal(), b) {
			t.Error("read, and written differently")
		}
	})
}

func FuzzParseHeader(f *testing.F) {
	f.Add(make([]byte, blockSize))
	f.Add(bytes.Repeat([]byte("x"), 3*blockSize))
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParseHeader(b) })
}
