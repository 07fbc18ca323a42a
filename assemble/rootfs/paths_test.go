package rootfs

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"chainguard.dev/apko/pkg/build/types"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

func paths(list ...types.PathMutation) *config.Config {
	c := &config.Config{}
	c.Paths = list
	return c
}

func files(list ...config.File) *config.Config { return &config.Config{Files: list} }

func id(n uint32) *uint32 { return &n }

var pathCases = []struct {
	name     string
	cfg      *config.Config
	packages []apktest.Spec
	under    []string
	want     string
	err      string
}{{
	name:  "a directory and its parents",
	cfg:   paths(types.PathMutation{Path: "/srv/a/b", Type: "directory", Permissions: 0o1770, UID: id(5), GID: id(6)}),
	under: []string{"/srv*"},
	want: `
/srv d 0755 0:0 [generator implied-directory]
/srv/a d 0755 0:0 [generator implied-directory]
/srv/a/b d 1770 5:6 [config paths[0]]
`,
}, {
	name:  "a directory without permissions is 0755",
	cfg:   paths(types.PathMutation{Path: "/srv", Type: "directory"}),
	under: []string{"/srv*"},
	want:  "/srv d 0755 0:0 [config paths[0]]",
}, {
	name:     "a directory that is there, recursive: symlinks and what they lead to keep their mode",
	cfg:      paths(types.PathMutation{Path: "srv/", Type: "directory", Permissions: 0o750, UID: id(5), Recursive: true}),
	packages: []apktest.Spec{pkg("a-1-r0", "srv/d/f is=x", "srv/l -> /etc/x", "etc/x is=x")},
	under:    []string{"/srv*", "/etc/x"},
	want: `
/etc/x f 0644 0:0 1 2d711642 [package a]
/srv d 0750 5:0 [config paths[0]]
/srv/d d 0750 5:0 [config paths[0]]
/srv/d/f f 0750 5:0 1 2d711642 [config paths[0]]
/srv/l l 0777 5:0 -> /etc/x [config paths[0]]
`,
}, {
	name:     "a directory that is there, without anything to change, stays the package's",
	cfg:      paths(types.PathMutation{Path: "/srv/d", Type: "directory", Permissions: 0o755, UID: id(0), GID: id(0)}),
	packages: []apktest.Spec{pkg("a-1-r0", "srv/d/")},
	under:    []string{"/srv/d"},
	want:     "/srv/d d 0755 0:0 [package a]",
}, {
	name:     "a directory through a symlink",
	cfg:      paths(types.PathMutation{Path: "/lib/d/e", Type: "directory", Permissions: 0o700}),
	packages: []apktest.Spec{pkg("a-1-r0", "usr/lib/", "lib -> usr/lib")},
	under:    []string{"/lib*", "/usr/lib/d*"},
	want: `
/lib l 0777 0:0 -> usr/lib [package a]
/usr/lib/d d 0755 0:0 [generator implied-directory]
/usr/lib/d/e d 0700 0:0 [config paths[0]]
`,
}, {
	name:     "a directory where a file is",
	cfg:      paths(types.PathMutation{Path: "/srv/d", Type: "directory", Permissions: 0o755}),
	packages: []apktest.Spec{pkg("a-1-r0", "srv/d")},
	err:      "paths[0]: /srv/d: expected a directory there or nothing, a has a file",
}, {
	name:  "an empty file",
	cfg:   paths(types.PathMutation{Path: "/srv/f", Type: "empty-file", Permissions: 0o600, GID: id(7)}),
	under: []string{"/srv*"},
	want: `
/srv d 0755 0:0 [generator implied-directory]
/srv/f f 0600 0:7 0 e3b0c442 [config paths[0]]
`,
}, {
	name:  "an empty file at the end of a symlink to nothing",
	cfg:   paths(types.PathMutation{Path: "/l", Type: "symlink", Source: "run/x/y"}, types.PathMutation{Path: "/l", Type: "empty-file"}),
	under: []string{"/l", "/run*"},
	want: `
/l l 0777 0:0 -> run/x/y [config paths[0]]
/run d 0755 0:0 [generator implied-directory]
/run/x d 0755 0:0 [generator implied-directory]
/run/x/y f 0644 0:0 0 e3b0c442 [config paths[1]]
`,
}, {
	name: "an empty file where a directory is",
	cfg:  paths(types.PathMutation{Path: "/etc", Type: "empty-file"}),
	err:  "paths[0]: /etc: expected a regular file there or nothing, base-layout has something else",
}, {
	name:     "a hard link, and one to that",
	cfg:      paths(types.PathMutation{Path: "/srv/h", Type: "hardlink", Source: "/bin/x"}, types.PathMutation{Path: "/a", Type: "hardlink", Source: "/srv/h", UID: id(3)}),
	packages: []apktest.Spec{pkg("p-1-r0", "bin/x is=x mode=755")},
	under:    []string{"/a", "/bin/x", "/srv/h"},
	want: `
/a h 0755 3:0 -> /bin/x [config paths[1]]
/bin/x f 0755 3:0 1 2d711642 [config paths[1]]
/srv/h h 0755 3:0 -> /bin/x [config paths[0]]
`,
}, {
	name:     "a hard link in place of a file, to what a symlink leads to",
	cfg:      paths(types.PathMutation{Path: "/bin/y", Type: "hardlink", Source: "/bin/l"}),
	packages: []apktest.Spec{pkg("p-1-r0", "bin/x is=x", "bin/l -> x", "bin/y is=y")},
	under:    []string{"/bin/*"},
	want: `
/bin/l l 0777 0:0 -> x [package p]
/bin/x f 0644 0:0 1 2d711642 [package p]
/bin/y h 0644 0:0 -> /bin/x [config paths[0]]
`,
}, {
	name:     "a hard link whose source is emptied later keeps the content",
	cfg:      paths(types.PathMutation{Path: "/y", Type: "hardlink", Source: "/x"}, types.PathMutation{Path: "/x", Type: "empty-file"}),
	packages: []apktest.Spec{pkg("p-1-r0", "x is=x")},
	under:    []string{"/x", "/y"},
	want: `
/x f 0644 0:0 0 e3b0c442 [config paths[1]]
/y f 0644 0:0 1 2d711642 [config paths[0]]
`,
}, {
	name: "a hard link to nothing",
	cfg:  paths(types.PathMutation{Path: "/y", Type: "hardlink", Source: "/x"}),
	err:  "paths[0]: /y: source /x: no such path in the image",
}, {
	name: "a hard link to a directory",
	cfg:  paths(types.PathMutation{Path: "/y", Type: "hardlink", Source: "/etc"}),
	err:  "paths[0]: /y: source /etc: expected a regular file",
}, {
	name: "a hard link in place of a directory",
	cfg:  paths(types.PathMutation{Path: "/x", Type: "empty-file"}, types.PathMutation{Path: "/etc", Type: "hardlink", Source: "/x"}),
	err:  "paths[1]: /etc: expected no directory there, base-layout has one",
}, {
	name: "a hard link to itself",
	cfg:  paths(types.PathMutation{Path: "/x", Type: "empty-file"}, types.PathMutation{Path: "/x", Type: "hardlink", Source: "/x"}),
	err:  "paths[1]: /x: source /x: it is the same file",
}, {
	name:     "a symlink has its own owner, and no mode",
	cfg:      paths(types.PathMutation{Path: "/srv/l", Type: "symlink", Source: "/etc/x", Permissions: 0o600, UID: id(5), GID: id(6)}),
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x is=x")},
	under:    []string{"/srv/l", "/etc/x"},
	want: `
/etc/x f 0644 0:0 1 2d711642 [package a]
/srv/l l 0777 5:6 -> /etc/x [config paths[0]]
`,
}, {
	name:     "a symlink where something is",
	cfg:      paths(types.PathMutation{Path: "/etc/x", Type: "symlink", Source: "y"}),
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x is=x")},
	err:      "paths[0]: /etc/x: it already exists, owned by a",
}, {
	name: "a symlink to an empty path",
	cfg:  paths(types.PathMutation{Path: "/etc/x", Type: "symlink"}),
	err:  `paths[0]: /etc/x: source "": expected the path that the link leads to`,
}, {
	name:     "permissions of one file",
	cfg:      paths(types.PathMutation{Path: "/bin/x", Type: "permissions", Permissions: 0o4711, UID: id(9), GID: id(8)}),
	packages: []apktest.Spec{pkg("a-1-r0", "bin/x is=x")},
	under:    []string{"/bin/x"},
	want:     "/bin/x f 4711 9:8 1 2d711642 [config paths[0]]",
}, {
	name:     "permissions without a mode change the owner only",
	cfg:      paths(types.PathMutation{Path: "/bin/x", Type: "permissions", UID: id(9)}),
	packages: []apktest.Spec{pkg("a-1-r0", "bin/x is=x mode=750 own=1:2")},
	under:    []string{"/bin/x"},
	want:     "/bin/x f 0750 9:0 1 2d711642 [config paths[0]]",
}, {
	name:     "permissions of a symlink are its target's, inside the image",
	cfg:      paths(types.PathMutation{Path: "/l", Type: "permissions", Permissions: 0o600}),
	packages: []apktest.Spec{pkg("a-1-r0", "l -> ../../etc/x", "etc/x is=x")},
	under:    []string{"/l", "/etc/x"},
	want: `
/etc/x f 0600 0:0 1 2d711642 [config paths[0]]
/l l 0777 0:0 -> ../../etc/x [package a]
`,
}, {
	name: "permissions of nothing",
	cfg:  paths(types.PathMutation{Path: "/srv", Type: "directory"}, types.PathMutation{Path: "/srv/x", Type: "permissions", Permissions: 0o600}),
	err:  "paths[1]: /srv/x: no such path in the image",
}, {
	name: "permissions of the root",
	cfg:  paths(types.PathMutation{Path: "/x", Type: "symlink", Source: "/"}, types.PathMutation{Path: "/x", Type: "permissions", Permissions: 0o700}),
	err:  "paths[1]: /x: it leads to the root directory, which has no entry in an image",
}, {
	name:     "a path below a file",
	cfg:      paths(types.PathMutation{Path: "/bin/x/y/z", Type: "directory", Permissions: 0o700}),
	packages: []apktest.Spec{pkg("a-1-r0", "bin/x is=x")},
	err:      "paths[0]: /bin/x/y/z: bin/x: not a directory",
}, {
	name: "symlinks in a circle",
	cfg:  paths(types.PathMutation{Path: "/a", Type: "symlink", Source: "b"}, types.PathMutation{Path: "/b", Type: "symlink", Source: "a"}, types.PathMutation{Path: "/a/f", Type: "empty-file"}),
	err:  "paths[2]: /a/f: a: too many levels of symbolic links",
}, {
	name: "an unknown type",
	cfg:  paths(types.PathMutation{Path: "/a", Type: "fifo"}),
	err:  `paths[0]: /a: type "fifo": expected directory, empty-file, hardlink, symlink or permissions`,
}, {
	name: "the root",
	cfg:  paths(types.PathMutation{Path: "//", Type: "directory"}),
	err:  "paths[0]: //: expected a path below the root",
}, {
	name: "files: over a package's file, a symlink, and new",
	cfg: files(config.File{Path: "/etc/x", Bytes: []byte("new"), Mode: id(0o600), UID: 5, GID: 6},
		config.File{Path: "/etc/l", Bytes: []byte{}}, config.File{Path: "/srv/d/y", Bytes: []byte("new")}),
	packages: []apktest.Spec{pkg("a-1-r0", "etc/x is=x", "etc/l -> x")},
	under:    []string{"/etc/x", "/etc/l", "/srv*"},
	want: `
/etc/l f 0644 0:0 0 e3b0c442 [config files[1]]
/etc/x f 0600 5:6 3 11507a0e [config files[0]]
/srv d 0755 0:0 [generator implied-directory]
/srv/d d 0755 0:0 [generator implied-directory]
/srv/d/y f 0644 0:0 3 11507a0e [config files[2]]
`,
}, {
	name:     "files: over one of a group of hard links leaves the rest",
	cfg:      files(config.File{Path: "/bin/z", Bytes: []byte("new")}),
	packages: []apktest.Spec{pkg("a-1-r0", "bin/z is=x", "bin/y => bin/z", "bin/x => bin/z")},
	under:    []string{"/bin/*"},
	want: `
/bin/x h 0644 0:0 -> /bin/y [package a]
/bin/y f 0644 0:0 1 2d711642 [package a]
/bin/z f 0644 0:0 3 11507a0e [config files[0]]
`,
}, {
	name:     "files: through a symlinked directory",
	cfg:      files(config.File{Path: "/lib/x", Bytes: []byte("new")}),
	packages: []apktest.Spec{pkg("a-1-r0", "usr/lib/", "lib -> usr/lib")},
	under:    []string{"/usr/lib/x"},
	want:     "/usr/lib/x f 0644 0:0 3 11507a0e [config files[0]]",
}, {
	name: "files: where a directory is",
	cfg:  files(config.File{Path: "/etc", Bytes: []byte("new")}),
	err:  "files[0]: /etc: expected no directory there, base-layout has one",
}, {
	name: "files: no name",
	cfg:  files(config.File{Path: "/etc/..", Bytes: []byte("new")}),
	err:  `files[0]: /etc/..: "etc/..": it is not the name of a file`,
}}

func TestConfigPaths(t *testing.T) {
	for _, c := range pathCases {
		t.Run(c.name, func(t *testing.T) {
			in := input(t, c.cfg, c.packages...)
			if c.err == "" {
				got := dump(t, plan(t, in), c.under...)
				if diff := cmp.Diff(strings.TrimSpace(c.want), strings.TrimSpace(got)); diff != "" {
					t.Errorf("(-want +got)\n%s\n%s", diff, got)
				}
				return
			}
			tree, err := Plan(context.Background(), in)
			if err == nil {
				t.Fatalf("no error; tree:\n%s", dump(t, tree, c.under...))
			}
			if diff := cmp.Diff(c.err, err.Error()); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if !errors.Is(err, ErrConfig) {
				t.Errorf("%v is not ErrConfig", err)
			}
		})
	}
}

// Where the bytes of a changed entry come from stays known.
func TestConfigKeepsOrigin(t *testing.T) {
	in := input(t, paths(
		types.PathMutation{Path: "/bin/x", Type: "permissions", Permissions: 0o700},
		types.PathMutation{Path: "/bin/h", Type: "hardlink", Source: "/bin/x"},
	), pkg("a-1-r0", "bin/x is=x"))
	tree := plan(t, in)
	x, h := tree.Lookup("bin/x"), tree.Lookup("bin/h")
	if x.Package != 0 || in.Packages[0].Receipt.Entries[x.Member].Path != "bin/x" || x.Content != nil {
		t.Errorf("bin/x: package %d member %d content %q", x.Package, x.Member, x.Content)
	}
	if h.Package != -1 || h.Link != "bin/x" {
		t.Errorf("bin/h: package %d link %q", h.Package, h.Link)
	}
}

// Written in a configuration, permissions: 0 is a mode like any other.
func TestPermissionsZero(t *testing.T) {
	name := filepath.Join(t.TempDir(), "image.yaml")
	const text = `contents: {repositories: [https://example.com/r], packages: [a]}
archs: [x86_64]
paths:
  - {path: /x, type: permissions, permissions: 0}
  - {path: /y, type: permissions, uid: 7}
`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load(name, config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	expectDump(t, input(t, cfg, pkg("a-1-r0", "x is=x", "y is=x")), `
/x f 0000 0:0 1 2d711642 [config paths[0]]
/y f 0644 7:0 1 2d711642 [config paths[1]]`, "/x", "/y")
}
