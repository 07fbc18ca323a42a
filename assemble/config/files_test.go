package config

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The SHA-256 of "x".
const digestX = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"

func mkfifo(t *testing.T, name string) {
	t.Helper()
	if err := syscall.Mkfifo(name, 0o644); err != nil {
		t.Skipf("no named pipes: %v", err)
	}
}

func TestFiles(t *testing.T) {
	c, err := Load("conf/top.yaml", in(map[string]string{
		"conf/top.yaml": "include: deeper/base.yaml\nfiles:\n" +
			"- {path: /inline, content: \"a\\n\", mode: 0o4755, uid: 5, gid: 6}\n" +
			"- {path: /empty, content: \"\"}\n" +
			"- {path: /local, source: x, sha256: " + digestX + "}\n",
		"conf/deeper/base.yaml": "files: [{path: /base, source: ../x, sha256: 'sha256:" + strings.ToUpper(digestX) + "'}]",
		"conf/x":                "x",
	}))
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		Path, Content, Opened string
		Mode, UID, GID        uint32
	}
	var got []row
	for _, f := range c.Files {
		got = append(got, row{f.Path, string(f.Bytes), f.Opened, f.FileMode(), f.UID, f.GID})
	}
	want := []row{
		{"/base", "x", "conf/x", 0o644, 0, 0},
		{"/inline", "a\n", "", 0o4755, 5, 6},
		{"/empty", "", "", 0o644, 0, 0},
		{"/local", "x", "conf/x", 0o644, 0, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if len(c.Warnings) > 0 {
		t.Error(c.Warnings)
	}
}

func TestFileMistakes(t *testing.T) {
	for _, tc := range []struct{ name, entry, want string }{
		{"no digest", "source: x", "image.yaml:1:9: files[0].sha256: missing: expected the digest of x\n  hint: its content now has sha256: " + digestX},
		{"other digest", "source: x, sha256: " + strings.Repeat("0", 64),
			"image.yaml:1:39: files[0].sha256: content differs: found " + digestX + ", expected " + strings.Repeat("0", 64)},
		{"not there", "source: y, sha256: " + digestX, `image.yaml:1:28: files[0].source: not readable: found "y": file does not exist`},
		{"directory", "source: d, sha256: " + digestX, `image.yaml:1:28: files[0].source: not readable: found "d": not a regular file`},
		{"too large", "source: big, sha256: " + digestX, `image.yaml:1:28: files[0].source: not readable: found "big": too large: expected at most 10 bytes; make a package of it`},
		{"empty source", "source: ''", "image.yaml:1:9: files[0].content: missing: expected content or source"},
	} {
		o := in(map[string]string{"x": "x", "d/x": "", "big": strings.Repeat("x", 11)})
		o.MaxFileSize = 10
		_, err := LoadBytes("image.yaml", []byte("files: [{path: /a, "+tc.entry+"}]"), o)
		if err == nil || err.Error() != tc.want {
			t.Errorf("%s: found\n%v\nexpected\n%s", tc.name, err, tc.want)
		}
	}
}

// TestFileOnDisk reads through the real file system.
func TestFileOnDisk(t *testing.T) {
	dir := write(t, map[string]string{
		"conf/image.yaml": "files: [{path: /a, source: x, sha256: " + digestX + "}]",
		"conf/x":          "x",
	})
	c, err := Load(filepath.Join(dir, "conf", "image.yaml"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := string(c.Files[0].Bytes); got != "x" {
		t.Errorf("found %q", got)
	}
}
