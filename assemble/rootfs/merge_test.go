package rootfs

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
	"github.com/cairn-dev/cairn/packages/store"
)

// mergeCase is packages in, the dump of what they leave out.
type mergeCase struct {
	name     string
	packages []apktest.Spec
	want     string   // dump without generated entries
	under    []string // restricts the dump
	err      string   // instead of want
}

var mergeCases = []mergeCase{{
	name:     "files and their directories",
	packages: []apktest.Spec{pkg("a-1-r0", "usr/bin/a mode=755", "etc/a.conf")},
	want: `
/etc d 0755 0:0 [package a]
/etc/a.conf f 0644 0:0 10 307e2678 [package a]
/usr d 0755 0:0 [package a]
/usr/bin d 0755 0:0 [package a]
/usr/bin/a f 0755 0:0 9 d387ce64 [package a]
`,
}, {
	name: "owners, special bits, devices and extended attributes are kept",
	packages: []apktest.Spec{pkg("a-1-r0", "bin/su mode=4755 own=0:10", "bin/wall mode=2755 own=0:5", "srv/x/ mode=2775 own=100:101",
		"srv/fifo dev=1,3 mode=666", "srv/x/f own=100:101 xattr=user.k:v")},
	want: `
/bin d 0755 0:0 [package a]
/bin/su f 4755 0:10 6 cffcdf86 [package a]
/bin/wall f 2755 0:5 8 a74f2ef4 [package a]
/srv d 0755 0:0 [package a]
/srv/fifo c 0666 0:0 1,3 [package a]
/srv/x d 2775 100:101 [package a]
/srv/x/f f 0644 100:101 7 4e2fa11a [package a]
`,
}, {
	name:     "what apk-tools passes over",
	packages: []apktest.Spec{pkg("a-1-r0", ".hidden", ".dir/file", "etc/.hidden", "var/spool/.keep_spool", "var/.keep_", "var/.keep_d/")},
	want: `
/etc d 0755 0:0 [package a]
/etc/.hidden f 0644 0:0 11 d9734a37 [package a]
/var d 0755 0:0 [package a]
/var/.keep_ f 0644 0:0 10 f188e0c4 [package a]
/var/.keep_d d 0755 0:0 [package a]
/var/spool d 0755 0:0 [package a]
`,
}, {
	name:     "a directory of several packages: the lowest owner's common bits",
	packages: []apktest.Spec{pkg("a-1-r0", "srv/d/ mode=777 own=5:5"), pkg("b-1-r0", "srv/d/ mode=1775"), pkg("c-1-r0", "srv/d/ mode=1757"), pkg("d-1-r0", "srv/d/ mode=700 own=0:1")},
	under:    []string{"/srv/d"},
	want: `
/srv/d d 1755 0:0 [package d]
`,
}, {
	name:     "directories that apk-tools makes first keep their mode",
	packages: []apktest.Spec{pkg("a-1-r0", "tmp/ mode=755", "var/ mode=700 own=3:3", "lib/ mode=711", "proc/ mode=555", "usr/ mode=711")},
	under:    []string{"/tmp", "/var", "/lib", "/proc", "/usr"},
	want: `
/lib d 0755 0:0 [generator base-layout]
/proc d 0555 0:0 [package a]
/tmp d 1777 0:0 [generator base-layout]
/usr d 0711 0:0 [package a]
/var d 0755 0:0 [generator base-layout]
`,
}, {
	name:     "a file nobody replaces",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x"), pkg("b-2-r0", "etc/x is=other")},
	err: `etc/x: conflict between a-1-r0 and b-2-r0: both have the file and neither replaces the other
  hint: one of them must declare that it replaces the other, or leave the file out`,
}, {
	name:     "the same file in two packages",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x"), pkg("b-2-r0", "etc/x")},
	err: `etc/x: conflict between a-1-r0 and b-2-r0: both have the file and neither replaces the other
  hint: one of them must declare that it replaces the other, or leave the file out`,
}, {
	name:     "the later replaces the earlier",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x is=old"), replacing(pkg("b-2-r0", "etc/x is=new"), 0, "a")},
	under:    []string{"/etc/x"},
	want:     "/etc/x f 0644 0:0 3 11507a0e [package b]",
}, {
	name:     "the earlier replaces the later, and stays",
	packages: []apktest.Spec{replacing(pkg("a-1-r0", "etc/x is=old"), 0, "b"), pkg("b-2-r0", "etc/x is=new")},
	under:    []string{"/etc/x"},
	want:     "/etc/x f 0644 0:0 3 cba06b57 [package a]",
}, {
	name:     "both replace each other: the later",
	packages: []apktest.Spec{replacing(pkg("a-1-r0", "etc/x is=old"), 7, "b"), replacing(pkg("b-2-r0", "etc/x is=new"), 7, "a")},
	under:    []string{"/etc/x"},
	want:     "/etc/x f 0644 0:0 3 11507a0e [package b]",
}, {
	name:     "both replace each other: the one with the greater priority",
	packages: []apktest.Spec{replacing(pkg("a-1-r0", "etc/x is=old"), 8, "b"), replacing(pkg("b-2-r0", "etc/x is=new"), 7, "a")},
	under:    []string{"/etc/x"},
	want:     "/etc/x f 0644 0:0 3 cba06b57 [package a]",
}, {
	name:     "replaces is for another version",
	packages: []apktest.Spec{pkg("a-1.5-r0", "etc/x is=old"), replacing(pkg("b-2-r0", "etc/x is=new"), 0, "a<1.5")},
	err:      "etc/x: conflict between a-1.5-r0 and b-2-r0: both have the file and neither replaces the other\n  hint: one of them must declare that it replaces the other, or leave the file out",
}, {
	name:     "replaces is for this version",
	packages: []apktest.Spec{pkg("a-1.4-r0", "etc/x is=old"), replacing(pkg("b-2-r0", "etc/x is=new"), 0, "other a<1.5")},
	under:    []string{"/etc/x"},
	want:     "/etc/x f 0644 0:0 3 11507a0e [package b]",
}, {
	name: "replaces is not for what a package provides",
	packages: []apktest.Spec{func() apktest.Spec {
		s := pkg("a-1-r0", "etc/x is=old")
		s.Package.Provides = []apk.Dependency{{Name: "virtual"}}
		return s
	}(), replacing(pkg("b-2-r0", "etc/x is=new"), 0, "virtual")},
	err: "etc/x: conflict between a-1-r0 and b-2-r0: both have the file and neither replaces the other\n  hint: one of them must declare that it replaces the other, or leave the file out",
}, {
	name:     "packages of one origin overwrite each other",
	packages: []apktest.Spec{from("o", pkg("a-1-r0", "etc/x is=old")), from("o", pkg("b-2-r0", "etc/x is=new"))},
	under:    []string{"/etc/x"},
	want:     "/etc/x f 0644 0:0 3 11507a0e [package b]",
}, {
	name:     "a symlink replaces a file and a file a symlink",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x is=old", "etc/y -> x"), replacing(pkg("b-2-r0", "etc/x -> elsewhere", "etc/y is=new"), 0, "a")},
	under:    []string{"/etc/x", "/etc/y"},
	want: `
/etc/x l 0777 0:0 -> elsewhere [package b]
/etc/y f 0644 0:0 3 11507a0e [package b]
`,
}, {
	name:     "a file where another package has a directory",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x/"), replacing(pkg("b-2-r0", "etc/x"), 0, "a")},
	err:      "etc/x: conflict between a-1-r0 and b-2-r0: the one has a directory where the other has a file",
}, {
	name:     "a directory where another package has a file",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x"), replacing(pkg("b-2-r0", "etc/x/"), 0, "a")},
	err:      "etc/x: conflict between a-1-r0 and b-2-r0: the one has a directory where the other has a file",
}, {
	name:     "a symlink where another package has a directory",
	packages: []apktest.Spec{pkg("a-1-r0", "lib/liba.so"), pkg("b-2-r0", "usr/lib/", "lib -> usr/lib")},
	err:      "lib: conflict between a-1-r0 and b-2-r0: the one has a directory where the other has a symbolic link",
}, {
	name:     "one package has a file twice",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x", "etc/x is=again")},
	err:      "etc/x: package a-1-r0: it has the file twice",
}, {
	name:     "merged usr: files land where the symlink leads",
	packages: []apktest.Spec{pkg("base-1-r0", "usr/lib/", "usr/bin/", "lib -> usr/lib", "bin -> /usr/bin"), pkg("a-1-r0", "lib/sub/x.so", "lib/liba.so", "bin/a mode=755", "usr/lib/libb.so")},
	want: `
/bin l 0777 0:0 -> /usr/bin [package base]
/lib l 0777 0:0 -> usr/lib [package base]
/usr d 0755 0:0 [package a]
/usr/bin d 0755 0:0 [package base]
/usr/bin/a f 0755 0:0 5 ed45ffaa [package a]
/usr/lib d 0755 0:0 [package a]
/usr/lib/liba.so f 0644 0:0 11 6e27303c [package a]
/usr/lib/libb.so f 0644 0:0 15 9f7afa41 [package a]
/usr/lib/sub d 0755 0:0 [package a]
/usr/lib/sub/x.so f 0644 0:0 12 825c3d91 [package a]
`,
}, {
	name:     "merged usr: one file under two names",
	packages: []apktest.Spec{pkg("base-1-r0", "usr/lib/", "lib -> usr/lib"), pkg("a-1-r0", "usr/lib/x"), pkg("b-1-r0", "lib/x")},
	err:      "lib/x (usr/lib/x): conflict between a-1-r0 and b-1-r0: both have the file and neither replaces the other\n  hint: one of them must declare that it replaces the other, or leave the file out",
}, {
	name:     "merged usr: one file under two names in one package",
	packages: []apktest.Spec{pkg("base-1-r0", "usr/lib/", "lib -> usr/lib"), pkg("a-1-r0", "usr/lib/x", "lib/x")},
	err:      "lib/x (usr/lib/x): package a-1-r0: it has the file twice, as usr/lib/x and as lib/x",
}, {
	name:     "a directory through a symlink does not change the real one",
	packages: []apktest.Spec{pkg("base-1-r0", "usr/lib/d/ mode=700", "lib -> usr/lib"), pkg("a-1-r0", "lib/ mode=711", "lib/d/ mode=777", "lib/d/f")},
	under:    []string{"/lib", "/usr/lib", "/usr/lib/d", "/usr/lib/d/f"},
	want: `
/lib l 0777 0:0 -> usr/lib [package base]
/usr/lib d 0755 0:0 [package base]
/usr/lib/d d 0700 0:0 [package base]
/usr/lib/d/f f 0644 0:0 7 5502ff3d [package a]
`,
}, {
	name:     "a directory over a symlink to nothing stays the symlink",
	packages: []apktest.Spec{pkg("a-1-r0", "var/lock -> /run/lock"), pkg("b-1-r0", "var/lock/ mode=1777")},
	under:    []string{"/var/lock", "/run*"},
	want:     "/var/lock l 0777 0:0 -> /run/lock [package a]",
}, {
	name:     "a file below a symlink to nothing",
	packages: []apktest.Spec{pkg("a-1-r0", "var/lock -> /run/lock"), pkg("b-1-r0", "var/lock/x")},
	err:      "package b-1-r0: var/lock/x: its directory is below var/lock, a symbolic link to /run/lock, which does not exist",
}, {
	name:     "a file below a file",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x"), {Package: apk.Package{Name: "b", Version: "1-r0"}, Files: []apktest.File{file("etc/x/y")}}},
	err:      "etc/x: conflict between a-1-r0 and b-1-r0: the one has a directory where the other has a file",
}, {
	name:     "symlinks in a circle",
	packages: []apktest.Spec{pkg("a-1-r0", "x -> y", "y -> x"), pkg("b-1-r0", "x/f")},
	err:      "package b-1-r0: x/f: x: too many levels of symbolic links",
}, {
	name:     "a symlink out of the root leads inside, as in a chroot",
	packages: []apktest.Spec{pkg("a-1-r0", "etc/", "out -> ../../../../etc", "abs -> /../etc"), pkg("b-1-r0", "out/x", "abs/y")},
	under:    []string{"/etc/x", "/etc/y"},
	want: `
/etc/x f 0644 0:0 5 0ac744ea [package b]
/etc/y f 0644 0:0 5 1a4d9551 [package b]
`,
}, {
	name:     "a control character",
	packages: []apktest.Spec{{Package: apk.Package{Name: "a", Version: "1-r0"}, Files: []apktest.File{{Path: "usr/a\nb"}}}},
	err:      `package a-1-r0: member "usr/a\nb": it has a control character`,
}, {
	name:     "directories that the package does not have",
	packages: []apktest.Spec{{Package: apk.Package{Name: "a", Version: "1-r0"}, Files: []apktest.File{file("srv/d/f own=3:3 is=x")}}},
	want: `
/srv d 0755 0:0 [generator implied-directory]
/srv/d d 0755 0:0 [generator implied-directory]
/srv/d/f f 0644 3:3 1 2d711642 [package a]
`,
}, {
	name: "an implied directory becomes the package's that has it",
	packages: []apktest.Spec{{Package: apk.Package{Name: "a", Version: "1-r0"}, Files: []apktest.File{file("srv/d/f is=x")}},
		pkg("b-1-r0", "srv/d/ mode=700 own=3:3")},
	want: `
/srv d 0755 0:0 [package b]
/srv/d d 0700 3:3 [package b]
/srv/d/f f 0644 0:0 1 2d711642 [package a]
`,
}, {
	name:     "hard links",
	packages: []apktest.Spec{pkg("a-1-r0", "bin/z is=x mode=755", "bin/a => bin/z mode=755", "bin/b => bin/a mode=755")},
	under:    []string{"/bin/*"},
	want: `
/bin/a h 0755 0:0 -> /bin/z [package a]
/bin/b h 0755 0:0 -> /bin/z [package a]
/bin/z f 0755 0:0 1 2d711642 [package a]
`,
}, {
	name:     "a hard link to nothing",
	packages: []apktest.Spec{pkg("a-1-r0", "bin/a => bin/z", "bin/z")},
	err:      `package a-1-r0: bin/a: hard link to "bin/z": expected an earlier regular file of the package`,
}, {
	name:     "a hard link to a symlink",
	packages: []apktest.Spec{pkg("a-1-r0", "bin/z -> y", "bin/a => bin/z")},
	err:      `package a-1-r0: bin/a: hard link to "bin/z": expected an earlier regular file of the package`,
}, {
	name:     "a hard link's header decides on the file, as the last one unpacked",
	packages: []apktest.Spec{pkg("a-1-r0", "bin/z is=x mode=4755", "bin/a => bin/z mode=755 own=7:8")},
	under:    []string{"/bin/*"},
	want: `
/bin/a h 0755 7:8 -> /bin/z [package a]
/bin/z f 0755 7:8 1 2d711642 [package a]
`,
}, {
	name: "a hard link whose target is replaced keeps the content",
	packages: []apktest.Spec{pkg("a-1-r0", "bin/z is=x", "bin/b => bin/z", "bin/a => bin/z"),
		replacing(pkg("b-1-r0", "bin/z is=new"), 0, "a")},
	under: []string{"/bin/*"},
	want: `
/bin/a h 0644 0:0 -> /bin/b [package a]
/bin/b f 0644 0:0 1 2d711642 [package a]
/bin/z f 0644 0:0 3 11507a0e [package b]
`,
}, {
	name: "a hard link whose target is not installed keeps the content",
	packages: []apktest.Spec{replacing(pkg("a-1-r0", "bin/z is=old"), 0, "b"),
		pkg("b-1-r0", "bin/z is=x", "bin/y => bin/z")},
	under: []string{"/bin/*"},
	want: `
/bin/y f 0644 0:0 1 2d711642 [package b]
/bin/z f 0644 0:0 3 cba06b57 [package a]
`,
}, {
	name:     "a hard link to a file under a symlinked directory",
	packages: []apktest.Spec{pkg("base-1-r0", "usr/bin/", "bin -> usr/bin"), pkg("a-1-r0", "bin/z is=x", "bin/a => bin/z")},
	under:    []string{"/usr/bin/*"},
	want: `
/usr/bin/a h 0644 0:0 -> /usr/bin/z [package a]
/usr/bin/z f 0644 0:0 1 2d711642 [package a]
`,
}, {
	name: "names of users decide, not the builder's numbers",
	packages: []apktest.Spec{
		pkg("app-1-r0", "srv/d/ own=990:991 name=www:web", "srv/d/f own=990:991 name=www:web is=x", "srv/d/l -> f own=990:991 name=www:web", "srv/d/g own=990:991 name=other:other is=x"),
		pkg("base-1-r0", "etc/passwd is=root:x:0:0::/root:/bin/sh|www:x:33:33::/:/x|", "etc/group is=web:x:44:|"),
	},
	under: []string{"/srv/d*"},
	want: `
/srv/d d 0755 33:44 [package app]
/srv/d/f f 0644 33:44 1 2d711642 [package app]
/srv/d/g f 0644 990:991 1 2d711642 [package app]
/srv/d/l l 0777 33:44 -> f [package app]
`,
}}

func TestMerge(t *testing.T) {
	for _, c := range mergeCases {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, nil, c.packages...)
			if c.err == "" {
				got := dump(t, plan(t, in), c.under...)
				if diff := cmp.Diff(strings.TrimSpace(c.want), strings.TrimSpace(got)); diff != "" {
					t.Errorf("(-want +got)\n%s\n%s", diff, got)
				}
				return
			}
			tree, err := Plan(context.Background(), in)
			if err == nil {
				t.Fatalf("no error; tree:\n%s", dump(t, tree))
			}
			if diff := cmp.Diff(c.err, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			var conflict *ConflictError
			if strings.Contains(c.err, "conflict between") && !errors.As(err, &conflict) {
				t.Errorf("%T is no *ConflictError", err)
			}
		})
	}
}

// Receipts come from a store that has checked them; a plan checks again what
// would make an invalid tree.
func TestDishonestReceipts(t *testing.T) {
	for _, c := range []struct {
		entry apk.Entry
		err   string
	}{
		{apk.Entry{Path: "a/../b", Type: apk.TypeFile}, `package p-1: member "a/../b": expected a clean path relative to the root`},
		{apk.Entry{Path: "/a", Type: apk.TypeFile}, `package p-1: member "/a": expected a clean path relative to the root`},
		{apk.Entry{Path: "a//b", Type: apk.TypeDir}, `package p-1: member "a//b": expected a clean path relative to the root`},
		{apk.Entry{Path: "a/", Type: apk.TypeDir}, `package p-1: member "a/": expected a clean path relative to the root`},
		{apk.Entry{Path: "", Type: apk.TypeFile}, `package p-1: member "": expected a clean path relative to the root`},
		{apk.Entry{Path: "a/./b", Type: apk.TypeFile}, `package p-1: member "a/./b": expected a clean path relative to the root`},
		{apk.Entry{Path: "a\x00b", Type: apk.TypeFile}, `package p-1: member "a\x00b": it has a control character`},
		{apk.Entry{Path: "a", Type: apk.TypeSymlink}, `package p-1: member "a": symbolic link to "": expected a path`},
		{apk.Entry{Path: "a", Type: apk.TypeSymlink, Link: "x\x00"}, `package p-1: member "a": symbolic link to "x\x00": expected a path`},
		{apk.Entry{Path: "a", Type: apk.TypeFile, UID: -1}, `package p-1: member "a": owner -1:0: expected no negative number`},
		{apk.Entry{Path: "a", Type: apk.TypeHardlink, Link: "a"}, `package p-1: a: hard link to "a": expected an earlier regular file of the package`},
		{apk.Entry{Path: "a", Type: 's'}, `package p-1: member "a": type 's' is unknown`},
	} {
		r := &store.Receipt{Package: apk.Package{Name: "p", Version: "1"}, Entries: []apk.Entry{c.entry}}
		_, err := Plan(context.Background(), Input{Arch: "x86_64", Packages: []Package{{Receipt: r}}})
		if err == nil || err.Error() != c.err {
			t.Errorf("%q: error %v, expected %s", c.entry.Path, err, c.err)
		}
	}
}
