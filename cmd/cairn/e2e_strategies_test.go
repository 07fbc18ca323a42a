//go:build e2e

package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

const (
	// capNetBind is security.capability with cap_net_bind_service permitted and
	// effective: revision 2, then two pairs of little-endian words.
	capNetBind = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	// netBindText is the same as the trees spell it.
	netBindText = "security.capability=0100000200040000000000000000000000000000"
)

// oddPackages have everything that is easily lost between a package and a disk:
// owners, special bits, capabilities, hard links, directories that two packages
// have differently, files that replace others, and a merged /usr that one
// package makes and another does not know of.
func oddPackages() []apktest.Spec {
	dir, link, hard := apk.TypeDir, apk.TypeSymlink, apk.TypeHardlink
	spec := func(name, origin string, depends []string, files ...apktest.File) apktest.Spec {
		s := apktest.Spec{Package: apk.Package{Name: name, Version: "1.0-r0", Origin: origin, License: "MIT", BuildTime: 1700000000}, Files: files}
		for _, d := range depends {
			s.Package.Depends = append(s.Package.Depends, apk.Dependency{Name: d})
		}
		return s
	}
	specs := []apktest.Spec{
		spec("layout", "layout", nil,
			apktest.File{Path: "etc", Type: dir}, apktest.File{Path: "tmp", Type: dir, Mode: 0o1777},
			apktest.File{Path: "usr", Type: dir}, apktest.File{Path: "usr/bin", Type: dir}, apktest.File{Path: "usr/lib", Type: dir},
			apktest.File{Path: "bin", Type: link, Link: "usr/bin"}, apktest.File{Path: "lib", Type: link, Link: "usr/lib"},
			apktest.File{Path: "var", Type: dir}, apktest.File{Path: "var/spool", Type: dir, Mode: 0o2775, GID: 12}),
		// /bin and /lib are directories for this one.
		spec("split", "split", []string{"layout"},
			apktest.File{Path: "bin", Type: dir}, apktest.File{Path: "bin/tool", Mode: 0o755, Content: "tool"},
			apktest.File{Path: "lib", Type: dir}, apktest.File{Path: "lib/libodd.so.1", Content: "library"},
			apktest.File{Path: "lib/libodd.so", Type: link, Link: "libodd.so.1"}),
		spec("bits", "odd", []string{"layout"},
			apktest.File{Path: "usr", Type: dir}, apktest.File{Path: "usr/bin", Type: dir},
			apktest.File{Path: "usr/bin/setuid", Mode: 0o4755, Content: "u"},
			apktest.File{Path: "usr/bin/setgid", Mode: 0o2755, GID: 42, Content: "g"},
			apktest.File{Path: "usr/bin/bind", Mode: 0o755, Content: "b", Xattrs: map[string]string{"security.capability": capNetBind}},
			apktest.File{Path: "usr/bin/nobody", Mode: 0o500, UID: 65534, GID: 65534, Content: "n"},
			apktest.File{Path: "usr/bin/none", ModeZero: true, Content: "0"},
			apktest.File{Path: "usr/bin/huge-id", UID: 2_000_000_000, GID: 2_000_000_001, Content: "h"}),
		spec("links", "odd", []string{"layout"},
			apktest.File{Path: "usr", Type: dir}, apktest.File{Path: "usr/lib", Type: dir}, apktest.File{Path: "usr/lib/links", Type: dir, Mode: 0o750, UID: 7, GID: 8},
			apktest.File{Path: "usr/lib/links/z-first", Mode: 0o4711, UID: 7, Content: "one content"},
			apktest.File{Path: "usr/lib/links/a-second", Type: hard, Link: "usr/lib/links/z-first", Mode: 0o4711, UID: 7},
			apktest.File{Path: "usr/lib/links/m-third", Type: hard, Link: "usr/lib/links/z-first", Mode: 0o4711, UID: 7},
			apktest.File{Path: "usr/lib/links/loose", Type: link, Link: "../../../nowhere", UID: 9, GID: 9},
			apktest.File{Path: "usr/lib/links/Ünïcode name", Content: "name"}),
		spec("dirs", "dirs", []string{"links"},
			apktest.File{Path: "usr", Type: dir}, apktest.File{Path: "usr/lib", Type: dir},
			apktest.File{Path: "usr/lib/links", Type: dir, Mode: 0o1775, UID: 70, GID: 80},
			apktest.File{Path: "usr/lib/links/fifo", Type: apk.TypeFIFO, Mode: 0o620},
			apktest.File{Path: "usr/lib/links/empty", Content: ""}),
		spec("winner", "winner", []string{"bits"},
			apktest.File{Path: "usr", Type: dir}, apktest.File{Path: "usr/bin", Type: dir},
			apktest.File{Path: "usr/bin/setuid", Mode: 0o755, Content: "won"}),
	}
	specs[len(specs)-1].Package.Replaces = []apk.Dependency{{Name: "bits"}}
	return specs
}

// oddFacts are paths as they must be, whatever else agrees.
var oddFacts = []node{
	{Path: "bin", Type: "symlink", Mode: "0777", Link: "usr/bin"},
	{Path: "tmp", Type: "dir", Mode: "1777"},
	{Path: "var/spool", Type: "dir", Mode: "2775", GID: 12},
	{Path: "usr/lib/links", Type: "dir", Mode: "0750", UID: 7, GID: 8}, // apk-tools takes the lower owner's
	{Path: "usr/lib/links/loose", Type: "symlink", Mode: "0777", Link: "../../../nowhere", UID: 9, GID: 9},
	{Path: "usr/lib/links/a-second", Type: "file", Mode: "4711", UID: 7, NLink: 3, Size: 11},
	{Path: "usr/lib/links/m-third", Type: "file", Mode: "4711", UID: 7, NLink: 3, Size: 11},
	{Path: "usr/lib/links/Ünïcode name", Type: "file", Mode: "0644", Size: 4},
	{Path: "usr/lib/links/fifo", Type: "special", Mode: "0620"},
	{Path: "usr/lib/libodd.so.1", Type: "file", Mode: "0644", Size: 7},
	{Path: "usr/bin/tool", Type: "file", Mode: "0755", Size: 4, NLink: 2},
	{Path: "usr/bin/hard", Type: "file", Mode: "0755", Size: 4, NLink: 2},
	{Path: "usr/bin/setuid", Type: "file", Mode: "0755", Size: 3}, // the winner's
	{Path: "usr/bin/setgid", Type: "file", Mode: "2755", GID: 42, Size: 1},
	{Path: "usr/bin/bind", Type: "file", Mode: "0755", Size: 1, Xattrs: netBindText},
	{Path: "usr/bin/nobody", Type: "file", Mode: "0500", UID: 65534, GID: 65534, Size: 1},
	{Path: "usr/bin/none", Type: "file", Mode: "0000", Size: 1},
	{Path: "usr/bin/huge-id", Type: "file", Mode: "0644", UID: 2_000_000_000, GID: 2_000_000_001, Size: 1},
}

// However the packages are split into layers, the unpacked tree is the same, and
// the one that was planned.
func TestE2EStrategies(t *testing.T) {
	w := newE2E(t)
	key := apktest.NewKey("test.rsa.pub")
	apktest.Repository{Key: key, SignAll: true, Packages: oddPackages()}.Write(t, w.path("repo"))
	w.write("test.rsa.pub", string(key.PublicPEM()))
	head := contents(w.path("repo"), []string{w.path("test.rsa.pub")}, []string{"split", "links", "dirs", "winner"}) +
		"accounts: {users: [{username: app, uid: 1000}], run-as: app}\n" +
		"files: [{path: /usr/bin/inline, content: x, mode: 0o4750, uid: 5, gid: 6}]\n" +
		"paths:\n  - {path: /var/lib/app, type: directory, permissions: 0o2770, uid: 1000, gid: 1000}\n" +
		"  - {path: /usr/bin/hard, type: hardlink, source: /usr/bin/tool}\n"
	var first nodes // with what cairn show files does not tell
	for _, strategy := range []string{"package", "origin", "single"} {
		t.Run(strategy, func(t *testing.T) {
			w := &world{t: t, dir: w.dir}
			config := w.path(strategy + ".yaml")
			w.write(strategy+".yaml", head+"layering: {strategy: "+strategy+"}\n")
			w.makes(config, "odd:e2e", "--output="+w.path(strategy)+"/", "--output="+w.path(strategy+".tar"))
			planned, _ := w.plannedNodes(config)
			t.Run("umoci", func(t *testing.T) {
				got := diskNodes(t, umociUnpack(t, w.path(strategy), "e2e"))
				checkFacts(t, got)
				compareNodes(t, plain(got), planned, func(string) bool { return false })
				if first == nil {
					first = got
				}
				compareNodes(t, got, first, func(string) bool { return false })
			})
			t.Run("docker", func(t *testing.T) {
				e := newEngine(t)
				e.load(w.path(strategy + ".tar"))
				got := e.export("odd:e2e")
				checkFacts(t, got)
				compareNodes(t, plain(got), planned, engineMakes)
			})
		})
	}
}

func checkFacts(t *testing.T, got nodes) {
	t.Helper()
	for _, want := range oddFacts {
		n := got[want.Path]
		n.SHA256, n.Device = "", ""
		if n != want {
			t.Errorf("/%s: %s", want.Path, cmp.Diff(want, n))
		}
	}
}

// plain leaves out what cairn show files does not tell.
func plain(all nodes) nodes {
	out := nodes{}
	for p, n := range all {
		n.Xattrs, n.Device = "", ""
		out[p] = n
	}
	return out
}
