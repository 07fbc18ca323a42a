package rootfs

import (
	"context"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// The tests here are named after apko's defects as measured in
// shared/research/apko.md §0 and §1.4, and show the right behaviour.

// expectDump plans and compares the dump below the given paths.
func expectDump(t *testing.T, in Input, want string, under ...string) {
	t.Helper()
	got := dump(t, plan(t, in), under...)
	if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// apko gives every package file to root (melange#1395).
func TestApkoDefect_OwnershipDropped(t *testing.T) {
	expectDump(t, input(t, nil, pkg("a-1-r0", "var/lib/app/ own=65532:65532", "var/lib/app/db own=65532:65533 is=x mode=640")), `
/var/lib/app d 0755 65532:65532 [package a]
/var/lib/app/db f 0640 65532:65533 1 2d711642 [package a]`, "/var/lib/app*")
}

// apko makes /var/tmp 0777 of 1777, and drops setgid of directories.
func TestApkoDefect_StickyAndSetgidDirectories(t *testing.T) {
	expectDump(t, input(t, nil, pkg("a-1-r0", "var/tmp/ mode=1777", "var/mail/ mode=2775 own=0:12")), `
/var/mail d 2775 0:12 [package a]
/var/tmp d 1777 0:0 [package a]`, "/var/tmp", "/var/mail")
}

// apko writes layers with a hard link before its target, which cannot be
// unpacked. In the tree the target is the entry that the package has the
// content in, and links say so even when their name sorts first.
func TestApkoDefect_HardlinkBeforeTarget(t *testing.T) {
	tree := plan(t, input(t, nil, pkg("a-1-r0", "usr/bin/z is=x", "usr/bin/a => usr/bin/z")))
	a, z := tree.Lookup("usr/bin/a"), tree.Lookup("usr/bin/z")
	if a.Type != apk.TypeHardlink || a.Link != "usr/bin/z" || z.Type != apk.TypeFile || z.Size != 1 {
		t.Errorf("a: %+v\nz: %+v", a, z)
	}
}

// apko refuses a hard link in place of a file even when its package replaces
// the other.
func TestApkoDefect_HardlinkOverFile(t *testing.T) {
	expectDump(t, input(t, nil, pkg("a-1-r0", "bin/x is=old"), replacing(pkg("b-1-r0", "bin/y is=x", "bin/x => bin/y"), 0, "a")), `
/bin/x h 0644 0:0 -> /bin/y [package b]
/bin/y f 0644 0:0 1 2d711642 [package b]`, "/bin/*")
}

// apko's empty-file leaves a file that a package has as it is.
func TestApkoDefect_EmptyFileTruncates(t *testing.T) {
	cfg := paths(types.PathMutation{Path: "/etc/motd", Type: "empty-file"})
	expectDump(t, input(t, cfg, pkg("a-1-r0", "etc/motd mode=640 own=3:4")),
		"/etc/motd f 0640 3:4 0 e3b0c442 [config paths[0]]", "/etc/motd")
}

// apko's hardlink makes a second file.
func TestApkoDefect_HardlinkMutationIsALink(t *testing.T) {
	cfg := paths(types.PathMutation{Path: "/bin/y", Type: "hardlink", Source: "/bin/x", Permissions: 0o700})
	expectDump(t, input(t, cfg, pkg("a-1-r0", "bin/x is=x")), `
/bin/x f 0700 0:0 1 2d711642 [config paths[0]]
/bin/y h 0700 0:0 -> /bin/x [config paths[0]]`, "/bin/*")
}

// apko changes the target of a symlink that it makes to mode 000 when no
// permissions are given, and that of a hard link too (apko#1565).
func TestApkoDefect_SymlinkChmodsTarget(t *testing.T) {
	cfg := paths(types.PathMutation{Path: "/bin/l", Type: "symlink", Source: "x"}, types.PathMutation{Path: "/bin/m", Type: "symlink", Source: "x", Permissions: 0o777},
		types.PathMutation{Path: "/bin/h", Type: "hardlink", Source: "/bin/x"})
	expectDump(t, input(t, cfg, pkg("a-1-r0", "bin/x is=x mode=755")), `
/bin/h h 0755 0:0 -> /bin/x [config paths[2]]
/bin/l l 0777 0:0 -> x [config paths[0]]
/bin/m l 0777 0:0 -> x [config paths[1]]
/bin/x f 0755 0:0 1 2d711642 [package a]`, "/bin/*")
}

// apko's recursive permissions follow the symlinks below a directory out of it.
func TestApkoDefect_RecursivePermissionsFollowSymlinks(t *testing.T) {
	cfg := paths(types.PathMutation{Path: "/srv", Type: "permissions", Permissions: 0o777, UID: id(5), GID: id(5), Recursive: true})
	expectDump(t, input(t, cfg, pkg("a-1-r0", "etc/secret is=x mode=600", "srv/l -> /etc/secret", "srv/d -> /etc")), `
/etc/secret f 0600 0:0 1 2d711642 [package a]
/srv d 0777 5:5 [config paths[0]]
/srv/d l 0777 5:5 -> /etc [config paths[0]]
/srv/l l 0777 5:5 -> /etc/secret [config paths[0]]`, "/srv*", "/etc/secret")
}

// apko gives the missing parents of a directory that directory's mode.
func TestApkoDefect_ParentsGetTheMode(t *testing.T) {
	cfg := paths(types.PathMutation{Path: "/srv/a/b", Type: "directory", Permissions: 0o700, UID: id(5), GID: id(5)})
	expectDump(t, input(t, cfg), `
/srv d 0755 0:0 [generator implied-directory]
/srv/a d 0755 0:0 [generator implied-directory]
/srv/a/b d 0700 5:5 [config paths[0]]`, "/srv*")
}

// apko drops the third field of existing lines when it adds to /etc/shadow.
func TestApkoDefect_ShadowFieldsLost(t *testing.T) {
	cfg := withAccounts("", []types.User{{UserName: "app", UID: 900}}, nil)
	tree := plan(t, input(t, cfg, pkg("a-1-r0", "etc/shadow mode=640 own=0:42 is=root:*:19757:0:99999:7:14:20000:x|")))
	if got, want := content(t, tree, "etc/shadow"), "root:*:19757:0:99999:7:14:20000:x\napp:!:::::::\n"; got != want {
		t.Errorf("%q, expected %q", got, want)
	}
	if e := tree.Lookup("etc/shadow"); e.Mode != 0o640 || e.GID != 42 {
		t.Errorf("mode %o, group %d", e.Mode, e.GID)
	}
}

// apko writes all packages, pinned, as the world (tf-apko#208).
func TestApkoDefect_WorldPinned(t *testing.T) {
	in := input(t, nil, pkg("a-1-r0", "a"), pkg("dep-1-r0", "b"))
	in.World = []apk.Dependency{{Name: "a"}}
	if got := content(t, plan(t, in), "etc/apk/world"); got != "a\n" {
		t.Errorf("world %q", got)
	}
}

// apko writes "i:[]" and empty U:, D:, p: and k: lines.
func TestApkoDefect_DatabaseEmptyFields(t *testing.T) {
	s := pkg("a-1-r0", "etc/x")
	s.Package.InstallIf = []apk.Dependency{{Name: "b"}, {Name: "c"}}
	in := input(t, nil, s, pkg("z-1-r0", "etc/z"))
	text := content(t, plan(t, in), "usr/lib/apk/db/installed")
	for line := range strings.Lines(text) {
		if strings.Contains(line, "[") || len(line) == 3 && !strings.Contains("TULF", line[:1]) {
			t.Errorf("line %q", line)
		}
	}
	if !strings.Contains(text, "\ni:b c\n") {
		t.Errorf("no install_if in\n%s", text)
	}
}

// apko writes the owners of the package into the database and root into the
// image, which "apk audit" reports.
func TestApkoDefect_DatabaseDisagreesWithImage(t *testing.T) {
	in := input(t, nil, pkg("a-1-r0", "srv/d/ mode=2750 own=7:8", "srv/d/f own=7:8 mode=600"))
	tree := plan(t, in)
	list, err := apk.ParseInstalled(strings.NewReader(content(t, tree, "usr/lib/apk/db/installed")))
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range list[0].Dirs {
		e := tree.Lookup(d.Path)
		if e.Mode != d.Mode || e.UID != d.UID || e.GID != d.GID {
			t.Errorf("%s: database %04o %d:%d, image %04o %d:%d", d.Path, d.Mode, d.UID, d.GID, e.Mode, e.UID, e.GID)
		}
		for _, f := range d.Files {
			e := tree.Lookup(d.Path + "/" + f.Name)
			if e.Mode != f.Mode || e.UID != f.UID || e.GID != f.GID || e.SHA1 != f.SHA1 {
				t.Errorf("%s: database %+v, image %+v", f.Name, f, e)
			}
		}
	}
}

// apko leaves entries whose parent has no entry out of the database (apko#1810).
func TestApkoDefect_OrphansLeftOut(t *testing.T) {
	in := input(t, nil, apktest.Spec{Package: apk.Package{Name: "a", Version: "1-r0"}, Files: []apktest.File{file("opt/x/y/f is=x")}})
	tree := plan(t, in)
	if text := content(t, tree, "usr/lib/apk/db/installed"); !strings.Contains(text, "\nF:opt/x/y\nR:f\n") {
		t.Errorf("database:\n%s", text)
	}
	if tree.Lookup("opt/x/y/f") == nil || tree.Lookup("opt/x").Owner.Name != "implied-directory" {
		t.Error("the file or its directory is not in the tree")
	}
}

// apko puts directories of other packages into a package's layer. In the tree
// every directory names the one package member that it is made from.
func TestApkoDefect_ForeignDirectories(t *testing.T) {
	in := input(t, nil, pkg("a-1-r0", "srv/a/f"), pkg("b-1-r0", "srv/b/f"))
	tree := plan(t, in)
	for p, want := range map[string]string{"srv": "b", "srv/a": "a", "srv/b": "b"} {
		e := tree.Lookup(p)
		if e.Owner != (Owner{OwnedByPackage, want}) || tree.Packages[e.Package].Receipt.Package.Name != want ||
			tree.Packages[e.Package].Receipt.Entries[e.Member].Path != p {
			t.Errorf("%s: owner %v, package %d member %d", p, e.Owner, e.Package, e.Member)
		}
	}
}

// apko knows only names in replaces, whatever version they say.
func TestApkoDefect_ReplacesIgnoresVersions(t *testing.T) {
	in := input(t, nil, pkg("a-2-r0", "etc/x is=1"), replacing(pkg("b-1-r0", "etc/x is=2"), 0, "a<2"))
	if _, err := Plan(context.Background(), in); err == nil || !strings.HasPrefix(err.Error(), "etc/x: conflict between a-2-r0 and b-1-r0: ") {
		t.Errorf("error %v", err)
	}
}

// apko makes the directories of services 0777.
func TestApkoDefect_ServiceDirectoriesWritable(t *testing.T) {
	c := paths()
	c.Entrypoint.Services = map[string]string{"s": "/bin/s"}
	if e := plan(t, input(t, c)).Lookup("sv/s"); e.Mode != 0o755 {
		t.Errorf("mode %o", e.Mode)
	}
}

// apko makes home directories for every line of passwd, Alpine's games and
// uucp included.
func TestApkoDefect_HomesOfSystemUsers(t *testing.T) {
	tree := plan(t, input(t, nil, pkg("a-1-r0", "etc/passwd is=games:x:35:35:games:/usr/games:/x|")))
	if e := tree.Lookup("usr/games"); e != nil {
		t.Errorf("%+v", e)
	}
}

// apko needs device nodes to be unpacked, which takes privileges.
func TestApkoDefect_DeviceNodes(t *testing.T) {
	for _, e := range plan(t, input(t, nil, pkg("a-1-r0", "x"))).Entries {
		if e.Type == apk.TypeChar || e.Type == apk.TypeBlock {
			t.Errorf("/%s is a device", e.Path)
		}
	}
}
