package baseimage

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
)

// sum spells the checksum of a content as the database has it.
func sum(content string) string { return apk.SHA1(sha1.Sum([]byte(content))).String() }

const oneA = "P:a\nV:1-r0\nA:x86_64\n\n"

func TestDatabase(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers [][]string
		want   string // where it is
	}{
		{"none", [][]string{{"f etc/motd x"}}, ""},
		{"in lib", [][]string{{"f lib/apk/db/installed " + oneA}}, "lib/apk/db"},
		{"in usr", [][]string{{"f usr/lib/apk/db/installed " + oneA}}, "usr/lib/apk/db"},
		{"lib is a link", [][]string{{"l lib usr/lib", "f usr/lib/apk/db/installed " + oneA}}, "usr/lib/apk/db"},
		{"apk is a link", [][]string{{"d lib", "l lib/apk ../usr/lib/apk", "f usr/lib/apk/db/installed " + oneA}}, "usr/lib/apk/db"},
		{"apk is an absolute link", [][]string{{"d lib", "l lib/apk /usr/lib/apk", "f usr/lib/apk/db/installed " + oneA}}, "usr/lib/apk/db"},
		{"deleted", [][]string{{"f lib/apk/db/installed " + oneA}, {"f lib/apk/.wh.db "}}, ""},
		{"links in a circle", [][]string{{"d lib", "l lib/apk apk"}}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var layers [][]byte
			for _, l := range test.layers {
				layers = append(layers, archive(t, l...))
			}
			b, err := Open(t.Context(), write(t, gzipped(t, layers...)).index(t, oneA), amd64)
			if err != nil {
				t.Fatal(err)
			}
			if b.Database != test.want || len(b.Installed) != 1 || b.Installed[0].ID() != "a-1-r0" {
				t.Errorf("database %q, installed %v; expected %q", b.Database, b.Installed, test.want)
			}
		})
	}
}

func TestIndexDisagrees(t *testing.T) {
	const twoB = "P:b\nV:2-r0\n\n"
	c := func(content string) string { return "C:" + sum(content) + "\nP:a\nV:1-r0\n\n" }
	for _, test := range []struct{ name, index, own, want string }{
		{"same", oneA + twoB, twoB + oneA, "none"},
		{"other version", "P:a\nV:2-r0\n\n", oneA, "package a: INDEX has 2-r0, the image's /lib/apk/db/installed has 1-r0"},
		{"more", oneA + twoB, oneA, "package b: INDEX has 2-r0, the image's /lib/apk/db/installed has none"},
		{"less", oneA, oneA + twoB, "package b: INDEX has none, the image's /lib/apk/db/installed has 2-r0"},
		{"other build", c("1"), c("2"), "package a: INDEX has 1-r0 with checksum " + sum("1") + ", the image's /lib/apk/db/installed has it with " + sum("2")},
		{"no checksum", oneA, c("2"), "none"},
		{"several", "P:a\nV:3-r0\n\n" + twoB, oneA, "package a: INDEX has 3-r0, the image's /lib/apk/db/installed has 1-r0\n" +
			"package b: INDEX has 2-r0, the image's /lib/apk/db/installed has none"},
		{"twice", oneA + oneA, oneA, "INDEX: package a stands twice, as 1-r0 and as 1-r0"},
		{"unreadable", "P:a\nV:1-r0\nX", oneA, "INDEX: installed database line 3: \"X\": expected a letter, a colon and a value"},
		{"unreadable image", oneA, "P:a\nF:../x\n", "its /lib/apk/db/installed: installed database line 2: F: \"../x\": expected a clean path below the root"},
	} {
		t.Run(test.name, func(t *testing.T) {
			src := write(t, gzipped(t, archive(t, "f lib/apk/db/installed "+test.own))).index(t, test.index)
			_, err := Open(t.Context(), src, amd64)
			got := message(err, src.Image)
			got = strings.TrimPrefix(strings.ReplaceAll(got, "DIR/metadata/x86_64/APKINDEX", "INDEX"), "base image DIR: ")
			if got != test.want {
				t.Errorf("found    %s\nexpected %s", got, test.want)
			}
			var wrong *Error
			if err != nil && (!errors.As(err, &wrong) || wrong.Part != PartIndex) {
				t.Errorf("%T", err)
			}
		})
	}
}

func TestIndexIsMissing(t *testing.T) {
	src := write(t, gzipped(t, archive(t, "f a x")))
	name := filepath.Join(src.Packages, "x86_64", "APKINDEX")
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	want := "base image DIR: index of its packages: open DIR/metadata/x86_64/APKINDEX: no such file or directory"
	if _, err := Open(t.Context(), src, amd64); message(err, src.Image) != want {
		t.Errorf("found %v", err)
	}
	if err := os.Mkdir(name, 0o755); err != nil {
		t.Fatal(err)
	}
	want = "base image DIR: index of its packages: read DIR/metadata/x86_64/APKINDEX: not a regular file"
	if _, err := Open(t.Context(), src, amd64); message(err, src.Image) != want {
		t.Errorf("found %v", err)
	}
}

// TestOwners: the database says whose a path is, unless the content is not what
// it recorded, or the path is gone.
func TestOwners(t *testing.T) {
	db := "P:a\nV:1-r0\nF:etc\nR:motd\nZ:" + sum("hello") + "\nR:edited\nZ:" + sum("before") + "\nR:gone\nZ:" + sum("x") + "\nR:unknown\n" +
		"F:lib\nR:second\nZ:" + sum("twin") + "\nF:bin\nR:sh\nZ:" + sum("target") + "\n\nP:b\nV:1-r0\nF:etc\nF:gone\nR:x\n\n"
	src := write(t, gzipped(t, archive(t,
		"d etc", "f etc/motd hello", "f etc/edited after", "f etc/gone x", "f etc/unknown y", "f etc/own z",
		"d usr", "d usr/lib", "l lib usr/lib", "f usr/lib/first twin", "h usr/lib/second usr/lib/first", "d bin", "l bin/sh target"),
		archive(t, "f etc/.wh.gone "))).index(t, db)
	b, err := Open(t.Context(), src, amd64)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, o := range b.Owners {
		if o.Known {
			got = append(got, fmt.Sprintf("%s %s", b.Entries[i].Path, b.Installed[o.Package].Name))
		}
	}
	want := []string{"bin a", "bin/sh a", "etc a", "etc/motd a", "etc/unknown a", "usr/lib a", "usr/lib/second a"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadFile(t *testing.T) {
	b, err := Open(t.Context(), write(t, gzipped(t,
		archive(t, "f a one", "f b two", "d d"), archive(t, "f a three", "f etc/passwd kept"))), amd64)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: "three", 1: "two", 4: "kept"} {
		if got, err := b.ReadFile(t.Context(), i); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; expected %q", b.Entries[i].Path, got, err, want)
		}
	}
	if _, err := b.ReadFile(t.Context(), 2); err == nil || err.Error() != "base image: /d: expected a regular file" {
		t.Errorf("error %v", err)
	}
	b.Entries[1].Size = maxContent + 1
	if _, err := b.ReadFile(t.Context(), 1); err == nil || err.Error() != "base image: /b: 268435457 bytes: expected at most 268435456" {
		t.Errorf("error %v", err)
	}
}

// TestListsThatTakeMemory: an entry is a few bytes in a list, and some hundred when
// it is read.
func TestListsThatTakeMemory(t *testing.T) {
	for _, c := range []struct {
		name string
		text []byte
		want string
	}{
		{"packages", bytes.Repeat([]byte("P:a\nV:1\n\n"), maxPackages+2), "list: 100001 packages in 900018 bytes: expected at most 100000 in 67108864"},
		{"bytes", bytes.Repeat([]byte("F:a\n"), maxListed/4+1), "list: 0 packages in 67108868 bytes: expected at most 100000 in 67108864"},
	} {
		if list, err := parse("list", c.text); err == nil || list != nil || err.Error() != c.want {
			t.Errorf("%s: %d packages, %v, expected %s", c.name, len(list), err, c.want)
		}
	}
}
