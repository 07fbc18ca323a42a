package image

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseOutput(t *testing.T) {
	dir := t.TempDir()
	for _, test := range []struct {
		in   string
		kind Kind
		path string
	}{
		{"out/", Layout, "out"},
		{"./a/../out//", Layout, "out"},
		{dir, Layout, dir},
		{"/", Layout, "/"},
		{"oci:out", Layout, "out"},
		{"oci:out/", Layout, "out"},
		{"x.tar", DockerArchive, "x.tar"},
		{"X.TAR", DockerArchive, "X.TAR"},
		{"./foo:bar.tar", DockerArchive, "foo:bar.tar"},
		{"docker-archive:x", DockerArchive, "x"},
		{"docker-archive:/dev/stdout", DockerArchive, "/dev/stdout"},
		{"oci-archive:x.tar", OCIArchive, "x.tar"},
		{"oci-archive:a:b/x.tar", OCIArchive, "a:b/x.tar"},
		{"docker://", DockerEngine, ""},
	} {
		o, err := ParseOutput(test.in)
		if err != nil || o.Kind != test.kind || o.Path != test.path || o.Ref != nil {
			t.Errorf("%s: %+v, %v, want %s %s", test.in, o, err, test.kind, test.path)
		}
		if strings.Contains(filepath.Base(test.path), ":") {
			continue
		}
		if again, err := ParseOutput(o.String()); err != nil || again != o {
			t.Errorf("%s: %s reads back as %+v, %v", test.in, o, again, err)
		}
	}
	o, err := ParseOutput("docker://hello:1")
	if err != nil || o.Kind != DockerEngine || o.Ref == nil || o.Ref.Familiar() != "hello:1" || o.String() != "docker://docker.io/library/hello:1" {
		t.Errorf("%+v, %v", o, err)
	}
}

// Relative paths are taken from the directory; nothing else is.
func TestParseOutputIn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "there"), 0o755); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]string{
		"there": "oci:" + dir + "/there", "new/": "oci:" + dir + "/new", "x.tar": "docker-archive:" + dir + "/x.tar",
		"oci-archive:../x": "oci-archive:" + filepath.Dir(dir) + "/x", "docker-archive:/dev/stdout": "docker-archive:/dev/stdout", "docker://": "docker://",
	} {
		if o, err := ParseOutputIn(dir, in); err != nil || o.String() != want {
			t.Errorf("%s: %s, %v, expected %s", in, o, err, want)
		}
	}
	if _, err := ParseOutputIn(dir, "x.zip"); err == nil || !strings.HasPrefix(err.Error(), `output "x.zip": `) {
		t.Errorf("error %v", err)
	}
}

func TestParseOutputRefuses(t *testing.T) {
	const forms = "expected DIR/, FILE.tar, oci:DIR, oci-archive:FILE, docker-archive:FILE or docker://"
	for _, test := range []struct{ in, want string }{
		{"", `output "": empty: ` + forms},
		{"a\x00b", `output "a\x00b": a NUL byte in the name`},
		{"-", `output "-": hint: docker-archive:/dev/stdout writes to standard output`},
		{"out", `output "out": not a directory and no .tar: ` + forms + "\nhint: a directory that does not exist yet is written with a slash, out/"},
		{"x.tar.gz", `output "x.tar.gz": compressed archives are not written: the layers in them are compressed already` + "\nhint: name it FILE.tar"},
		{"x.tgz", `output "x.tgz": compressed archives are not written: the layers in them are compressed already` + "\nhint: name it FILE.tar"},
		{"x.tar.zst", `output "x.tar.zst": compressed archives are not written: the layers in them are compressed already` + "\nhint: name it FILE.tar"},
		{"oci:", `output "oci:": no path after "oci:"`},
		{"oci:dir:latest", `output "oci:dir:latest": a colon in "dir:latest"` + "\nhint: tags are given by the TAG argument, not by the output"},
		{"docker-archive:x.tar:hello:1", `output "docker-archive:x.tar:hello:1": a colon in "x.tar:hello:1"` + "\nhint: tags are given by the TAG argument, not by the output"},
		{"docker:", `output "docker:": hint: docker:// loads into the container engine`},
		{"docker-daemon:hello:1", `output "docker-daemon:hello:1": hint: docker:// loads into the container engine`},
		{"docker://Hello", `output "docker://Hello": tag "Hello": upper-case letters in repository "Hello": expected lower case, as in "hello"` + "\nhint: docker:// loads into the local engine; to push to a registry use publish"},
		{"podman:x", `output "podman:x": kind "podman" is not known: ` + forms + "\nhint: a file name with a colon is written with its directory, ./podman:x"},
		{"C:x.tar", `output "C:x.tar": kind "C" is not known: ` + forms + "\nhint: a file name with a colon is written with its directory, ./C:x.tar"},
	} {
		if _, err := ParseOutput(test.in); err == nil || err.Error() != test.want {
			t.Errorf("%q:\ngot  %v\nwant %s", test.in, err, test.want)
		}
	}
}

func FuzzParseOutput(f *testing.F) {
	for _, s := range []string{"x.tar", "dir/", "oci:x", "docker://a:b", "oci-archive:x:y", "a:b", "-", "", "./a:b.tar"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, err := ParseOutput(s)
		if err != nil {
			return
		}
		if (o.Path == "") != (o.Kind == DockerEngine) || strings.IndexByte(o.Path, 0) >= 0 {
			t.Errorf("%q: %+v", s, o)
		}
		if strings.Contains(filepath.Base(o.Path), ":") {
			return // only as a plain name
		}
		if again, err := ParseOutput(o.String()); err != nil || again.String() != o.String() {
			t.Errorf("%q: %s reads back as %+v, %v", s, o, again, err)
		}
	})
}

func TestCheckWritable(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("file", "")
	write("layout/oci-layout", layoutMark)
	write("layout/index.json", "{}")
	write("old/oci-layout", `{"imageLayoutVersion":"0.9"}`)
	write("site/index.json", "[]")
	write("mixed/README", "")
	if err := os.Symlink(filepath.Join(dir, "nowhere", "x.tar"), filepath.Join(dir, "dangling.tar")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "y.tar"), filepath.Join(dir, "good.tar")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		kind Kind
		path string
		want string // after "output PATH: cannot be written: "; empty: writable
	}{
		{DockerArchive, "x.tar", ""},
		{DockerArchive, "file", ""},
		{DockerArchive, "good.tar", ""},
		{Layout, "new", ""},
		{Layout, "layout", ""},
		{Layout, "mixed", ""},
		{DockerArchive, "no/x.tar", "directory DIR/no does not exist\nhint: mkdir -p DIR/no"},
		{OCIArchive, "dangling.tar", "directory DIR/nowhere does not exist\nhint: mkdir -p DIR/nowhere"},
		{OCIArchive, "file/x.tar", "stat DIR/file/x.tar: not a directory"},
		{DockerArchive, "layout", "a directory is in its place: expected a file"},
		{Layout, "file", "a file is in its place: expected a directory"},
		{Layout, "no/new", "directory DIR/no does not exist\nhint: mkdir -p DIR/no"},
		{Layout, "old", `not an OCI layout: oci-layout is "{\"imageLayoutVersion\":\"0.9\"}": expected version 1.0.0`},
		{Layout, "site", "not an OCI layout: index.json is there, but no oci-layout"},
	} {
		o := Output{Kind: test.kind, Path: filepath.Join(dir, test.path)}
		err := o.CheckWritable()
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", test.path, err)
			}
			continue
		}
		want := "output " + o.Path + ": cannot be written: " + strings.ReplaceAll(test.want, "DIR", dir)
		if err == nil || err.Error() != want || !errors.Is(err, ErrNotWritable) {
			t.Errorf("%s:\ngot  %v\nwant %s", test.path, err, want)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 7 {
		t.Errorf("%d entries afterwards: something was made", len(entries))
	}
	if err := (Output{Kind: DockerArchive, Path: "/dev/null"}).CheckWritable(); err != nil {
		t.Errorf("/dev/null: %v", err)
	}
	if err := (Output{Kind: DockerEngine}).CheckWritable(); err != nil {
		t.Errorf("engine: %v", err)
	}
	if err := (Output{Kind: OCIArchive, Path: "/proc/x.tar"}).CheckWritable(); err == nil && os.Getuid() != 0 {
		t.Error("/proc can be written to")
	}
}
