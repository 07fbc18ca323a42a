package files_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-dev/cairn/assemble"
	"github.com/cairn-dev/cairn/assemble/config"
	"github.com/cairn-dev/cairn/assemble/files"
	"github.com/cairn-dev/cairn/assemble/subject"
	"github.com/cairn-dev/cairn/packages"
	"github.com/cairn-dev/cairn/packages/apk"
	"github.com/cairn-dev/cairn/packages/apk/apktest"
)

// build makes a repository, and plans and builds an image of it.
func build(t *testing.T) (plan, image *files.Tree) {
	t.Helper()
	dir := t.TempDir()
	key := apktest.NewKey("key.rsa.pub")
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Skip(err)
	}
	apktest.Repository{Arch: "x86_64", Key: key, Packages: []apktest.Spec{
		{Package: apk.Package{Name: "app", Version: "1-r0", Arch: "x86_64"}, Parents: true, Files: []apktest.File{
			{Path: "usr/bin/app", Mode: 0o4755, Content: string(self[:1<<16])}, {Path: "usr/bin/same", Type: apk.TypeHardlink, Link: "usr/bin/app"},
			{Path: "usr/bin/link", Type: apk.TypeSymlink, Link: "app"}, {Path: "etc/app.conf", Content: "a=1\n", UID: 5, GID: 6}}},
		{Package: apk.Package{Name: "lib", Version: "2-r0", Arch: "x86_64"}, Parents: true, Files: []apktest.File{{Path: "usr/lib/a.txt", Content: "text"}}},
	}}.Write(t, filepath.Join(dir, "repo"))
	if err := os.WriteFile(filepath.Join(dir, key.Name), key.PublicPEM(), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg, err := config.LoadBytes("image.yaml", fmt.Appendf(nil, `
contents: {repositories: [%[1]s/repo], keyring: [%[1]s/key.rsa.pub], packages: [app, lib]}
accounts: {run-as: "65532", users: [{username: nonroot, uid: 65532}]}
files: [{path: /srv/hello, content: hello, mode: 0o600}]
paths: [{path: /srv/data, type: directory, uid: 65532, gid: 65532, permissions: 0o700}]
archs: [x86_64]
`, dir), config.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := packages.Open(packages.Options{CacheDir: filepath.Join(dir, "cache")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	planned, err := assemble.Plan(t.Context(), ws, cfg, assemble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if plan, err = files.OfPlan(t.Context(), planned[0].Tree, ws.Store()); err != nil {
		t.Fatal(err)
	}
	if _, err := assemble.Build(t.Context(), ws, cfg, assemble.Options{Outputs: []string{dir + "/out/"}}); err != nil {
		t.Fatal(err)
	}
	s, err := subject.Open(t.Context(), dir+"/out/", subject.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if image, err = files.OfImage(t.Context(), &s.Images[0], files.Options{ELF: true}); err != nil {
		t.Fatal(err)
	}
	return plan, image
}

// A plan is what the image will be: every path, its metadata, its ELF facts, its
// content.
func TestPlanIsTheImage(t *testing.T) {
	plan, image := build(t)
	dump := func(tree *files.Tree) []string {
		var out []string
		for _, n := range tree.All() {
			line := fmt.Sprintf("%s %c %04o %d:%d %d %s %v", n.Path, n.Type, n.Mode, n.UID, n.GID, n.Size, n.Link, n.ELF != nil)
			if n.Type == apk.TypeFile {
				b, err := tree.Read(t.Context(), n)
				if err != nil {
					t.Fatal(err)
				}
				line += fmt.Sprintf(" %s %d", n.SHA256.Hex(), len(b[0]))
			}
			out = append(out, line)
		}
		return out
	}
	if d := cmp.Diff(dump(image), dump(plan)); d != "" {
		t.Error(d)
	}
	for _, c := range []struct{ path, pkg, key string }{
		{"/usr/bin/app", "app", ""}, {"/usr/bin/same", "app", ""}, {"/usr/lib/a.txt", "lib", ""}, {"/srv/hello", "", "files[0]"}, {"/srv/data", "", "paths[0]"}, {"/etc/passwd", "", "accounts"},
	} {
		n, err := plan.Stat(c.path)
		if err != nil || n.Package != c.pkg || n.Key != c.key {
			t.Errorf("%s: found %+v, %v", c.path, n, err)
		}
		if n, err := image.Stat(c.path); err != nil || n.Package != c.pkg || n.Key != "" {
			t.Errorf("%s in the image: found %+v, %v", c.path, n, err)
		}
	}
	if b, err := plan.ReadFile(t.Context(), "/srv/hello"); err != nil || string(b) != "hello" {
		t.Errorf("found %q, %v", b, err)
	}
	if len(plan.Installed) != 2 || !plan.Database {
		t.Errorf("found %d packages", len(plan.Installed))
	}
	if _, err := plan.ReadFile(t.Context(), "/srv/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("found %v", err)
	}
	if err := plan.Unpack(t.Context(), t.TempDir()); !errors.Is(err, files.ErrUnread) {
		t.Errorf("a plan was unpacked: %v", err)
	}
}
