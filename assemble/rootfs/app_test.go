package rootfs

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/assemble/config"
)

// appOf reads an application with a directory, a program in it, and a link.
func appOf(t testing.TB, path string) config.App {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "bin/run", Typeflag: tar.TypeReg, Mode: 0o755},
		{Name: "conf", Typeflag: tar.TypeReg, Mode: 0o600},
		{Name: "to", Typeflag: tar.TypeSymlink, Linkname: "bin/run"},
	} {
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tree, err := apptree.ReadArchive(&b, apptree.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return config.App{Source: "src", Opened: "src", Path: path, Tree: tree}
}

func TestApps(t *testing.T) {
	mode, dirs := uint32(0o640), uint32(0o750)
	first, second := appOf(t, "/srv/one"), appOf(t, "/opt")
	second.UID, second.GID, second.Mode, second.DirMode = 5, 6, &mode, &dirs
	tree := plan(t, input(t, &config.Config{App: []config.App{first, second}}, pkg("a-1-r0", "opt/bin/", "opt/bin/a")))
	want := map[string]struct {
		app, uid int
		mode     uint32
	}{
		"srv": {0, 0, 0o755}, "srv/one": {1, 0, 0o755}, "srv/one/bin/run": {1, 0, 0o755}, "srv/one/conf": {1, 0, 0o644}, "srv/one/to": {1, 0, 0o777},
		"opt/bin": {0, 0, 0o755}, "opt/bin/a": {0, 0, 0o644}, "opt/bin/run": {2, 5, 0o750}, "opt/conf": {2, 5, 0o640},
	}
	for path, w := range want {
		e := tree.Lookup(path)
		if e == nil || e.App != w.app || e.UID != w.uid || e.Mode != w.mode {
			t.Errorf("%s: found %+v", path, e)
		}
	}
	if e := tree.Lookup("opt/conf"); e.Owner != (Owner{OwnedByConfig, "app[1]"}) || e.MTime != epoch.Unix() || e.GID != 6 {
		t.Errorf("%+v", e)
	}
}

func TestAppConflicts(t *testing.T) {
	unread := appOf(t, "/srv")
	unread.Tree = nil
	for _, test := range []struct {
		name string
		cfg  config.Config
		want string
	}{
		{"a package's file", config.Config{App: []config.App{appOf(t, "/opt/bin/a")}}, "app[0]: /opt/bin/a: in src, and already there: package a has it"},
		{"below a package's file", config.Config{App: []config.App{appOf(t, "/opt/bin/a/b")}}, "app[0]: /opt/bin/a/b: opt/bin/a: not a directory"},
		{"a file of the configuration", config.Config{Files: []config.File{{Path: "/srv/conf", Bytes: []byte("x")}}, App: []config.App{appOf(t, "/srv")}},
			"app[0]: /srv/conf: in src, and already there: files[0] has it"},
		{"a directory of a package", config.Config{Files: []config.File{{Path: "/srv/to/x", Bytes: []byte("x")}}, App: []config.App{appOf(t, "/srv")}},
			"app[0]: /srv/to: in src, and already there: generator implied-directory has it"},
		{"no source", config.Config{App: []config.App{unread}}, "app[0]: /srv: its source was not read"},
	} {
		_, err := Plan(context.Background(), input(t, &test.cfg, pkg("a-1-r0", "opt/bin/", "opt/bin/a")))
		var c *ConfigError
		if !errors.As(err, &c) || err.Error() != test.want {
			t.Errorf("%s: found %v, expected %s", test.name, err, test.want)
		}
	}
}
