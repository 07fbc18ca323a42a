package sbom

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func names(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteAll(t *testing.T) {
	g := testGraph(t)
	x, err := NewIndex(IndexInput{Digest: hashOf("i"), Created: testTime}, []*Graph{g})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "sboms")
	old := syscall.Umask(0o077) // the only way to test that it plays no part
	paths, err := WriteAll(dir, []*Graph{g}, x)
	syscall.Umask(old)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"sbom-index.cdx.json", "sbom-index.spdx.json", "sbom-x86_64.cdx.json", "sbom-x86_64.spdx.json"}
	if diff := cmp.Diff(want, names(t, dir)); diff != "" {
		t.Error(diff)
	}
	if len(paths) != 4 || paths[0] != filepath.Join(dir, "sbom-x86_64.spdx.json") {
		t.Errorf("paths %v", paths)
	}
	for _, p := range append(paths, dir) {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if m := fi.Mode().Perm(); m != 0o644 && !(p == dir && m == 0o755) {
			t.Errorf("%s: mode %o", p, m)
		}
	}
	if !bytes.Equal(read(t, dir, "sbom-x86_64.spdx.json"), spdxOf(t, g)) {
		t.Error("the file is not the document")
	}
	if _, err := WriteAll(dir, []*Graph{g}, nil); err != nil {
		t.Errorf("writing again: %v", err)
	}
}

func TestWriteAllFormats(t *testing.T) {
	g := testGraph(t)
	x, err := NewIndex(IndexInput{Digest: hashOf("i"), Created: testTime}, []*Graph{g})
	if err != nil {
		t.Fatal(err)
	}
	for format, want := range map[Format][]string{
		SPDX:      {"sbom-index.spdx.json", "sbom-x86_64.spdx.json"},
		CycloneDX: {"sbom-index.cdx.json", "sbom-x86_64.cdx.json"},
	} {
		dir := t.TempDir()
		if _, err := WriteAll(dir, []*Graph{g}, x, format); err != nil || format.Check() != nil {
			t.Errorf("%s: %v, %v", format, err, format.Check())
		}
		if diff := cmp.Diff(want, names(t, dir)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
	}
	if err := Format("syft").Check(); err == nil || err.Error() != `sbom format "syft": expected spdx or cyclonedx` {
		t.Errorf("error %v", err)
	}
}

// When anything goes wrong the old documents stay, and nothing else.
func TestWriteAllFailureLeavesTheOldOnes(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	_, err := writeAll(dir, []document{
		{SPDX, "a", func(w io.Writer) error { _, err := io.WriteString(w, "new"); return err }},
		{SPDX, "b", func(w io.Writer) error { _, _ = io.WriteString(w, "half"); return broken }},
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), filepath.Join(dir, "b")) {
		t.Errorf("%v, want the cause and the path", err)
	}
	if got := names(t, dir); !cmp.Equal(got, []string{"a"}) || string(read(t, dir, "a")) != "old" {
		t.Errorf("left: %v, a is %q", got, read(t, dir, "a"))
	}
	fresh := filepath.Join(dir, "fresh")
	if _, err := writeAll(fresh, []document{{SPDX, "b", func(io.Writer) error { return broken }}}); !errors.Is(err, broken) {
		t.Error(err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the directory made for nothing is still there")
	}
}

func TestWriteAllErrors(t *testing.T) {
	g := []*Graph{testGraph(t)}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{filepath.Join(dir, "no", "parent"): fs.ErrNotExist, file: syscall.ENOTDIR} {
		if _, err := WriteAll(path, g, nil); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
}
