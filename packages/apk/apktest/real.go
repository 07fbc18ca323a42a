package apktest

import (
	"archive/tar"
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/cairn-dev/cairn/packages/apk"
)

// Data returns a path below the real data, which is not part of the project:
// $CAIRN_TESTDATA, else ../shared/data beside the checkout. It skips the test
// when the path is not there.
func Data(t testing.TB, elem ...string) string {
	t.Helper()
	root := os.Getenv("CAIRN_TESTDATA")
	if root == "" {
		_, file, _, _ := runtime.Caller(0)
		root = filepath.Join(filepath.Dir(file), "..", "..", "..", "..", "shared", "data")
	}
	name := filepath.Join(append([]string{root}, elem...)...)
	if _, err := os.Stat(name); err != nil {
		t.Skipf("real data is not here (set CAIRN_TESTDATA): %v", err)
	}
	return name
}

// ReadFile returns the content of a regular file of a package file's data
// section.
func ReadFile(t testing.TB, packageFile, name string) []byte {
	t.Helper()
	f, err := os.Open(packageFile)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	if _, err := apk.ReadHead(r, apk.Limits{}); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(z); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("%s: no file %q", packageFile, name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.TrimPrefix(h.Name, "./") != name {
			continue
		}
		body, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
}
