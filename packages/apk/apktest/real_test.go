package apktest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/cairn-dev/cairn/packages/apk"
)

func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.apk")
	s := Spec{Package: apk.Package{Name: "a", Version: "1"}, Parents: true, Sign: NewKey("test.rsa.pub"),
		Files: []File{{Path: "etc/a", Content: "first"}, {Path: "etc/b", Content: "second"}}}
	if err := os.WriteFile(name, Build(s), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := string(ReadFile(t, name, "etc/b")); got != "second" {
		t.Errorf("%q", got)
	}
}

func TestDataHonoursTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CAIRN_TESTDATA", dir)
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := Data(t, "x"); got != filepath.Join(dir, "x") {
		t.Errorf("%q", got)
	}
	skipped := t.Run("missing", func(t *testing.T) {
		Data(t, "y")
		t.Error("a missing path did not skip the test")
	})
	if !skipped {
		t.Error("the sub-test failed")
	}
}
