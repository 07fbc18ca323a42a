package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cairn-dev/cairn/assemble/apptree"
	"github.com/cairn-dev/cairn/packages/apk"
)

// appDir writes files below a directory for a test, and makes it the loader's.
func appDir(t *testing.T, files map[string]string) Options {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(at), 0o755), os.WriteFile(at, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return Options{Dir: dir}
}

// Sources are beside the configuration that names them, and those of an included
// one come first.
func TestApp(t *testing.T) {
	o := appDir(t, map[string]string{
		"top.yaml":        "include: below/base.yaml\napp: [{source: src, path: /srv/top, exclude: [x]}]",
		"below/base.yaml": "app: [{source: one, path: /srv/base, uid: 7}]",
		"src/a":           "a", "src/x": "x", "below/one": "1",
	})
	c, err := Load("top.yaml", o)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.App) != 2 || c.App[0].Path != "/srv/base" || c.App[0].UID != 7 || len(c.App[0].Tree.Entries) != 1 || len(c.App[1].Tree.Entries) != 2 {
		t.Fatalf("%+v", c.App)
	}
	// From elsewhere, by the paths in the image.
	o.Open = func(name string) (fs.File, error) { return os.Open(name) }
	o.App = func(path string) ([]byte, error) {
		for i := range c.App {
			if c.App[i].Path == path {
				return c.App[i].Tree.Archive(), nil
			}
		}
		return nil, fs.ErrNotExist
	}
	again, err := Load("top.yaml", o)
	if err != nil || again.App[1].Tree.Digest() != c.App[1].Tree.Digest() {
		t.Error(err)
	}
	o.App = nil
	if _, err := Load("top.yaml", o); err == nil || !strings.Contains(err.Error(), "app[0].source: not readable") {
		t.Error(err)
	}
}

func TestAppMistakes(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"all too large", "app: [{source: a, path: /a}, {source: b, path: /b}]", `app[1].source: not readable: found`},
		{"same path", "app: [{source: a, path: /a}, {source: b, path: /a}]", `app[1].path: conflict: found "/a", which overlaps "/a" at`},
		{"setuid in mode", "app: [{source: a, path: /a, mode: 0o4755}]", "app[0].mode: out of range: found 0o4755, expected at most 0o777"},
		{"a URL", "app: [{source: 'https://example/x', path: /a}]", "app[0].source"},
		{"relative path", "app: [{source: a, path: a}]", "app[0].path"},
		{"on a base image", "contents: {baseimage: {image: x, apkindex: y}}\napp: [{source: a, path: /a}]", "app: not possible on a base image"},
		{"unknown key", "app: [{source: a, path: /a, owner: x}]", "app[0].owner: unknown key"},
	} {
		o := appDir(t, map[string]string{"image.yaml": test.text, "a": "12", "b": "12"})
		if test.name == "all too large" {
			o.MaxAppSize = 3
		}
		_, err := Load("image.yaml", o)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: found %v, expected %s", test.name, err, test.want)
		}
		if test.name == "all too large" && !errors.Is(err, apptree.ErrTooLarge) {
			t.Error(err)
		}
	}
}

func TestAppModes(t *testing.T) {
	files, dirs := uint32(0o640), uint32(0o2770)
	for _, test := range []struct {
		app   App
		entry apptree.Entry
		want  uint32
	}{
		{App{}, apptree.Entry{Type: apk.TypeFile, Mode: 0o4755}, 0o4755},
		{App{}, apptree.Entry{Type: apk.TypeDir, Mode: 0o1755}, 0o1755},
		{App{Mode: &files}, apptree.Entry{Type: apk.TypeFile, Mode: 0o644}, 0o640},
		{App{Mode: &files}, apptree.Entry{Type: apk.TypeFile, Mode: 0o4755}, 0o4750},
		{App{Mode: &files, DirMode: &dirs}, apptree.Entry{Type: apk.TypeDir, Mode: 0o755}, 0o2770},
		{App{Mode: &files}, apptree.Entry{Type: apk.TypeSymlink, Mode: 0o777}, 0o777},
	} {
		if got := test.app.ModeOf(&test.entry); got != test.want {
			t.Errorf("%c %o: found %o, expected %o", test.entry.Type, test.entry.Mode, got, test.want)
		}
	}
}
